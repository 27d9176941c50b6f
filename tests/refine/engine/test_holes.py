import numpy as np
from hypothesis import given
from numpy.typing import NDArray
from scipy import ndimage

from glacierseg.refine.engine.bits import pack, unpack
from glacierseg.refine.engine.holes import label_holes
from glacierseg.refine.engine.label import Parts
from tests.refine.masks import masks


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
