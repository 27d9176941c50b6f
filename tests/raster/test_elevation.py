import shlex
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from numpy.typing import NDArray
from rasterio.rio.main import main_group

from glacierseg.errors import GlaciersegWarning, GridMismatchError, RasterError
from glacierseg.raster.blocks import iterate_blocks
from glacierseg.raster.elevation import open_elevation, open_terrain
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import PixelAxes
from glacierseg.raster.terrain import TERRAIN, terrain_layers
from glacierseg.raster.values import bands_of
from glacierseg.raster.warp import metric_grid


def read_by_blocks(path: Path | list[Path], grid: Grid, step: int) -> dict[str, NDArray[np.float32]]:
    whole = {name: np.full(grid.shape, -1, np.float32) for name in TERRAIN}
    with open_terrain(path, grid) as terrain:
        for block in iterate_blocks(grid.shape, height_px=step, width_px=step):
            for name, layer in terrain.read(block, tuple(TERRAIN)).items():
                whole[name][block.window.toslices()] = layer
    return whole


@pytest.fixture
def hills() -> NDArray[np.float32]:
    row, column = np.mgrid[0:70, 0:90]
    rng = np.random.default_rng(0)
    result: NDArray[np.float32] = (
        4000 + 300 * np.sin(row / 7) * np.cos(column / 9) + rng.random((70, 90))
    ).astype(np.float32)
    return result


def test_layers_do_not_depend_on_the_blocks(
    make_raster: Callable[..., Path], hills: NDArray[np.float32]
) -> None:
    hills[30:33, 40] = -9999
    source = Grid(rasterio.CRS.from_epsg(4326), Affine(0.0003, 0, 78.9, 0, -0.0003, 30.72), 70, 90)
    path = make_raster("dem.tif", hills, source, nodata=-9999)
    for grid in (metric_grid(source, 17), source):
        whole = read_by_blocks(path, grid, 10_000)
        assert np.isnan(whole["slope"]).any()
        for step in (9, 64):
            for name, layer in read_by_blocks(path, grid, step).items():
                np.testing.assert_array_equal(layer, whole[name])


def test_model_on_the_lattice_is_taken_as_it_is_beyond_the_rim(
    make_raster: Callable[..., Path], make_grid: Callable[..., Grid], hills: NDArray[np.float32]
) -> None:
    """A scene inside a larger elevation model has slope up to its very rim."""
    path = make_raster("dem.tif", hills, make_grid(70, 90, size=25))
    grid = make_grid(70, 90, size=25).crop(5, 6, 40, 50)
    read = read_by_blocks(path, grid, 16)
    expected = terrain_layers(hills[4:46, 5:57], PixelAxes(25, 0.0, 0.0, -25), tuple(TERRAIN))
    for name in TERRAIN:
        np.testing.assert_array_equal(read[name], expected[name])
        assert np.isfinite(read[name]).all()


def test_tiles_side_by_side_are_one_model(
    make_raster: Callable[..., Path], hills: NDArray[np.float32]
) -> None:
    degrees = Grid(rasterio.CRS.from_epsg(4326), Affine(0.0003, 0, 78.9, 0, -0.0003, 30.72), 70, 90)
    whole = make_raster("whole.tif", hills, degrees)
    tiles = []
    for name, rows, columns in (
        ("nw", (0, 33), (0, 50)),
        ("ne", (0, 33), (50, 90)),
        ("s", (33, 70), (0, 90)),
    ):
        grid = degrees.crop(rows[0], columns[0], rows[1] - rows[0], columns[1] - columns[0])
        tiles.append(make_raster(f"{name}.tif", hills[slice(*rows), slice(*columns)], grid))
    beside = make_raster("beside.tif", hills, degrees.crop(0, 5000, 70, 90))
    grid = metric_grid(degrees, 17).crop(20, 20, 80, 100)
    expected = read_by_blocks(whole, grid, 64)
    assert np.isfinite(expected["slope"]).all()
    for paths in (tiles, [beside, *reversed(tiles)]):
        for name, layer in read_by_blocks(paths, grid, 64).items():
            np.testing.assert_allclose(layer, expected[name], rtol=1e-5, atol=1e-6)
    # Where they overlap the first one counts, also where the second has pixels of another size.
    coarse = make_raster("coarse.tif", np.full((20, 20), 1000, np.float32), metric_grid(degrees, 200))
    read = read_by_blocks([tiles[0], coarse], grid, 64)["elevation"]
    assert np.isfinite(read).all()
    np.testing.assert_allclose(read[:20, :40], expected["elevation"][:20, :40], rtol=1e-5)
    assert read[-5, -5] == 1000
    with pytest.raises(GridMismatchError), open_terrain([beside, beside], grid):
        pass


