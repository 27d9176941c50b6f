"""How reliable a glacier probability is: counts that add up over tiles, and the scores from them.

The reliability here is that of the probability of *glacier*: of all pixels given about 0.7, about 70 % should
be glacier. (Guo et al. 2017 look at the probability of the winning class; for a map of one class the
probability itself is what areas are summed from.)
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import GridMismatchError, RequestError
from glacierseg.evaluate.area_bounds import AreaBounds, AreaSums, bound_area, sum_area
from glacierseg.predict.calibrated import STRIP_PX, calibrated_strips
from glacierseg.predict.calibration import LARGEST_LOGIT, Calibration, sigmoid
from glacierseg.predict.files import CALIBRATION_TAG
from glacierseg.raster.grid import Grid, require_one_shape
from glacierseg.raster.ground import even_pixel_m
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.probability import probability_strips
from glacierseg.raster.truth import BACKGROUND, GLACIER
from glacierseg.raster.warp import read_grid

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
    """One bar of a reliability diagram; without pixels its mean probability and glacier share are NaN.

    Its lower bound does not belong to it, but for 0.
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


def count_reliability(probability: NDArray[np.floating], truth: NDArray[np.uint8]) -> ReliabilityCounts:
    """Counts pixels by probability and truth.

    Args:
        probability: `(H, W)` glacier probability, NaN where there is no data.
        truth: `(H, W)` of 0, 1 and 255; pixels of 255 do not count.
    """
    counted = known_pixels(probability, truth)
    p = probability[counted].astype(np.float64)
    is_glacier = truth[counted] == GLACIER
    if p.size and not (p.min() >= 0 and p.max() <= 1):
        raise RequestError(f"probabilities run from {p.min():g} to {p.max():g}; give a raster of 0 to 1")
    place = np.searchsorted(_EDGES, p, side="left")
    total = np.bincount(place, minlength=_BINS)
    glacier = np.bincount(place[is_glacier], minlength=_BINS)
    units = np.rint(p / UNIT)
    errors = np.rint((p - is_glacier) ** 2 / UNIT)
    # Sums of whole numbers below 2^53 are exact in float64, whatever their order: 2^29 pixels a call.
    return ReliabilityCounts(
        background=(total - glacier).astype(np.int64),
        glacier=glacier.astype(np.int64),
        probability=np.bincount(place, units, minlength=_BINS).astype(np.int64),
        squared_error=int(errors.sum()),
    )


def known_pixels(probability: NDArray[np.floating], truth: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Returns `(H, W)`, True where there is both a probability and truth."""
    require_one_shape({"probability": probability.shape, "truth": truth.shape})
    known: NDArray[np.bool_] = ~np.isnan(probability) & ((truth == GLACIER) | (truth == BACKGROUND))
    return known


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


@dataclass(frozen=True)
class ProbabilityEvaluation:
    """A probability raster against the truth; with a calibration of the model also calibrated, with areas."""

    scores: Reliability
    bars: tuple[ReliabilityBin, ...]
    calibrated: Reliability | None = None
    calibrated_bars: tuple[ReliabilityBin, ...] = ()
    area: AreaBounds | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns it for JSON."""
        record: dict[str, Any] = {**asdict(self.scores), "bins": [asdict(bar) for bar in self.bars]}
        if self.calibrated is not None:
            bars = [asdict(bar) for bar in self.calibrated_bars]
            record["calibrated"] = {**asdict(self.calibrated), "bins": bars}
        if self.area is not None:
            record["area"] = asdict(self.area)
        return record


def evaluate_probability(
    path: Path, truth: NDArray[np.uint8], grid: Grid, calibration: Calibration | None = None
) -> ProbabilityEvaluation:
    """Scores the reliability of a probability raster, strip by strip."""
    with open_raster(path) as dataset:
        if difference := grid.difference(grid_of(dataset)):
            raise GridMismatchError(
                f"{path}: the probability must lie on the grid of the mask ({difference}); give the one that "
                "the mask was made from"
            )
        is_calibrated = CALIBRATION_TAG in dataset.tags()
    raw, calibrated, sums = ReliabilityCounts.none(), ReliabilityCounts.none(), AreaSums()
    for rows, probability in probability_strips(path, STRIP_PX):
        raw += count_reliability(probability, truth[rows])
        if calibration:
            scaled = probability if is_calibrated else calibration.apply(probability)
            calibrated += count_reliability(scaled, truth[rows])
            sums += sum_area(scaled, known_pixels(scaled, truth[rows]))
    scores, bars = reliability_of(raw), reliability_table(raw)
    if calibration is None:
        return ProbabilityEvaluation(scores, bars)
    area = None
    if not calibration.scale.at_bound:
        area = bound_area(sums, calibration.dispersion, grid.pixel_area_km2)
    return ProbabilityEvaluation(
        scores, bars, reliability_of(calibrated), reliability_table(calibrated), area
    )


def predicted_area(path: Path, calibration: Calibration, confidence: float = 0.9) -> AreaBounds | None:
    """Returns the glacier area of a whole predicted scene with its bounds.

    Returns:
        None when nothing can be said: the calibration's temperature is at a bound, or no pixel has data.
    """
    if calibration.scale.at_bound:
        return None
    width_m, height_m = even_pixel_m(read_grid(path), str(path), [path])
    pixel_area_km2 = width_m * height_m / 1e6
    sums = sum((sum_area(rows) for _, rows in calibrated_strips(path, calibration)), AreaSums())
    return bound_area(sums, calibration.dispersion, pixel_area_km2, confidence) if sums.pixels else None
