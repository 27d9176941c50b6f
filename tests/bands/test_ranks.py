from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from glacierseg.bands.ranks import chance_of_none, holm, jackknife_error, leave_one_out_means, rank_bounds
from glacierseg.bands.result import rank_bands


def draw(seed: int, patches: int = 20, bands: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(rng.integers(0, 3, bands), rng.uniform(0.2, 2, bands), (patches, bands))


def brute_holm(p_values: list[float], level: float) -> set[int]:
    """The textbook: the smallest first, each against the level by how many are left, to the first miss."""
    fallen: set[int] = set()
    for place, number in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[number] > level / (len(p_values) - place):
            break
        fallen.add(number)
    return fallen


@given(st.lists(st.floats(0, 0.1), min_size=1, max_size=12), st.floats(0.001, 0.2))
def test_holm_equals_the_textbook(p_values: list[float], level: float) -> None:
    assert set(np.flatnonzero(holm(np.array(p_values), level))) == brute_holm(p_values, level)


@pytest.mark.parametrize("seed", range(5))
def test_errors_and_chances_of_means_equal_scipys(seed: int) -> None:
    values = draw(seed)
    left_out = leave_one_out_means(values)
    np.testing.assert_allclose(left_out[3], np.delete(values, 3, 0).mean(0))
    np.testing.assert_allclose(jackknife_error(left_out), stats.sem(values))
    for either_way, name in ((False, "greater"), (True, "two-sided")):
        expected = stats.ttest_1samp(values, 0, alternative=name).pvalue
        found = chance_of_none(values.mean(0), left_out, either_way=either_way)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_bounds_equal_paired_tests_one_by_one(seed: int) -> None:
    values = draw(seed)
    best, worst = rank_bounds(values.mean(0), leave_one_out_means(values))
    pairs = list(combinations(range(5), 2))
    tests = [stats.ttest_rel(values[:, one], values[:, other]) for one, other in pairs]
    differs = brute_holm([test.pvalue for test in tests], 0.05)
    wins = [pairs[i] if tests[i].statistic > 0 else pairs[i][::-1] for i in differs]
    for band in range(5):
        above, below = sum(lost == band for _, lost in wins), sum(won == band for won, _ in wins)
        assert (best[band], worst[band]) == (1 + above, 5 - below)


def test_bounds_hold_the_true_rank_and_noise_is_rarely_called_useful() -> None:
    truth, held, called = np.array([3.0, 2.6, 2.5, 0.0, 0.0, 0.0]), 0, 0
    for seed in range(300):
        values = truth + np.random.default_rng(seed).normal(0, 1, (16, 6))
        left_out = leave_one_out_means(values)
        best, worst = rank_bounds(values.mean(0), left_out)
        held += all(best[band] <= band + 1 <= worst[band] for band in range(3))
        called += holm(chance_of_none(values.mean(0), left_out))[3:].any()
    assert held >= 285
    assert 0 < called <= 25  # 15 are expected


def test_an_effect_without_error_is_sure_and_none_is_none() -> None:
    effect, left_out = np.array([0.2, 0.0, -0.2]), np.tile([0.2, 0.0, -0.2], (4, 1))
    assert chance_of_none(effect, left_out) == pytest.approx([0, 0.5, 1])
    assert chance_of_none(effect, left_out, either_way=True) == pytest.approx([0, 1, 0])
    best, worst = rank_bounds(effect, left_out)
    assert best.tolist() == worst.tolist() == [1, 2, 3]
    best, worst = rank_bounds(np.zeros(3), np.zeros((4, 3)))
    assert (best.tolist(), worst.tolist()) == ([1, 1, 1], [3, 3, 3])


def test_bands_without_measurable_importance_share_the_last_ranks_however_large() -> None:
    importance, spread = np.array([0.2, 0.5, 0.3]), np.zeros(3)
    left_out = np.tile(importance, (4, 1))
    found = rank_bands(["a", "b", "c"], importance, spread, left_out, p_values=np.array([0.001, 0.6, 0.03]))
    assert [(e.rank, e.band, e.measurable) for e in found] == [
        (1, "a", True),
        (2, "b", False),
        (3, "c", False),
    ]
    assert [(e.rank_low, e.rank_high) for e in found] == [(1, 1), (2, 3), (2, 3)]
    assert [e.rank_in_words() for e in found] == ["1", "none: 2-3", "none: 2-3"]
    untested = rank_bands(["a", "b", "c"], importance, spread)
    assert [(e.band, e.measurable, e.rank_in_words()) for e in untested] == [
        ("b", None, "1"),
        ("c", None, "2"),
        ("a", None, "3"),
    ]