def test_rim_of_the_model_has_elevation_but_no_slope(
    make_raster: Callable[..., Path], make_grid: Callable[..., Grid], hills: NDArray[np.float32]
) -> None:
    grid = make_grid(70, 90)
    read = read_by_blocks(make_raster("dem.tif", hills, grid), grid, 64)
    np.testing.assert_array_equal(read["elevation"], hills)
    known = np.isfinite(read["slope"])
    assert known[1:-1, 1:-1].all()
    assert known.sum() == 68 * 88


def test_slope_survives_another_resolution(
    make_raster: Callable[..., Path], make_grid: Callable[..., Grid]
) -> None:
    _, column = np.mgrid[0:60, 0:60]
    path = make_raster("dem.tif", (4000 + 30 * column).astype(np.float32), make_grid(60, 60, size=30))
    grid = make_grid(100, 100, size=10, left=300303, top=3399701)
    read = read_by_blocks(path, grid, 64)
    np.testing.assert_allclose(read["slope"], 45, atol=1e-3)
    assert np.abs(read["curvature_profile"]).max() < 1e-5


def test_model_of_another_place(
    make_raster: Callable[..., Path], make_grid: Callable[..., Grid], hills: NDArray[np.float32]
) -> None:
    path = make_raster("dem.tif", hills)
    with (
        pytest.raises(GridMismatchError, match="does not overlap"),
        open_terrain(path, make_grid(9, 9, left=1e6)),
    ):
        pass


def heights(path: Path) -> NDArray[np.float64]:
    with open_elevation(path) as dataset:
        layer = dataset.read(1, masked=True)
        band = bands_of(dataset, path)[0]
        return np.ma.filled(band.meaning(layer).astype(np.float64), np.nan)


@pytest.mark.parametrize("void", [-32768, -9999, 32767, 9999, -3.4028235e38, 1e20])
def test_undeclared_voids_are_left_out_and_said(
    make_raster: Callable[..., Path], hills: NDArray[np.float32], void: float
) -> None:
    true = hills.copy()
    hole = np.s_[20:26, 30:37]
    hills[hole] = void
    kind = np.dtype(np.int16 if abs(void) < 1e5 else np.float32)
    path = make_raster("dem.tif", hills.astype(kind))
    with pytest.warns(GlaciersegWarning, match=r"elevation ignores 42 px of impossible heights \(.*0\.667 %"):
        read = heights(path)
    assert np.isnan(read[hole]).all()
    assert np.isfinite(read).sum() == read.size - 42
    np.testing.assert_allclose(read[np.isfinite(read)], true.astype(kind)[np.isfinite(read)])


def test_voids_do_not_spread_into_terrain_on_another_grid(
    make_raster: Callable[..., Path], make_grid: Callable[..., Grid], hills: NDArray[np.float32]
) -> None:
    hills[20:26, 30:37] = -9999
    dem = make_raster("dem.tif", hills, make_grid(70, 90, size=30))
    grid = make_grid(60, 60, size=20, left=300400, top=3399700)
    with pytest.warns(GlaciersegWarning, match="elevation ignores"):
        read = read_by_blocks(dem, grid, 16)
    assert np.nanmin(read["elevation"]) > 3600
    assert np.nanmax(read["slope"]) < 80
    declared = make_raster("declared.tif", hills, make_grid(70, 90, size=30), nodata=-9999)
    again = read_by_blocks(declared, grid, 16)
    for name in TERRAIN:
        np.testing.assert_array_equal(read[name], again[name])


def test_zeros_are_voids_beside_mountains_and_sea_beside_a_shore(make_raster: Callable[..., Path]) -> None:
    row, column = np.mgrid[0:80, 0:100]
    coast = np.maximum(0, 12.0 * (column - 50)).astype(np.float32)  # sea in the west, then a gentle rise
    path = make_raster("coast.tif", coast)
    with warnings.catch_warnings():
        warnings.simplefilter("error", GlaciersegWarning)
        np.testing.assert_array_equal(heights(path), coast)
    coast[10:20, 80:90] = 0  # a missing tile at 360 m and more
    coast[70, 95] = 0
    with pytest.warns(GlaciersegWarning, match="101 px of 0 in areas between much higher ground"):
        read = heights(make_raster("holes.tif", coast))
    assert np.isnan(read).sum() == 101
    assert (read[:, :51] == 0).all()
    mountains = (3000 + row + column).astype(np.float32)
    mountains[:, 60:] = 0
    with pytest.warns(GlaciersegWarning, match="3200 px of 0"):
        assert np.isnan(heights(make_raster("half.tif", mountains))[:, 60:]).all()


