import json

import numpy as np
import pytest

from glacierseg.errors import GridMismatchError, RequestError, TruthError
from glacierseg.evaluate.counts import Counts
from glacierseg.evaluate.evaluation import evaluate_masks


def disks():
    rows, columns = np.indices((60, 60))
    truth = (np.hypot(rows - 30, columns - 30) < 20).astype(np.uint8)
    predicted = (np.hypot(rows - 31, columns - 31) < 20).astype(np.uint8)
    return predicted, truth


def test_counts_areas_and_buffers_belong_together():
    predicted, truth = disks()
    truth[:3] = 255
    result = evaluate_masks(predicted, truth, (10, 20), buffers_m=(20, 40))
    assert result.counts.total == 57 * 60
    assert result.areas.truth_km2 == pytest.approx((truth == 1).sum() * 200 / 1e6)
    assert result.areas.predicted_km2 == pytest.approx((predicted[3:] == 1).sum() * 200 / 1e6)
    assert [buffer.buffer_m for buffer in result.buffers] == [20, 40]
    # A shift by one pixel is within every rim of 20 m around 10 x 20 m pixels, and rims grow.
    assert result.buffers[0].scores.iou > result.scores.iou
    assert result.buffers[1].scores.iou == 1
    assert result.counts.total > result.buffers[0].counts.total > result.buffers[1].counts.total


def test_the_rim_follows_the_truth_and_not_the_prediction():
    truth = np.zeros((20, 20), np.uint8)
    truth[:, :5] = 1
    predicted = np.zeros_like(truth)
    predicted[:, 12:] = 1
    result = evaluate_masks(predicted, truth, 10, buffers_m=[10])
    assert result.buffers[0].counts == Counts(tp=0, fp=8 * 20, fn=4 * 20, tn=6 * 20)


def test_without_pixel_size_there_are_scores_only():
    predicted, truth = disks()
    result = evaluate_masks(predicted, truth)
    assert result.areas is None
    assert result.buffers == ()
    assert "truth_km2" not in result.to_dict()


def test_the_record_is_flat_and_fit_for_json():
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


def test_undefined_scores_are_null_in_json():
    empty = np.full((3, 3), 255, np.uint8)
    record = evaluate_masks(empty, empty, 10, buffers_m=[10]).to_dict()
    assert record["iou"] is None
    assert record["iou_buffer_10m"] is None
    assert record["tp"] == record["pixels_buffer_10m"] == 0
    json.dumps(record, allow_nan=False)


def test_a_rim_that_swallows_everything_leaves_undefined_scores():
    truth = np.array([[0, 1]], np.uint8)
    buffer = evaluate_masks(truth, truth, 10, buffers_m=[10]).buffers[0]
    assert buffer.counts == Counts()
    assert np.isnan(buffer.scores.iou)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"buffers_m": (10,)}, "give the pixel size"),
        ({"buffers_m": (10, 0), "pixel_size_m": 10}, "more than 0 m"),
        ({"buffers_m": (float("nan"),), "pixel_size_m": 10}, "more than 0 m"),
        ({"pixel_size_m": (10, 0)}, "larger than 0 m"),
    ],
)
def test_senseless_requests_are_refused(arguments, message):
    with pytest.raises(RequestError, match=message):
        evaluate_masks(*disks(), **arguments)


def test_masks_that_cannot_be_compared_are_refused():
    with pytest.raises(GridMismatchError):
        evaluate_masks(np.zeros((2, 2)), np.zeros((2, 3)))
    with pytest.raises(TruthError):
        evaluate_masks(np.full((2, 2), 3), np.zeros((2, 2)))
