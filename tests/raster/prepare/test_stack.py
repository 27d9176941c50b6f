from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.profiles import Profile
from rasterio.warp import reproject

from glacierseg.errors import BandError, GlaciersegWarning, GridMismatchError, RequestError, ValuesError
from glacierseg.raster.grid import Grid
from glacierseg.raster.indices import ndsi
from glacierseg.raster.prepare.recipes import RECIPES
from glacierseg.raster.prepare.stack import stack_rasters
from glacierseg.raster.terrain import TERRAIN
from glacierseg.settings.prepare import StackSettings

SENTINEL = ["B02", "B03", "B04", "B08", "B11", "B12"]


def read(path: Path) -> tuple[dict[str, NDArray[Any]], Profile]:
    with rasterio.open(path) as dataset:
        bands = dict(zip(dataset.descriptions, dataset.read(), strict=True))
        return bands, dataset.profile


@pytest.fixture
def spectral(make_raster: Callable[..., Path]) -> tuple[Path, NDArray[np.float32]]:
    values = np.random.default_rng(0).random((6, 40, 50)).astype(np.float32)
    return make_raster("s2.tif", values, names=SENTINEL), values


@pytest.fixture
def dem(make_raster: Callable[..., Path]) -> Path:
    values = 4000 + 500 * np.random.default_rng(1).random((40, 50)).astype(np.float32)
    values[10:20, 10:20] = -9999
    return make_raster("dem.tif", values, nodata=-9999)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=st.one_of(
        arrays(np.uint8, (2, 5, 7)), arrays(np.float32, (2, 5, 7), elements=st.floats(-1e6, 1e6, width=32))
    ),
    second=st.one_of(arrays(np.uint16, (1, 5, 7)), arrays(np.int16, (1, 5, 7))),
)
def test_stack_then_read_back_gives_the_inputs(
    make_raster: Callable[..., Path], tmp_path: Path, first: NDArray[Any], second: NDArray[Any]
) -> None:
    files = [make_raster("a.tif", first, names=["p", "q"]), make_raster("single.tif", second)]
    bands, profile = read(stack_rasters(files, tmp_path / "out.tif"))
    assert list(bands) == ["p", "q", "single"]
    for layer, expected in zip(bands.values(), [*first, *second], strict=True):
        np.testing.assert_array_equal(layer, expected)
    assert np.can_cast(first.dtype, profile["dtype"])


def test_recipe_has_its_bands_by_name(
    spectral: tuple[Path, NDArray[np.float32]], dem: Path, tmp_path: Path
) -> None:
    shares: list[float] = []
    path, values = spectral
    bands, profile = read(
        stack_rasters(
            [path],
            tmp_path / "out.tif",
            StackSettings(recipe="sentinel2-18"),
            dem=dem,
            progress=shares.append,
        )
    )
    assert tuple(bands) == RECIPES["sentinel2-18"]
    assert profile["dtype"] == "float32"
    assert np.isnan(profile["nodata"])
    np.testing.assert_array_equal(bands["nir"], values[3])
    np.testing.assert_array_equal(bands["ndsi"], ndsi(values[1], values[4]))
    assert shares[-1] == 1
    hole = np.zeros((40, 50), bool)
    hole[10:20, 10:20] = True
    np.testing.assert_array_equal(np.isnan(bands["elevation"]), hole)
    assert np.isnan(bands["slope"])[9:21, 9:21].all()
    assert np.isfinite(bands["ndsi"]).all()


