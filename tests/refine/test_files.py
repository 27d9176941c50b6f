from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rio_cogeo.cogeo import cog_validate

from glacierseg.errors import GridMismatchError, RequestError, TruthError
from glacierseg.raster.grid import Grid
from glacierseg.raster.truth import read_mask
from glacierseg.raster.write import write_raster
from glacierseg.refine.files import align_truth, refine_file, slope_on_grid
from glacierseg.refine.steps import refine_mask
from glacierseg.settings import RefineSettings
from tests.helpers import present

UTM = Grid(CRS.from_epsg(32643), Affine(10, 0, 5e5, 0, -10, 36e5), 300, 280)
DEGREES = Grid(CRS.from_epsg(4326), Affine(2.5e-4, 0, 86.8, 0, -2e-4, 28.0), 300, 280)


def noisy_disk(shape: tuple[int, int]) -> NDArray[np.uint8]:
    rows, columns = np.indices(shape)
    truth = (np.hypot(rows - 150, columns - 140) < 100).astype(np.uint8)
    mask = np.where(np.random.default_rng(1).random(shape) < 0.04, 1 - truth, truth)
    mask[:5] = 255
    return mask.astype(np.uint8)


@pytest.mark.parametrize("grid", [UTM, DEGREES], ids=["metres", "degrees"])
def test_a_file_is_refined_on_its_own_grid(tmp_path: Path, grid: Grid) -> None:
    mask = noisy_disk(grid.shape)
    write_raster(tmp_path / "mask.tif", mask, grid, bands=["glacier"], nodata=255)
    parameters = RefineSettings(merge_distance_m=40, max_hole_km2=None)
    changes = refine_file(tmp_path / "mask.tif", tmp_path / "out" / "refined.tif", parameters)
    with rasterio.open(tmp_path / "out" / "refined.tif") as dataset:
        assert (dataset.crs, dataset.transform) == (grid.crs, grid.transform)
        assert (dataset.count, dataset.dtypes[0], dataset.nodata) == (1, "uint8", 255)
        assert dataset.descriptions == ("glacier",)
        assert dataset.tags()["refine_merge_distance_m"] == "40"
        assert dataset.tags()["refine_max_hole_km2"] == "all"
        refined = dataset.read(1)
    expected = refine_mask(mask, grid.pixel_size_m, RefineSettings(merge_distance_m=40, max_hole_km2=None))
    np.testing.assert_array_equal(refined, expected)
    assert changes[0].fragments_before > 100 > changes[-1].fragments_after == 1
    assert cog_validate(tmp_path / "out" / "refined.tif", quiet=True)[0]


def test_a_file_is_refined_with_the_defaults_and_stays(tmp_path: Path) -> None:
    mask = noisy_disk(UTM.shape)
    path = tmp_path / "mask.tif"
    write_raster(path, mask, UTM, bands=["glacier"], nodata=255)
    with pytest.raises(RequestError, match="is an input"):
        refine_file(path, path)
    refine_file(path, tmp_path / "refined.tif")
    np.testing.assert_array_equal(read_mask(tmp_path / "refined.tif"), refine_mask(mask, 10))
    np.testing.assert_array_equal(read_mask(path), mask)


UTM_43N = CRS.from_epsg(32643)
GRID = Grid(UTM_43N, Affine(10, 0, 5e5, 0, -10, 36e5), 60, 80)


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
    coarse = Grid(UTM_43N, Affine(30, 0, 5e5 + 90, 0, -30, 36e5 - 60), 30, 40)
    mask = (np.random.default_rng(2).random(coarse.shape) < 0.5).astype(np.uint8)
    mask[0, 0] = 255
    truth, difference = align_truth(write_mask(tmp_path / "t.tif", mask, coarse), GRID)
    assert "40 x 30 px instead of 80 x 60 px" in present(difference)
    expected = np.full(GRID.shape, 255, np.uint8)
    whole = np.kron(mask, np.ones((3, 3), np.uint8))
    expected[6:, 9:] = whole[: 60 - 6, : 80 - 9]
    np.testing.assert_array_equal(truth, expected)


def test_truth_of_another_place_or_with_other_values_is_refused(tmp_path: Path) -> None:
    far = Grid(UTM_43N, Affine(10, 0, 7e5, 0, -10, 36e5), 20, 20)
    with pytest.raises(GridMismatchError, match="does not overlap"):
        align_truth(write_mask(tmp_path / "far.tif", np.ones((20, 20), np.uint8), far), GRID)
    near = Grid(UTM_43N, Affine(20, 0, 5e5, 0, -20, 36e5), 20, 20)
    with pytest.raises(TruthError, match="mask holds 7"):
        align_truth(write_mask(tmp_path / "7.tif", np.full((20, 20), 7, np.uint8), near), GRID)
