import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from glacierseg.errors import RequestError
from tests.refine.array_steps import smooth
from tests.refine.masks import EDGE_CASES, masks


@given(masks(), st.integers(1, 5))
def test_dilation_and_erosion_are_those_of_scipy(mask: NDArray[np.uint8], iterations: int) -> None:
    grown = ndimage.binary_dilation(mask == 1, iterations=iterations)
    expected = np.where(mask == 255, 255, grown)
    np.testing.assert_array_equal(smooth(mask, iterations, "dilation"), expected)
    # What is unknown and what lies beyond the border is not background, so nothing is eaten from there.
    left = ndimage.binary_erosion(mask != 0, iterations=iterations, border_value=1) & (mask == 1)
    expected = np.where(mask == 255, 255, left)
    np.testing.assert_array_equal(smooth(mask, iterations, "erosion"), expected)


@given(masks(ignored=False), st.integers(1, 4))
def test_eroding_glacier_is_growing_what_is_not(mask: NDArray[np.uint8], iterations: int) -> None:
    eroded = smooth(mask, iterations, "erosion")
    np.testing.assert_array_equal(1 - eroded, smooth(1 - mask, iterations, "dilation"))


def test_a_glacier_at_the_border_and_beside_unknown_ground_is_not_eroded_from_there() -> None:
    mask = np.zeros((9, 9), np.uint8)
    mask[:, :6] = 1
    mask[:, :2] = 255
    expected = mask.copy()
    expected[:, 4:6] = 0
    np.testing.assert_array_equal(smooth(mask, 2, "erosion"), expected)


@pytest.mark.parametrize("method", ["dilation", "erosion"])
@pytest.mark.parametrize("case", EDGE_CASES)
def test_every_mask_can_be_grown_and_shrunk_without_end(method: str, case: str) -> None:
    mask = EDGE_CASES[case]
    result = smooth(mask, 10**9, method)
    has = {"dilation": (mask == 1).any(), "erosion": not (mask == 0).any()}[method]
    np.testing.assert_array_equal(result, np.where(mask == 255, 255, int(has)))


def test_an_unknown_method_is_refused_with_a_suggestion() -> None:
    with pytest.raises(RequestError, match="did you mean 'dilation'"):
        smooth(np.zeros((3, 3), np.uint8), 1, "dilatation")


@pytest.mark.parametrize("iterations", [15, 16, 17, 40])
def test_many_passes_are_as_many_single_ones(iterations: int) -> None:
    mask = np.zeros((60, 90), np.uint8)
    mask[0, 89] = mask[31, 4] = 1
    mask[20:25, 30:50] = 255
    grown = ndimage.binary_dilation(mask == 1, iterations=iterations)
    np.testing.assert_array_equal(smooth(mask, iterations, "dilation"), np.where(mask == 255, 255, grown))


@pytest.mark.parametrize("method", ["closing", "opening"])
def test_more_passes_than_the_scene_has_pixels_change_no_more(method: str) -> None:
    mask = np.random.default_rng(0).integers(0, 2, (12, 9)).astype(np.uint8)
    np.testing.assert_array_equal(smooth(mask, 10**9, method), smooth(mask, 21, method))
    expected = smooth(np.pad(mask, 30, constant_values=int(method == "opening")), 35, method)[30:-30, 30:-30]
    np.testing.assert_array_equal(smooth(mask, 35, method), expected)
