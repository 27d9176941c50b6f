import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from glacierseg.refine.engine.bits import pack, unpack
from glacierseg.refine.engine.rim import boundary_rim
from tests.refine.engine.masks import wide_masks


def brute_rim(mask: NDArray[np.uint8], size_m: tuple[float, float], buffer_m: float) -> NDArray[np.bool_]:
    """Distance from every pixel centre to the nearest point of every edge, in metres."""
    height, width = mask.shape
    rim = np.zeros(mask.shape, bool)
    x = (np.arange(width) + 0.5) * size_m[0]
    y = (np.arange(height)[:, None] + 0.5) * size_m[1]
    for row, column in np.ndindex(mask.shape):
        for down, right in ((1, 0), (0, 1)):
            if row + down >= height or column + right >= width:
                continue
            pair = {int(mask[row, column]), int(mask[row + down, column + right])}
            if pair != {0, 1}:
                continue
            left, top = (column + right) * size_m[0], (row + down) * size_m[1]
            end_x, end_y = left + down * size_m[0], top + right * size_m[1]
            away = np.hypot(x - np.clip(x, left, end_x), y - np.clip(y, top, end_y))
            rim |= away <= buffer_m * (1 + 1e-9)
    return rim


@settings(max_examples=60, deadline=None)
@given(
    wide_masks(ignored=True),
    st.sampled_from([(10.0, 10.0), (30.0, 30.0), (26.6, 30.9), (20.0, 5.0)]),
    st.sampled_from([0.0, 4.9, 5.0, 10.0, 20.0, 33.0]),
)
def test_the_rim_is_what_distances_say(
    mask: NDArray[np.uint8], size_m: tuple[float, float], buffer_m: float
) -> None:
    mask = mask[:12, :70]
    rim = boundary_rim(pack(mask), size_m, buffer_m, pack(mask, 255))
    np.testing.assert_array_equal(unpack(rim), brute_rim(mask, size_m, buffer_m))


@pytest.mark.parametrize("width", [63, 64, 65])
def test_the_scene_border_is_no_boundary(width: int) -> None:
    assert not boundary_rim(pack(np.ones((5, width), np.uint8)), (10.0, 10.0), 50.0).any()
