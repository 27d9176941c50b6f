import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from glacierseg.errors import RequestError, TruthError
from glacierseg.evaluate.area_bounds import (
    AreaSums,
    BlockErrors,
    area_reach_px,
    block_errors,
    bound_area,
    measure_dispersion,
    sum_area,
)
from glacierseg.evaluate.reliability import BIN_LOGITS, count_reliability
from glacierseg.predict.calibration import Dispersion, LogitScale, fit_logit_scale


@given(arrays(np.float32, (9, 5), elements=st.floats(0, 1, width=32)), st.integers(0, 9))
def test_sums_of_strips_are_those_of_the_scene(probability: np.ndarray, cut: int) -> None:
    probability[2, 3] = np.nan
    parts = sum_area(probability[:cut]) + sum_area(probability[cut:]) + AreaSums()
    known = probability[~np.isnan(probability)].astype(float)
    assert parts.pixels == 44
    assert parts.expected_px == pytest.approx(known.sum(), rel=1e-12)
    assert parts.variance_px == pytest.approx((known - known**2).sum(), rel=1e-12, abs=1e-12)


def test_blocks_hold_the_errors_of_their_pixels() -> None:
    rng = np.random.default_rng(1)
    probability = rng.random((70, 37)).astype(np.float32)
    truth = rng.choice(np.array([0, 1, 255], np.uint8), (70, 37))
    probability[40:50] = np.nan
    known = (truth != 255) & ~np.isnan(probability)
    blocks = block_errors(probability, truth, known).doubled()
    assert blocks.error_px.shape == (3, 2)
    for row in range(3):
        for column in range(2):
            part = np.s_[32 * row : 32 * (row + 1), 32 * column : 32 * (column + 1)]
            p, y = probability[part][known[part]].astype(float), truth[part][known[part]]
            assert blocks.error_px[row, column] == pytest.approx(y.sum() - p.sum())
            assert blocks.variance_px[row, column] == pytest.approx((p * (1 - p)).sum())


def test_the_factor_of_equal_blocks_is_the_mean_square_over_the_variance() -> None:
    error = np.array([[3.0, -4.0, 5.0, 1.0, -2.0, 0.0, 2.0, -6.0, 1.0, 1.0]])
    found = measure_dispersion([BlockErrors(error, np.full((1, 10), 2.0))])
    assert found.block_px == 16
    assert found.blocks == pytest.approx(10)
    assert found.degrees_of_freedom == pytest.approx(8)
    assert found.factor == pytest.approx((error**2).mean() / 2.0 * 10 / 8)
    assert found.variance_px == pytest.approx(20)


def test_errors_smaller_than_chance_do_not_narrow_the_bounds() -> None:
    found = measure_dispersion([BlockErrors(np.zeros((4, 4)), np.ones((4, 4)))])
    assert found.factor == 1


def test_larger_blocks_are_taken_when_neighbours_err_together() -> None:
    signs = np.random.default_rng(3).choice([-9.0, 9.0], (6, 6)).repeat(2, 0).repeat(2, 1)
    found = measure_dispersion([BlockErrors(signs, np.ones((12, 12)))])
    assert found.block_px >= 32
    assert found.factor > 3.5 * 81


def test_bounds_follow_the_formula_and_stay_within_the_scene() -> None:
    sums, dispersion = AreaSums(1000, 400.0, 100.0), Dispersion(4.0, 64, 12.0, 10.0, 200.0)
    reach = stats.t.ppf(0.95, 10) * np.sqrt(4 * 100 * 1.5)
    bounds = bound_area(sums, dispersion, 0.01)
    assert bounds.expected_km2 == pytest.approx(4.0)
    assert (bounds.lower_km2, bounds.upper_km2) == pytest.approx(((400 - reach) * 0.01, (400 + reach) * 0.01))
    wild = bound_area(sums, Dispersion(1e6, 64, 3.0, 1.0, 200.0), 0.01)
    assert (wild.lower_km2, wild.upper_km2) == (0, 10.0)


