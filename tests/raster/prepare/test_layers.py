import shlex
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from pyproj import Geod, Transformer
from rasterio.rio.main import main_group

from glacierseg.errors import (
    BandError,
    GlaciersegError,
    GlaciersegWarning,
    GridMismatchError,
    RasterError,
    RequestError,
)
from glacierseg.raster.blocks import iterate_blocks
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import PixelAxes
from glacierseg.raster.prepare.layers import (
    names_given,
    open_given_layers,
    parse_layers,
    speed_and_divergence,
)
from glacierseg.raster.prepare.recipes import RECIPES
from glacierseg.raster.prepare.stack import stack_rasters
from glacierseg.settings.prepare import StackSettings

SENTINEL = ["B02", "B03", "B04", "B08", "B11"]
ORIGINAL = RECIPES["himalaya-18"]
GIVEN = ("coherence", "dh_dt", "divergence", "persistent_scatterer", "thermal", "velocity", "backscatter")
Make = Callable[..., Path]


def read_all(
    files: dict[str, Path], names: list[str], grid: Grid, side_px: int = 512, resampling: str = "bilinear"
) -> dict[str, np.ndarray]:
    """Layers on a whole grid, read in blocks."""
    whole = {name: np.full(grid.shape, -1, np.float32) for name in names}
    with open_given_layers(files, names, grid, resampling) as layers:
        for block in iterate_blocks(grid.shape, height_px=side_px, width_px=side_px):
            place = np.s_[block.row : block.row + block.height, block.column : block.column + block.width]
            for name, layer in layers.read(block).items():
                whole[name][place] = layer
    return whole


def stack(scene: dict[str, Any], out: Path, layers: dict[str, Path], recipe: str = "himalaya-18") -> Path:
    settings = StackSettings(recipe=recipe, sensor="sentinel2", offset=0)
    return stack_rasters([scene["light"]], out, settings, dem=scene["dem"], layers=layers)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("", 1), ("m/yr", 1), ("m a-1", 1), ("meter/year", 1), ("m.yr^-1", 1), ("m/day", 365.25),
        ("m d-1", 365.25), ("cm/yr", 0.01), ("mm per annum", 0.001), ("km/a", 1000), ("furlongs", 1),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Use `@` matmul")
def test_motion_is_by_year_whatever_its_file_says(make_raster: Make, unit: str, factor: float) -> None:
    values = np.random.default_rng(1).uniform(0.5, 2, (30, 40)).astype(np.float32)
    files = {}
    for name in ("velocity", "dh_dt", "velocity_x", "velocity_y", "backscatter"):
        files[name] = make_raster(f"{name}.tif", values)
        with rasterio.open(files[name], "r+") as file:
            file.units = [unit]
            grid = Grid(file.crs, file.transform, file.height, file.width)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", GlaciersegWarning)
        found = read_all(files, ["velocity", "dh_dt", "backscatter"], grid)
        del files["velocity"]
        made = read_all(files, ["velocity", "divergence"], grid)
    assert sum(issubclass(one.category, GlaciersegWarning) for one in told) == (
        4 if factor != 1 or unit == "furlongs" else 0
    )
    assert found["velocity"] == pytest.approx(values * factor, rel=1e-5)
    assert found["dh_dt"] == pytest.approx(values * factor, rel=1e-5)
    assert found["backscatter"] == pytest.approx(values)
    inner = made["velocity"][1:-1, 1:-1]
    assert inner == pytest.approx(np.hypot(values, values)[1:-1, 1:-1] * factor, rel=1e-5)


def test_missing_data_in_small_units_is_still_noticed(make_raster: Make) -> None:
    values = np.full((30, 40), 500, np.float32)
    values[3, 4] = -9999
    path = make_raster("v.tif", values)
    with rasterio.open(path, "r+") as file:
        file.units = ["cm/yr"]
        grid = Grid(file.crs, file.transform, file.height, file.width)
    with pytest.raises(RasterError, match="--nodata -9999"), pytest.warns(GlaciersegWarning, match="cm/yr"):
        read_all({"velocity": path}, ["velocity"], grid)


