"""Virtual rasters, as GDAL reads them."""

from pathlib import Path

import numpy as np
import rasterio

from glacierseg.raster.scene import open_scene
from glacierseg.report.figures.errors import FN, FP, TP, error_classes
from glacierseg.review.virtual import AGREED, FALSE, MISSED, write_errors, write_stack
from tests.helpers import utm_grid, write_mask, write_scene


def test_bands_of_several_files_are_one_raster_that_moves_with_them(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    folder = tmp_path / "old & é"
    for name, dtype in (("a", np.uint16), ("b", np.float32), ("c", np.int8)):
        values = generator.integers(0, 100, (2, 5, 6)).astype(dtype)
        write_scene(folder / f"{name}.tif", values, [f"{name}1", f"{name}2"], nodata=7)
    with rasterio.open(folder / "a.tif", "r+") as dataset:
        dataset.scales, dataset.offsets = (0.5, 0.25), (1.0, 2.0)
    scene = open_scene([folder / f"{name}.tif" for name in "abc"])
    chosen = [scene.bands[position] for position in (3, 1, 4)]
    write_stack(folder / "out" / "stack.vrt", scene.grid, chosen)
    moved = folder.rename(tmp_path / "new")
    with rasterio.open(moved / "out" / "stack.vrt") as stack:
        assert stack.descriptions == ("b2", "a2", "c1")
        assert (stack.crs, stack.transform) == (scene.grid.crs, scene.grid.transform)
        assert stack.nodatavals == (7, 7, 7)
        assert (stack.scales[1], stack.offsets[1]) == (0.25, 2.0)
        for number, (name, index) in enumerate((("b", 2), ("a", 2), ("c", 1)), start=1):
            with rasterio.open(moved / f"{name}.tif") as dataset:
                np.testing.assert_array_equal(stack.read(number), dataset.read(index))


def test_errors_follow_mask_and_truth(tmp_path: Path) -> None:
    # Every pair of values once.
    mask, truth = np.meshgrid(np.array([0, 1, 255], np.uint8), np.array([0, 1, 255], np.uint8))
    write_mask(tmp_path / "mask.tif", mask)
    write_mask(tmp_path / "truth.tif", truth)
    write_errors(tmp_path / "errors.vrt", utm_grid(3, 3), tmp_path / "mask.tif", tmp_path / "truth.tif")
    with rasterio.open(tmp_path / "errors.vrt") as dataset:
        found = dataset.read(1)
    classes = error_classes(mask, truth)
    for value, kind in ((AGREED, TP), (FALSE, FP), (MISSED, FN)):
        np.testing.assert_array_equal(found == value, classes == kind)
