"""How far a glacier probability can be believed: counts that add up over tiles, and the scores from them.

The reliability here is that of the probability of *glacier*: of all pixels given about 0.7, about 70 % should
be glacier. (Guo et al. 2017 look at the probability of the winning class; for a map of one class the
probability itself is what areas are summed from.)
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import RequestError
from glacierseg.predict.calibration import LARGEST_LOGIT, sigmoid
from glacierseg.raster.grid import require_one_shape
from glacierseg.raster.truth import BACKGROUND, GLACIER

DIAGRAM_BINS = 15
UNIT = 2.0**-24
"""Probabilities and squared errors are rounded to whole multiples of this before they are summed."""

_STEP = 0.02
_LOGITS = np.linspace(-LARGEST_LOGIT, LARGEST_LOGIT, 2 * round(LARGEST_LOGIT / _STEP) + 1)
_DIAGRAM_EDGES = np.linspace(0, 1, DIAGRAM_BINS + 1)[1:-1]
# Fine in logits, because that is where a network is calibrated and where its probabilities crowd near 0
# and 1; the bounds of the diagram's bins are among them, so every fine bin lies within one of those.
_EDGES = np.union1d(sigmoid(_LOGITS[1:-1]), _DIAGRAM_EDGES)
_BINS = len(_EDGES) + 1


def _centres() -> NDArray[np.float64]:
    inner = np.log(_EDGES) - np.log1p(-_EDGES)
    ends = np.concatenate([_LOGITS[:1], inner, _LOGITS[-1:]])
    return np.asarray((ends[1:] + ends[:-1]) / 2)


BIN_LOGITS = _centres()
"""Middle of each fine bin as a logit."""


@dataclass(frozen=True, eq=False)
class ReliabilityCounts:
    """Pixels by probability and truth, in whole numbers, so that sums do not depend on their order.

    A fine bin is at most 0.02 logits wide. A bin holds its upper bound, the first one also 0.

    Attributes:
        background: True background pixels of each fine bin.
        glacier: True glacier pixels of each fine bin.
        probability: Sum of the probability of each fine bin, in `UNIT`.
        squared_error: Sum of `(probability - truth)^2` over all pixels, in `UNIT`.
    """

    background: NDArray[np.int64]
    glacier: NDArray[np.int64]
    probability: NDArray[np.int64]
    squared_error: int

    @classmethod
    def none(cls) -> "ReliabilityCounts":
        """Returns counts of no pixel."""
        nothing = np.zeros(_BINS, np.int64)
        return cls(nothing, nothing, nothing, 0)

    @property
    def pixels(self) -> int:
        """All pixels counted."""
        return int(self.background.sum() + self.glacier.sum())

    def __add__(self, other: "ReliabilityCounts") -> "ReliabilityCounts":
        return ReliabilityCounts(
            self.background + other.background,
            self.glacier + other.glacier,
            self.probability + other.probability,
            self.squared_error + other.squared_error,
        )


@dataclass(frozen=True)
class ReliabilityBin:
    """One bar of a reliability diagram.

    Attributes:
        lower: Where the bin begins; it does not belong to it, but for 0.
        upper: Largest probability of the bin.
        pixels: Pixels in it.
        confidence: Their mean probability, NaN without pixels.
        glacier_share: Share of them that is glacier, NaN without pixels.
    """

    lower: float
    upper: float
    pixels: int
    confidence: float
    glacier_share: float


@dataclass(frozen=True)
class Reliability:
    """How well probabilities agree with what is there; all NaN without a pixel.

    Attributes:
        pixels: Pixels counted.
        ece: Expected calibration error: mean over the pixels of |confidence - glacier share| of their bin, 15
            bins of equal width (Naeini et al. 2015; Guo et al. 2017, equation 3).
        mce: Maximum calibration error: the largest such difference of any bin (Guo et al. 2017, equation 5).
        brier: Mean of `(probability - truth)^2` (Brier 1950).
        nll: Mean of `-ln(probability of the true class)`, the negative log likelihood. Every probability is
            taken at the middle of its fine bin, at most 0.01 logits from its place, so the error of a pixel
            is below 0.01; and beyond 16 logits (1e-7 from 0 and 1) at 16, so none is infinite.
    """

    pixels: int
    ece: float
    mce: float
    brier: float
    nll: float


def count_reliability(
    probability: NDArray[np.floating], truth: NDArray[np.uint8], area: NDArray[np.bool_] | None = None
) -> ReliabilityCounts:
    """Counts pixels by probability and truth.

    Args:
        probability: `(H, W)` glacier probability, NaN where there is no data.
        truth: `(H, W)` of 0, 1 and 255; pixels of 255 do not count.
        area: `(H, W)`, count only where True.

    Raises:
        GridMismatchError: The shapes differ.
        RequestError: A probability lies outside 0 to 1.
    """
    counted = known_pixels(probability, truth, area)
    chance = probability[counted].astype(np.float64)
    is_glacier = truth[counted] == GLACIER
    if chance.size and not (chance.min() >= 0 and chance.max() <= 1):
        raise RequestError(
            f"probabilities run from {chance.min():g} to {chance.max():g}; give a raster of 0 to 1"
        )
    place = np.searchsorted(_EDGES, chance, side="left")
    total = np.bincount(place, minlength=_BINS)
    glacier = np.bincount(place[is_glacier], minlength=_BINS)
    units = np.rint(chance / UNIT)
    errors = np.rint((chance - is_glacier) ** 2 / UNIT)
    # Sums of whole numbers below 2^53 are exact in float64, whatever their order: 2^29 pixels a call.
    return ReliabilityCounts(
        background=(total - glacier).astype(np.int64),
        glacier=glacier.astype(np.int64),
        probability=np.bincount(place, units, minlength=_BINS).astype(np.int64),
        squared_error=int(errors.sum()),
    )


def known_pixels(
    probability: NDArray[np.floating], truth: NDArray[np.uint8], area: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    """Returns `(H, W)` where there is both a probability and truth, within an area.

    Raises:
        GridMismatchError: The shapes differ.
    """
    extent = {} if area is None else {"area": area.shape}
    require_one_shape({"probability": probability.shape, **extent, "truth": truth.shape})
    known: NDArray[np.bool_] = ~np.isnan(probability) & ((truth == GLACIER) | (truth == BACKGROUND))
    return known if area is None else known & area


def reliability_of(counts: ReliabilityCounts) -> Reliability:
    """Returns the scores of counts.

    ECE, MCE and the Brier score are exact but for the rounding to `UNIT`, 3e-8 a pixel.
    """
    pixels = counts.pixels
    if not pixels:
        return Reliability(0, *[math.nan] * 4)
    bars = [bar for bar in reliability_table(counts) if bar.pixels]
    gaps = [abs(bar.confidence - bar.glacier_share) for bar in bars]
    return Reliability(
        pixels=pixels,
        ece=math.fsum(bar.pixels * gap for bar, gap in zip(bars, gaps, strict=True)) / pixels,
        mce=max(gaps),
        brier=counts.squared_error * UNIT / pixels,
        nll=float(
            counts.background @ np.logaddexp(0, BIN_LOGITS) + counts.glacier @ np.logaddexp(0, -BIN_LOGITS)
        )
        / pixels,
    )


def reliability_table(counts: ReliabilityCounts) -> tuple[ReliabilityBin, ...]:
    """Returns the bars of a reliability diagram: 15 bins of equal width."""
    starts = np.concatenate([[0], np.searchsorted(_EDGES, _DIAGRAM_EDGES) + 1])
    background, glacier, units = (
        np.add.reduceat(values, starts) for values in (counts.background, counts.glacier, counts.probability)
    )
    return tuple(
        ReliabilityBin(
            lower=number / DIAGRAM_BINS,
            upper=(number + 1) / DIAGRAM_BINS,
            pixels=(pixels := int(background[number] + glacier[number])),
            confidence=float(units[number]) * UNIT / pixels if pixels else math.nan,
            glacier_share=float(glacier[number]) / pixels if pixels else math.nan,
        )
        for number in range(DIAGRAM_BINS)
    )
