import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure

from glacierseg.refine.engine.bits import pack, unpack
from glacierseg.refine.engine.label import Parts, bridges, label, label_holes
from glacierseg.refine.engine.morphology import ellipse
from tests.refine import opencv_steps
from tests.refine.engine.masks import ADVERSARIAL, wide_masks
from tests.refine.masks import masks


def check_labels(mask: NDArray[np.uint8], connectivity: int, gaps: bool) -> None:
    """Ours are scikit-image's: both number parts by their first pixel, row by row."""
    pixels = 1 - mask if gaps else mask
    expected = measure.label(pixels, connectivity=1 if connectivity == 4 else 2)
    parts = label(pack(mask), connectivity, gaps=gaps)
    np.testing.assert_array_equal(parts.image(), expected)
    areas_px = np.bincount(expected.ravel())
    areas_px[0] = 0
    np.testing.assert_array_equal(parts.areas_px, areas_px)
    large = areas_px > np.median(areas_px)
    np.testing.assert_array_equal(unpack(parts.where(large)), large[expected])
    rim = np.ones(mask.shape, bool)
    rim[1:-1, 1:-1] = False
    np.testing.assert_array_equal(np.flatnonzero(parts.at_border()), np.setdiff1d(expected[rim], [0]))
    stripes = np.indices(mask.shape)[1] % 3 == 0
    np.testing.assert_array_equal(
        parts.count_inside(pack(stripes.astype(np.uint8))),
        np.bincount(expected[stripes & (expected > 0)], minlength=len(areas_px)),
    )


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("connectivity", [4, 8])
@given(wide_masks())
def test_parts_are_those_of_scikit_image(connectivity: int, gaps: bool, mask: NDArray[np.uint8]) -> None:
    check_labels(mask, connectivity, gaps)


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_hard_masks_are_labelled_too(connectivity: int, gaps: bool, name: str) -> None:
    for mask in (ADVERSARIAL[name], ADVERSARIAL[name].T, ADVERSARIAL[name][:, ::-1]):
        check_labels(np.ascontiguousarray(mask), connectivity, gaps)


@given(wide_masks(ignored=True))
def test_holes_are_those_of_opencv(mask: NDArray[np.uint8]) -> None:
    labels, areas_px = opencv_steps.holes(mask)
    holes = label_holes(pack(mask), pack(mask, 255))
    np.testing.assert_array_equal(unpack(holes.where(holes.areas_px > 0)), (areas_px > 0)[labels])
    np.testing.assert_array_equal(np.sort(holes.areas_px), np.sort(areas_px))


def test_a_million_fragments() -> None:
    mask = np.zeros((2000, 2000), np.uint8)
    mask[::2, ::2] = 1
    parts = label(pack(mask))
    assert len(parts.areas_px) == 1_000_001
    assert (parts.areas_px[1:] == 1).all()
    assert len(label(pack(mask), gaps=True).areas_px) == 2


def holes_of(mask: NDArray[np.uint8]) -> Parts:
    return label_holes(pack(mask), pack(mask, 255))


@given(masks())
def test_a_hole_is_enclosed_by_glacier_alone(mask: NDArray[np.uint8]) -> None:
    holes = holes_of(mask)
    # Known background that no walk over what is not glacier can reach from outside or from the unknown.
    free = np.pad(mask != 1, 1, constant_values=True)
    start = np.pad(mask == 255, 1, constant_values=True)
    reached = ndimage.binary_propagation(start, mask=free)[1:-1, 1:-1]
    enclosed = (mask == 0) & ~reached
    np.testing.assert_array_equal(unpack(holes.where(holes.areas_px > 0)), enclosed)
    assert np.count_nonzero(holes.areas_px) == ndimage.label(enclosed)[1]


def test_background_leaks_out_through_ignored_pixels_but_not_across_corners() -> None:
    mask = np.ones((5, 5), np.uint8)
    mask[2, 2] = 0
    mask[1, 1] = 255
    assert np.count_nonzero(holes_of(mask).areas_px) == 1
    mask[1, 2] = 255
    assert np.count_nonzero(holes_of(mask).areas_px) == 0


def check(mask: NDArray[np.uint8], columns: int, rows: int) -> None:
    ignore = pack(mask, 255)
    added = bridges(label(pack(mask)), ellipse(columns + 1, rows + 1), ignore)
    expected = opencv_steps.merge(mask, columns, rows)
    np.testing.assert_array_equal(unpack(pack(mask) | added, ignore), expected)


@settings(max_examples=200)
@given(wide_masks(ignored=True), st.integers(0, 6), st.integers(1, 6))
def test_bridges_are_those_of_opencv(mask: NDArray[np.uint8], columns: int, rows: int) -> None:
    check(mask, columns, rows)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_bridges_of_hard_masks(name: str) -> None:
    for gap in (1, 2, 4, 80):
        check(ADVERSARIAL[name], gap, gap)
