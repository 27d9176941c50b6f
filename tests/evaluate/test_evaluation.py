import json
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from glacierseg.errors import GridMismatchError, RequestError, TruthError
from glacierseg.evaluate.counts import Counts
from glacierseg.evaluate.evaluation import boundary_rims, evaluate_masks
from tests.helpers import present


def disks() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rows, columns = np.indices((60, 60))
    truth = (np.hypot(rows - 30, columns - 30) < 20).astype(np.uint8)
    predicted = (np.hypot(rows - 31, columns - 31) < 20).astype(np.uint8)
    return predicted, truth


def test_counts_areas_and_buffers_belong_together() -> None:
    predicted, truth = disks()
    truth[:3] = 255
    result = evaluate_masks(predicted, truth, (10, 20), buffers_m=(20, 40))
    assert result.counts.total == 57 * 60
    areas = present(result.areas)
    assert areas.truth_km2 == pytest.approx((truth == 1).sum() * 200 / 1e6)
    assert areas.predicted_km2 == pytest.approx((predicted[3:] == 1).sum() * 200 / 1e6)
    assert [buffer.buffer_m for buffer in result.buffers] == [20, 40]
    # A shift by one pixel is within every rim of 20 m around 10 x 20 m pixels, and rims grow.
    assert result.buffers[0].scores.iou > result.scores.iou
    assert result.buffers[1].scores.iou == 1
    assert result.counts.total > result.buffers[0].counts.total > result.buffers[1].counts.total


def test_the_rim_follows_the_truth_and_not_the_prediction() -> None:
    truth = np.zeros((20, 20), np.uint8)
    truth[:, :5] = 1
    predicted = np.zeros_like(truth)
    predicted[:, 12:] = 1
    result = evaluate_masks(predicted, truth, 10, buffers_m=[10])
    assert result.buffers[0].counts == Counts(tp=0, fp=8 * 20, fn=4 * 20, tn=6 * 20)


def test_without_pixel_size_there_are_scores_only() -> None:
    predicted, truth = disks()
    result = evaluate_masks(predicted, truth)
    assert result.areas is None
    assert result.buffers == ()
    assert "truth_km2" not in result.to_dict()


def test_the_record_is_flat_and_fit_for_json() -> None:
    predicted, truth = disks()
    result = evaluate_masks(predicted, truth, 10, buffers_m=(10, 12.5))
    record = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert record["iou"] == result.scores.iou
    assert record["confusion_matrix"] == [
        [result.counts.tn, result.counts.fp],
        [result.counts.fn, result.counts.tp],
    ]
    assert record["iou_buffer_10m"] == result.buffers[0].scores.iou
    assert record["kappa_buffer_12.5m"] == result.buffers[1].scores.kappa
    assert record["pixels_buffer_10m"] == result.buffers[0].counts.total
    assert not any(isinstance(value, dict) for value in record.values())


def test_undefined_scores_are_null_in_json() -> None:
    empty = np.full((3, 3), 255, np.uint8)
    record = evaluate_masks(empty, empty, 10, buffers_m=[10]).to_dict()
    assert record["iou"] is None
    assert record["iou_buffer_10m"] is None
    assert record["tp"] == record["pixels_buffer_10m"] == 0
    json.dumps(record, allow_nan=False)


def test_a_rim_that_swallows_everything_leaves_undefined_scores() -> None:
    truth = np.array([[0, 1]], np.uint8)
    buffer = evaluate_masks(truth, truth, 10, buffers_m=[10]).buffers[0]
    assert buffer.counts == Counts()
    assert np.isnan(buffer.scores.iou)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"buffers_m": (10,)}, "give pixel_size_m"),
        ({"buffers_m": (10, 0), "pixel_size_m": 10}, "more than 0 m"),
        ({"buffers_m": (float("nan"),), "pixel_size_m": 10}, "more than 0 m"),
        ({"pixel_size_m": (10, 0)}, "larger than 0 m"),
    ],
)
def test_senseless_requests_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        evaluate_masks(*disks(), **arguments)


def test_masks_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(GridMismatchError):
        evaluate_masks(np.zeros((2, 2)), np.zeros((2, 3)))
    with pytest.raises(TruthError):
        evaluate_masks(np.full((2, 2), 3), np.zeros((2, 2)))


TRUTHS = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.sampled_from([0, 1, 1, 0, 255])
)


def rim_by_geometry(
    truth: NDArray[np.uint8], pixel_size_m: tuple[float, float], buffer_m: float
) -> NDArray[np.bool_]:
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
    return np.asarray(shapely.distance(centres, shapely.multilinestrings(edges)) <= buffer_m + 1e-6)


@settings(max_examples=150, deadline=None)
@given(
    TRUTHS,
    st.sampled_from([(10.0, 10.0), (26.6, 30.9), (5.0, 20.0)]),
    st.sampled_from([2.0, 5.0, 10.0, 15.0, 20.0, 33.3, 70.0]),
)
def test_the_rim_is_what_geometry_says(
    truth: NDArray[np.uint8], pixel_size_m: tuple[float, float], buffer_m: float
) -> None:
    expected = rim_by_geometry(truth, pixel_size_m, buffer_m)
    np.testing.assert_array_equal(boundary_rims(truth, pixel_size_m, [buffer_m])[0], expected)


@pytest.mark.parametrize(("buffer_m", "columns"), [(4.9, 0), (5, 2), (10, 2), (15, 4), (20, 4), (25, 6)])
def test_rim_of_a_straight_boundary(buffer_m: float, columns: int) -> None:
    truth = np.zeros((6, 20), np.uint8)
    truth[:, 10:] = 1
    rim = boundary_rims(truth, (10, 10), [buffer_m])[0]
    assert rim.sum(axis=1).tolist() == [columns] * 6
    assert rim[:, 10 - columns // 2 : 10 + columns // 2].all()


def test_a_narrow_buffer_holds_no_centre_of_a_coarse_pixel() -> None:
    truth = np.eye(5, dtype=np.uint8)
    assert not boundary_rims(truth, (30, 30), [10])[0].any()
    assert boundary_rims(truth, (30, 30), [15])[0].any()


def test_a_pixel_side_a_hair_above_its_nominal_length_still_counts() -> None:
    truth = np.repeat(np.array([[0, 0, 1, 1]], np.uint8), 3, axis=0)
    assert boundary_rims(truth, (10.000000001, 10.000000001), [15])[0].all()


def test_neither_the_scene_border_nor_ignored_pixels_are_a_boundary() -> None:
    assert not boundary_rims(np.ones((4, 4), np.uint8), (10, 10), [100])[0].any()
    assert not boundary_rims(np.array([[1, 255, 0]], np.uint8), (10, 10), [100])[0].any()


def test_no_pixels_make_no_rim() -> None:
    assert boundary_rims(np.zeros((0, 3), np.uint8), (10, 10), [10])[0].shape == (0, 3)
