from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from glacierseg.errors import GridMismatchError, TruthError
from glacierseg.raster.grid import Grid
from glacierseg.raster.write import write_raster
from glacierseg.refine.ground import align_truth, slope_on_grid
from tests.helpers import present

UTM = CRS.from_epsg(32643)
GRID = Grid(UTM, Affine(10, 0, 5e5, 0, -10, 36e5), 60, 80)


def test_slope_of_a_plane(tmp_path: Path) -> None:
    rise = np.tan(np.radians(35)) * 10 * np.arange(80)
    write_raster(
        tmp_path / "dem.tif", np.tile(rise, (60, 1)).astype(np.float32), GRID, bands=["z"], nodata=-9999
    )
    slope = slope_on_grid(tmp_path / "dem.tif", GRID)
    np.testing.assert_allclose(slope[1:-1, 1:-1], 35, atol=1e-3)


def write_mask(path: Path, mask: NDArray[np.uint8], grid: Grid) -> Path:
    write_raster(path, mask, grid, bands=["glacier"], nodata=255)
    return path


def test_truth_on_the_grid_itself_is_taken_as_it_is(tmp_path: Path) -> None:
    mask = (np.random.default_rng(1).random(GRID.shape) < 0.5).astype(np.uint8)
    mask[3, 4] = 255
    truth, difference = align_truth(write_mask(tmp_path / "t.tif", mask, GRID), GRID)
    assert difference is None
    np.testing.assert_array_equal(truth, mask)


def test_shifted_and_coarser_truth_gives_its_nearest_pixels_and_ignore_beyond(tmp_path: Path) -> None:
    coarse = Grid(UTM, Affine(30, 0, 5e5 + 90, 0, -30, 36e5 - 60), 30, 40)
    mask = (np.random.default_rng(2).random(coarse.shape) < 0.5).astype(np.uint8)
    mask[0, 0] = 255
    truth, difference = align_truth(write_mask(tmp_path / "t.tif", mask, coarse), GRID)
    assert "40 x 30 px instead of 80 x 60 px" in present(difference)
    expected = np.full(GRID.shape, 255, np.uint8)
    whole = np.kron(mask, np.ones((3, 3), np.uint8))
    expected[6:, 9:] = whole[: 60 - 6, : 80 - 9]
    np.testing.assert_array_equal(truth, expected)


def test_truth_of_another_place_or_with_other_values_is_refused(tmp_path: Path) -> None:
    far = Grid(UTM, Affine(10, 0, 7e5, 0, -10, 36e5), 20, 20)
    with pytest.raises(GridMismatchError, match="does not overlap"):
        align_truth(write_mask(tmp_path / "far.tif", np.ones((20, 20), np.uint8), far), GRID)
    near = Grid(UTM, Affine(20, 0, 5e5, 0, -20, 36e5), 20, 20)
    with pytest.raises(TruthError, match="mask holds 7"):
        align_truth(write_mask(tmp_path / "7.tif", np.full((20, 20), 7, np.uint8), near), GRID)
