"""Glacier area with a lower and an upper bound, from calibrated probabilities.

The expected area is the sum of the probabilities. If every pixel erred by itself, its variance would be the
sum of p (1 - p), and the bounds of a scene of millions of pixels would be absurdly narrow: a network that
misses one debris-covered pixel misses its neighbours too. So the error is measured on blocks of validation
pixels: with e the true area of a block less the expected one, and v its sum of p (1 - p),

    factor = sum(e^2) / sum(v) * n / (n - 2)

is the ratio of the variance to that of independent pixels (the dispersion of quasi-likelihood,
Wedderburn 1974; the 2 stands for temperature and bias, which were fitted on the same pixels). n is not the
number of blocks but the effective one, that of equally uncertain blocks, sum(v)^2 / sum(v^2), the
degrees of freedom of such a sum of squares (Satterthwaite 1946).

A shift of all logits by d moves the expected area by d V, with V its sum of p (1 - p). Errors that hang
together are such shifts: of a tongue, a glacier, a massif. So the factor is measured on blocks of every
side. With V0 the sum of the calibration's pixels and v = V0 / n that of a block, one side says of an area

    variance = factor V min(1, V / v) + factor V^2 / V0

A part of a block shifts as one, several blocks by themselves. Nothing larger than the largest blocks was
seen to shift apart, and temperature and bias hide what all of them have in common; so there the minimum is
V / v, and a region has the relative bounds of one massif. Below the smallest blocks it is 1. The second term
is the calibration's own error. The side counts whose bounds, at Student's quantile for n - 2 degrees of
freedom, are the widest.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import RequestError, TruthError
from glacierseg.evaluate.intervals import student_quantile
from glacierseg.predict.calibration import Dispersion

UNIT_PX = 16
"""Side of the smallest block; larger ones are these doubled."""
ENOUGH_BLOCKS = 8
_FITTED = 2


@dataclass(frozen=True)
class AreaSums:
    """Sums of p and p (1 - p) over the pixels of a scene; they add up over strips, scenes and processes."""

    pixels: int = 0
    expected_px: float = 0.0
    variance_px: float = 0.0

    def __add__(self, other: "AreaSums") -> "AreaSums":
        return AreaSums(
            self.pixels + other.pixels,
            self.expected_px + other.expected_px,
            self.variance_px + other.variance_px,
        )


@dataclass(frozen=True)
class AreaBounds:
    """A glacier area with bounds, from 0 to the area of all pixels, that hold with a probability."""

    expected_km2: float
    lower_km2: float
    upper_km2: float
    confidence: float


@dataclass(frozen=True, eq=False)
class BlockErrors:
    """True less expected glacier pixels `(R, C)` by block of `UNIT_PX`, and sums of p (1 - p)."""

    error_px: NDArray[np.float64]
    variance_px: NDArray[np.float64]

    def doubled(self) -> "BlockErrors":
        """Returns the same for blocks of twice the side."""
        return BlockErrors(_sum_blocks(self.error_px, 2), _sum_blocks(self.variance_px, 2))


def sum_area(probability: NDArray[np.floating], known: NDArray[np.bool_] | None = None) -> AreaSums:
    """Sums calibrated probabilities in float64, where they are known and not NaN."""
    wanted = ~np.isnan(probability) if known is None else known & ~np.isnan(probability)
    p = probability[wanted].astype(np.float64)
    return AreaSums(p.size, float(p.sum()), float((p * (1 - p)).sum()))


def block_errors(
    probability: NDArray[np.floating], truth: NDArray[np.uint8], known: NDArray[np.bool_]
) -> BlockErrors:
    """Sums errors by block, where a calibrated probability `(H, W)` and the truth are known."""
    p = np.where(known, probability, 0).astype(np.float64)
    error = np.where(known, truth == 1, 0) - p
    return BlockErrors(_sum_blocks(error, UNIT_PX), _sum_blocks(p * (1 - p), UNIT_PX))


def measure_dispersion(scenes: Iterable[BlockErrors]) -> Dispersion:
    """Measures how much more areas err than those of independent pixels, on blocks of every side.

    Blocks are doubled from 16 px on as long as 8 effective ones remain. With fewer than 8 even at 16 px,
    those few are used; Student's quantile then widens the bounds. Blocks of different scenes are never
    joined.

    Returns:
        Of the largest blocks, which holds the smaller ones.
    """
    current, side = list(scenes), UNIT_PX
    found: list[Dispersion] = []
    while True:
        error = np.concatenate([blocks.error_px.ravel() for blocks in current] or [np.zeros(0)])
        variance = np.concatenate([blocks.variance_px.ravel() for blocks in current] or [np.zeros(0)])
        if not variance.any():
            raise TruthError(
                "no validation pixel is uncertain, so area errors cannot be measured; give the role validate "
                "to other ground"
            )
        effective = float(variance.sum() ** 2 / (variance**2).sum())
        if found and effective < ENOUGH_BLOCKS:
            break
        freedom = max(effective - _FITTED, 1.0)
        factor = float((error**2).sum() / variance.sum()) * max(effective / freedom, 1.0)
        found.append(Dispersion(max(factor, 1.0), side, effective, freedom, float(variance.sum())))
        if all(blocks.error_px.size <= 1 for blocks in current):
            break
        current, side = [blocks.doubled() for blocks in current], 2 * side
    return replace(found[-1], smaller=tuple(found[:-1]))


def bound_area(
    sums: AreaSums, dispersion: Dispersion, pixel_area_km2: float, confidence: float = 0.9
) -> AreaBounds:
    """Returns the expected area and the bounds between which the true one lies with a probability."""
    reach_px = area_reach_px(sums, dispersion, confidence)
    return AreaBounds(
        expected_km2=sums.expected_px * pixel_area_km2,
        lower_km2=max(sums.expected_px - reach_px, 0.0) * pixel_area_km2,
        upper_km2=min(sums.expected_px + reach_px, sums.pixels) * pixel_area_km2,
        confidence=confidence,
    )


def area_reach_px(sums: AreaSums, dispersion: Dispersion, confidence: float) -> float:
    """Returns how far the bounds of `bound_area` lie from the expected area, in pixels, while uncut."""
    if not 0 < confidence < 1:
        raise RequestError(f"the confidence must be more than 0 and less than 1 (got {confidence:g})")
    sides, total = (*dispersion.smaller, dispersion), sums.variance_px
    reaches = []
    for number, side in enumerate(sides):
        blocks = total * side.blocks / side.variance_px
        if number < len(sides) - 1:
            blocks = min(blocks, 1.0)
        if number == 0:
            blocks = 1.0
        variance = side.factor * total * (blocks + total / side.variance_px)
        reaches.append(student_quantile((1 + confidence) / 2, side.degrees_of_freedom) * math.sqrt(variance))
    return max(reaches)


def _sum_blocks(values: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Sums square blocks of a `(H, W)` array, the last ones cut where it ends."""
    rows, columns = (np.arange(0, size, side) for size in values.shape)
    sums: NDArray[np.float64] = np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1)
    return sums
