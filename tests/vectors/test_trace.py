from typing import Any

import numpy as np
import pytest
import rasterio.features
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from rasterio.features import rasterize
from scipy import ndimage
from shapely import Polygon

from glacierseg.vectors.trace import contour_strips, to_crs, trace_polygons, trace_strips
from tests.vectors.masks import corner_cases, masks


def check_polygons(mask: NDArray[np.uint8], polygons: NDArray[Any]) -> None:
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


def polygons_of_gdal(mask: NDArray[np.uint8]) -> list[Polygon]:
    glacier = mask == 1
    shapes = rasterio.features.shapes(glacier.view(np.uint8), mask=glacier, connectivity=4)
    rings = [geometry["coordinates"] for geometry, _ in shapes]
    return [shapely.normalize(shapely.Polygon(ring[0], ring[1:])) for ring in rings]


def check_against_gdal(mask: NDArray[np.uint8]) -> None:
    ours = trace_polygons(mask)
    assert set(shapely.normalize(ours)) == set(polygons_of_gdal(mask))
    for rows in (1, 2, 5):
        strips = (mask[top : top + rows] for top in range(0, len(mask), rows))
        outlines = trace_strips(strips, mask.shape[1])
        assert shapely.equals_identical(outlines.part(0, len(outlines)), ours).all()
        parts = [*outlines.chunks(points=20), np.array([], dtype=object)]
        assert shapely.equals_identical(np.concatenate(parts), ours).all()


@settings(max_examples=300, deadline=None)
@given(masks())
def test_polygons_are_those_of_gdal_wherever_strips_begin(mask: NDArray[np.uint8]) -> None:
    check_against_gdal(mask)


@pytest.mark.parametrize("case", corner_cases())
def test_polygons_of_corner_cases_are_those_of_gdal(case: str) -> None:
    check_against_gdal(corner_cases()[case])


def test_a_spiral_and_a_large_board() -> None:
    spiral = np.zeros((65, 65), np.uint8)
    for ring in range(0, 32, 4):
        spiral[ring, ring : 65 - ring] = spiral[64 - ring, ring : 65 - ring] = 1
        spiral[ring : 65 - ring, 64 - ring] = spiral[ring + 2 : 65 - ring, ring] = 1
        spiral[ring + 2, ring : ring + 5] = 1
    check_against_gdal(spiral)
    check_against_gdal(np.uint8(1) - spiral)
    board = (np.indices((300, 300)).sum(axis=0) % 2).astype(np.uint8)
    assert len(trace_polygons(board)) == 45_000
    check_against_gdal(board[:40, :33])


def test_more_corners_than_there_is_room_for_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glacierseg.vectors.trace._LEAST_ROOM", 1)
    noise = np.random.default_rng(5).integers(0, 2, (500, 70), np.uint8)
    check_against_gdal(noise)


def test_exteriors_run_counterclockwise_on_a_map_and_holes_clockwise() -> None:
    moved = to_crs(trace_polygons(corner_cases()["nested"]), Affine(10, 0, 0, 0, -10, 0))
    for polygon in moved:
        assert polygon.exterior.is_ccw
        assert not any(ring.is_ccw for ring in polygon.interiors)


@settings(max_examples=150, deadline=None)
@given(masks())
def test_polygons_are_the_parts_of_the_mask(mask: NDArray[np.uint8]) -> None:
    check_polygons(mask, trace_polygons(mask))


@pytest.mark.parametrize("case", corner_cases())
def test_polygons_of_shapes_that_meet_at_corners(case: str) -> None:
    check_polygons(corner_cases()[case], trace_polygons(corner_cases()[case]))


def test_a_hole_that_touches_the_outside_at_a_corner_is_a_hole() -> None:
    (polygon,) = trace_polygons(corner_cases()["pinched"])
    assert len(polygon.interiors) == 1


@pytest.mark.parametrize("value", [0, 255])
def test_a_mask_without_glacier_has_no_polygons(value: int) -> None:
    assert len(trace_polygons(np.full((4, 5), value, np.uint8))) == 0