@pytest.fixture
def scene(make_raster: Make) -> dict[str, Any]:
    rng = np.random.default_rng(4)
    light = rng.uniform(0.1, 0.9, (5, 40, 50)).astype(np.float32)
    hills = (4000 + 500 * rng.random((40, 50))).astype(np.float32)
    layers = {name: rng.uniform(0, 1, (40, 50)).astype(np.float32) for name in GIVEN}
    layers["velocity"][3:6, 4:9] = -32767
    return {
        "light": make_raster("s2.tif", light, names=SENTINEL),
        "dem": make_raster("dem.tif", hills),
        "layers": {
            name: make_raster(f"{name}_file.tif", layer, nodata=-32767) for name, layer in layers.items()
        },
        "values": dict(zip(("blue", "green", "red", "nir", "swir1"), light, strict=True)) | layers,
    }


def test_the_stack_of_the_original_study(scene: dict[str, Any], tmp_path: Path) -> None:
    out = stack(scene, tmp_path / "out.tif", scene["layers"])
    with rasterio.open(out) as dataset:
        assert dataset.descriptions == ORIGINAL
        found = dict(zip(ORIGINAL, dataset.read(), strict=True))
    for name, values in scene["values"].items():
        expected = np.where(values == -32767, np.nan, values)
        np.testing.assert_array_equal(found[name], expected, err_msg=name)
    # A gap in one layer is none in the others.
    assert np.isnan(found["velocity"]).sum() == 15
    assert np.isfinite(found["coherence"]).all()
    assert 0 <= np.nanmin(found["aspect"]) < np.nanmax(found["aspect"]) < 360


def test_layers_lie_on_the_scene_wherever_their_own_grid_is(make_raster: Make, make_grid: Any) -> None:
    """A plane over another CRS, coarser and turned, is that plane on the scene's grid."""
    grid = make_grid(60, 50)
    other = rasterio.CRS.from_epsg(32645)
    to_other = Transformer.from_crs(grid.crs, other, always_xy=True)
    middle = to_other.transform(*(grid.transform * (25, 30)))
    transform = (
        Affine.translation(*middle)
        * Affine.rotation(20)
        * Affine.scale(40, -40)
        * Affine.translation(-30, -30)
    )
    own = Grid(other, transform, 60, 60)
    column, row = np.meshgrid(np.arange(60) + 0.5, np.arange(60) + 0.5)

    def plane(x: Any, y: Any) -> Any:
        return 0.002 * (x - middle[0]) - 0.001 * (y - middle[1])

    x, y = transform * (column, row)
    path = make_raster("backscatter.tif", plane(x, y).astype(np.float32), own)
    column, row = np.meshgrid(np.arange(50) + 0.5, np.arange(60) + 0.5)
    expected = plane(*to_other.transform(*(grid.transform * (column, row))))
    found = read_all({"backscatter": path}, ["backscatter"], grid)["backscatter"]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_array_equal(
        read_all({"backscatter": path}, ["backscatter"], grid, 17)["backscatter"], found
    )


def test_divergence_of_analytic_fields() -> None:
    """Growth along x and y adds up; turning about a point and shear give none, whichever way rows run."""
    row, column = np.mgrid[-6:7, -6:7]
    for axes in (PixelAxes(30, 0.0, 0.0, -20), PixelAxes(12.0, 9.0, 8.0, -16.0), PixelAxes(-10, 1, 2, 25)):
        x = column * axes.column_east_m + row * axes.row_east_m
        y = column * axes.column_north_m + row * axes.row_north_m
        for east, north, expected in (
            (0.02 * x, -0.005 * y, 0.015),
            (-0.01 * y, 0.01 * x, 0.0),
            (0.03 * y, np.full(x.shape, 5.0), 0.0),
        ):
            speed, divergence = speed_and_divergence(east, north, axes)
            np.testing.assert_allclose(speed, np.sqrt(east**2 + north**2)[1:-1, 1:-1])
            np.testing.assert_allclose(divergence, expected, atol=1e-12)
    # dvx/dx of 2 sin(x / 100) is 0.02 cos(x / 100); central differences of 5 m miss a 2400th of it.
    x = np.arange(0, 1000, 5.0) + np.zeros((3, 1))
    _, divergence = speed_and_divergence(2 * np.sin(x / 100), 0 * x, PixelAxes(5, 0.0, 0.0, -5))
    np.testing.assert_allclose(divergence, 0.02 * np.cos(x / 100)[1:-1, 1:-1], atol=2e-5)