@pytest.mark.parametrize(
    ("unit", "factor"), [("ft", 0.3048), ("US survey foot", 1200 / 3937), ("cm", 0.01), ("metre", 1.0)]
)
def test_units_that_the_file_names_become_metres(
    make_raster: Callable[..., Path], hills: NDArray[np.float32], unit: str, factor: float
) -> None:
    path = make_raster("dem.tif", (hills / factor).astype(np.float32))
    with rasterio.open(path, "r+") as dataset:
        dataset.units = (unit,)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        np.testing.assert_allclose(heights(path), hills, rtol=1e-6)
    assert any("converted to metres" in str(one.message) for one in said) == (factor != 1)


def test_scale_and_vertical_unit_of_the_crs(
    make_raster: Callable[..., Path], make_grid: Callable[..., Grid], hills: NDArray[np.float32]
) -> None:
    path = make_raster("dm.tif", np.rint((hills - 1000) * 10).astype(np.int32))
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.1,), (1000.0,)
    np.testing.assert_allclose(heights(path), hills, atol=0.051)
    grid = make_grid(*hills.shape)
    feet = Grid(rasterio.CRS.from_string("EPSG:32644+8228"), grid.transform, *hills.shape)
    path = make_raster("feet.tif", hills / np.float32(0.3048), feet)
    with pytest.warns(GlaciersegWarning, match=r"converted to metres, times 0\.3048"):
        np.testing.assert_allclose(heights(path), hills, rtol=1e-6)


@pytest.mark.parametrize(("factor", "unit"), [(0.3048, "ft"), (0.1, "dm")])
def test_a_unit_that_is_not_named_is_noticed_and_the_cure_works(
    make_raster: Callable[..., Path], hills: NDArray[np.float32], factor: float, unit: str
) -> None:
    path = make_raster("dem.tif", (hills / factor).astype(np.float32))
    with pytest.raises(RasterError, match="no land is higher than 9000 m") as caught:
        heights(path)
    words = shlex.split(str(caught.value).split("`")[1])
    assert words[-2] == unit
    assert CliRunner().invoke(main_group, words[1:]).exit_code == 0
    with pytest.warns(GlaciersegWarning, match="converted to metres"):
        np.testing.assert_allclose(heights(path), hills, rtol=1e-6)


def test_a_unit_that_is_no_length_is_refused(
    make_raster: Callable[..., Path], hills: NDArray[np.float32]
) -> None:
    path = make_raster("dem.tif", hills)
    with rasterio.open(path, "r+") as dataset:
        dataset.units = ("degree",)
    with pytest.raises(RasterError, match="heights are needed in a unit of length"):
        heights(path)


def test_only_the_ground_that_is_needed_is_looked_at(
    make_raster: Callable[..., Path], make_grid: Callable[..., Grid], hills: NDArray[np.float32]
) -> None:
    hills[:5] = -9999
    path = make_raster("dem.tif", hills, make_grid(70, 90))
    with warnings.catch_warnings():
        warnings.simplefilter("error", GlaciersegWarning)
        read = read_by_blocks(path, make_grid(30, 30, top=3399600), 16)
    np.testing.assert_array_equal(read["elevation"], hills[40:70, :30])


@pytest.mark.parametrize(
    "transform",
    [
        Affine.translation(300_400, 3_399_500) * Affine.rotation(35) * Affine.scale(20, -20),
        Affine(20, 0, 300_400, 0, 20, 3_399_000),
        Affine(-20, 0, 301_000, 0, -20, 3_399_500),
    ],
    ids=["turned", "south-up", "mirrored"],
)
def test_terrain_does_not_depend_on_how_a_grid_is_turned(
    make_raster: Callable[..., Path], make_grid: Callable[..., Grid], transform: Affine
) -> None:
    """A plane that falls by 30 degrees to the north-east, on a north-up model."""
    row, column = np.mgrid[0:70, 0:90] + 0.5
    plane = 4000 - np.tan(np.radians(30)) * (column * 20 - row * 20) / np.sqrt(2)
    path = make_raster("dem.tif", plane.astype(np.float32), make_grid(70, 90, size=20))
    read = read_by_blocks(path, Grid(rasterio.CRS.from_epsg(32644), transform, 20, 20), 64)
    np.testing.assert_allclose(read["slope"], 30, atol=1e-2)
    np.testing.assert_allclose(read["aspect_sin"], np.sqrt(0.5), atol=1e-3)
    np.testing.assert_allclose(read["aspect_cos"], np.sqrt(0.5), atol=1e-3)
    assert np.abs(read["curvature_profile"]).max() < 1e-4
