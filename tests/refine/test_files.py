from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rio_cogeo.cogeo import cog_validate

from glacierseg.errors import RequestError
from glacierseg.raster.grid import Grid
from glacierseg.raster.truth import read_mask
from glacierseg.raster.write import write_raster
from glacierseg.refine.files import refine_file
from glacierseg.refine.pipeline import refine_mask
from glacierseg.settings import RefineSettings

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
