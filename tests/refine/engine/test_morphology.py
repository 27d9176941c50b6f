import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage import morphology

from glacierseg.refine.engine.bits import pack, unpack
from glacierseg.refine.engine.majority import majority
from glacierseg.refine.engine.morphology import (
    boundary_rim,
    close,
    diamond,
    dilate,
    ellipse,
    erode,
    kernel_of,
    open_,
)
from tests.refine import opencv_steps
from tests.refine.engine.masks import ADVERSARIAL, wide_masks


@st.composite
def elements(draw: st.DrawFn) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Structuring elements of any form, with gaps and longer than a word too, and an anchor in them."""
    shape = (draw(st.integers(1, 9)), draw(st.one_of(st.integers(1, 9), st.integers(60, 140))))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    element = (random.random(shape) < draw(st.sampled_from([0.3, 0.8, 1.0]))).astype(np.uint8)
    element[random.integers(shape[0]), random.integers(shape[1])] = 1
    return element, (draw(st.integers(0, shape[1] - 1)), draw(st.integers(0, shape[0] - 1)))


def check_all_four(mask: NDArray[np.uint8], element: NDArray[np.uint8], anchor: tuple[int, int]) -> None:
    packed, kernel = pack(mask), kernel_of(element, anchor)
    opposite = (element.shape[1] - 1 - anchor[0], element.shape[0] - 1 - anchor[1])
    turned = np.ascontiguousarray(element[::-1, ::-1])
    np.testing.assert_array_equal(unpack(dilate(packed, kernel)), cv2.dilate(mask, element, anchor=anchor))
    # OpenCV's own border is 255, which shows where the whole element lies beyond it.
    eroded = np.minimum(cv2.erode(mask, element, anchor=anchor), 1)
    np.testing.assert_array_equal(unpack(erode(packed, kernel)), eroded)
    pad = max(element.shape) + 1
    for ours, beyond, first, second in (
        (close, 0, cv2.dilate, cv2.erode),
        (open_, 1, cv2.erode, cv2.dilate),
    ):
        around = np.pad(mask, pad, constant_values=beyond)
        # By OpenCV's convention an element undoes its own shift when it is turned about its anchor.
        expected = second(first(around, element, anchor=anchor), turned, anchor=opposite)[pad:-pad, pad:-pad]
        np.testing.assert_array_equal(unpack(ours(packed, kernel)), expected)


@settings(max_examples=200, deadline=None)
@given(wide_masks(), elements())
def test_any_element_works_as_in_opencv(
    mask: NDArray[np.uint8], element_and_anchor: tuple[NDArray[np.uint8], tuple[int, int]]
) -> None:
    check_all_four(mask, *element_and_anchor)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_hard_masks_by_disks(name: str) -> None:
    for diameter in (1, 2, 3, 4, 5, 9, 70):
        check_all_four(
            ADVERSARIAL[name], opencv_steps.disk(diameter, diameter), (diameter // 2, diameter // 2)
        )


def test_an_element_without_pixels_reaches_nothing() -> None:
    mask = pack(ADVERSARIAL["rings"])
    nothing = kernel_of(np.zeros((3, 3), np.uint8), (1, 1))
    assert not dilate(mask, nothing).any()
    assert erode(mask, nothing).count() == ADVERSARIAL["rings"].size


@pytest.mark.parametrize("radius", [0, 1, 2, 5, 40])
def test_a_diamond_is_repeated_dilation_by_a_cross(radius: int) -> None:
    point = np.zeros((91, 91), np.uint8)
    point[45, 45] = 1
    expected = morphology.diamond(radius, dtype=np.uint8)
    found = unpack(dilate(pack(point), diamond(radius)))
    np.testing.assert_array_equal(found[45 - radius : 46 + radius, 45 - radius : 46 + radius], expected)
    assert found.sum() == expected.sum()


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (2, 2), (3, 1), (4, 7), (9, 9)])
def test_an_ellipse_is_symmetric(columns: int, rows: int) -> None:
    point = np.zeros((31, 31), np.uint8)
    point[15, 15] = 1
    # Dilating a pixel shows the element turned by 180 degrees, which a symmetric one is not changed by.
    found = unpack(dilate(pack(point), ellipse(columns, rows)))
    top, left = np.argwhere(found).min(axis=0)
    np.testing.assert_array_equal(
        found[top : top + rows, left : left + columns], opencv_steps.disk(columns, rows)
    )


@given(wide_masks(ignored=True), st.integers(0, 5))
def test_majority_is_opencvs_median(mask: NDArray[np.uint8], iterations: int) -> None:
    smoothed = majority(pack(mask), iterations, pack(mask, 255))
    expected = opencv_steps.majority(mask, iterations)
    np.testing.assert_array_equal(unpack(smoothed, pack(mask, 255)), expected)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_majority_of_hard_masks(name: str) -> None:
    for iterations in (1, 2, 30):
        np.testing.assert_array_equal(
            unpack(majority(pack(ADVERSARIAL[name]), iterations)),
            opencv_steps.majority(ADVERSARIAL[name], iterations),
        )


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
