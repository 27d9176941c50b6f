import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from glacierseg.evaluate.buffers import boundary_rim

TRUTHS = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.sampled_from([0, 1, 1, 0, 255])
)


def rim_by_geometry(truth, pixel_size_m, buffer_m):
    """The same by measuring from every pixel centre to every edge between 0 and 1."""
    width_m, height_m = pixel_size_m
    edges = []
    for row, column in np.ndindex(*truth.shape):
        for down, right in ((1, 0), (0, 1)):
            if row + down < truth.shape[0] and column + right < truth.shape[1]:
                pair = {int(truth[row, column]), int(truth[row + down, column + right])}
                if pair == {0, 1}:
                    start = ((column + right) * width_m, (row + down) * height_m)
                    end = ((column + 1) * width_m, (row + 1) * height_m)
                    edges.append(shapely.LineString([start, end]))
    if not edges:
        return np.zeros(truth.shape, bool)
    rows, columns = np.indices(truth.shape)
    centres = shapely.points((columns + 0.5) * width_m, (rows + 0.5) * height_m)
    return shapely.distance(centres, shapely.multilinestrings(edges)) <= buffer_m + 1e-6


@settings(max_examples=150, deadline=None)
@given(
    TRUTHS,
    st.sampled_from([(10.0, 10.0), (26.6, 30.9), (5.0, 20.0)]),
    st.sampled_from([2.0, 5.0, 10.0, 15.0, 20.0, 33.3, 70.0]),
)
def test_the_rim_is_what_geometry_says(truth, pixel_size_m, buffer_m):
    expected = rim_by_geometry(truth, pixel_size_m, buffer_m)
    np.testing.assert_array_equal(boundary_rim(truth, pixel_size_m, buffer_m), expected)


@pytest.mark.parametrize(("buffer_m", "columns"), [(4.9, 0), (5, 2), (10, 2), (15, 4), (20, 4), (25, 6)])
def test_rim_of_a_straight_boundary(buffer_m, columns):
    truth = np.zeros((6, 20), np.uint8)
    truth[:, 10:] = 1
    rim = boundary_rim(truth, (10, 10), buffer_m)
    assert rim.sum(axis=1).tolist() == [columns] * 6
    assert rim[:, 10 - columns // 2 : 10 + columns // 2].all()


def test_a_narrow_buffer_holds_no_centre_of_a_coarse_pixel():
    truth = np.eye(5, dtype=np.uint8)
    assert not boundary_rim(truth, (30, 30), 10).any()
    assert boundary_rim(truth, (30, 30), 15).any()


def test_a_pixel_side_a_hair_above_its_nominal_length_still_counts():
    truth = np.repeat(np.array([[0, 0, 1, 1]], np.uint8), 3, axis=0)
    assert boundary_rim(truth, (10.000000001, 10.000000001), 15).all()


def test_neither_the_scene_border_nor_ignored_pixels_are_a_boundary():
    assert not boundary_rim(np.ones((4, 4), np.uint8), (10, 10), 100).any()
    assert not boundary_rim(np.array([[1, 255, 0]], np.uint8), (10, 10), 100).any()


def test_no_pixels_make_no_rim():
    assert boundary_rim(np.zeros((0, 3), np.uint8), (10, 10), 10).shape == (0, 3)