def test_landsat_recipe_from_one_file_per_band(
    make_raster: Callable[..., Path], dem: Path, tmp_path: Path
) -> None:
    values = np.random.default_rng(0).integers(1, 30000, (7, 40, 50)).astype(np.uint16)
    numbers = (2, 3, 4, 5, 6, 7, 10)
    files = [
        make_raster(f"B{number}.tif", layer, names=[f"SR_B{number}"])
        for number, layer in zip(numbers, values, strict=True)
    ]
    out = stack_rasters(
        files, tmp_path / "out.tif", StackSettings(recipe="landsat-18", sensor="landsat8"), dem=dem
    )
    bands, _ = read(out)
    assert tuple(bands) == RECIPES["landsat-18"]
    for name, layer in zip(RECIPES["landsat-18"], values, strict=False):
        np.testing.assert_array_equal(bands[name], layer)
    red, swir1 = values[2].astype(float), values[4].astype(float)
    np.testing.assert_allclose(bands["red_swir1"], red / swir1, rtol=1e-6)


def test_scale_and_offset_come_before_indices(
    spectral: tuple[Path, NDArray[np.float32]], dem: Path, tmp_path: Path
) -> None:
    path, values = spectral
    bands, _ = read(
        stack_rasters(
            [path],
            tmp_path / "out.tif",
            StackSettings(recipe="green,ndsi,slope,elevation", sensor="sentinel2", scale=0.5, offset=0.1),
            dem=dem,
        )
    )
    scaled = values * np.float32(0.5) + np.float32(0.1)
    np.testing.assert_array_equal(bands["green"], scaled[1])
    np.testing.assert_array_equal(bands["ndsi"], ndsi(scaled[1], scaled[4]))
    assert np.nanmin(bands["elevation"]) > 3999


LIGHT = ["blue", "green", "red", "nir", "swir1", "swir2"]
S2_NAMES = [f"T45RVL_20240930T045659_{band}_10m" for band in SENTINEL]
L9_NAMES = [f"LC09_L2SP_140041_20231115_20231117_02_T1_SR_B{number}" for number in (2, 3, 4, 5, 6, 7)]


@pytest.mark.parametrize(
    ("names", "scale", "offset", "cures"),
    [
        (S2_NAMES, 1e-4, -0.1, [(None, -1000), (1e-4, -0.1)]),
        (L9_NAMES, 0.0000275, -0.2, [(0.0000275, -0.2)]),
        ([name.replace("L2SP", "L1TP") for name in L9_NAMES], 0.00002, -0.1, [(0.00002, -0.1)]),
    ],
)
def test_products_with_an_offset_are_refused_until_it_is_off(
    make_raster: Callable[..., Path],
    reflectance: Callable[..., NDArray[np.float64]],
    tmp_path: Path,
    names: list[str],
    scale: float,
    offset: float,
    cures: list[tuple[float | None, float]],
) -> None:
    truth = reflectance()
    stored = np.rint((truth - offset) / scale).astype(np.uint16)
    files = [make_raster(f"{name}.tif", layer) for name, layer in zip(names, stored, strict=True)]
    out, recipe = tmp_path / "out.tif", "green,ndsi"
    with pytest.raises(ValuesError, match="makes ndsi wrong; add ") as caught:
        stack_rasters(files, out, StackSettings(recipe=recipe))
    assert "\n" not in str(caught.value)
    assert not out.exists()
    right = ndsi(truth[1].astype(np.float32), truth[4].astype(np.float32))
    for cure in cures:
        typed = (f"--scale {cure[0]} " if cure[0] else "") + f"--offset {cure[1]:g}"
        assert typed.replace("2.75e-05", "0.0000275").replace("2e-05", "0.00002") in str(
            caught.value
        ) or f"--offset {cure[1]:g}" in str(caught.value)
        bands, _ = read(
            stack_rasters(files, out, StackSettings(recipe=recipe, scale=cure[0], offset=cure[1]))
        )
        np.testing.assert_allclose(bands["ndsi"], right, atol=0.02)
        assert ((bands["ndsi"] > 0.4) == (right > 0.4)).mean() > 0.99
    # Who says that the values are right is believed; a scale alone says nothing of the offset.
    stack_rasters(files, out, StackSettings(recipe=recipe, offset=0))
    with pytest.raises(ValuesError, match=f"--offset {offset:g} "):
        stack_rasters(files, out, StackSettings(recipe=recipe, scale=scale))
    with pytest.warns(GlaciersegWarning, match="add --"):
        stack_rasters(files, out, StackSettings(recipe="red,nir"))


