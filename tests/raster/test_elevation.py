import numpy as np
import pytest
import rasterio
from affine import Affine

from glacierseg.errors import GridMismatchError
from glacierseg.raster.blocks import iterate_blocks
from glacierseg.raster.elevation import open_terrain
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import PixelAxes
from glacierseg.raster.terrain import TERRAIN, terrain_layers
from glacierseg.raster.warp import metric_grid


def read_by_blocks(path, grid, step):
    whole = {name: np.full(grid.shape, -1, np.float32) for name in TERRAIN}
    with open_terrain(path, grid) as terrain:
        for block in iterate_blocks(grid.shape, height_px=step, width_px=step):
            for name, layer in terrain.read(block, tuple(TERRAIN)).items():
                whole[name][block.slices] = layer
    return whole


@pytest.fixture
def hills():
    row, column = np.mgrid[0:70, 0:90]
    rng = np.random.default_rng(0)
    return (4000 + 300 * np.sin(row / 7) * np.cos(column / 9) + rng.random((70, 90))).astype(np.float32)


def test_layers_do_not_depend_on_the_blocks(make_raster, hills):
    hills[30:33, 40] = -9999
    source = Grid(rasterio.CRS.from_epsg(4326), Affine(0.0003, 0, 78.9, 0, -0.0003, 30.72), 70, 90)
    path = make_raster("dem.tif", hills, source, nodata=-9999)
    for grid in (metric_grid(source, 17), source):
        whole = read_by_blocks(path, grid, 10_000)
        assert np.isnan(whole["slope"]).any()
        for step in (9, 64):
            for name, layer in read_by_blocks(path, grid, step).items():
                np.testing.assert_array_equal(layer, whole[name])


def test_model_on_the_lattice_is_taken_as_it_is_beyond_the_rim(make_raster, make_grid, hills):
    """A scene inside a larger elevation model has slope up to its very rim."""
    path = make_raster("dem.tif", hills, make_grid(70, 90, size=25))
    grid = make_grid(70, 90, size=25).crop(5, 6, 40, 50)
    read = read_by_blocks(path, grid, 16)
    expected = terrain_layers(hills[4:46, 5:57], PixelAxes.north_up(25, 25), tuple(TERRAIN))
    for name in TERRAIN:
        np.testing.assert_array_equal(read[name], expected[name])
        assert np.isfinite(read[name]).all()


def test_rim_of_the_model_has_elevation_but_no_slope(make_raster, make_grid, hills):
    grid = make_grid(70, 90)
    read = read_by_blocks(make_raster("dem.tif", hills, grid), grid, 64)
    np.testing.assert_array_equal(read["elevation"], hills)
    known = np.isfinite(read["slope"])
    assert known[1:-1, 1:-1].all()
    assert known.sum() == 68 * 88


def test_slope_survives_another_resolution(make_raster, make_grid):
    _, column = np.mgrid[0:60, 0:60]
    path = make_raster("dem.tif", (4000 + 30 * column).astype(np.float32), make_grid(60, 60, size=30))
    grid = make_grid(100, 100, size=10, left=300303, top=3399701)
    read = read_by_blocks(path, grid, 64)
    np.testing.assert_allclose(read["slope"], 45, atol=1e-3)
    assert np.abs(read["curvature_profile"]).max() < 1e-5


def test_model_of_another_place(make_raster, make_grid, hills):
    path = make_raster("dem.tif", hills)
    with (
        pytest.raises(GridMismatchError, match="lies elsewhere"),
        open_terrain(path, make_grid(9, 9, left=1e6)),
    ):
        pass


@pytest.mark.parametrize(
    "transform",
    [
        Affine.translation(300_400, 3_399_500) * Affine.rotation(35) * Affine.scale(20, -20),
        Affine(20, 0, 300_400, 0, 20, 3_399_000),
        Affine(-20, 0, 301_000, 0, -20, 3_399_500),
    ],
    ids=["turned", "south-up", "mirrored"],
)
def test_terrain_does_not_depend_on_how_a_grid_is_turned(make_raster, make_grid, transform):
    """A plane that falls by 30 degrees to the north-east, on a north-up model."""
    row, column = np.mgrid[0:70, 0:90] + 0.5
    plane = 4000 - np.tan(np.radians(30)) * (column * 20 - row * 20) / np.sqrt(2)
    path = make_raster("dem.tif", plane.astype(np.float32), make_grid(70, 90, size=20))
    read = read_by_blocks(path, Grid(rasterio.CRS.from_epsg(32644), transform, 20, 20), 64)
    np.testing.assert_allclose(read["slope"], 30, atol=1e-2)
    np.testing.assert_allclose(read["aspect_sin"], np.sqrt(0.5), atol=1e-3)
    np.testing.assert_allclose(read["aspect_cos"], np.sqrt(0.5), atol=1e-3)
    assert np.abs(read["curvature_profile"]).max() < 1e-4
