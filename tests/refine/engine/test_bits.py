import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from glacierseg.refine.engine.bits import pack, unpack
from tests.refine.engine.masks import ADVERSARIAL, wide_masks


@given(wide_masks(ignored=True))
def test_a_mask_survives_packing(mask: NDArray[np.uint8]) -> None:
    glacier, ignore = pack(mask), pack(mask, 255)
    np.testing.assert_array_equal(unpack(glacier, ignore), mask)
    np.testing.assert_array_equal(unpack(glacier), mask == 1)
    assert glacier.shape == mask.shape
    assert (glacier.count(), ignore.count()) == ((mask == 1).sum(), (mask == 255).sum())
    assert glacier.any() == (mask == 1).any()


@given(wide_masks())
def test_words_are_those_of_numpys_packbits(mask: NDArray[np.uint8]) -> None:
    words = pack(mask).words
    expected = np.packbits(mask, axis=1, bitorder="little")
    found = words.view(np.uint8)
    np.testing.assert_array_equal(found[:, : expected.shape[1]], expected)
    assert not found[:, expected.shape[1] :].any()


@given(wide_masks(), st.integers(0, 2**32 - 1))
def test_sets_combine_as_pixels_do(mask: NDArray[np.uint8], seed: int) -> None:
    other = np.random.default_rng(seed).integers(0, 2, mask.shape, np.uint8)
    one, two = pack(mask), pack(other)
    for combined, expected in (
        (one | two, mask | other),
        (one & two, mask & other),
        (one ^ two, mask ^ other),
        (one.without(two), mask & (1 - other)),
        (one.inverted(), 1 - mask),
    ):
        np.testing.assert_array_equal(unpack(combined), expected)
        # Nothing is set beyond the width, so that counting words counts pixels.
        assert combined.count() == expected.sum()


@pytest.mark.parametrize("value", [0, 1, 2, 254, 255])
def test_only_the_value_asked_for_is_packed(value: int) -> None:
    mask = np.arange(256, dtype=np.uint8).reshape(2, 128)[:, :127]
    np.testing.assert_array_equal(unpack(pack(mask, value)), mask == value)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_views_with_strides_are_packed_like_copies(name: str) -> None:
    mask = np.repeat(np.repeat(ADVERSARIAL[name], 2, axis=0), 3, axis=1)
    for view in (mask[::2, ::3], mask[::-1, ::-1], mask.T, np.asfortranarray(mask)):
        view.flags.writeable = False
        np.testing.assert_array_equal(unpack(pack(view)), view)