def test_light_without_an_offset_is_not_suspected(
    make_raster: Callable[..., Path], reflectance: Callable[..., NDArray[np.float64]], tmp_path: Path
) -> None:
    truth = reflectance()
    for name, values in (
        ("refl.tif", truth.astype(np.float32)),
        ("x10000.tif", np.rint(1e4 * truth).astype(np.uint16)),
        ("bytes.tif", np.rint(80 + 100 * truth).astype(np.uint8)),
        # An ice cap in the visible alone, bright all over.
        ("ice.tif", np.rint(1e4 * truth.clip(0.6, 0.9)).astype(np.uint16)),
    ):
        file = make_raster(name, values, names=SENTINEL)
        stack_rasters(file, tmp_path / "out.tif", StackSettings(recipe="green,ndsi", sensor="sentinel2"))


def test_an_offset_that_the_file_declares_is_off_already(
    make_raster: Callable[..., Path], reflectance: Callable[..., NDArray[np.float64]], tmp_path: Path
) -> None:
    truth = reflectance()
    path = make_raster("a.tif", np.rint(1e4 * truth + 1000).astype(np.uint16), names=LIGHT)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (1e-4,) * 6, (-0.1,) * 6
    bands, _ = read(stack_rasters(path, tmp_path / "o.tif", StackSettings(recipe="green,ndsi")))
    np.testing.assert_allclose(bands["green"], truth[1], atol=1e-4)
    with pytest.raises(ValuesError, match="leave --scale and --offset out: the values are reflectance"):
        stack_rasters(path, tmp_path / "p.tif", StackSettings(recipe="green,ndsi", scale=1e-4, offset=-0.1))


def test_an_offset_in_the_wrong_unit_is_refused_with_the_right_one(
    make_raster: Callable[..., Path], reflectance: Callable[..., NDArray[np.float64]], tmp_path: Path
) -> None:
    stored = np.rint(1e4 * reflectance() + 1000).astype(np.uint16)
    file = make_raster("a.tif", stored, names=["blue", "green", "red", "nir", "swir1", "swir2"])
    with pytest.raises(ValuesError, match=r"cannot be negative; .* so write --scale 0.0001 --offset -0.1$"):
        stack_rasters(file, tmp_path / "out.tif", StackSettings(recipe="green,nir", scale=1e-4, offset=-1000))
    assert not (tmp_path / "out.tif").exists()
    stack_rasters(file, tmp_path / "out.tif", StackSettings(recipe="green,nir", scale=1e-4, offset=-0.1))
    # Taken off twice.
    done = make_raster(
        "b.tif",
        reflectance().astype(np.float32),
        names=["blue", "green", "red", "nir", "swir1", "swir2"],
    )
    with pytest.raises(ValuesError, match="leave --scale and --offset out"):
        stack_rasters(done, tmp_path / "out.tif", StackSettings(recipe="green,nir", scale=1e-4, offset=-0.1))
    with pytest.warns(GlaciersegWarning, match="more than 5 % .* are negative and have no index"):
        stack_rasters(done, tmp_path / "out.tif", StackSettings(recipe="green,nir", offset=-0.1))


