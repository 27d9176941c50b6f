import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from rasterio.features import rasterize
from scipy import ndimage

from glacierseg.vectors.trace import to_crs, trace_polygons
from tests.vectors.masks import corner_cases, masks


def check_polygons(mask, polygons):
    """Polygons of this mask: one per 4-connected part, valid, of its area and holes, and apart."""
    labels, number = ndimage.label(mask == 1)
    assert len(polygons) == number
    assert shapely.is_valid(polygons).all()
    areas = np.bincount(labels.ravel())[1:]
    np.testing.assert_allclose(sorted(shapely.area(polygons)), sorted(areas), rtol=1e-9)
    if number:
        np.testing.assert_array_equal(rasterize(polygons, mask.shape, dtype="uint8"), mask == 1)
        united = shapely.union_all(polygons).area
        assert united == pytest.approx(areas.sum(), rel=1e-9)


@settings(max_examples=150, deadline=None)
@given(masks())
def test_polygons_are_the_parts_of_the_mask(mask):
    check_polygons(mask, trace_polygons(mask))


@pytest.mark.parametrize("case", corner_cases())
def test_polygons_of_shapes_that_meet_at_corners(case):
    check_polygons(corner_cases()[case], trace_polygons(corner_cases()[case]))


def test_a_hole_that_touches_the_outside_at_a_corner_is_a_hole():
    (polygon,) = trace_polygons(corner_cases()["pinched"])
    assert len(polygon.interiors) == 1


@pytest.mark.parametrize("value", [0, 255])
def test_a_mask_without_glacier_has_no_polygons(value):
    assert len(trace_polygons(np.full((4, 5), value, np.uint8))) == 0


def test_the_largest_comes_first_and_equal_ones_from_the_upper_left():
    mask = np.zeros((9, 9), np.uint8)
    mask[7, 7] = mask[7, 1] = mask[1, 5] = 1
    mask[4, 2:5] = 1
    corners = [tuple(map(int, polygon.bounds[:2])) for polygon in trace_polygons(mask)]
    assert corners == [(2, 4), (5, 1), (1, 7), (7, 7)]


def test_polygons_move_to_the_coordinates_of_a_turned_grid():
    transform = Affine.translation(5e5, 4e6) * Affine.rotation(30) * Affine.scale(10, -20)
    polygons = trace_polygons(corner_cases()["nested"])
    moved = to_crs(polygons, transform)
    assert shapely.is_valid(moved).all()
    np.testing.assert_allclose(shapely.area(moved), shapely.area(polygons) * 200, rtol=1e-9)
    expected = [transform * tuple(corner) for corner in shapely.get_coordinates(polygons)]
    np.testing.assert_allclose(shapely.get_coordinates(moved), expected)
