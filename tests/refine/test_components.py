import numpy as np
from hypothesis import given
from scipy import ndimage

from glacierseg.refine.components import label_fragments, label_holes
from tests.refine.masks import masks, plain_masks


@given(plain_masks())
def test_fragments_are_those_of_scipy(mask):
    for connectivity, structure in ((8, np.ones((3, 3))), (4, None)):
        _, number = ndimage.label(mask, structure)
        fragments = label_fragments(mask, connectivity)
        assert fragments.number == number
        assert fragments.areas_px.sum() == mask.sum()
        np.testing.assert_array_equal(fragments.where(fragments.areas_px > 0), mask)


@given(masks())
def test_a_hole_is_enclosed_by_glacier_alone(mask):
    holes = label_holes((mask == 1).astype(np.uint8), mask == 255)
    # Known background that no walk over what is not glacier can reach from outside or from the unknown.
    free = np.pad(mask != 1, 1, constant_values=True)
    start = np.pad(mask == 255, 1, constant_values=True)
    reached = ndimage.binary_propagation(start, mask=free)[1:-1, 1:-1]
    enclosed = (mask == 0) & ~reached
    np.testing.assert_array_equal(holes.where(holes.areas_px > 0), enclosed)
    assert holes.number == ndimage.label(enclosed)[1]


def test_background_leaks_out_through_ignored_pixels_but_not_across_corners():
    mask = np.ones((5, 5), np.uint8)
    mask[2, 2] = 0
    mask[1, 1] = 255
    assert label_holes((mask == 1).astype(np.uint8), mask == 255).number == 1
    mask[1, 2] = 255
    assert label_holes((mask == 1).astype(np.uint8), mask == 255).number == 0