def test_of_blocks_of_several_sides_the_one_with_the_widest_bounds_counts() -> None:
    small = Dispersion(9.0, 16, 100.0, 98.0, 1000.0)
    large = Dispersion(100.0, 64, 10.0, 8.0, 1000.0, smaller=(small,))
    for total in (0.0, 5.0, 40.0, 100.0, 1000.0, 1e9):
        one = 9 * total * (1 + total / 1000)
        # A block has the sum 100: less shifts as one, and more is not known to shift apart.
        other = 100 * total * (total / 100 + total / 1000)
        expected = max(stats.t.ppf(0.95, 98) * one**0.5, stats.t.ppf(0.95, 8) * other**0.5)
        assert area_reach_px(AreaSums(10**9, 0.0, total), large, 0.9) == pytest.approx(expected)


def test_nine_of_ten_massifs_lie_within_bounds_although_each_shifts_as_a_whole() -> None:
    rng = np.random.default_rng(11)
    held = cases = 0
    for _ in range(40):
        shifts = rng.normal(0, 0.6, 26)
        massifs = []
        for shift in shifts:
            chance = LogitScale(1.0).apply(stats.norm.cdf(3 * smooth_noise(rng, 64, 4) - 1))
            ice = rng.random(chance.shape) < LogitScale(1.0, shift).apply(chance)
            massifs.append((chance, ice.astype(np.uint8), np.ones(ice.shape, bool)))
        found = measure_dispersion([block_errors(*one) for one in massifs[:20]])
        for chance, truth, _ in massifs[20:]:
            bounds = bound_area(sum_area(chance), found, 1.0)
            held += bounds.lower_km2 <= truth.sum() <= bounds.upper_km2
            cases += 1
    assert 0.85 < held / cases < 0.96


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(RequestError, match="more than 0 and less than 1 \\(got 1\\)"):
        bound_area(AreaSums(1, 1.0, 0.0), Dispersion(1.0, 16, 9.0, 7.0, 1.0), 1.0, confidence=1.0)
    with pytest.raises(TruthError, match="is uncertain"):
        measure_dispersion([BlockErrors(np.ones((2, 2)), np.zeros((2, 2)))])


def smooth_noise(rng: np.random.Generator, side_px: int, sigma_px: float) -> np.ndarray:
    rim = round(4 * sigma_px)
    noise = cv2.GaussianBlur(rng.standard_normal((side_px + 2 * rim,) * 2), (0, 0), sigma_px)
    result: np.ndarray = noise[rim:-rim, rim:-rim] * 2 * sigma_px * np.sqrt(np.pi)
    return result


def landscape(rng: np.random.Generator, side_px: int, patch_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Ice with errors in patches, and what a network that is too sure and finds too much says of it."""
    shown = 1.5 * smooth_noise(rng, side_px, 10) - 0.5
    truth = shown + 0.7 * smooth_noise(rng, side_px, patch_px) > 0
    honest = LogitScale(1.0).apply(stats.norm.cdf(shown / 0.7))
    return LogitScale(0.5, 0.8).apply(honest), truth.astype(np.uint8)


@pytest.mark.parametrize("patch_px", [1.5, 6.0])
def test_nine_of_ten_bounds_hold_although_errors_come_in_patches(patch_px: float) -> None:
    rng = np.random.default_rng(100)
    held = held_parts = independent = 0
    for _ in range(50):
        probability, truth = landscape(rng, 192, patch_px)
        counts = count_reliability(probability, truth)
        scale = fit_logit_scale(BIN_LOGITS, counts.background, counts.glacier)
        calibrated = scale.apply(probability)
        dispersion = measure_dispersion([block_errors(calibrated, truth, np.ones(truth.shape, bool))])
        elsewhere, truth = landscape(rng, 256, patch_px)
        sums = sum_area(scale.apply(elsewhere))
        bounds = bound_area(sums, dispersion, 1.0)
        held += bounds.lower_km2 <= truth.sum() <= bounds.upper_km2
        independent += abs(truth.sum() - sums.expected_px) <= 1.645 * np.sqrt(sums.variance_px)
        # Of as much ground as the largest blocks the bounds say how it shifts; of more they say no less.
        part = np.s_[: dispersion.block_px, : dispersion.block_px]
        bounds = bound_area(sum_area(scale.apply(elsewhere[part])), dispersion, 1.0)
        held_parts += bounds.lower_km2 <= truth[part].sum() <= bounds.upper_km2
    assert 40 <= held_parts <= 49
    assert held >= 40
    assert independent < 30
