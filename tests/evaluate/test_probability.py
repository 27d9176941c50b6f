import numpy as np
import pytest

from glacierseg.errors import GridMismatchError
from glacierseg.evaluate.probability import evaluate_probability
from glacierseg.evaluate.reliability import count_reliability, reliability_of
from glacierseg.predict.calibration import Calibration, Dispersion, LogitScale
from glacierseg.raster.probability import probability_strips
from tests.helpers import utm_grid, write_scene


def test_a_raster_is_scored_like_its_array_with_and_without_calibration(tmp_path):
    rng = np.random.default_rng(0)
    truth = rng.choice(np.array([0, 1, 255], np.uint8), (600, 40))
    values = np.clip(0.6 * (truth == 1) + rng.uniform(0, 0.4, truth.shape), 0, 1).astype(np.float32)
    values[10:20] = np.nan
    path = write_scene(tmp_path / "p.tif", values[None], ["probability"])
    scale = LogitScale(2.0, -0.3)
    calibration = Calibration(scale, 1, ("a",), 1, 1, 1, 1, Dispersion(4.0, 64, 12.0, 10.0, 200.0))
    found = evaluate_probability(path, truth, utm_grid(600, 40), calibration)
    assert found.scores == reliability_of(count_reliability(values, truth))
    assert found.calibrated == reliability_of(count_reliability(scale.apply(values), truth))
    known = (truth != 255) & ~np.isnan(values)
    assert found.scores.brier == pytest.approx(((values[known] - truth[known]) ** 2).mean(), abs=1e-6)
    assert found.area.lower_km2 < found.area.expected_km2 < found.area.upper_km2
    assert sum(bar.pixels for bar in found.bars) == known.sum()
    assert evaluate_probability(path, truth, utm_grid(600, 40)).calibrated is None
    with pytest.raises(GridMismatchError, match="another grid"):
        evaluate_probability(path, truth, utm_grid(600, 40, 20))


def test_bytes_are_read_by_their_scale(tmp_path):
    import rasterio

    path = tmp_path / "p.tif"
    stored = np.array([[0, 125, 250, 255]], np.uint8)
    grid = utm_grid(1, 4)
    with rasterio.open(
        path, "w", driver="GTiff", height=1, width=4, count=1, dtype="uint8", nodata=255, crs=grid.crs,
        transform=grid.transform,
    ) as dataset:  # fmt: skip
        dataset.write(stored, 1)
        dataset.scales = (0.004,)
    ((rows, values),) = probability_strips(path, 256)
    assert rows == slice(0, 1)
    np.testing.assert_allclose(values[0], [0, 0.5, 1, np.nan], rtol=1e-6)
