from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from glacierseg.errors import GridMismatchError
from glacierseg.evaluate.counts import Counts
from glacierseg.evaluate.files import evaluate_files
from glacierseg.raster.grid import Grid
from glacierseg.raster.write import write_raster
from glacierseg.settings.score import ScoreSettings
from tests.helpers import present

GRID = Grid(CRS.from_epsg(32643), Affine(20, 0, 5e5, 0, -20, 36e5), 30, 40)


def test_files_are_compared_on_their_grid(tmp_path: Path) -> None:
    truth = np.zeros(GRID.shape, np.uint8)
    truth[5:20, 5:20] = 1
    predicted = truth.copy()
    predicted[5:20, 20] = 1
    predicted[0] = 255
    for name, mask in (("predicted", predicted), ("truth", truth)):
        write_raster(tmp_path / f"{name}.tif", mask, GRID, bands=["glacier"], nodata=255)
    result = evaluate_files(
        tmp_path / "predicted.tif", tmp_path / "truth.tif", ScoreSettings(buffers_m=(10,), draws=0)
    ).evaluation
    assert result.counts == Counts(tp=225, fp=15, fn=0, tn=29 * 40 - 240)
    assert present(result.areas).truth_km2 == pytest.approx(0.09)
    assert result.buffers[0].scores.iou == 1


@pytest.mark.parametrize("wanted", [True, False])
def test_distances_and_glaciers_may_be_left_out(tmp_path: Path, wanted: bool) -> None:
    mask = np.zeros(GRID.shape, np.uint8)
    mask[5:20, 5:20] = 1
    write_raster(tmp_path / "a.tif", mask, GRID, bands=["glacier"], nodata=255)
    settings = ScoreSettings(draws=0, distances=wanted, glaciers=wanted)
    found = evaluate_files(tmp_path / "a.tif", tmp_path / "a.tif", settings)
    assert (found.distances is not None) == (found.glaciers is not None) == wanted


def test_files_on_different_grids_are_refused(tmp_path: Path) -> None:
    mask = np.ones((5, 5), np.uint8)
    write_raster(tmp_path / "a.tif", mask, GRID.crop(0, 0, 5, 5), bands=["glacier"], nodata=255)
    write_raster(tmp_path / "b.tif", mask, GRID.crop(0, 1, 5, 5), bands=["glacier"], nodata=255)
    with pytest.raises(GridMismatchError, match=r"b\.tif"):
        evaluate_files(tmp_path / "a.tif", tmp_path / "b.tif")