def test_heat_is_never_scaled_and_becomes_kelvin_where_it_is_known_how(
    make_raster: Callable[..., Path], reflectance: Callable[..., NDArray[np.float64]], tmp_path: Path
) -> None:
    kelvin = np.random.default_rng(5).uniform(255, 290, (40, 50))
    stored = np.rint((kelvin - 149) / 0.00341802).astype(np.uint16)
    light = np.rint((reflectance()[:3] + 0.2) / 0.0000275).astype(np.uint16)
    files = [make_raster(f"{name}.tif", layer) for name, layer in zip(L9_NAMES, light, strict=False)]
    heat = make_raster("LC09_L2SP_140041_20231115_20231117_02_T1_ST_B10.tif", stored)
    with pytest.warns(GlaciersegWarning, match="converted from digital numbers to kelvin"):
        out = stack_rasters(
            [*files, heat],
            tmp_path / "o.tif",
            StackSettings(recipe="red,thermal", scale=0.0000275, offset=-0.2),
        )
    bands, _ = read(out)
    np.testing.assert_allclose(bands["thermal"], kelvin, atol=0.01)
    np.testing.assert_allclose(bands["red"], reflectance()[2], atol=1e-4)
    warm = make_raster("warm.tif", kelvin.astype(np.float32), names=["thermal"])
    bands, _ = read(
        stack_rasters(
            [*files, warm],
            tmp_path / "p.tif",
            StackSettings(recipe="red,thermal", scale=0.0000275, offset=-0.2),
        )
    )
    np.testing.assert_array_equal(bands["thermal"], kelvin.astype(np.float32))
    unknown = make_raster("heat.tif", stored, names=["thermal"])
    with pytest.warns(GlaciersegWarning, match="thermal is in digital numbers .* stays as it is"):
        bands, _ = read(
            stack_rasters(
                [*files, unknown], tmp_path / "q.tif", StackSettings(recipe="thermal,red", offset=0)
            )
        )
    np.testing.assert_array_equal(bands["thermal"], stored)


def test_scale_needs_to_know_what_is_light(
    make_raster: Callable[..., Path], reflectance: Callable[..., NDArray[np.float64]], tmp_path: Path
) -> None:
    values = reflectance().astype(np.float32)
    numbered = make_raster("a.tif", values[:2], names=["B2", "B10"])
    with pytest.raises(RequestError, match=r"B10 may be heat.*--sensor"):
        stack_rasters(numbered, tmp_path / "o.tif", StackSettings(recipe="B2,B10", scale=2))
    bands, _ = read(
        stack_rasters(
            numbered, tmp_path / "o.tif", StackSettings(recipe="B2,B10", scale=2, sensor="landsat8")
        )
    )
    np.testing.assert_array_equal(bands["B2"], 2 * values[0])
    np.testing.assert_array_equal(bands["B10"], values[1])
    radar = make_raster("b.tif", values[:2], names=["coherence", "velocity"])
    with pytest.raises(RequestError, match=r"none of coherence, velocity is known as that.*--band-names"):
        stack_rasters(radar, tmp_path / "o.tif", StackSettings(recipe="coherence,velocity", scale=2))


def test_names_by_hand_must_not_contradict_the_files(
    make_raster: Callable[..., Path], tmp_path: Path
) -> None:
    files = [make_raster(f"{name}.tif", np.ones((40, 50), np.uint16)) for name in S2_NAMES[:2]]
    with pytest.raises(
        BandError, match=r"_B02_10m\.tif: is B2 \(blue\) by its own name, and is given as 'B03'"
    ):
        stack_rasters(files, tmp_path / "o.tif", StackSettings(band_names=("B03", "B02")))
    bands, _ = read(stack_rasters(files, tmp_path / "o.tif", StackSettings(band_names=("blue", "B03"))))
    assert list(bands) == ["blue", "B03"]
    with pytest.raises(RequestError, match="is of sentinel2 by its name, not landsat8"):
        stack_rasters(files, tmp_path / "o.tif", StackSettings(recipe="blue,green", sensor="landsat8"))


