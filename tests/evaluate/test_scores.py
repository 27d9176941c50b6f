import math
import warnings
from dataclasses import astuple
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from glacierseg.evaluate.counts import Counts
from glacierseg.evaluate.scores import scores_of

NUMBER = st.integers(0, 40)


@given(st.builds(Counts, NUMBER, NUMBER, NUMBER, NUMBER).filter(lambda counts: counts.total > 0))
def test_scores_are_those_of_sklearn(counts):
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


def test_without_pixels_every_score_is_nan():
    assert all(math.isnan(score) for score in astuple(scores_of(Counts())))


def test_without_any_glacier_nothing_is_flattered():
    scores = scores_of(Counts(tn=9))
    assert (scores.overall_accuracy, scores.iou_background, scores.mean_iou) == (1, 1, 0.5)
    assert (scores.iou, scores.f1, scores.precision, scores.recall, scores.kappa, scores.mcc) == (0,) * 6


def test_a_perfect_mask_scores_one_everywhere():
    assert set(astuple(scores_of(Counts(tp=3, tn=5)))) == {1.0}


def test_counts_of_a_continent_lose_no_digits():
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
