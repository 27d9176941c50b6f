import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacierseg.raster.tiling import Tiling, blend_weights, stride_of, window_starts


@given(st.integers(1, 300), st.integers(1, 100), st.integers(1, 100))
def test_windows_cover_a_line_and_stay_on_it(length: int, window: int, stride: int) -> None:
    starts = window_starts(length, window, min(stride, window))
    covered = np.zeros(max(length, window), bool)
    for start in starts:
        assert 0 <= start <= max(length - window, 0)
        covered[start : start + window] = True
    assert covered.all()
    assert list(starts) == sorted(set(starts))


@given(st.integers(1, 64))
def test_weights_are_positive_symmetric_and_sum_to_one_at_half_overlap(half: int) -> None:
    weights = blend_weights(2 * half)
    assert (weights > 0).all()
    np.testing.assert_allclose(weights, weights[::-1], atol=1e-12)
    np.testing.assert_allclose(weights[:half] + weights[half:], 1, atol=1e-12)


@given(st.integers(1, 200), st.integers(1, 64), st.floats(0, 0.9))
def test_total_weight_is_the_sum_over_windows(length: int, window: int, overlap: float) -> None:
    starts = window_starts(length, window, stride_of(window, overlap))
    brute = [
        sum(blend_weights(window)[i - start] for start in starts if start <= i < start + window)
        for i in range(length)
    ]
    np.testing.assert_allclose(Tiling(window, overlap).total_weight(length), brute, atol=1e-12)


@pytest.mark.parametrize("overlap", [-0.1, 1.0])
def test_impossible_overlap_is_refused(overlap: float) -> None:
    with pytest.raises(ValueError, match="overlap"):
        stride_of(64, overlap)
