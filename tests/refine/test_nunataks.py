import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from glacierseg.errors import GridMismatchError
from tests.refine.array_steps import fill_holes
from tests.refine.masks import SIZES, masks


@given(masks(), SIZES, st.sampled_from([None, 0.0005]), st.integers(0, 2**32 - 1))
def test_gentle_holes_are_filled_one_by_one(
    mask: NDArray[np.uint8], size_m: tuple[float, float], max_area_km2: float | None, seed: int
) -> None:
    random = np.random.default_rng(seed)
    slope = random.uniform(0, 60, mask.shape)
    slope[random.random(mask.shape) < 0.2] = np.nan
    expected = mask.copy()
    labels, number = ndimage.label((fill_holes(mask, size_m, max_area_km2) == 1) & (mask == 0))
    for label in range(1, number + 1):
        known = slope[labels == label]
        known = known[np.isfinite(known)]
        if not known.size or known.mean() <= 30:
            expected[labels == label] = 1
    result = fill_holes(mask, size_m, max_area_km2, slope, 30)
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(fill_holes(result, size_m, max_area_km2, slope, 30), result)


def test_a_nunatak_stays_and_a_shadow_of_the_same_size_is_filled() -> None:
    mask = np.ones((30, 40), np.uint8)
    mask[5:10, 5:10] = mask[5:10, 25:30] = 0
    slope = np.full(mask.shape, 12.0)
    slope[:, 20:] = 55.0
    expected = mask.copy()
    expected[5:10, 5:10] = 1
    np.testing.assert_array_equal(fill_holes(mask, (10, 10), None, slope, 40), expected)


def test_a_hole_of_just_the_limit_and_one_without_any_slope_are_filled() -> None:
    mask = np.ones((9, 20), np.uint8)
    mask[3:6, 3:6] = mask[3:6, 13:16] = 0
    slope = np.full(mask.shape, 40.1)
    slope[:, 10:] = np.nan
    assert fill_holes(mask, (10, 10), None, slope, 40.1).all()
    assert fill_holes(mask, (10, 10), None, slope, 40.0).sum() == mask.size - 9


def test_a_slope_of_another_shape_is_refused() -> None:
    with pytest.raises(GridMismatchError, match="prepare align"):
        fill_holes(np.ones((3, 3), np.uint8), (10, 10), None, np.ones((3, 4)), 40)
