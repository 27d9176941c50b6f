import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.transform import from_origin

from glacierseg.evaluate.intervals import table_by_block
from glacierseg.experiment.scoring import _pooled
from glacierseg.raster.grid import Grid


def test_pooled_intervals_take_ground_that_two_regions_show_for_one() -> None:
    mask, truth = np.random.default_rng(0).integers(0, 2, (2, 160, 160), dtype=np.uint8)
    grid = Grid(CRS.from_epsg(32643), from_origin(0, 0, 10, 10), 160, 160)
    row = {"tp": 1, "fp": 1, "fn": 1, "tn": 1, "predicted_km2": 2.0, "truth_km2": 3.0}
    once, twice = (_pooled([row] * n, table_by_block([(mask, truth)] * n, grids=[grid] * n)) for n in (1, 2))
    assert twice["predicted_km2"] == 2 * once["predicted_km2"]
    for name in ("iou_low", "iou_high", "interval_blocks", "interval_block_px"):
        assert twice[name] == pytest.approx(once[name])
