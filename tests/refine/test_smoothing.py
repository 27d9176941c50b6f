import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from glacierseg.errors import RequestError
from glacierseg.refine.smoothing import smooth_outline
from glacierseg.refine.steps import smooth
from tests.refine.masks import EDGE_CASES, masks


@given(masks(), st.integers(0, 4), st.sampled_from(["majority", "closing", "opening"]))
def test_the_three_that_smooth_are_those_of_the_steps(mask, iterations, method):
    np.testing.assert_array_equal(smooth_outline(mask, iterations, method), smooth(mask, iterations, method))


@given(masks(), st.integers(1, 5))
def test_dilation_and_erosion_are_those_of_scipy(mask, iterations):
    grown = ndimage.binary_dilation(mask == 1, iterations=iterations)
    expected = np.where(mask == 255, 255, grown)
    np.testing.assert_array_equal(smooth_outline(mask, iterations, "dilation"), expected)
    # What is unknown and what lies beyond the border is not background, so nothing is eaten from there.
    left = ndimage.binary_erosion(mask != 0, iterations=iterations, border_value=1) & (mask == 1)
    expected = np.where(mask == 255, 255, left)
    np.testing.assert_array_equal(smooth_outline(mask, iterations, "erosion"), expected)


@given(masks(ignored=False), st.integers(1, 4))
def test_eroding_glacier_is_growing_what_is_not(mask, iterations):
    eroded = smooth_outline(mask, iterations, "erosion")
    np.testing.assert_array_equal(1 - eroded, smooth_outline(1 - mask, iterations, "dilation"))


def test_a_glacier_at_the_border_and_beside_unknown_ground_is_not_eroded_from_there():
    mask = np.zeros((9, 9), np.uint8)
    mask[:, :6] = 1
    mask[:, :2] = 255
    expected = mask.copy()
    expected[:, 4:6] = 0
    np.testing.assert_array_equal(smooth_outline(mask, 2, "erosion"), expected)


@pytest.mark.parametrize("method", ["dilation", "erosion"])
@pytest.mark.parametrize("case", EDGE_CASES)
def test_every_mask_can_be_grown_and_shrunk_without_end(method, case):
    mask = EDGE_CASES[case]
    result = smooth_outline(mask, 10**9, method)
    has = {"dilation": (mask == 1).any(), "erosion": not (mask == 0).any()}[method]
    np.testing.assert_array_equal(result, np.where(mask == 255, 255, int(has)))


def test_an_unknown_method_is_refused_with_a_suggestion():
    with pytest.raises(RequestError, match="did you mean 'dilation'"):
        smooth_outline(np.zeros((3, 3), np.uint8), 1, "dilatation")
