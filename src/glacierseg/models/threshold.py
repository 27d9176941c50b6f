"""The rule that needs no network: the best threshold on one band or on the ratio of two.

It shows what deep learning adds. The threshold is found on training pixels only.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import RequestError

_BINS = 1024


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


def find_threshold(
    pixels: Callable[[], Iterable[tuple[NDArray[Any], NDArray[np.bool_]]]], bands: tuple[str, ...]
) -> ThresholdRule:
    """Finds the single-band or band-ratio threshold with the highest IoU.

    Features are counted in 1024 equal steps between their extremes, so the search is one pass over the
    pixels whatever their number, and its result as fine as 8-bit data need. Ratios `a / b` are compared as
    `a / (a + b)`, which orders pixels in the same way and stays finite.

    Args:
        pixels: Called twice; gives blocks of values `(C, N)` and glacier `(N,)` of valid training pixels.
        bands: Names of the C bands.

    Returns:
        The rule; of equal ones the first single band, then the first ratio.

    Raises:
        RequestError: No training pixel is glacier.
    """
    candidates: list[tuple[int, int | None]] = [(i, None) for i in range(len(bands))]
    lowest = np.full(len(bands), np.inf)
    highest = np.full(len(bands), -np.inf)
    for values, _ in pixels():
        if values.shape[1]:
            lowest = np.minimum(lowest, values.min(1))
            highest = np.maximum(highest, values.max(1))
    # A ratio means something only between quantities that are never negative.
    positive = [i for i in range(len(bands)) if lowest[i] >= 0]
    candidates += list(combinations(positive, 2))
    counts = np.zeros((len(candidates), 2, _BINS), np.int64)
    for values, glacier in pixels():
        for number, (first, second) in enumerate(candidates):
            feature = _feature(values[first], None if second is None else values[second])
            low, high = (lowest[first], highest[first]) if second is None else (0.0, 1.0)
            scaled = (feature - low) * ((_BINS - 1) / max(high - low, 1e-12))
            # Bin k holds the features in ((k - 1), k] steps, so that "above the edge" is exact.
            steps = np.ceil(scaled - 1e-9).astype(np.int64).clip(0, _BINS - 1)
            counts[number, 0] += np.bincount(steps[~glacier], minlength=_BINS)
            counts[number, 1] += np.bincount(steps[glacier], minlength=_BINS)
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
        step = (highest[first] - lowest[first]) / (_BINS - 1)
        return ThresholdRule(bands[first], None, above, float(lowest[first] + at * step), iou_found)
    share = min(at / (_BINS - 1), 1 - 1e-9)
    return ThresholdRule(bands[first], bands[second], above, share / (1 - share), iou_found)


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
