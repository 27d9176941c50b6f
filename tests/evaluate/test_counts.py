import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn.metrics import confusion_matrix

from glacierseg.errors import GridMismatchError, TruthError
from glacierseg.evaluate.counts import Counts, count

MASK_VALUES = st.sampled_from([0, 1, 255])
PAIRS = array_shapes(min_dims=2, max_dims=2, max_side=12).flatmap(
    lambda shape: st.tuples(*[arrays(np.uint8, shape, elements=MASK_VALUES)] * 2)
)


@given(PAIRS)
def test_counts_are_those_of_sklearn_without_ignored_pixels(pair):
    predicted, truth = pair
    known = (predicted != 255) & (truth != 255)
    if known.any():
        expected = confusion_matrix(truth[known], predicted[known], labels=[0, 1])
    else:
        expected = np.zeros((2, 2), int)
    counts = count(predicted, truth)
    assert [[counts.tn, counts.fp], [counts.fn, counts.tp]] == expected.tolist()
    assert counts.total == known.sum()
    assert all(type(value) is int for value in (counts.tp, counts.fp, counts.fn, counts.tn))


@given(PAIRS, st.integers(1, 5))
def test_counts_add_up_over_tiles(pair, side):
    predicted, truth = pair
    tiles = [
        (slice(row, row + side), slice(column, column + side))
        for row in range(0, truth.shape[0], side)
        for column in range(0, truth.shape[1], side)
    ]
    total = sum((count(predicted[tile], truth[tile]) for tile in tiles), Counts())
    assert total == count(predicted, truth)


def test_boolean_and_float_masks_count_as_well():
    truth = np.array([[0, 1, 1, 0]], np.uint8)
    assert count(np.array([[False, True, False, True]]), truth) == Counts(tp=1, fp=1, fn=1, tn=1)
    assert count(np.array([[0, 1, np.nan, 1]]), truth) == Counts(tp=1, fp=1, fn=0, tn=1)


def test_no_pixels_count_nothing():
    assert count(np.zeros((0, 4)), np.zeros((0, 4))) == Counts(0, 0, 0, 0)


def test_other_shapes_are_refused():
    with pytest.raises(GridMismatchError, match=r"\(2, 3\) does not fit truth of shape \(3, 2\)"):
        count(np.zeros((2, 3)), np.zeros((3, 2)))


@pytest.mark.parametrize(("predicted", "truth", "name"), [(2, 0, "predicted mask"), (0, 7, "truth")])
def test_other_values_are_refused(predicted, truth, name):
    with pytest.raises(TruthError, match=name):
        count(np.full((2, 2), predicted), np.full((2, 2), truth))
