import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from tests.refine.array_steps import remove_fragments
from tests.refine.masks import EDGE_CASES, SIZES, masks


@given(masks(), SIZES, st.sampled_from([0, 0.0005, 0.003]), st.sampled_from([4, 8]))
def test_only_fragments_that_are_seen_whole_are_removed(
    mask: NDArray[np.uint8], size_m: tuple[float, float], min_area_km2: float, connectivity: int
) -> None:
    structure = np.ones((3, 3)) if connectivity == 8 else None
    labels, number = ndimage.label(mask == 1, structure)
    expected = remove_fragments(mask, size_m, min_area_km2, connectivity)
    unknown = np.pad(mask == 255, 1, constant_values=True)
    for label in range(1, number + 1):
        near = ndimage.binary_dilation(np.pad(labels == label, 1), structure)
        if (near & unknown).any():
            expected[labels == label] = 1
    result = remove_fragments(mask, size_m, min_area_km2, connectivity, keep_cut=True)
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(
        remove_fragments(result, size_m, min_area_km2, connectivity, keep_cut=True), result
    )


@pytest.mark.parametrize("case", EDGE_CASES)
def test_what_fills_the_scene_stays(case: str) -> None:
    mask = EDGE_CASES[case]
    np.testing.assert_array_equal(remove_fragments(mask, (10, 10), 99.0, keep_cut=True), mask)
