"""Scores that follow from confusion counts."""

import math
from dataclasses import dataclass

from glacierseg.evaluate.counts import Counts


@dataclass(frozen=True)
class Scores:
    """Agreement of a mask with the truth, glacier being the positive class.

    With no pixel to compare, every score is NaN. Otherwise a ratio whose denominator is zero counts as 0, as
    scikit-learn has it with ``zero_division=0``: a region without any glacier, or a mask that finds none,
    must not raise an average. So where neither mask has glacier, overall accuracy and `iou_background` are
    1, `mean_iou` is 0.5 and all other scores are 0.

    Attributes:
        overall_accuracy: Share of pixels that agree.
        iou: Intersection over union of glacier, `tp / (tp + fp + fn)`.
        f1: Harmonic mean of precision and recall, `2 tp / (2 tp + fp + fn)`; the same as Dice.
        precision: Share of the predicted glacier that is true, `tp / (tp + fp)`.
        recall: Share of the true glacier that is found, `tp / (tp + fn)`.
        kappa: Agreement beyond chance (Cohen 1960), -1 to 1.
        iou_background: Intersection over union of what is not glacier.
        mean_iou: Mean of `iou` and `iou_background`.
        mcc: Correlation of the two masks (Matthews 1975), -1 to 1.
    """

    overall_accuracy: float
    iou: float
    f1: float
    precision: float
    recall: float
    kappa: float
    iou_background: float
    mean_iou: float
    mcc: float


def scores_of(counts: Counts) -> Scores:
    """Returns the scores of confusion counts.

    All sums and products are of whole numbers, so large scenes lose no digits. Kappa is written without
    its expected agreement: `2 (tp tn - fp fn) / ((tp + fp)(fp + tn) + (tp + fn)(fn + tn))`.
    """
    tp, fp, fn, tn = counts.tp, counts.fp, counts.fn, counts.tn
    if counts.total == 0:
        return Scores(*[math.nan] * 9)
    iou, iou_background = ratio(tp, tp + fp + fn), ratio(tn, tn + fp + fn)
    covariance = tp * tn - fp * fn
    chance = (tp + fp) * (fp + tn) + (tp + fn) * (fn + tn)
    spread = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return Scores(
        overall_accuracy=(tp + tn) / counts.total,
        iou=iou,
        f1=ratio(2 * tp, 2 * tp + fp + fn),
        precision=ratio(tp, tp + fp),
        recall=ratio(tp, tp + fn),
        kappa=ratio(2 * covariance, chance),
        iou_background=iou_background,
        mean_iou=(iou + iou_background) / 2,
        mcc=ratio(covariance, spread),
    )


def ratio(part: float, whole: float) -> float:
    """Returns `part / whole`, and 0 where the whole is zero."""
    return part / whole if whole else 0.0