@pytest.mark.parametrize("size", [10.0, 20.0])
def test_zeros_outside_a_swath_are_no_data(
    make_raster: Callable[..., Path],
    reflectance: Callable[..., NDArray[np.float64]],
    make_grid: Callable[..., Grid],
    tmp_path: Path,
    size: float,
) -> None:
    """Also at its edge, where bands of another pixel size are interpolated."""
    truth = reflectance()[[1, 4]]
    stored = np.rint(1e4 * truth + 1000).astype(np.uint16)
    stored[..., :20] = 0
    fine = make_raster("green.tif", stored[0], names=["green"])
    coarse = stored[1, ::2, ::2] if size == 20 else stored[1]
    other = make_raster("swir1.tif", coarse, make_grid(*coarse.shape, size=size), names=["swir1"])
    with pytest.warns(GlaciersegWarning, match=r"(38|40)\.\d% of the pixels are 0 in every .*--nodata 0"):
        stack_rasters(
            [fine, other], tmp_path / "o.tif", StackSettings(recipe="green,swir1,ndsi", offset=-1000)
        )
    bands, _ = read(
        stack_rasters(
            [fine, other],
            tmp_path / "p.tif",
            StackSettings(recipe="green,swir1,ndsi", offset=-1000, nodata=0),
        )
    )
    assert np.isnan(bands["green"][:, :20]).all()
    assert np.nanmin(bands["swir1"]) > 0
    assert np.isnan(bands["ndsi"]).mean() == pytest.approx(0.4, abs=0.03)
    # The products of Sentinel-2 and Landsat are known to mean it so.
    named = [
        make_raster(f"{S2_NAMES[1]}.tif", stored[0]),
        make_raster(f"{S2_NAMES[4]}.tif", coarse, make_grid(*coarse.shape, size=size)),
    ]
    bands, _ = read(
        stack_rasters(named, tmp_path / "q.tif", StackSettings(recipe="green,swir1", offset=-1000))
    )
    assert np.isnan(bands["green"][:, :20]).all()
    assert np.nanmin(bands["swir1"]) > 0


def test_elevation_without_recipe_brings_terrain_but_aspect_once(
    make_raster: Callable[..., Path], dem: Path, tmp_path: Path
) -> None:
    values = np.random.default_rng(0).integers(1, 255, (2, 40, 50)).astype(np.uint8)
    bands, _ = read(stack_rasters([make_raster("a.tif", values, nodata=0)], tmp_path / "out.tif", dem=dem))
    assert list(bands) == [
        "a_1",
        "a_2",
        *(name for name in TERRAIN if name not in {"aspect", "unsphericity"}),
    ]
    np.testing.assert_array_equal(bands["a_1"], values[0])


def test_tiles_of_elevation_are_one_model(
    make_raster: Callable[..., Path], make_grid: Callable[..., Grid], tmp_path: Path
) -> None:
    hills = np.random.default_rng(2).uniform(4000, 4100, (40, 50)).astype(np.float32)
    grid = make_grid(40, 50)
    whole = make_raster("whole.tif", hills, grid)
    west = make_raster("west.tif", hills[:, :21], grid.crop(0, 0, 40, 21))
    east = make_raster("east.tif", hills[:, 21:], grid.crop(0, 21, 40, 29))
    scene = make_raster("a.tif", np.ones((40, 50), np.uint8), grid)
    expected, _ = read(stack_rasters(scene, tmp_path / "one.tif", dem=whole))
    found, _ = read(stack_rasters(scene, tmp_path / "two.tif", dem=[west, str(east)]))
    assert np.isfinite(found["slope"][1:-1, 1:-1]).all()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6)


def test_four_eight_bit_bands_stay_data(make_raster: Callable[..., Path], tmp_path: Path) -> None:
    """GDAL would take the fourth for transparency."""
    values = np.random.default_rng(0).integers(0, 255, (4, 40, 50)).astype(np.uint8)
    files = [make_raster("rgb.tif", values[:3]), make_raster("nir.tif", values[3])]
    out = stack_rasters(
        files, tmp_path / "out.tif", StackSettings(band_names=("red", "green", "blue", "nir"))
    )
    with rasterio.open(out) as dataset:
        assert dataset.dataset_mask().all()
        np.testing.assert_array_equal(dataset.read(), values)


