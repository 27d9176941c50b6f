import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from glacierseg.errors import GridMismatchError, RasterError, TruthError
from glacierseg.raster.grid import Grid
from glacierseg.raster.write import write_raster
from glacierseg.refine.ground import align_truth, ground_pixel_m, slope_on_grid

UTM = CRS.from_epsg(32643)
GRID = Grid(UTM, Affine(10, 0, 5e5, 0, -10, 36e5), 60, 80)


def test_utm_pixels_measure_what_the_grid_says():
    assert ground_pixel_m(GRID, "m.tif") == (10, 10)
    uneven = Grid(UTM, Affine(20, 0, 5e5, 0, -5, 36e5), 60, 80)
    assert ground_pixel_m(uneven, "m.tif") == (20, 5)


def test_a_small_grid_in_degrees_has_the_size_at_its_centre():
    grid = Grid(CRS.from_epsg(4326), Affine(2.5e-4, 0, 86.8, 0, -2.5e-4, 28.0), 256, 256)
    width_m, height_m = ground_pixel_m(grid, "m.tif")
    # A degree of latitude is 110.8 km there, one of longitude that of the equator times the cosine.
    assert height_m == pytest.approx(27.71, abs=0.01)
    assert width_m == pytest.approx(111.32e3 * 2.5e-4 * np.cos(np.radians(27.97)), rel=2e-3)


@pytest.mark.parametrize(
    ("crs", "transform", "shape"),
    [
        (4326, Affine(0.01, 0, 70, 0, -0.01, 45), (2000, 100)),  # 20 degrees of latitude
        (3857, Affine(10, 0, 9.6e6, 0, -10, 3.2e6), (50, 50)),  # Web Mercator
    ],
    ids=["tall", "mercator"],
)
def test_pixels_whose_metres_would_be_wrong_are_refused(crs, transform, shape):
    with pytest.raises(RasterError, match=r"m\.tif.*reproject it to UTM"):
        ground_pixel_m(Grid(CRS.from_epsg(crs), transform, *shape), "m.tif")


def test_a_turned_grid_is_measured_and_a_slanted_one_refused():
    turned = Affine.translation(5e5, 36e5) * Affine.rotation(30) * Affine.scale(10, -10)
    assert ground_pixel_m(Grid(UTM, turned, 50, 50), "m.tif") == pytest.approx((10, 10))
    slanted = Affine(10, 4, 5e5, 0, -10, 36e5)
    with pytest.raises(RasterError, match="slanted"):
        ground_pixel_m(Grid(UTM, slanted, 50, 50), "m.tif")


def test_slope_of_a_plane(tmp_path):
    rise = np.tan(np.radians(35)) * 10 * np.arange(80)
    write_raster(
        tmp_path / "dem.tif", np.tile(rise, (60, 1)).astype(np.float32), GRID, bands=["z"], nodata=-9999
    )
    slope = slope_on_grid(tmp_path / "dem.tif", GRID)
    np.testing.assert_allclose(slope[1:-1, 1:-1], 35, atol=1e-3)


def write_mask(path, mask, grid):
    write_raster(path, mask, grid, bands=["glacier"], nodata=255)
    return path


def test_truth_on_the_grid_itself_is_taken_as_it_is(tmp_path):
    mask = (np.random.default_rng(1).random(GRID.shape) < 0.5).astype(np.uint8)
    mask[3, 4] = 255
    truth, difference = align_truth(write_mask(tmp_path / "t.tif", mask, GRID), GRID)
    assert difference is None
    np.testing.assert_array_equal(truth, mask)


def test_shifted_and_coarser_truth_gives_its_nearest_pixels_and_ignore_beyond(tmp_path):
    coarse = Grid(UTM, Affine(30, 0, 5e5 + 90, 0, -30, 36e5 - 60), 30, 40)
    mask = (np.random.default_rng(2).random(coarse.shape) < 0.5).astype(np.uint8)
    mask[0, 0] = 255
    truth, difference = align_truth(write_mask(tmp_path / "t.tif", mask, coarse), GRID)
    assert "40 x 30 px instead of 80 x 60 px" in difference
    expected = np.full(GRID.shape, 255, np.uint8)
    whole = np.kron(mask, np.ones((3, 3), np.uint8))
    expected[6:, 9:] = whole[: 60 - 6, : 80 - 9]
    np.testing.assert_array_equal(truth, expected)


def test_truth_of_another_place_or_with_other_values_is_refused(tmp_path):
    far = Grid(UTM, Affine(10, 0, 7e5, 0, -10, 36e5), 20, 20)
    with pytest.raises(GridMismatchError, match="lies elsewhere"):
        align_truth(write_mask(tmp_path / "far.tif", np.ones((20, 20), np.uint8), far), GRID)
    near = Grid(UTM, Affine(20, 0, 5e5, 0, -20, 36e5), 20, 20)
    with pytest.raises(TruthError, match="mask holds 7"):
        align_truth(write_mask(tmp_path / "7.tif", np.full((20, 20), 7, np.uint8), near), GRID)
