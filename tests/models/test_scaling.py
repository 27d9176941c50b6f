import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glacierseg.models.device import InputScaling
from glacierseg.models.scaling import (
    Scaling,
    logarithmic_floor,
    measure_logarithmic_scaling,
    measure_scaling,
)


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


def logarithmic_scaling(pixels: np.ndarray) -> Scaling:
    """The first band as its logarithm, the second as it is."""
    return measure_logarithmic_scaling([pixels], logarithmic_floor(measure_scaling([pixels]), [0]))


def test_a_logarithm_is_scaled_like_any_other_band() -> None:
    pixels = np.random.default_rng(1).lognormal(3, 1, (2, 5000))
    pixels[0, 0] = 0
    scaling = logarithmic_scaling(pixels)
    assert list(scaling.floor) == [pytest.approx(0.01 * pixels[0].mean()), None]
    logarithm = np.log(np.maximum(pixels[0], 0.01 * pixels[0].mean()))
    expected = [
        (logarithm - logarithm.mean()) / logarithm.std(),
        (pixels[1] - pixels[1].mean()) / pixels[1].std(),
    ]
    out = scaling.apply(pixels[:, None], np.ones((1, 5000), bool))
    np.testing.assert_allclose(out[:, 0], expected, atol=1e-4)
    np.testing.assert_allclose(scaling.undo(out)[:, 0, 1:], pixels[:, 1:], rtol=1e-3)
    assert scaling.undo(out)[0, 0, 0] == pytest.approx(scaling.floor[0], rel=1e-3)
    assert scaling.select([1, 0]).floor == (None, scaling.floor[0])


def test_a_batch_on_the_device_is_scaled_as_a_patch_is() -> None:
    rng = np.random.default_rng(2)
    values = rng.integers(0, 60_000, (3, 6, 7, 2)).astype(np.float32)
    valid = rng.random((3, 6, 7)) < 0.8
    scaling = logarithmic_scaling(values.reshape(-1, 2).T)
    batch = InputScaling(scaling)(torch.from_numpy(values), torch.from_numpy(valid))
    for image, one, inside in zip(batch, values, valid, strict=True):
        np.testing.assert_allclose(image, scaling.apply(one.transpose(2, 0, 1), inside), atol=1e-5)


def test_a_band_around_zero_has_no_logarithm() -> None:
    with pytest.raises(ValueError, match="1"):
        logarithmic_floor(Scaling((3.0, -0.2), (1.0, 1.0)), [0, 1])
