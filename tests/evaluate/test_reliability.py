import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from glacierseg.errors import GridMismatchError, RequestError
from glacierseg.evaluate.reliability import (
    ReliabilityCounts,
    count_reliability,
    evaluate_probability,
    reliability_of,
    reliability_table,
)
from glacierseg.predict.calibration import Calibration, Dispersion, LogitScale
from glacierseg.raster.probability import probability_strips
from tests.helpers import present, utm_grid, write_scene

CHANCES = arrays(np.float32, (6, 7), elements=st.floats(0, 1, width=32))
TRUTHS = arrays(np.uint8, (6, 7), elements=st.sampled_from([0, 1]))


def direct_gaps(probability: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """ECE and MCE as Guo et al. (2017) define them, one bin after the other."""
    p, y = probability.ravel().astype(float), truth.ravel().astype(float)
    edges = np.linspace(0, 1, 16)
    ece = mce = 0.0
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = (p > low) & (p <= high) if number else p <= high
        if inside.any():
            gap = abs(p[inside].mean() - y[inside].mean())
            ece += inside.mean() * gap
            mce = max(mce, gap)
    return ece, mce


@given(CHANCES, TRUTHS)
def test_scores_equal_their_definitions(probability: np.ndarray, truth: np.ndarray) -> None:
    found = reliability_of(count_reliability(probability, truth))
    ece, mce = direct_gaps(probability, truth)
    assert found.pixels == 42
    assert found.ece == pytest.approx(ece, abs=1e-7)
    assert found.mce == pytest.approx(mce, abs=1e-7)
    # Scikit-learn computes in the precision of what it is given.
    exact = probability.ravel().astype(float)
    assert found.brier == pytest.approx(brier_score_loss(truth.ravel(), exact, pos_label=1), abs=1e-7)
    inside = np.clip(exact, 1 / (1 + np.exp(16.0)), 1 / (1 + np.exp(-16.0)))
    assert found.nll == pytest.approx(log_loss(truth.ravel(), inside, labels=[0, 1]), abs=0.0101)


@given(CHANCES, TRUTHS)
def test_the_diagram_is_scikit_learns(probability: np.ndarray, truth: np.ndarray) -> None:
    shares, confidences = calibration_curve(truth.ravel(), probability.ravel(), n_bins=15)
    bars = [bar for bar in reliability_table(count_reliability(probability, truth)) if bar.pixels]
    assert [bar.glacier_share for bar in bars] == pytest.approx(shares.tolist())
    assert [bar.confidence for bar in bars] == pytest.approx(confidences.tolist(), abs=1e-7)


@given(CHANCES, TRUTHS, st.integers(0, 7))
def test_counts_of_parts_add_up_to_those_of_the_whole(
    probability: np.ndarray, truth: np.ndarray, cut: int
) -> None:
    whole = count_reliability(probability, truth)
    parts = ReliabilityCounts.none()
    for part in (np.s_[:, cut:], np.s_[:, :cut]):
        parts += count_reliability(probability[part], truth[part])
    assert parts.squared_error == whole.squared_error
    for name in ("background", "glacier", "probability"):
        assert np.array_equal(getattr(parts, name), getattr(whole, name))
        assert getattr(parts, name).dtype == np.int64


def test_only_pixels_with_probability_and_truth_count() -> None:
    probability = np.array([[0.9, np.nan, 0.9, 0.9]], np.float32)
    truth = np.array([[1, 1, 255, 0]], np.uint8)
    counts = count_reliability(probability, truth)
    assert (int(counts.glacier.sum()), int(counts.background.sum())) == (1, 1)


def test_without_a_pixel_scores_are_unknown() -> None:
    found = reliability_of(ReliabilityCounts.none())
    assert found.pixels == 0
    assert np.isnan([found.ece, found.mce, found.brier, found.nll]).all()


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(GridMismatchError, match=r"shape \(2, 2\) does not fit truth of shape \(2, 3\)"):
        count_reliability(np.zeros((2, 2)), np.zeros((2, 3), np.uint8))
    with pytest.raises(RequestError, match="run from 0 to 87"):
        count_reliability(np.array([0.0, 87.0]), np.zeros(2, np.uint8))


def test_a_raster_is_scored_like_its_array_with_and_without_calibration(tmp_path: Path) -> None:
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
    # A pixel is 10 m wide.
    area = present(found.area)
    assert area.expected_km2 == pytest.approx(float(scale.apply(values)[known].sum()) * 1e-4, rel=1e-5)
    assert area.lower_km2 < area.expected_km2 < area.upper_km2
    assert sum(bar.pixels for bar in found.bars) == known.sum()
    assert evaluate_probability(path, truth, utm_grid(600, 40)).calibrated is None
    with pytest.raises(GridMismatchError, match="must lie on the grid of the mask"):
        evaluate_probability(path, truth, utm_grid(600, 40, 20))


def test_bytes_are_read_by_their_scale(tmp_path: Path) -> None:
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