def test_files_of_other_resolution_and_extent_on_the_first_grid(
    make_raster: Callable[..., Path], make_grid: Callable[..., Grid], tmp_path: Path
) -> None:
    fine = make_raster("fine.tif", np.full((40, 50), 7, np.uint8))
    coarse = make_raster("coarse.tif", np.full((4, 3), 9, np.uint8), make_grid(4, 3, size=100))
    bands, profile = read(stack_rasters([fine, coarse], tmp_path / "out.tif"))
    assert profile["dtype"] == "float32"
    assert (bands["fine"] == 7).all()
    assert (bands["coarse"][:, :30] == 9).all()
    assert np.isnan(bands["coarse"][:, 31:]).all()


def test_degrees_go_to_utm_unless_a_grid_is_given(
    make_raster: Callable[..., Path], make_grid: Callable[..., Grid], tmp_path: Path
) -> None:
    source = Grid(rasterio.CRS.from_epsg(4326), Affine(0.00027, 0, 78.9, 0, -0.00027, 30.72), 60, 80)
    path = make_raster("a.tif", np.random.default_rng(0).random((60, 80)), source)
    _, profile = read(stack_rasters([path], tmp_path / "utm.tif"))
    assert profile["crs"].to_epsg() == 32644
    assert profile["transform"].a == -profile["transform"].e == 28
    _, profile = read(stack_rasters([path], tmp_path / "10.tif", StackSettings(pixel_size_m=10)))
    assert profile["transform"].a == 10
    _, profile = read(stack_rasters([path], tmp_path / "like.tif", like=path))
    assert profile["transform"] == source.transform


def test_a_pixel_size_brings_any_projection_to_utm(make_raster: Callable[..., Path], tmp_path: Path) -> None:
    mercator = Grid(rasterio.CRS.from_epsg(3857), Affine(30, 0, 8783000, 0, -30, 3600000), 60, 80)
    path = make_raster("a.tif", np.full((60, 80), 7.0), mercator, names=["red"])
    bands, profile = read(stack_rasters([path], tmp_path / "utm.tif", StackSettings(pixel_size_m=26)))
    assert profile["crs"].to_epsg() == 32644
    assert profile["transform"].a == 26
    covered_m2 = np.isfinite(bands["red"]).sum() * 26**2
    assert covered_m2 == pytest.approx(60 * 80 * 30**2 * np.cos(np.radians(30.74)) ** 2, rel=0.03)


def test_paths_may_be_strings(spectral: tuple[Path, NDArray[np.float32]], dem: Path, tmp_path: Path) -> None:
    path, values = spectral
    bands, _ = read(
        stack_rasters(
            str(path),
            f"{tmp_path}/out.tif",
            like=str(path),
            dem=str(dem),
            settings=StackSettings(recipe="blue,slope"),
        )
    )
    np.testing.assert_array_equal(bands["blue"], values[0])


def test_requests_that_cannot_be_met(
    spectral: tuple[Path, NDArray[np.float32]],
    make_raster: Callable[..., Path],
    make_grid: Callable[..., Grid],
    tmp_path: Path,
) -> None:
    path, _ = spectral
    out = tmp_path / "out.tif"
    with pytest.raises(RequestError, match="at least one file"):
        stack_rasters([], out)
    with pytest.raises(RequestError, match="elevation needs an elevation model; give one"):
        stack_rasters([path], out, StackSettings(recipe="sentinel2-18"))
    with pytest.raises(BandError, match="'B02' occurs twice"):
        stack_rasters([path, path], out)
    with pytest.raises(BandError, match="6 bands, but 2 names"):
        stack_rasters([path], out, StackSettings(band_names=("a", "b")))
    with pytest.raises(BandError, match="no band for thermal"):
        stack_rasters([path], out, StackSettings(recipe="landsat-18", sensor="sentinel2"))
    with pytest.raises(RequestError, match="resampling must be 'nearest', 'bilinear'"):
        stack_rasters([path], out, StackSettings(resampling="bilinar"))  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="scale and offset are for the spectral bands of a recipe"):
        stack_rasters([path], out, StackSettings(scale=1e-4))
    with pytest.raises(RequestError, match="pixel_size_m must be greater than 0"):
        stack_rasters([path], out, StackSettings(pixel_size_m=0))
    with pytest.raises(RequestError, match="leave one of the two out"):
        stack_rasters([path], out, like=path, settings=StackSettings(pixel_size_m=10))
    far = make_raster("far.tif", np.ones((4, 4)), make_grid(4, 4, left=800000))
    with pytest.raises(GridMismatchError, match=r"far\.tif: does not overlap"):
        stack_rasters([path, far], out)
    assert not out.exists()


