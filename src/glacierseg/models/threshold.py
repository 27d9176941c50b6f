"""The rule that needs no network: the best threshold on one band or on the ratio of two.

It shows what deep learning adds. The threshold is found on training pixels only.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import RequestError

Blocks = Iterable[tuple[NDArray[Any], NDArray[np.bool_]]]
"""Values `(C, N)` of pixels, and whether they are glacier `(N,)`."""
_BINS = 1024
# OpenCV counts in float32, which is exact below 2^24.
_AT_ONCE = 2**20


@dataclass(frozen=True)
class ThresholdRule:
    """Glacier where a band, or a ratio of two, is above or below a value.

    Attributes:
        band: The band, or the numerator of the ratio.
        divisor: The denominator; None for a single band.
        above: Whether glacier lies above the value.
        value: The threshold, of the band or of the ratio.
        train_iou: IoU on the training pixels it was found on.
    """

    band: str
    divisor: str | None
    above: bool
    value: float
    train_iou: float

    def __str__(self) -> str:
        feature = self.band if self.divisor is None else f"{self.band} / {self.divisor}"
        return f"{feature} {'>' if self.above else '<'} {self.value:.3g}"

    @property
    def bands(self) -> tuple[str, ...]:
        """The bands it looks at."""
        return (self.band,) if self.divisor is None else (self.band, self.divisor)

    def apply(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Returns where the rule says glacier.

        Args:
            values: `(len(bands), ...)` of its own bands.
        """
        feature = _feature(values[0], None if self.divisor is None else values[1])
        limit = self.value if self.divisor is None else _share(self.value)
        return np.asarray(feature > limit if self.above else feature <= limit)

    def to_dict(self) -> dict[str, Any]:
        """Returns the rule for JSON, with its wording."""
        return {"rule": str(self), **asdict(self)}


def find_threshold(pixels: Callable[[], Blocks], bands: tuple[str, ...]) -> ThresholdRule:
    """Finds the single-band or band-ratio threshold with the highest IoU.

    Features are counted in 1024 equal steps between their extremes, so memory does not depend on the number
    of pixels, and the result is as fine as 8-bit data need. Ratios `a / b` are compared as `a / (a + b)`,
    which orders pixels in the same way and stays finite.

    Args:
        pixels: Called once, or twice where values are not 8-bit levels; gives blocks of values `(C, N)` and
            glacier `(N,)` of valid training pixels.
        bands: Names of the C bands.

    Returns:
        The rule; of equal ones the first single band, then the first ratio.

    Raises:
        RequestError: No training pixel is glacier.
    """
    tally = _tally_levels(pixels(), len(bands)) or _tally_values(pixels, len(bands))
    candidates, counts = tally.candidates, tally.counts
    total = int(counts[0, 1].sum()) if len(candidates) else 0
    if not total:
        raise RequestError("no training pixel is glacier; give a train region or part with glacier")
    best = (-1.0, 0, True, 0)
    for number in range(len(candidates)):
        below = counts[number].cumsum(1)
        for above in (True, False):
            called = counts[number].sum(1)[:, None] - below if above else below
            iou = called[1] / (called[0] + total)
            at = _middle_of_best(iou)
            if iou[at] > best[0]:
                best = (float(iou[at]), number, above, at)
    iou_found, number, above, at = best
    first, second = candidates[number]
    if second is None:
        low, high = tally.ranges[first]
        step = (high - low) / (_BINS - 1)
        return ThresholdRule(bands[first], None, above, float(low + at * step), iou_found)
    share = min(at / (_BINS - 1), 1 - 1e-9)
    return ThresholdRule(bands[first], bands[second], above, share / (1 - share), iou_found)


@dataclass(frozen=True, eq=False)
class _Tally:
    """Pixels by step of each feature.

    Attributes:
        candidates: The bands of each feature, the second None where it is a single band.
        counts: `(features, 2, 1024)` background and glacier pixels.
        ranges: Lowest and highest value of each band.
    """

    candidates: list[tuple[int, int | None]]
    counts: NDArray[np.int64]
    ranges: NDArray[np.float64]


