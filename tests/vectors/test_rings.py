import numpy as np
import shapely
from hypothesis import given, settings

from glacierseg.vectors.smoothing import Rings
from glacierseg.vectors.trace import trace_polygons
from tests.vectors.masks import masks


@settings(deadline=None)
@given(masks().filter(lambda mask: (mask == 1).any()))
def test_taking_polygons_apart_loses_nothing(mask):
    polygons = trace_polygons(mask)
    rings = Rings.of(polygons)
    assert shapely.equals_identical(rings.to_polygons(), polygons).all()
    expected = shapely.area(shapely.polygons(shapely.get_rings(polygons)))
    np.testing.assert_array_equal(np.abs(rings.areas), expected)
    assert rings.sizes.sum() == len(rings.points)


def test_following_goes_around_each_ring():
    square = shapely.box(0, 0, 9, 9).difference(shapely.box(2, 2, 4, 4))
    rings = Rings.of(np.array([square, shapely.box(20, 0, 21, 1)]))
    assert rings.following.tolist() == [1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8]
    assert rings.polygons.tolist() == [0, 2, 3]
    assert rings.by_point(np.array([5, 6, 7])).tolist() == [5] * 4 + [6] * 4 + [7] * 4


def test_areas_lose_no_digits_far_from_the_origin():
    rings = Rings.of(np.array([shapely.box(5e6, 4e6, 5e6 + 1, 4e6 + 1)]))
    np.testing.assert_array_equal(np.abs(rings.areas), [1])