def test_a_missing_neighbour_takes_divergence_but_no_speed() -> None:
    east = np.ones((7, 7))
    east[3, 3] = np.nan
    speed, divergence = speed_and_divergence(east, np.ones((7, 7)), PixelAxes(10, 0.0, 0.0, -10))
    assert np.argwhere(np.isnan(speed)).tolist() == [[2, 2]]
    assert np.argwhere(np.isnan(divergence)).tolist() == [[1, 2], [2, 1], [2, 2], [2, 3], [3, 2]]


@pytest.mark.parametrize("epsg", [32644, 32645, 3413, 3857, 4326])
def test_motion_from_components_in_any_crs(make_raster: Make, make_grid: Any, epsg: int) -> None:
    """Ice that spreads from a point has the same speed and divergence in every projection of its velocity.

    In EPSG:3413 its axes are turned by 129 degrees there, and a metre of the map is 0.77 m of the ground.
    """
    grid, spread = make_grid(60, 60, size=20), 0.01
    to_degrees = Transformer.from_crs(grid.crs, 4326, always_xy=True)
    lon, lat = to_degrees.transform(*(grid.transform * (30, 30)))
    crs = rasterio.CRS.from_epsg(epsg)
    x0, y0 = Transformer.from_crs(4326, epsg, always_xy=True).transform(lon, lat)
    # Metres of the ground for each unit of the CRS, along x and along y.
    away = np.array([1e-4, 1e-4]) if epsg == 4326 else np.array([10.0, 10.0])
    back = Transformer.from_crs(epsg, 4326, always_xy=True)
    geod = Geod(ellps="WGS84")
    scale = [
        geod.inv(*back.transform(x0, y0), *back.transform(x0 + dx, y0 + dy))[2] / max(dx, dy)
        for dx, dy in ((away[0], 0), (0, away[1]))
    ]
    size = [30 / unit_m for unit_m in scale]
    own = Grid(crs, Affine(size[0], 0, x0 - 60 * size[0], 0, -size[1], y0 + 60 * size[1]), 120, 120)
    column, row = np.meshgrid(np.arange(120) + 0.5, np.arange(120) + 0.5)
    x, y = own.transform * (column, row)
    files = {
        "velocity_x": make_raster("vx.tif", (spread * (x - x0) * scale[0]).astype(np.float32), own),
        "velocity_y": make_raster("vy.tif", (spread * (y - y0) * scale[1]).astype(np.float32), own),
    }
    found = read_all(files, ["velocity", "divergence"], grid)
    column, row = np.meshgrid(np.arange(60) + 0.5, np.arange(60) + 0.5)
    longitudes, latitudes = to_degrees.transform(*(grid.transform * (column, row)))
    far_m = geod.inv(np.full(column.shape, lon), np.full(column.shape, lat), longitudes, latitudes)[2]
    # Bilinear interpolation rounds the tip of the cone off.
    beside = far_m > 200
    np.testing.assert_allclose(found["velocity"][beside], spread * far_m[beside], rtol=5e-3)
    np.testing.assert_allclose(found["divergence"], 2 * spread, rtol=3e-3)


def test_components_on_two_grids_of_one_crs(make_raster: Make, make_grid: Any) -> None:
    row, column = np.mgrid[0:80, 0:80]
    x_file = make_raster("vx.tif", (0.1 * column).astype(np.float32), make_grid(80, 80))
    # Two pixels further west and north, and rows of half the height.
    fine = make_grid(160, 160, size=5, left=299980, top=3400020)
    row = np.mgrid[0:160, 0:160][0]
    y_file = make_raster("vy.tif", (-0.1 * row).astype(np.float32), fine)
    found = read_all({"velocity_x": x_file, "velocity_y": y_file}, ["divergence"], make_grid(80, 80))
    inner = found["divergence"][2:70, 2:70]
    np.testing.assert_allclose(inner, 0.01 + 0.02, rtol=1e-4)


