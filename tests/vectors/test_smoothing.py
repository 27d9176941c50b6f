from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely import Polygon

from glacierseg.vectors.smoothing import Rings, smooth_outlines
from glacierseg.vectors.trace import trace_polygons
from tests.vectors.masks import corner_cases, masks


def check_smooth(mask: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any]]:
    jagged = trace_polygons(mask)
    smooth = smooth_outlines(jagged)
    assert len(smooth) == len(jagged)
    assert shapely.is_valid(smooth).all()
    # Every single ring keeps its area, so none is lost.
    for jagged_rings, smooth_rings in zip(
        map(shapely.get_rings, jagged), map(shapely.get_rings, smooth), strict=True
    ):
        before, after = (shapely.area(shapely.polygons(rings)) for rings in (jagged_rings, smooth_rings))
        np.testing.assert_allclose(before, after, rtol=1e-9)
    if len(smooth):
        # No two of them even touch.
        pairs = shapely.STRtree(smooth).query(smooth, predicate="intersects")
        assert pairs.shape[1] == len(smooth)
        np.testing.assert_array_equal(rasterize(smooth, mask.shape, dtype="uint8"), mask == 1)
    return jagged, smooth


@settings(max_examples=300, deadline=None)
@given(masks())
def test_smooth_outlines_are_valid_apart_and_of_the_same_area_and_pixels(mask: NDArray[np.uint8]) -> None:
    check_smooth(mask)


@pytest.mark.parametrize("case", corner_cases())
def test_shapes_that_meet_at_corners_stay_apart(case: str) -> None:
    check_smooth(corner_cases()[case])


def test_a_smooth_outline_stays_within_a_pixel_of_the_jagged_one() -> None:
    rows, columns = np.indices((80, 80))
    jagged, smooth = check_smooth((np.hypot(rows - 40, (columns - 40) * 0.7) < 25).astype(np.uint8))
    assert shapely.hausdorff_distance(jagged, smooth)[0] < 0.75
    assert len(smooth[0].exterior.coords) < 4 * len(jagged[0].exterior.coords)


@pytest.mark.parametrize("slope", [0, 0.1, 0.2, 0.35, 0.5, 1])
def test_stairs_become_ramps(slope: float) -> None:
    rows, columns = np.indices((60, 60))
    jagged, smooth = check_smooth((rows > 15 + slope * (columns - 10)).astype(np.uint8))
    # Along the slope, away from the corners of the scene, the true edge is a straight line.
    line = shapely.LineString([(0, 15 + slope * -10), (60, 15 + slope * 50)])
    window = shapely.box(8, 0, 52, 58)

    def turning(polygon: Polygon) -> np.float64:
        edge = polygon.exterior.intersection(window).intersection(line.buffer(2))
        parts = [np.array(part.coords) for part in shapely.get_parts(shapely.line_merge(edge))]
        angles = [np.unwrap(np.arctan2(*np.diff(part, axis=0).T)) for part in parts]
        result: np.float64 = sum(np.abs(np.diff(angle)).sum() for angle in angles)
        return result

    assert turning(smooth[0]) <= 0.45 * turning(jagged[0])


def test_no_outlines_give_none() -> None:
    assert len(smooth_outlines(trace_polygons(np.zeros((3, 3), np.uint8)))) == 0


@settings(deadline=None)
@given(masks().filter(lambda mask: (mask == 1).any()))
def test_taking_polygons_apart_loses_nothing(mask: NDArray[np.uint8]) -> None:
    polygons = trace_polygons(mask)
    rings = Rings.of(polygons)
    assert shapely.equals_identical(rings.to_polygons(), polygons).all()
    expected = shapely.area(shapely.polygons(shapely.get_rings(polygons)))
    np.testing.assert_array_equal(np.abs(rings.areas), expected)
    assert rings.sizes.sum() == len(rings.points)


def test_following_goes_around_each_ring() -> None:
    square = shapely.box(0, 0, 9, 9).difference(shapely.box(2, 2, 4, 4))
    rings = Rings.of(np.array([square, shapely.box(20, 0, 21, 1)]))
    assert rings.following.tolist() == [1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8]
    assert rings.polygons.tolist() == [0, 2, 3]
    assert rings.by_point(np.array([5, 6, 7])).tolist() == [5] * 4 + [6] * 4 + [7] * 4


def test_areas_lose_no_digits_far_from_the_origin() -> None:
    rings = Rings.of(np.array([shapely.box(5e6, 4e6, 5e6 + 1, 4e6 + 1)]))
    np.testing.assert_array_equal(np.abs(rings.areas), [1])