def _features(lowest: NDArray[np.float64]) -> list[tuple[int, int | None]]:
    # A ratio means something only between quantities that are never negative.
    positive = [i for i in range(len(lowest)) if lowest[i] >= 0]
    return [*((i, None) for i in range(len(lowest))), *combinations(positive, 2)]


def _tally_values(pixels: Callable[[], Blocks], bands: int) -> _Tally:
    """Counts values of any type, in two passes."""
    ranges = np.full((bands, 2), (np.inf, -np.inf))
    for values, _ in pixels():
        if values.shape[1]:
            ranges[:, 0] = np.minimum(ranges[:, 0], values.min(1))
            ranges[:, 1] = np.maximum(ranges[:, 1], values.max(1))
    candidates = _features(ranges[:, 0])
    counts = np.zeros((len(candidates), 2, _BINS), np.int64)
    for values, glacier in pixels():
        for number, (first, second) in enumerate(candidates):
            feature = _feature(values[first], None if second is None else values[second])
            steps = _steps(feature, *(ranges[first] if second is None else (0.0, 1.0)))
            counts[number, 0] += np.bincount(steps[~glacier], minlength=_BINS)
            counts[number, 1] += np.bincount(steps[glacier], minlength=_BINS)
    return _Tally(candidates, counts, ranges)


def _tally_levels(pixels: Blocks, bands: int) -> _Tally | None:
    """Counts 8-bit levels as `_tally_values` does, in one pass and many times faster; None for other types.

    Two bands have 65 536 pairs of levels, whose features are computed once.
    """
    pairs = list(combinations(range(bands), 2))
    levels = np.zeros((bands, 2, 256), np.int64)
    ratios = np.zeros((len(pairs), 2, _BINS), np.int64)
    of_pair = _steps(_feature(*np.divmod(np.arange(256 * 256), 256)), 0.0, 1.0)
    for values, glacier in pixels:
        if values.dtype != np.uint8:
            return None
        for side in (0, 1):
            every = values[:, glacier == side]
            for begin in range(0, every.shape[1], _AT_ONCE):
                own = every[:, begin : begin + _AT_ONCE]
                levels[:, side] += [np.bincount(band, minlength=256) for band in own]
                for number, (a, b) in enumerate(pairs):
                    found = cv2.calcHist([own[a], own[b]], [0, 1], None, [256, 256], [0, 256, 0, 256])
                    ratios[number, side] += np.bincount(of_pair, found.ravel(), _BINS).astype(np.int64)
    ranges = np.full((bands, 2), (np.inf, -np.inf))
    single = np.zeros((bands, 2, _BINS), np.int64)
    for band in range(bands):
        there = np.flatnonzero(levels[band].sum(axis=0))
        if not there.size:
            continue
        ranges[band] = there[0], there[-1]
        steps = _steps(np.arange(256.0), *ranges[band])
        for side in (0, 1):
            np.add.at(single[band, side], steps, levels[band, side])
    return _Tally(_features(ranges[:, 0]), np.concatenate([single, ratios]), ranges)


def _steps(feature: NDArray[np.float64], low: float, high: float) -> NDArray[np.int64]:
    scaled = (feature - low) * ((_BINS - 1) / max(high - low, 1e-12))
    # Bin k holds the features in ((k - 1), k] steps, so that "above the edge" is exact.
    return np.ceil(scaled - 1e-9).astype(np.int64).clip(0, _BINS - 1)


def _middle_of_best(iou: NDArray[np.float64]) -> int:
    """Returns the middle of the first run of equally good thresholds, with most room on both sides."""
    best = np.flatnonzero(iou == iou.max())
    run = best[best - best[0] == np.arange(len(best))]
    return int(run[len(run) // 2])


def _feature(band: NDArray[Any], divisor: NDArray[Any] | None) -> NDArray[np.float64]:
    values: NDArray[np.float64] = band.astype(np.float64)
    if divisor is None:
        return values
    total = values + divisor
    np.divide(values, total, out=values, where=total > 0)
    values[total <= 0] = 0.5
    return values


def _share(ratio: float) -> float:
    return ratio / (1 + ratio)
