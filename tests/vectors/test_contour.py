from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy import ndimage

from glacierseg.vectors.contour import contour_strips

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
