import math
import warnings
from dataclasses import astuple
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.metrics import confusion_matrix

from glacierseg.errors import GridMismatchError, TruthError
from glacierseg.evaluate.counts import Counts, count, scores_of

MASK_VALUES = st.sampled_from([0, 1, 255])
PAIRS = array_shapes(min_dims=2, max_dims=2, max_side=12).flatmap(
    lambda shape: st.tuples(*[arrays(np.uint8, shape, elements=MASK_VALUES)] * 2)
)


@given(PAIRS)
def test_counts_are_those_of_sklearn_without_ignored_pixels(
    pair: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
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
def test_counts_add_up_over_tiles(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]], side: int) -> None:
    predicted, truth = pair
    tiles = [
        (slice(row, row + side), slice(column, column + side))
        for row in range(0, truth.shape[0], side)
        for column in range(0, truth.shape[1], side)
    ]
    total = sum((count(predicted[tile], truth[tile]) for tile in tiles), Counts())
    assert total == count(predicted, truth)


def test_boolean_and_float_masks_count_as_well() -> None:
    truth = np.array([[0, 1, 1, 0]], np.uint8)
    assert count(np.array([[False, True, False, True]]), truth) == Counts(tp=1, fp=1, fn=1, tn=1)
    assert count(np.array([[0, 1, np.nan, 1]]), truth) == Counts(tp=1, fp=1, fn=0, tn=1)


def test_no_pixels_count_nothing() -> None:
    assert count(np.zeros((0, 4)), np.zeros((0, 4))) == Counts(0, 0, 0, 0)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(GridMismatchError, match=r"\(2, 3\) does not fit truth of shape \(3, 2\)"):
        count(np.zeros((2, 3)), np.zeros((3, 2)))


@pytest.mark.parametrize(("predicted", "truth", "name"), [(2, 0, "predicted mask"), (0, 7, "truth")])
def test_other_values_are_refused(predicted: int, truth: int, name: str) -> None:
    with pytest.raises(TruthError, match=name):
        count(np.full((2, 2), predicted), np.full((2, 2), truth))


NUMBER = st.integers(0, 40)


@given(st.builds(Counts, NUMBER, NUMBER, NUMBER, NUMBER).filter(lambda counts: counts.total > 0))
def test_scores_are_those_of_sklearn(counts: Counts) -> None:
    truth = np.repeat([1, 0, 1, 0], [counts.tp, counts.fp, counts.fn, counts.tn])
    predicted = np.repeat([1, 1, 0, 0], [counts.tp, counts.fp, counts.fn, counts.tn])
    scores = scores_of(counts)
    assert scores.overall_accuracy == pytest.approx(metrics.accuracy_score(truth, predicted), abs=1e-12)
    for ours, name in [
        (scores.iou, "jaccard_score"),
        (scores.f1, "f1_score"),
        (scores.precision, "precision_score"),
        (scores.recall, "recall_score"),
    ]:
        assert ours == pytest.approx(getattr(metrics, name)(truth, predicted, zero_division=0), abs=1e-12)
    background = metrics.jaccard_score(truth, predicted, pos_label=0, zero_division=0)
    assert scores.iou_background == pytest.approx(background, abs=1e-12)
    both = metrics.jaccard_score(truth, predicted, labels=[0, 1], average="macro", zero_division=0)
    assert scores.mean_iou == pytest.approx(both, abs=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about classes that do not occur
        mcc = metrics.matthews_corrcoef(truth, predicted)
        kappa = metrics.cohen_kappa_score(truth, predicted, labels=[0, 1])
    assert scores.mcc == pytest.approx(mcc, abs=1e-12)
    assert scores.kappa == pytest.approx(0 if math.isnan(kappa) else kappa, abs=1e-12)


def test_without_pixels_every_score_is_nan() -> None:
    assert all(math.isnan(score) for score in astuple(scores_of(Counts())))


def test_without_any_glacier_nothing_is_flattered() -> None:
    scores = scores_of(Counts(tn=9))
    assert (scores.overall_accuracy, scores.iou_background, scores.mean_iou) == (1, 1, 0.5)
    assert (scores.iou, scores.f1, scores.precision, scores.recall, scores.kappa, scores.mcc) == (0,) * 6


def test_a_perfect_mask_scores_one_everywhere() -> None:
    assert set(astuple(scores_of(Counts(tp=3, tn=5)))) == {1.0}


def test_counts_of_a_continent_lose_no_digits() -> None:
    # One wrong pixel in 4e15: products of such counts are far beyond 64 bits.
    many = 2 * 10**15
    scores = scores_of(Counts(tp=many, fp=1, fn=0, tn=many))
    agreed, expected = (
        Fraction(2 * many, 2 * many + 1),
        Fraction((many + 1) * many + many * (many + 1), (2 * many + 1) ** 2),
    )
    assert scores.kappa == float((agreed - expected) / (1 - expected)) < 1
    assert scores.precision == float(Fraction(many, many + 1)) < 1
    assert scores.recall == 1
