from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from glacierseg.bands import BandImportance, agreement_message, preset_bands, tie_message, unmeasured_message
from glacierseg.bands.ranking import (
    chance_of_none,
    holm,
    jackknife_error,
    leave_one_out_means,
    rank_bands,
    rank_bounds,
    rank_correlation,
)
from glacierseg.errors import BandError
from glacierseg.raster.prepare.recipes import RECIPES


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
        called += bool(holm(chance_of_none(values.mean(0), left_out))[3:].any())
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


def entries(values: list[float], error: float | None = 0.01) -> tuple[BandImportance, ...]:
    return tuple(BandImportance(n, f"b{n}", v, 0.1, error) for n, v in enumerate(values, start=1))


@given(
    st.integers(2, 12).flatmap(
        lambda n: st.tuples(*[st.lists(st.integers(-3, 3), min_size=n, max_size=n)] * 2)
    )
)
def test_rank_correlation_equals_scipy(pair: tuple[list[int], list[int]]) -> None:
    found = rank_correlation(*pair)
    if any(len(set(values)) == 1 for values in pair):
        assert found is None
    else:
        assert found == pytest.approx(stats.spearmanr(*pair).statistic, abs=1e-12)


def test_agreement_goes_by_band_and_not_by_place() -> None:
    first = entries([3, 2, 1])
    other = tuple(BandImportance(n, b, -n, 0) for n, b in enumerate(["b3", "b2", "b1"], start=1))
    assert agreement_message({"gradient": first, "permutation": other}, 2) == (
        "gradient and permutation agree on 1 of the best 2 bands (rank correlation of all bands: -1.00)"
    )
    flat = agreement_message({"permutation": first, "gradient": entries([0, 0, 0])}, 9)
    assert flat == (
        "permutation and gradient agree on 3 of the best 3 bands (rank correlation of all bands: undefined)"
    )
    assert agreement_message({"gradient": first}, 2) is None


def test_a_tie_is_a_gap_below_the_standard_error_of_the_difference() -> None:
    both = np.hypot(0.01, 0.01)
    assert tie_message(entries([0.5, 0.3, 0.3 - 1.01 * both]), 2) is None
    message = tie_message(entries([0.5, 0.3, 0.3 - 0.99 * both]), 2)
    assert message is not None
    assert "b2 (rank 2, chosen) and b3 (rank 3, not chosen) differ by 0.0140" in message
    assert "as close" not in message


def test_equal_bands_are_tied_even_without_errors_and_all_rivals_are_named() -> None:
    message = tie_message(entries([0.4, 0.2, 0.2, 0.2], None), 2)
    assert message is not None
    assert "are equal, so the order of the scene decides" in message
    assert message.endswith("as close: b2 in, b3, b4 out")


@pytest.mark.parametrize("count", [0, 3, 4])
def test_nothing_is_tied_where_nothing_is_chosen(count: int) -> None:
    assert tie_message(entries([0.2, 0.2, 0.2]), count) is None


def judged(measurable: list[bool]) -> tuple[BandImportance, ...]:
    return tuple(
        BandImportance(n, f"b{n}", 0.2, 0.1, 0.01, measurable=known)
        for n, known in enumerate(measurable, start=1)
    )


def test_bands_without_measurable_importance_are_never_chosen_in_silence() -> None:
    found = judged([True, True, False, False, False])
    assert unmeasured_message(found, 2) is None
    message = unmeasured_message(found, 4)
    assert message is not None
    assert message == (
        "no measurable importance: b3, b4; chosen only because top is 4, while 2 of the 5 bands can be told "
        "from noise; choose 2, or measure on more patches"
    )
    # No number of bands is small enough where no band can be told from noise: `--top 0` is refused.
    message = unmeasured_message(judged([False, False]), 1)
    assert message is not None
    assert message.endswith(
        "while none of the 2 bands can be told from noise; train longer, or measure on more patches"
    )
    assert tie_message(found, 2) is None  # one can be told from noise, the other cannot
    assert tie_message(found, 3) is None  # said by the other message
    assert tie_message(found, 1) is not None


def test_measures_that_differ_in_what_they_can_measure_say_so() -> None:
    found = agreement_message(
        {"gradient": judged([True, False, True]), "permutation": judged([True, True, True])}, 1
    )
    assert found is not None
    assert found.endswith("; measurable by only one of them: b2")
    same = agreement_message({"gradient": judged([True, True]), "permutation": entries([2.0, 1.0])}, 1)
    assert same is not None
    assert "measurable" not in same


def test_the_original_six_by_position_in_18_bands() -> None:
    bands = [f"band_{n}" for n in range(1, 19)]
    assert preset_bands("glavitu", bands) == ("band_1", "band_4", "band_5", "band_8", "band_11", "band_14")
    assert preset_bands("m_landsnet", bands) == ("band_1", "band_4", "band_5", "band_6", "band_8", "band_11")
    assert preset_bands("unetplusplus", bands) == (
        "band_1",
        "band_2",
        "band_5",
        "band_7",
        "band_16",
        "band_17",
    )
    assert preset_bands("glavitu_global", bands) is None
    with pytest.raises(BandError, match=r"position 8, 4, 5, 1, 11, 14 of its 18 \(these scenes have 17:"):
        preset_bands("glavitu", bands[1:])


def test_the_original_six_by_name() -> None:
    """Of a stack in any order, with more bands than these."""
    stack = RECIPES["himalaya-18"]
    shuffled = (*stack[9:], "ndsi", *stack[:9])
    listed = {
        "glavitu": "dh_dt nir swir1 blue curvature_profile curvature_tangential",
        "m_landsnet": "swir1 nir blue dh_dt curvature_profile elevation",
        "unetplusplus": "swir1 velocity blue green unsphericity coherence",
    }
    for network, names in listed.items():
        found = preset_bands(network, shuffled)
        assert found is not None
        assert set(found) == set(names.split())
        assert [shuffled.index(name) for name in found] == sorted(map(shuffled.index, found))
        assert preset_bands(network, stack) == tuple(name for name in stack if name in names.split())


def test_eighteen_bands_of_another_recipe_are_not_the_original_ones() -> None:
    with pytest.raises(BandError, match="six bands of glavitu are dh_dt, nir, swir1, blue, curv"):
        preset_bands("glavitu", RECIPES["sentinel2-18"])
