import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacierseg.dataset.scaling import Scaling, measure_scaling


@given(st.lists(st.integers(0, 60), min_size=1, max_size=6), st.integers(0, 99))
def test_one_pass_over_pieces_equals_numpy_on_the_whole(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    pieces = [rng.normal(1e4, 3, (2, size)) for size in sizes]
    whole = np.concatenate(pieces, axis=1)
    if not whole.shape[1]:
        with pytest.raises(ValueError, match="no valid"):
            measure_scaling(pieces)
        return
    scaling = measure_scaling(pieces)
    np.testing.assert_allclose(scaling.mean, whole.mean(1))
    if whole.shape[1] > 5:
        np.testing.assert_allclose(scaling.std, whole.std(1), rtol=1e-6)


def test_a_band_without_spread_becomes_zero_not_infinite() -> None:
    scaling = measure_scaling([np.full((1, 50), 7, np.uint8)])
    out = scaling.apply(np.full((1, 4, 4), 7, np.uint8), np.ones((4, 4), bool))
    assert (out == 0).all()


def test_pixels_without_data_become_the_mean() -> None:
    valid = np.array([[True, False]])
    out = Scaling((10.0,), (2.0,)).apply(np.array([[[14, 200]]], np.uint8), valid)
    assert out.tolist() == [[[2.0, 0.0]]]