def test_the_largest_comes_first_and_equal_ones_from_the_upper_left() -> None:
    mask = np.zeros((9, 9), np.uint8)
    mask[7, 7] = mask[7, 1] = mask[1, 5] = 1
    mask[4, 2:5] = 1
    corners = [tuple(map(int, polygon.bounds[:2])) for polygon in trace_polygons(mask)]
    assert corners == [(2, 4), (5, 1), (1, 7), (7, 7)]


def test_polygons_move_to_the_coordinates_of_a_turned_grid() -> None:
    transform = Affine.translation(5e5, 4e6) * Affine.rotation(30) * Affine.scale(10, -20)
    polygons = trace_polygons(corner_cases()["nested"])
    moved = to_crs(polygons, transform)
    assert shapely.is_valid(moved).all()
    np.testing.assert_allclose(shapely.area(moved), shapely.area(polygons) * 200, rtol=1e-9)
    expected = [transform * tuple(corner) for corner in shapely.get_coordinates(polygons)]
    np.testing.assert_allclose(shapely.get_coordinates(moved), expected)


VALUES = st.sampled_from(list(np.array([0, 0.25, 0.49999997, 0.5, 0.50000006, 0.75, 1, np.nan], np.float32)))


def check(values: NDArray[np.float32], threshold: float = 0.5) -> NDArray[Any]:
    width = values.shape[1]
    polygons = contour_strips([values], width, threshold)
    assert shapely.is_valid(polygons).all()
    inside = np.zeros(values.shape, bool)
    if len(polygons):
        pairs = shapely.STRtree(polygons).query(polygons, predicate="intersects")
        assert pairs.shape[1] == len(polygons)
        rows, columns = np.indices(values.shape)
        centres = shapely.points(columns.ravel() + 0.5, rows.ravel() + 0.5)
        hits = shapely.STRtree(polygons).query(centres, predicate="within")[0]
        inside.flat[hits] = True
    np.testing.assert_array_equal(inside, np.nan_to_num(values, nan=0) >= np.float32(threshold))
    for step in (1, 3):
        cut = contour_strips(
            [values[top : top + step] for top in range(0, len(values), step)], width, threshold
        )
        assert len(cut) == len(polygons)
        for one, other in zip(_sorted(cut), _sorted(polygons), strict=True):
            assert shapely.equals_exact(one, other, tolerance=1e-9, normalize=True)
    return polygons


def _sorted(polygons: NDArray[Any]) -> NDArray[Any]:
    rounded = shapely.bounds(polygons).round(6)
    return polygons[np.lexsort(np.column_stack([rounded, shapely.area(polygons).round(6)]).T)]


@settings(max_examples=200, deadline=None)
@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=VALUES))
def test_contours_hold_the_centres_of_the_pixels_of_the_mask(values: NDArray[np.float32]) -> None:
    check(values)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 0.9))
def test_contours_of_smooth_fields(seed: int, threshold: float) -> None:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).random((40, 30)), 1.5)
    check(((field - field.min()) / np.ptp(field)).astype(np.float32), threshold)


def test_a_disk_is_found_to_a_hundredth_of_a_pixel() -> None:
    rows, columns = np.indices((60, 60))
    distance = np.hypot(rows + 0.5 - 30, columns + 0.5 - 30)
    (disk,) = check(np.clip(0.5 + (20 - distance) / 10, 0, 1).astype(np.float32))
    radii = np.hypot(*(shapely.get_coordinates(disk) - 30).T)
    np.testing.assert_allclose(radii, 20, atol=0.01)


def test_nodata_and_the_border_end_an_outline_at_the_pixel_edge() -> None:
    values = np.ones((6, 8), np.float32)
    values[:, 5:] = np.nan
    (polygon,) = check(values)
    assert polygon.bounds == pytest.approx((0, 0, 5, 6), abs=1e-6)


@pytest.mark.parametrize("value", [0, np.nan])
def test_nothing_gives_nothing(value: float) -> None:
    assert len(contour_strips([np.full((3, 4), value, np.float32)], 4)) == 0
