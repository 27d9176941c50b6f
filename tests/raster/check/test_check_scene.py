"""One fault at a time in an otherwise good scene."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from shapely.geometry import box
from typer.testing import CliRunner

from glacierseg.cli import app
from glacierseg.errors import RequestError
from glacierseg.raster.check import check_scene, is_usable
from glacierseg.raster.check.result import CheckResult
from glacierseg.raster.grid import Grid
from glacierseg.raster.prepare.normalize import normalize_scene
from glacierseg.raster.prepare.select import select_bands
from glacierseg.raster.prepare.stack import stack_rasters
from glacierseg.raster.scene import open_scene
from glacierseg.settings.prepare import StackSettings

SIDE = 128


@pytest.fixture
def values() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(1, 250, (3, SIDE, SIDE)).astype(np.uint8)


@pytest.fixture
def truth() -> NDArray[np.uint8]:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[20:60, 30:90] = 1
    return mask


def check(*arguments: Any, **options: Any) -> dict[str, CheckResult]:
    """Results by name; those that did not pass."""
    results = check_scene(*arguments, **({"patch_px": 64} | options))
    assert len({result.name for result in results}) == len(results)
    assert is_usable(results) == all(result.status != "failed" for result in results)
    return {result.name: result for result in results if result.status != "passed"}


def only(found: dict[str, CheckResult], name: str, status: str) -> CheckResult:
    assert {key: result.status for key, result in found.items()} == {name: status}
    return found[name]


def scene_of(make_raster: Callable[..., Path], values: NDArray[Any], **options: Any) -> Path:
    return make_raster("scene.tif", values, **({"names": ["p", "q", "r"][: len(values)]} | options))


def test_good_scene_and_mask_pass(
    make_raster: Callable[..., Path], values: NDArray[np.uint8], truth: NDArray[np.uint8]
) -> None:
    shares: list[float] = []
    scene, mask = scene_of(make_raster, values), make_raster("mask.tif", truth)
    assert check(scene, mask, progress=shares.append) == {}
    assert shares[-1] == 1
    results = {result.name: result.message for result in check_scene(scene, mask, patch_px=64)}
    assert results["bands"] == "3 bands: p, q, r"
    assert results["glacier share"] == "14.6 % glacier"
    assert "8-bit levels" in results["values"]


def test_files_that_cannot_be_read(
    tmp_path: Path, make_raster: Callable[..., Path], values: NDArray[np.uint8]
) -> None:
    assert "no such file" in only(check(tmp_path / "none.tif"), "readable", "failed").message
    path = make_raster("cut.tif", values)
    path.write_bytes(path.read_bytes()[:30_000])
    result = only(check(path), "readable", "failed")
    assert "truncated" in f"{result.message}; {result.fix}"
    nowhere = make_raster("nowhere.tif", values, crs=False)
    assert "no CRS" in only(check(nowhere), "readable", "failed").message


def test_files_on_two_grids(
    make_raster: Callable[..., Path], make_grid: Callable[..., Grid], values: NDArray[np.uint8]
) -> None:
    files = [scene_of(make_raster, values), make_raster("b.tif", values, make_grid(SIDE, SIDE, left=0))]
    assert "prepare align" in only(check(files), "grid", "failed").fix


def test_bands_without_or_with_doubled_names(
    make_raster: Callable[..., Path], values: NDArray[np.uint8]
) -> None:
    result = only(check(make_raster("a.tif", values)), "bands", "warning")
    assert "--band-names" in result.fix
    assert check(make_raster("a.tif", values), bands=["a", "b", "c"]) == {}
    only(check(make_raster("a.tif", values, names=["x", "x", "y"])), "bands", "failed")


def test_complex_values(make_raster: Callable[..., Path], values: NDArray[np.uint8]) -> None:
    only(check(scene_of(make_raster, values.astype(np.complex64))), "data type", "failed")


def test_degrees_are_a_warning_with_the_utm_zone(
    make_raster: Callable[..., Path], values: NDArray[np.uint8]
) -> None:
    grid = Grid(rasterio.CRS.from_epsg(4326), Affine(0.0002, 0, 78.9, 0, -0.00017, 30.7), SIDE, SIDE)
    result = only(check(scene_of(make_raster, values, grid=grid)), "CRS", "warning")
    assert "EPSG:32644" in result.message
    assert result.fix.startswith("glacierseg prepare stack")


@pytest.mark.parametrize(("epsg", "words"), [(3857, "stretches lengths by 17 %"), (2263, "US survey foot")])
def test_projections_without_true_metres(
    make_raster: Callable[..., Path], values: NDArray[np.uint8], epsg: int, words: str
) -> None:
    x, y = (8783000, 3600000) if epsg == 3857 else (984000, 200000)
    grid = Grid(rasterio.CRS.from_epsg(epsg), Affine(30, 0, x, 0, -30, y), SIDE, SIDE)
    assert words in only(check(scene_of(make_raster, values, grid=grid)), "CRS", "warning").message


def test_patch_larger_than_the_scene_and_pixels_that_are_not_square(
    make_raster: Callable[..., Path], values: NDArray[np.uint8]
) -> None:
    scene = scene_of(make_raster, values)
    assert "at most 128 px" in only(check(scene, patch_px=256), "size", "warning").fix
    grid = Grid(rasterio.CRS.from_epsg(32644), Affine(30, 0, 3e5, 0, -10, 34e5), SIDE, SIDE)
    assert "not square" in only(check(scene_of(make_raster, values, grid=grid)), "size", "warning").message
    grid = Grid(rasterio.CRS.from_epsg(32644), Affine(1, 0, 3e5, 0, -1, 34e5), SIDE, SIDE)
    assert "0.064 km" in only(check(scene_of(make_raster, values, grid=grid)), "size", "warning").message


@pytest.mark.parametrize(("fault", "words"), [(np.nan, "1 NaN"), (np.inf, "1 infinite"), (-9999, "is -9999")])
def test_nodata_that_is_not_declared(
    make_raster: Callable[..., Path], values: NDArray[np.uint8], fault: float, words: str
) -> None:
    floats = values / np.float32(255)
    floats[1, 5, 5] = fault
    result = only(check(scene_of(make_raster, floats)), "undeclared nodata", "warning")
    assert words in result.message
    assert "'q'" in result.message


def test_declared_nan_is_no_fault(make_raster: Callable[..., Path], values: NDArray[np.uint8]) -> None:
    floats = values / np.float32(255)
    floats[1, 5, 5] = np.nan
    assert check(scene_of(make_raster, floats, nodata=np.nan)) == {}


def test_zeros_that_look_like_nodata(make_raster: Callable[..., Path], values: NDArray[np.uint8]) -> None:
    values[:, :10] = 0
    result = only(check(scene_of(make_raster, values)), "undeclared nodata", "warning")
    assert "7.81 %" in result.message
    only(check(scene_of(make_raster, values), nodata=0), "nodata", "warning")


def test_missing_pixels_per_band_and_patch(
    make_raster: Callable[..., Path], values: NDArray[np.uint8]
) -> None:
    values[1, :70, :70] = 0
    result = only(check(scene_of(make_raster, values, nodata=0)), "nodata", "warning")
    assert result.message == (
        "29.9 % of pixels lack some band (q 29.9 %); of 4 patches side by side 4 have gaps, 1 mostly"
    )


def test_figures_of_every_band(make_raster: Callable[..., Path], values: NDArray[np.uint8]) -> None:
    floats = values.astype(np.float32)
    floats[0, :2] = 300
    floats[1, 0, :64] = np.nan
    floats[1, 1, :32] = -np.inf
    floats[2, 3:5] = -9999
    floats[2, 5, :16] = np.nan
    results = check_scene(scene_of(make_raster, floats, nodata=-9999), patch_px=64)
    figures = {result.name: result.per_band for result in results if result.per_band}
    row = SIDE / SIDE**2
    assert figures["nodata"] == {
        "p": {"missing": 0, "nan": 0, "infinite": 0},
        "q": {"missing": 0.75 * row, "nan": 0.5 * row, "infinite": 0.25 * row},
        "r": {"missing": 2.125 * row, "nan": 0.125 * row, "infinite": 0},
    }
    assert figures["values"]["p"] == {"least": floats[0].min(), "greatest": 300}
    assert figures["saturation"]["p"]["saturated"] == 2 * row
    message = next(result.message for result in results if result.name == "nodata")
    assert "lack some band (r 1.66 %; q 0.586 %)" in message


def test_patches_need_not_divide_blocks(make_raster: Callable[..., Path], values: NDArray[np.uint8]) -> None:
    values[0, 100:, 100:] = 0
    result = check(scene_of(make_raster, values, nodata=0), patch_px=50)["nodata"]
    assert "of 9 patches side by side 1 have gaps, 1 mostly" in result.message


def test_empty_band(make_raster: Callable[..., Path], values: NDArray[np.uint8]) -> None:
    values[2] = 0
    found = check(scene_of(make_raster, values, nodata=0))
    assert "'r' has no data at all" in found["nodata"].message


def test_saturated_band(make_raster: Callable[..., Path], values: NDArray[np.uint8]) -> None:
    values[0, :10] = 255
    result = only(check(scene_of(make_raster, values)), "saturation", "warning")
    assert "p 7.81 % at 255" in result.message


def test_constant_and_doubled_bands(make_raster: Callable[..., Path], values: NDArray[np.uint8]) -> None:
    twins = values.copy()
    twins[2] = twins[0]
    assert "'p' and 'r'" in only(check(scene_of(make_raster, twins)), "distinct bands", "warning").message
    values[1] = 7
    assert "'q'" in only(check(scene_of(make_raster, values)), "distinct bands", "warning").message


def test_mask_on_another_grid(
    make_raster: Callable[..., Path],
    make_grid: Callable[..., Grid],
    values: NDArray[np.uint8],
    truth: NDArray[np.uint8],
) -> None:
    mask = make_raster("mask.tif", truth, make_grid(SIDE, SIDE, left=300010))
    result = only(check(scene_of(make_raster, values), mask), "truth grid", "failed")
    assert result.fix.startswith(f"glacierseg prepare align {mask} --like")


def test_mask_of_another_place(
    make_raster: Callable[..., Path],
    make_grid: Callable[..., Grid],
    values: NDArray[np.uint8],
    truth: NDArray[np.uint8],
) -> None:
    mask = make_raster("mask.tif", truth, make_grid(SIDE, SIDE, left=900000))
    result = only(check(scene_of(make_raster, values), mask), "truth grid", "failed")
    assert "entirely outside the scene" in result.message
    assert result.fix == "check that both are of the same place"


def test_mask_with_other_values(
    make_raster: Callable[..., Path], values: NDArray[np.uint8], truth: NDArray[np.uint8]
) -> None:
    truth[0, :3] = 2
    result = only(
        check(scene_of(make_raster, values), make_raster("mask.tif", truth)), "truth values", "failed"
    )
    assert "holds 2 in 3 pixels" in result.message


def test_mask_that_declares_its_background_nodata(
    make_raster: Callable[..., Path], values: NDArray[np.uint8], truth: NDArray[np.uint8]
) -> None:
    mask = make_raster("mask.tif", truth, nodata=0)
    result = only(check(scene_of(make_raster, values), mask), "truth nodata", "warning")
    assert result.fix == f"rio edit-info --unset-nodata {mask}"


@pytest.mark.parametrize(("fill", "words"), [(0, "no glacier"), (1, "no background"), (255, "every pixel")])
def test_mask_of_one_class(
    make_raster: Callable[..., Path],
    values: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    fill: int,
    words: str,
) -> None:
    mask = make_raster("mask.tif", np.full_like(truth, fill))
    assert words in only(check(scene_of(make_raster, values), mask), "glacier share", "failed").message


def test_very_few_glacier_pixels(
    make_raster: Callable[..., Path], values: NDArray[np.uint8], truth: NDArray[np.uint8]
) -> None:
    truth[:] = 0
    truth[3, 3] = 1
    mask = make_raster("mask.tif", truth)
    only(check(scene_of(make_raster, values), mask), "glacier share", "warning")


def test_truth_where_the_scene_has_no_data(
    make_raster: Callable[..., Path], values: NDArray[np.uint8], truth: NDArray[np.uint8]
) -> None:
    values[:, 40:60, 30:50] = 0
    scene = scene_of(make_raster, values, nodata=0)
    found = check(scene, make_raster("mask.tif", truth))
    assert "400 of them glacier" in found["truth on nodata"].message
    truth[40:60, 30:50] = 255
    assert set(check(scene, make_raster("mask.tif", truth))) == {"nodata"}


def test_patch_without_pixels(make_raster: Callable[..., Path], values: NDArray[np.uint8]) -> None:
    with pytest.raises(RequestError, match="cannot be 0 px wide"):
        check_scene(make_raster("a.tif", values), patch_px=0)


def test_paths_may_be_strings(
    make_raster: Callable[..., Path], values: NDArray[np.uint8], truth: NDArray[np.uint8]
) -> None:
    assert check(str(scene_of(make_raster, values)), str(make_raster("mask.tif", truth))) == {}


def test_missing_mask(make_raster: Callable[..., Path], values: NDArray[np.uint8], tmp_path: Path) -> None:
    only(check(scene_of(make_raster, values), tmp_path / "none.tif"), "truth", "failed")
    only(check(scene_of(make_raster, values), tmp_path / "none.gpkg"), "truth", "failed")


def test_outlines_beyond_the_scene(
    make_raster: Callable[..., Path], values: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / "outlines.gpkg"
    shapes = [box(300100, 3399500, 300300, 3399700), box(300900, 3399500, 301660, 3399600)]
    gpd.GeoDataFrame(geometry=shapes, crs="EPSG:32644").to_crs(4326).to_file(path)
    scene = scene_of(make_raster, values)
    result = only(check(scene, path), "truth extent", "warning")
    assert "1 of 2 outlines reach beyond the scene" in result.message
    named = {result.name: result for result in check_scene(scene, path)}
    assert "EPSG:4326, and are reprojected to EPSG:32644" in named["truth CRS"].message
    gpd.GeoDataFrame(geometry=shapes[:1], crs="EPSG:32644").to_file(path)
    assert check(scene, path) == {}


def test_what_prepare_makes_passes(
    make_raster: Callable[..., Path], make_grid: Callable[..., Grid], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    source = make_raster("a.tif", rng.random((5, SIDE, SIDE)).astype(np.float32))
    dem = make_raster(
        "dem.tif",
        (5000 * rng.random((150, 150))).astype(np.float32),
        make_grid(150, 150, left=299900, top=3400100),
    )
    names = ["blue", "green", "red", "nir", "swir1"]
    recipe = "blue,green,red,nir,ndsi,ndwi,s3,elevation,slope,aspect_sin,curvature_profile"
    stack = stack_rasters(
        [source], tmp_path / "stack.tif", StackSettings(band_names=tuple(names), recipe=recipe), dem=dem
    )
    levels = normalize_scene(open_scene(stack), tmp_path / "levels.tif", tmp_path / "ranges.json")
    few = select_bands(open_scene(levels), ["slope", "ndsi"], tmp_path / "few.tif")
    for path in (stack, levels, few):
        assert check(path) == {}


@pytest.mark.real
def test_traps_in_the_real_data(data_dir: Path) -> None:
    """Every trap that can be seen in a file is found, and each scene stays usable."""
    everest, khumbu = data_dir / "everest_landsat7", data_dir / "khumbu_sentinel2"
    zanskar, alps = data_dir / "zanskar_landsat8", data_dir / "alps_sentinel2"
    outlines = everest / "15_rgi60_glacier_outlines.gpkg"
    bands = [everest / "LE71400412000304SGS00_RGB.tif", everest / "LE71400412000304SGS00_B4.tif"]
    chip = sorted((alps / "images").glob("*.tif"))[3]
    expected: list[tuple[tuple[Any, ...], set[str]]] = [
        ((bands, outlines), {"bands", "saturation", "truth outlines", "truth extent"}),
        (
            ([*bands, everest / "hma_dem_median_30m.tif"], outlines),
            {"bands", "saturation", "truth outlines", "truth extent", "nodata", "truth on nodata"},
        ),
        ((khumbu / "khumbu_s2_summer_2024.tif", khumbu / "khumbu_rgi60_mask.tif"), {"CRS", "size"}),
        (
            (zanskar / "tile_02_08.tif", zanskar / "tile_02_08_label.tif"),
            {"nodata", "saturation", "truth on nodata"},
        ),
        ((chip, alps / "masks" / chip.name), {"truth nodata", "size"}),
    ]
    for arguments, names in expected:
        found = check(*arguments, patch_px=256)
        assert set(found) == names
        assert {result.status for result in found.values()} == {"warning"}


def test_band_that_is_marked_as_transparency(make_raster: Callable[..., Path]) -> None:
    four = np.random.default_rng(0).integers(1, 250, (4, SIDE, SIDE)).astype(np.uint8)
    scene = make_raster("a.tif", four, photometric="RGB", alpha="yes", names=["red", "green", "blue", "nir"])
    assert "--colorinterp red,green,blue,undefined" in only(check(scene), "bands", "warning").fix
    four[3] = 255
    four[3, :9] = 0
    scene = make_raster("b.tif", four, photometric="RGB", alpha="yes", names=["red", "green", "blue", None])
    found = {result.name: result for result in check_scene(scene)}["bands"]
    assert (found.status, found.message) == ("passed", "3 bands: red, green, blue")


LIGHT = ("blue", "green", "red", "nir", "swir1", "swir2")


@pytest.mark.parametrize(
    ("scale", "offset", "options"),
    [
        (1e4, 1000, "--offset -1000"),
        (1.0, 0.1, "--offset -0.1"),
        (1 / 0.0000275, 0.2 / 0.0000275, "--scale 0.0000275 --offset -0.2"),
        (1 / 0.00002, 0.1 / 0.00002, "--scale 0.00002 --offset -0.1"),
    ],
)
def test_an_offset_left_in_reflected_light(
    make_raster: Callable[..., Path],
    reflectance: Callable[..., NDArray[np.float64]],
    tmp_path: Path,
    scale: float,
    offset: float,
    options: str,
) -> None:
    values = (reflectance(SIDE, SIDE) * scale + offset).astype(np.float32)
    path = make_raster("a.tif", values, names=LIGHT)
    found = only(check(path), "values", "warning")
    assert "the unit is wrong" in found.message
    assert options in found.fix
    typed = found.fix.removeprefix("glacierseg ").replace("CONVERTED.tif", f"{tmp_path}/m.tif")
    assert CliRunner().invoke(app, shlex.split(typed)).exit_code == 0
    assert check(tmp_path / "m.tif") == {}
    # Indices that were made of it cannot be mended.
    spoiled = make_raster("b.tif", np.concatenate([values, values[:1]]), names=[*LIGHT, "ndsi"])
    assert "stack it again from the files of its bands" in check(spoiled)["values"].fix
    unnamed = make_raster("c.tif", np.rint(values).astype(np.uint16))
    assert ("values" in check(unnamed)) == (scale > 1)


def test_units_that_cannot_be(
    make_raster: Callable[..., Path], reflectance: Callable[..., NDArray[np.float64]]
) -> None:
    values = reflectance(SIDE, SIDE).astype(np.float32)
    assert check(make_raster("good.tif", values, names=LIGHT)) == {}
    shifted = make_raster("a.tif", values - 1000, names=LIGHT)
    assert "it cannot be negative" in only(check(shifted), "values", "warning").message
    feet = make_raster("b.tif", values[:1] * 20000, names=["elevation"])
    assert "feet" in only(check(feet), "values", "warning").fix
    heat = make_raster("c.tif", values[:1], names=["thermal"])
    assert "heat is in kelvin" in only(check(heat), "values", "warning").message
    nothing = np.concatenate([values - 1000, np.full((1, SIDE, SIDE), np.nan, np.float32)])
    found = check(make_raster("d.tif", nothing, names=[*LIGHT, "ndsi"], nodata=np.nan))
    assert "cannot be negative" in found["nodata"].message
    flat = make_raster("e.tif", np.ones((6, SIDE, SIDE), np.uint8), names=LIGHT)
    assert "the unit is wrong" in only(check(flat), "distinct bands", "warning").message


def test_result_shows_itself_in_a_line() -> None:
    found = CheckResult("CRS", "warning", "is in degrees", "stack it", per_band={"b1": {"share": 0.5}})
    assert repr(found) == "CheckResult(warning: CRS, is in degrees; stack it)"
    assert repr(CheckResult("size", "passed", "3 x 4 px")) == "CheckResult(passed: size, 3 x 4 px)"
