"""Confusion counts of a mask against the truth, and the scores that follow from them.

Counts are exact whole numbers, so they add up over tiles and regions.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from glacierseg.raster.grid import require_one_shape
from glacierseg.raster.truth import BACKGROUND, IGNORE, clean_mask

BOTH_WAYS = ("iou", "mean_iou", "f1", "mcc", "precision", "recall")
"""Scores that are also given with undefined pixels as background, see `undefined_as_background`."""
AS_BACKGROUND = "_undefined_as_background"
"""Ends the names of these scores."""
_CACHE_BYTES = 2**17
Number = TypeVar("Number", int, NDArray[np.float64])


@dataclass(frozen=True)
class Counts:
    """Pixels by predicted and true class, glacier being the positive one."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0

    @classmethod
    def of_row(cls, row: NDArray[np.int64]) -> "Counts":
        """Returns a row `(4,)` of a table of counts."""
        return cls(*row.tolist())

    @property
    def total(self) -> int:
        """All pixels that were compared."""
        return self.tp + self.fp + self.fn + self.tn

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(self.tp - other.tp, self.fp - other.fp, self.fn - other.fn, self.tn - other.tn)


def count(predicted: NDArray[Any], truth: NDArray[Any]) -> Counts:
    """Compares a mask with the truth pixel by pixel, leaving out those where either is 255."""
    return count_clean(*clean_pair(predicted, truth))


def clean_pair(predicted: NDArray[Any], truth: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Returns a mask and the truth as uint8 of 0, 1 and 255 after checking that they can be compared."""
    require_one_shape({"predicted mask": predicted.shape, "truth": truth.shape})
    return _clean(predicted, "predicted mask"), _clean(truth, "truth")


def undefined_as_background(predicted: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns a mask of 0, 1 and 255 with 0 for 255, as contests score maps of scenes with gaps."""
    return np.where(predicted == IGNORE, np.uint8(BACKGROUND), predicted)


def _clean(values: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Returns a mask as uint8; one that is already in order is passed on without a copy."""
    if values.dtype == np.bool_:
        return values.view(np.uint8)
    if values.dtype == np.uint8 and values.ndim == 2:
        # 255, 0 and 1 wrap around to 0, 1 and 2; whatever else there is lies above.
        one = np.uint8(1)
        if all((values[rows] + one).max(initial=0) <= 2 for rows in cache_strips(values.shape)):
            return values
    return clean_mask(values, name)


def count_clean(predicted: NDArray[np.uint8], truth: NDArray[np.uint8]) -> Counts:
    """Counts arrays that are known to have one shape and no values but 0, 1 and 255."""
    sums = np.zeros(4, np.int64)
    for rows in cache_strips(truth.shape):
        sums += [np.count_nonzero(layer.view(np.bool_)) for layer in _layers(predicted[rows], truth[rows])]
    both, found, glacier, known = (int(value) for value in sums)
    return Counts(both, found - both, glacier - both, known - found - glacier + both)


def _layers(predicted: NDArray[np.uint8], truth: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], ...]:
    """Returns 0 or 1 for glacier in both, in the prediction, in the truth, and for known in both."""
    # A mask of 255 sets every bit, so this is 0 or 1 only where both are known.
    known = ((predicted | truth) < 2).view(np.uint8)
    found, glacier = predicted & known, truth & known
    return found & glacier, found, glacier, known


def count_blocks(predicted: NDArray[np.uint8], truth: NDArray[np.uint8], block_px: int) -> NDArray[np.int64]:
    """Counts by square block, the last ones cut where the arrays end, in one pass.

    Returns:
        `(R, C, 4)`: tp, fp, fn and tn of each block; sums over blocks are the counts of the whole.
    """
    height, width = truth.shape
    columns = np.arange(0, width, block_px)
    table = np.zeros((-(-height // block_px), len(columns), 4), np.int64)
    for rows in cache_strips(truth.shape, block_px):
        # At most 255 rows of 0 and 1, so bytes hold their sums, and bytes are what processors add fastest.
        sums = [layer.sum(axis=0, dtype=np.uint8) for layer in _layers(predicted[rows], truth[rows])]
        both, all_found, all_glacier, all_known = np.add.reduceat(np.asarray(sums, np.int64), columns, axis=1)
        table[rows.start // block_px] += np.stack(
            [both, all_found - both, all_glacier - both, all_known - all_found - all_glacier + both], axis=1
        )
    return table


def cache_strips(shape: tuple[int, ...], block_px: int | None = None) -> Iterator[slice]:
    """Yields rows from top to bottom, few enough at a time to stay in the processor's cache.

    With `block_px` no strip reaches across a multiple of it.
    """
    height, width = shape[:2]
    at_once = min(max(_CACHE_BYTES // max(width, 1), 1), 255)
    top = 0
    while top < height:
        bottom = min(top + at_once, height)
        if block_px is not None:
            bottom = min(bottom, (top // block_px + 1) * block_px)
        yield slice(top, bottom)
        top = bottom


@dataclass(frozen=True)
class Scores:
    """Agreement of a mask with the truth, glacier being the positive class.

    With no pixel to compare, every score is NaN. Otherwise a ratio whose denominator is zero counts as 0, as
    scikit-learn has it with ``zero_division=0``: a region without any glacier, or a mask that finds none,
    must not raise an average. So where neither has glacier, overall accuracy and `iou_background` are
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
        mcc: Correlation of mask and truth (Matthews 1975), -1 to 1.
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


SCORE_NAMES = tuple(field.name for field in fields(Scores))


def scores_of(counts: Counts) -> Scores:
    """Returns the scores of confusion counts; sums and products are whole numbers, so no digit is lost."""
    if counts.total == 0:
        return Scores(*[math.nan] * len(SCORE_NAMES))
    return Scores(
        **score_formulas(counts.tp, counts.fp, counts.fn, counts.tn, ratio_or_zero, _root_of_product)
    )


def score_formulas(
    tp: Number,
    fp: Number,
    fn: Number,
    tn: Number,
    ratio: Callable[[Any, Any], Any],
    root_of_product: Callable[..., Any],
) -> dict[str, Any]:
    """The formula of each field of `Scores`, for whole numbers and for arrays of many counts alike.

    Kappa is written without its expected agreement: `2 (tp tn - fp fn) / ((tp + fp)(fp + tn) + (tp + fn)(fn +
    tn))`. `ratio` gives 0 where the denominator is 0.
    """
    iou, iou_background = ratio(tp, tp + fp + fn), ratio(tn, tn + fp + fn)
    covariance = tp * tn - fp * fn
    return {
        "overall_accuracy": ratio(tp + tn, tp + fp + fn + tn),
        "iou": iou,
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        "precision": ratio(tp, tp + fp),
        "recall": ratio(tp, tp + fn),
        "kappa": ratio(2 * covariance, (tp + fp) * (fp + tn) + (tp + fn) * (fn + tn)),
        "iou_background": iou_background,
        "mean_iou": (iou + iou_background) / 2,
        "mcc": ratio(covariance, root_of_product(tp + fp, tp + fn, tn + fp, tn + fn)),
    }


def _root_of_product(*factors: int) -> float:
    return math.sqrt(math.prod(factors))


def ratio_or_zero(part: float, whole: float) -> float:
    """Returns `part / whole`, and 0 where the whole is zero."""
    return part / whole if whole else 0.0