def test_given_speed_and_divergence_win_over_made_ones(make_raster: Make, make_grid: Any) -> None:
    plain = np.full((20, 20), 3, np.float32)
    files = {
        "velocity_x": make_raster("vx.tif", plain),
        "velocity_y": make_raster("vy.tif", plain),
        "velocity": make_raster("v.tif", plain * 7),
    }
    found = read_all(files, ["velocity", "divergence", "velocity_x"], make_grid(20, 20))
    assert (found["velocity"] == 21).all()
    assert (found["divergence"][1:-1, 1:-1] == 0).all()
    assert (found["velocity_x"] == 3).all()


@pytest.mark.parametrize("left", [300000, 300002])
@pytest.mark.parametrize("name", ["dh_dt", "velocity_x"])
def test_missing_data_that_no_file_declares_is_refused(
    make_raster: Make, make_grid: Any, name: str, left: int
) -> None:
    """Else -9999 would be a speed, and its mean with neighbours one that nobody could tell."""
    values = np.ones((20, 20), np.float32)
    values[4, 5] = -9999
    path = make_raster("undeclared.tif", values)
    files, names = {name: path}, [name]
    if name == "velocity_x":
        files, names = {name: path, "velocity_y": make_raster("vy.tif", np.ones_like(values))}, ["velocity"]
    with pytest.raises(RasterError, match=f"has values of -9999, which no {name} has; .* declare") as refused:
        read_all(files, names, make_grid(20, 20, left=left))
    command = str(refused.value).split("`")[1]
    assert CliRunner().invoke(main_group, shlex.split(command)[1:]).exit_code == 0
    found = read_all(files, names, make_grid(20, 20))[names[0]]
    assert np.argwhere(np.isnan(found)).tolist() == [[4, 5]]


