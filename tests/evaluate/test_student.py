import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from glacierseg.evaluate.student import student_quantile, student_tail


@given(st.floats(1, 1e4), st.floats(0.5, 0.999))
def test_quantiles_are_scipys(degrees_of_freedom: float, share: float) -> None:
    expected = stats.t.ppf(share, degrees_of_freedom)
    assert student_quantile(share, degrees_of_freedom) == pytest.approx(expected, rel=1e-7, abs=1e-9)


@given(st.floats(1, 2000), st.lists(st.floats(-50, 50), min_size=1))
def test_tails_are_scipys_and_keep_small_shares(degrees_of_freedom: float, t: list[float]) -> None:
    expected = stats.t.sf(t, degrees_of_freedom)
    assert student_tail(t, degrees_of_freedom) == pytest.approx(expected, rel=1e-6, abs=1e-15)


def test_infinities_lie_at_the_ends() -> None:
    assert student_tail(np.array([-np.inf, np.inf]), 5).tolist() == [1, 0]
    assert student_tail(0.0, 5) == pytest.approx(0.5, rel=1e-12)
