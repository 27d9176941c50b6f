import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from glacierseg.bands import (
    BandImportance,
    agreement_of,
    preset_bands,
    rank_correlation,
    tie_message,
    unmeasured_message,
)
from glacierseg.errors import BandError

Numbers = st.lists(st.integers(-3, 3), min_size=2, max_size=12)


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
    (found,) = agreement_of({"gradient": first, "drop": other}, 2)
    assert (found.correlation, found.shared, found.top) == (pytest.approx(-1), 1, 2)
    assert found.in_words() == "gradient and drop: rank correlation -1.00, 1 of the best 2 in common"
    (flat,) = agreement_of({"gradient": first, "drop": entries([0, 0, 0])}, 9)
    assert (flat.correlation, flat.shared, flat.top) == (None, 3, 3)


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
    assert message.startswith("no measurable importance: b3, b4; they are chosen only because 4 bands")
    assert "out of 3 that cannot be told from noise. Only 2 can" in message
    # No number of bands is small enough where no band can be told from noise: `--top 0` is refused.
    message = unmeasured_message(judged([False, False]), 1)
    assert message is not None
    assert message.endswith(
        "out of 2 that cannot be told from noise. None can; measure on more patches, or "
        "a network that was trained for longer"
    )
    assert tie_message(found, 2) is None  # one can be told from noise, the other cannot
    assert tie_message(found, 3) is None  # said by the other message
    assert tie_message(found, 1) is not None


def test_measures_that_differ_in_what_they_can_measure_say_so() -> None:
    (found,) = agreement_of({"gradient": judged([True, False, True]), "drop": judged([True, True, True])}, 1)
    assert found.disputed == ("b2",)
    assert found.in_words().endswith("1 of the best 1 in common; measurable by one only: b2")
    (same,) = agreement_of({"gradient": judged([True]), "drop": entries([1.0])}, 1)
    assert same.disputed == ()


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
    with pytest.raises(BandError, match="these scenes have 17"):
        preset_bands("glavitu", bands[1:])