def test_stored_numbers_are_declared_and_not_what_they_mean(make_raster: Make, make_grid: Any) -> None:
    path = make_raster("v.tif", np.full((9, 9), -9999, np.int16))
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (2.0,), (5.0,)
    with pytest.raises(RasterError, match=r"has values of -19993, .*--nodata -9999\.0"):
        read_all({"velocity": path}, ["velocity"], make_grid(9, 9))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_coherence_in_levels_is_refused_with_what_makes_it_0_to_1(
    make_raster: Make, make_grid: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    levels = np.linspace(5, 250, 81).reshape(9, 9).astype(dtype)
    path = make_raster("levels.tif", levels)
    with pytest.raises(RasterError, match=r"coherence must be from 0 to 1 \(found 5 to 250\)") as refused:
        read_all({"coherence": path}, ["coherence"], make_grid(9, 9))
    done = CliRunner().invoke(main_group, shlex.split(str(refused.value).split("`")[1])[1:])
    assert done.exit_code == 0, done.output
    found = read_all({"coherence": Path("coherence.tif")}, ["coherence"], make_grid(9, 9))["coherence"]
    np.testing.assert_allclose(found, levels / 255.0, rtol=1e-4)


def test_any_number_may_be_a_value_of_a_layer_of_unknown_kind(make_raster: Make, make_grid: Any) -> None:
    path = make_raster("gravity.tif", np.full((9, 9), -9999, np.float32))
    assert (read_all({"gravity": path}, ["gravity"], make_grid(9, 9))["gravity"] == -9999).all()


@pytest.mark.parametrize(("name", "dtype"), [("thermal", np.float32), ("backscatter", np.uint16)])
def test_only_heat_in_digital_numbers_is_converted(
    make_raster: Make, make_grid: Any, name: str, dtype: type
) -> None:
    path = make_raster("LC09_L2SP_140041_20231115_02_T1_ST_B10.tif", np.full((20, 20), 280, dtype))
    assert (read_all({name: path}, [name], make_grid(20, 20))[name] == 280).all()


def test_layers_that_lie_elsewhere_are_refused(make_raster: Make, make_grid: Any) -> None:
    plain = np.ones((20, 20), np.float32)
    here = make_raster("here.tif", plain)
    there = make_raster("there.tif", plain, make_grid(20, 20, left=310000))
    for files, name in (
        ({"coherence": there}, "coherence"),
        ({"velocity_x": there, "velocity_y": there}, "divergence"),
        ({"velocity_x": here, "velocity_y": there}, "divergence"),
    ):
        with pytest.raises(GridMismatchError, match=r"there\.tif"):
            read_all(files, [name], make_grid(20, 20))


@pytest.mark.parametrize("turn", [0, 30, 200])
def test_divergence_has_no_seams_and_does_not_depend_on_how_rows_run(
    make_raster: Make, make_grid: Any, turn: float
) -> None:
    """Of a velocity that grows along x and y by 0.01 and 0.02 a year, on more rows than a block has."""
    middle = Affine.translation(303000, 3397000)
    own = Grid(
        make_grid(1, 1).crs,
        middle * Affine.rotation(turn) * Affine.scale(10, -14) * Affine.translation(-20, -300),
        600,
        40,
    )
    column, row = np.meshgrid(np.arange(40) + 0.5, np.arange(600) + 0.5)
    x, y = own.transform * (column, row)
    files = {
        "velocity_x": make_raster("vx.tif", np.float32(0.01 * (np.asarray(x) - 303000)), own),
        "velocity_y": make_raster("vy.tif", np.float32(0.02 * (np.asarray(y) - 3397000)), own),
    }
    found = read_all(files, ["divergence"], own)["divergence"]
    np.testing.assert_allclose(found[1:-1, 1:-1], 0.03, rtol=2e-3)


def test_heat_in_digital_numbers_becomes_kelvin(make_raster: Make, make_grid: Any) -> None:
    path = make_raster("LC09_L2SP_140041_20231115_02_T1_ST_B10.tif", np.full((20, 20), 36000, np.uint16))
    with pytest.warns(GlaciersegWarning, match="thermal is converted from digital numbers to kelvin"):
        found = read_all({"thermal": path}, ["thermal"], make_grid(20, 20))
    np.testing.assert_allclose(found["thermal"], 36000 * 0.00341802 + 149, rtol=1e-6)


def test_classes_are_not_mixed(make_raster: Make, make_grid: Any) -> None:
    values = 4 * np.random.default_rng(0).integers(0, 2, (40, 40)).astype(np.uint8)
    path = make_raster("ps.tif", values, make_grid(40, 40, size=30))
    found = read_all({"persistent_scatterer": path}, ["persistent_scatterer"], make_grid(90, 90))
    assert set(np.unique(found["persistent_scatterer"])) == {0, 4}


def test_layers_come_by_the_interpolation_asked_for(make_raster: Make, make_grid: Any) -> None:
    values = np.random.default_rng(0).random((10, 10)).astype(np.float32)
    path = make_raster("v.tif", values, make_grid(10, 10, size=30))
    fine = make_grid(30, 30)
    found = read_all({"velocity": path}, ["velocity"], fine, resampling="nearest")["velocity"]
    np.testing.assert_array_equal(found, values.repeat(3, 0).repeat(3, 1))
    assert not np.array_equal(read_all({"velocity": path}, ["velocity"], fine)["velocity"], found)


def test_the_band_of_the_layers_name_is_taken(make_raster: Make, make_grid: Any) -> None:
    values = np.stack([np.full((9, 9), value, np.float32) for value in (1, 2)])
    path = make_raster("motion.tif", values, names=["error", "velocity"])
    assert (read_all({"velocity": path}, ["velocity"], make_grid(9, 9))["velocity"] == 2).all()
    with pytest.raises(BandError, match=r"not one is called dh_dt; .*prepare select .*--bands 1"):
        read_all({"dh_dt": path}, ["dh_dt"], make_grid(9, 9))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["velocity"], "not of the form NAME=FILE"),
        (["velocity="], "not of the form NAME=FILE"),
        (["=v.tif"], "not of the form NAME=FILE"),
        (["velocity=v.tif", "velocity=w.tif"], "layer 'velocity' is given twice"),
    ],
)
def test_words_that_are_no_layers(words: list[str], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parse_layers(words)
    assert parse_layers(["velocity=NETCDF:v.nc:vx", " dh_dt = a=b.tif "]) == {
        "velocity": Path("NETCDF:v.nc:vx"),
        "dh_dt": Path("a=b.tif"),
    }


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["velocty"], "layer 'velocty' is no band of the recipe .did you mean 'velocity'"),
        (["slope"], "layer 'slope' is reflected light, an index or terrain"),
        (["ndsi"], "layer 'ndsi' is reflected light, an index or terrain"),
        (["red"], "layer 'red' is reflected light, an index or terrain"),
        (["velocity_x"], "velocity has two components; give velocity_y as a layer too"),
        (["coherence"], "layer 'coherence' is also a band of the input files"),
    ],
)
def test_layers_that_are_of_no_use(names: list[str], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        names_given(dict.fromkeys(names, "a.tif"), ORIGINAL, ["coherence"])


def test_components_that_nothing_is_made_from_are_refused() -> None:
    files = dict.fromkeys(("velocity_x", "velocity_y"), "a.tif")
    with pytest.raises(RequestError, match="layer 'velocity_x' is no band of the recipe"):
        names_given(files, ["red", "coherence"])
    both = dict.fromkeys(("velocity", "divergence"), "b.tif") | files
    with pytest.raises(RequestError, match="layer 'velocity_x' is no band of the recipe"):
        names_given(both, ["velocity", "divergence"])
    assert names_given(files, ["red", "divergence", "velocity"]) == ("divergence", "velocity")
    assert names_given(files, ["divergence", "velocity"], ["velocity"]) == ("divergence",)
    assert names_given(files, ["velocity_x", "velocity_y"]) == ("velocity_x", "velocity_y")


def test_components_are_not_turned_in_silence(make_raster: Make, make_grid: Any) -> None:
    grid = make_grid(20, 20)
    other = Grid(rasterio.CRS.from_epsg(32645), grid.transform, 20, 20)
    plain = np.ones((20, 20), np.float32)
    here, there = make_raster("here.tif", plain, grid), make_raster("there.tif", plain, other)
    elsewhere = Grid(other.crs, Affine(10, 0, 300000, 0, -10, 3400000), 20, 20)
    with pytest.raises(GridMismatchError, match="velocity_y is in EPSG:32645, and velocity_x in EPSG:32644"):
        read_all({"velocity_x": here, "velocity_y": there}, ["divergence"], grid)
    x0, y0 = Transformer.from_crs(32645, 32644, always_xy=True).transform(300100, 3399900)
    scene = Grid(grid.crs, Affine(10, 0, x0 - 50, 0, -10, y0 + 50), 10, 10)
    assert elsewhere.crs != scene.crs
    with pytest.raises(GridMismatchError, match="leave velocity_x and velocity_y out of the recipe"):
        read_all({"velocity_x": there, "velocity_y": there}, ["velocity_x"], scene)


def test_a_stack_without_its_layers_says_what_to_type(scene: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    known = {name: path for name, path in scene["layers"].items() if name not in {"coherence", "velocity"}}
    with pytest.raises(BandError) as refused:
        stack(scene, out, known)
    message = str(refused.value)
    assert "--layer coherence=FILE --layer velocity=FILE" in message
    rest = message.rsplit("--recipe ", 1)[1]
    stack(scene, out, known, rest)
    with rasterio.open(out) as dataset:
        assert dataset.descriptions == tuple(
            name for name in ORIGINAL if name not in {"coherence", "velocity"}
        )


def test_layers_without_recipe_and_without_file_are_refused(scene: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    with pytest.raises(RequestError, match="layers are for the bands of a recipe, and none is given"):
        stack_rasters([scene["light"]], out, layers=scene["layers"])
    gone = {**scene["layers"], "dh_dt": tmp_path / "gone.tif"}
    with pytest.raises(GlaciersegError, match=r"gone\.tif"):
        stack(scene, out, gone)
    assert not out.exists()
    with pytest.raises(GlaciersegError, match=r"velocity_file\.tif"):
        stack(scene, scene["layers"]["velocity"], scene["layers"])
