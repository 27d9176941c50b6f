import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from glacierseg.data.augment import SYMMETRIES
from glacierseg.errors import RequestError
from glacierseg.models.texture_mlp import TextureMLP, local_statistics


def image(bands: int, height: int, width: int, seed: int, gaps: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(0.3, 2, (bands, height, width))
    values[:, rng.random((height, width)) < gaps] = 0
    return values


def around(values: np.ndarray, side_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each band over a window's pixels with data, NaN where there are none."""
    known = np.where((values == 0).all(axis=0), np.nan, values)
    reach = side_px // 2
    padded = np.pad(known, ((0, 0), (reach, reach), (reach, reach)), constant_values=np.nan)
    windows = sliding_window_view(padded, (side_px, side_px), axis=(1, 2))
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        return np.nanmean(windows, axis=(3, 4)), np.nanstd(windows, axis=(3, 4))


@given(
    st.integers(1, 3),
    st.integers(1, 20),
    st.integers(1, 20),
    st.sampled_from([0.0, 0.3, 0.9]),
    st.integers(0, 99),
)
def test_mean_and_spread_are_those_of_the_pixels_with_data(bands, height, width, gaps, seed):
    values = image(bands, height, width, seed, gaps)
    found = local_statistics(torch.from_numpy(values)[None], (3, 7))[0].numpy()
    assert found.shape == (bands * 5, height, width)
    np.testing.assert_array_equal(found[:bands], values)
    for number, side_px in enumerate((3, 7)):
        mean, spread = around(values, side_px)
        start = bands * (1 + 2 * number)
        # Where a window holds no data at all nothing is promised but a number.
        known = ~np.isnan(mean)
        np.testing.assert_allclose(found[start : start + bands][known], mean[known], atol=1e-6)
        spread = np.sqrt(spread**2 + 1e-4) - 1e-2
        np.testing.assert_allclose(found[start + bands : start + 2 * bands][known], spread[known], atol=1e-6)
    assert np.isfinite(found).all()


@torch.inference_mode()
def test_a_pixel_knows_as_far_as_half_the_largest_window():
    network = TextureMLP(2, windows_px=(3, 9)).eval()
    torch.nn.init.normal_(network.head.weight)
    x = torch.randn(1, 2, 24, 24, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[..., 12, 12] += 5
    touched = ((network(x) - network(changed)).abs() > 1e-6).any(dim=1)[0].nonzero()
    assert touched.min(dim=0).values.tolist() == [8, 8]
    assert touched.max(dim=0).values.tolist() == [16, 16]


def test_the_slope_is_finite_where_all_is_alike():
    x = torch.ones(1, 2, 9, 9, requires_grad=True)
    TextureMLP(2)(x).sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"windows_px": ()}, "give odd numbers from 3 on"),
        ({"windows_px": (3, 8)}, r"windows_px is \[3, 8\]"),
        ({"windows_px": (1,)}, "give odd numbers"),
        ({"layers": 0}, "layers is 0"),
        ({"dropout": 1.0}, "dropout is 1"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(RequestError, match=message):
        TextureMLP(3, **options)


def test_dropout_silences_channels_pixel_by_pixel_and_in_training_only():
    network = TextureMLP(2, dropout=0.5).train()
    silenced = []
    network.head.register_forward_pre_hook(lambda _, inputs: silenced.append(inputs[0] == 0))
    x = torch.randn(1, 2, 24, 24, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    network(x)
    network(x)
    assert 0.1 < (silenced[0] != silenced[1]).float().mean() < 0.6
    # No channel is silent as a whole.
    assert not silenced[0].flatten(2).all(dim=2).any()
    assert torch.equal(network.eval()(x), network(x))


def test_flipped_and_turned_windows_give_the_same():
    network = TextureMLP(3, width=0.25).eval()
    x = torch.from_numpy(image(3, 30, 30, seed=5, gaps=0.2)).float()[None]
    with torch.no_grad():
        logits = network(x)
        spread = float(logits.std())
        assert spread > 0
        for symmetry in SYMMETRIES:
            turned = torch.from_numpy(symmetry.apply(x.numpy()).copy())
            back = symmetry.undo(network(turned).numpy())
            np.testing.assert_allclose(back, logits, atol=0.01 * spread)
    assert network.is_symmetric