@pytest.mark.real
def test_khumbu_recipe(data_dir: Path, tmp_path: Path) -> None:
    folder = data_dir / "khumbu_sentinel2"
    bands, profile = read(
        stack_rasters(
            [folder / "khumbu_s2_autumn_2024.tif"],
            tmp_path / "out.tif",
            StackSettings(recipe="sentinel2-18"),
            dem=folder / "khumbu_hma_dem_median.tif",
        )
    )
    assert tuple(bands) == RECIPES["sentinel2-18"]
    assert profile["crs"].to_epsg() == 32645
    assert 4800 < np.nanmin(bands["elevation"]) < np.nanmax(bands["elevation"]) < 6600
    assert np.isfinite(bands["ndsi"]).mean() > 0.99
    assert 15 < np.nanmean(bands["slope"]) < 35


@pytest.mark.real
def test_everest_has_honest_nodata(data_dir: Path, tmp_path: Path) -> None:
    folder = data_dir / "everest_landsat7"
    bands, _ = read(
        stack_rasters(
            [folder / "LE71400412000304SGS00_RGB.tif", folder / "LE71400412000304SGS00_B4.tif"],
            tmp_path / "out.tif",
            StackSettings(
                band_names=("red", "green", "blue", "nir"),
                recipe="red,green,blue,nir,ndwi,ndvi,ndgi,brightness,elevation,slope,aspect_sin,aspect_cos",
            ),
            dem=folder / "hma_dem_median_30m.tif",
        )
    )
    assert np.isfinite(bands["ndvi"]).all()
    assert np.isfinite(bands["elevation"]).mean() == pytest.approx(0.6, abs=0.01)
    assert np.nanmin(bands["elevation"]) > 4000


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "average"])
def test_bands_come_onto_the_grid_by_the_interpolation_asked_for(
    make_raster: Callable[..., Path], make_grid: Callable[..., Grid], tmp_path: Path, resampling: Any
) -> None:
    values = np.random.default_rng(0).random((1, 40, 40)).astype(np.float32)
    fine = make_raster("fine.tif", values, names=["nir"])
    like = make_raster("like.tif", np.zeros((20, 20), np.uint8), make_grid(20, 20, size=20.0))
    expected = np.empty((20, 20), np.float32)
    with rasterio.open(fine) as dataset, rasterio.open(like) as wanted:
        reproject(
            rasterio.band(dataset, 1),
            expected,
            dst_transform=wanted.transform,
            dst_crs=wanted.crs,
            resampling=Resampling[resampling],
        )
    for recipe in (None, "nir,"):
        settings = StackSettings(resampling=resampling, recipe=recipe)
        bands, _ = read(stack_rasters(fine, tmp_path / "out.tif", settings, like=like))
        np.testing.assert_allclose(bands["nir"], expected, rtol=1e-6)


@pytest.mark.parametrize("recipe", [None, "B08,ndsi"])
def test_a_stack_may_stay_uncompressed(
    spectral: tuple[Path, NDArray[np.float32]], tmp_path: Path, recipe: str | None
) -> None:
    for compress in (True, False):
        settings = StackSettings(recipe=recipe, sensor="sentinel2", compress=compress)
        with rasterio.open(stack_rasters(spectral[0], tmp_path / "out.tif", settings)) as dataset:
            assert (dataset.compression is not None) == compress
