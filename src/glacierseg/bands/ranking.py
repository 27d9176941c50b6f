"""Ranks of bands: is there anything to measure, which bands could change places, and which ones are chosen?

The first two are answered from leave-one-out values, the importance of every band without one patch at a
time (the jackknife, Tukey 1958). So both measures are treated alike, and two bands are compared on the same
patches.

- A band has measurable importance when its effect differs from zero by a t test. The tests of all bands of a
  measure go together (Holm 1979): the chance that any of the bands that say nothing seems to say something is
  at most 5 %.
- The rank of a band lies between bounds: at the top stand as many bands as are more important by a t test of
  the difference, at the bottom all that are not less important. All pairs are tested together (Holm), so in
  95 of 100 samples the bounds hold all true ranks at once (simultaneous intervals, Mogstad et al. 2024).

Patches count as independent. Neighbours look alike, so measure on as many places as there are.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glacierseg.choices import Measure
from glacierseg.errors import BandError
from glacierseg.evaluate.intervals import student_tail
from glacierseg.models.registry import model_spec
from glacierseg.raster.prepare.recipes import RECIPES
from glacierseg.raster.sensors import is_unnamed

LEVEL = 0.05
ORIGINAL_STACK = RECIPES["himalaya-18"]
"""Bands of the original study, in its order."""


@dataclass(frozen=True)
class BandImportance:
    """Importance of one band under one measure.

    Attributes:
        rank: 1 for the most important band. Bands without measurable importance come after all others.
        band: Its name.
        importance: A share of the sum over all bands (gradient), or the IoU that is lost without the band
            (permutation), which may be negative.
        spread: Standard deviation of the same over patches.
        standard_error: How far `importance` itself may be off by the choice of patches; None where it is not
            known (fewer than two patches, or a table of an older version).
        region_spread: Standard deviation over regions; None with fewer than two.
        p_value: How likely a band that tells the network nothing would look at least as useful; None where it
            is not known.
        measurable: Whether the band tells the network anything, all bands tested together; None where it is
            not known.
        rank_low: The best rank that the band may have; bands without measurable importance share theirs.
        rank_high: The worst.
    """

    rank: int
    band: str
    importance: float
    spread: float
    standard_error: float | None = None
    region_spread: float | None = None
    p_value: float | None = None
    measurable: bool | None = None
    rank_low: int | None = None
    rank_high: int | None = None

    def rank_in_words(self) -> str:
        """Formats the rank with its bounds, such as `3 (2-5)`; `none: 6-8` where nothing is measurable."""
        if self.rank_low is None or self.rank_high is None:
            return str(self.rank)
        bounds = (
            str(self.rank_low) if self.rank_low == self.rank_high else f"{self.rank_low}-{self.rank_high}"
        )
        if self.measurable is False:
            return f"none: {bounds}"
        return bounds if self.rank_low == self.rank_high else f"{self.rank} ({bounds})"


Measures = Mapping[Measure, tuple[BandImportance, ...]]
"""Results by measure; the first is the one that bands are chosen by."""


def rank_bands(
    bands: Sequence[str],
    importance: NDArray[np.float64],
    spread: NDArray[np.float64],
    left_out: NDArray[np.float64] | None = None,
    region_spread: NDArray[np.float64] | None = None,
    p_values: NDArray[np.float64] | None = None,
) -> tuple[BandImportance, ...]:
    """Ranks bands, the most important first, those without measurable importance last; else in band order.

    Args:
        bands: Names.
        importance: `(C,)`, in their order.
        spread: `(C,)`.
        left_out: `(P, C)`, the importance without one patch at a time; None with one patch.
        region_spread: `(C,)`.
        p_values: `(C,)`, of bands that say nothing; None where that cannot be tested.
    """
    count = len(bands)
    # What is not tested passes.
    useful = np.ones(count, bool) if p_values is None else holm(p_values)
    order = sorted(range(count), key=lambda i: (not useful[i], -importance[i], i))
    low, high = np.full(count, useful.sum() + 1), np.full(count, count)
    if left_out is not None and useful.any():
        low[useful], high[useful] = rank_bounds(importance[useful], left_out[:, useful])
    error = None if left_out is None else jackknife_error(left_out)
    return tuple(
        BandImportance(
            rank,
            bands[i],
            float(importance[i]),
            float(spread[i]),
            None if error is None else float(error[i]),
            None if region_spread is None else float(region_spread[i]),
            None if p_values is None else float(p_values[i]),
            None if p_values is None else bool(useful[i]),
            None if left_out is None else int(low[i]),
            None if left_out is None else int(high[i]),
        )
        for rank, i in enumerate(order, start=1)
    )


def spread_over_regions(
    regions: Sequence[int] | None, measure: Callable[[NDArray[np.bool_]], NDArray[np.float64]], patches: int
) -> NDArray[np.float64] | None:
    """Returns the standard deviation `(C,)` over regions of what `measure` gives for their patches `(P,)`."""
    numbers = np.zeros(patches, int) if regions is None else np.asarray(regions)
    each = np.unique(numbers)
    if len(each) < 2:
        return None
    spread: NDArray[np.float64] = np.std([measure(numbers == one) for one in each], 0)
    return spread


def leave_one_out_means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the mean `(P, C)` over all patches but one, of values `(P, C)` with two patches or more."""
    without: NDArray[np.float64] = (values.sum(0) - values) / (len(values) - 1)
    return without


def jackknife_error(left_out: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the standard error `(...)` of what was measured without one patch at a time, `(P, ...)`."""
    patches = len(left_out)
    error: NDArray[np.float64] = np.sqrt((patches - 1) * left_out.var(0))
    return error


def chance_of_none(
    effect: NDArray[np.float64], left_out: NDArray[np.float64], *, either_way: bool = False
) -> NDArray[np.float64]:
    """Returns p-values `(C,)`: how likely an effect at least so far above zero is where there is none.

    The p-value of a band without any effect is one half, or 1 if effects below zero count too (two-sided).
    """
    distance = _in_errors(effect, jackknife_error(left_out))
    if either_way:
        return 2 * student_tail(np.abs(distance), len(left_out) - 1)
    return student_tail(distance, len(left_out) - 1)


def holm(p_values: NDArray[np.float64], level: float = LEVEL) -> NDArray[np.bool_]:
    """Says which hypotheses fall, with a chance of at most `level` that any true one does (Holm 1979)."""
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    passed = p_values[order] <= level / (count - np.arange(count))
    falls = np.zeros(count, bool)
    falls[order] = np.logical_and.accumulate(passed)
    return falls


def rank_bounds(
    importance: NDArray[np.float64], left_out: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the best and the worst rank `(C,)` that each band may have."""
    count, degrees = len(importance), len(left_out) - 1
    best, worst = np.ones(count, np.int64), np.full(count, count, np.int64)
    one, other = np.triu_indices(count, 1)
    if not one.size:
        return best, worst
    gap = importance[one] - importance[other]
    distance = _in_errors(gap, jackknife_error(left_out[:, one] - left_out[:, other]))
    differs = holm(2 * student_tail(np.abs(distance), degrees), LEVEL)
    for winner, loser, sure in ((one, other, differs & (gap > 0)), (other, one, differs & (gap < 0))):
        np.add.at(best, loser[sure], 1)
        np.subtract.at(worst, winner[sure], 1)
    return best, worst


def _in_errors(effect: NDArray[np.float64], error: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divides effects by their errors; one without an error is infinitely far from zero."""
    # What rounding alone leaves of an effect or of its error is none.
    least = 1e-12
    effect = np.where(np.abs(effect) <= least, 0.0, effect)
    far = np.where(effect == 0, 0.0, np.copysign(np.inf, effect))
    found: NDArray[np.float64] = np.divide(effect, error, out=far, where=error > least)
    return found


def top_bands(importance: Sequence[BandImportance], count: int, order: Sequence[str]) -> tuple[str, ...]:
    """Returns the most important bands in the order in which the scene has them."""
    best = {entry.band for entry in importance if entry.rank <= count}
    return tuple(band for band in order if band in best)


def preset_bands(network: str, bands: Sequence[str]) -> tuple[str, ...] | None:
    """Returns the names of the six bands that the original study found for a network, in scene order.

    They are known by the names of recipe `himalaya-18`, and of a stack of 18 bands without names by position.

    Returns:
        None for a network that the study did not have.
    """
    positions = model_spec(network).original_top_bands
    if not positions:
        return None
    names = [ORIGINAL_STACK[position - 1] for position in positions]
    if set(names) <= set(bands):
        return tuple(band for band in bands if band in names)
    if len(bands) != len(ORIGINAL_STACK) or not all(map(is_unnamed, bands)):
        raise BandError(
            f"the original study's six bands of {network} are {', '.join(names)}, or by position "
            f"{', '.join(map(str, positions))} of its {len(ORIGINAL_STACK)} (these scenes have {len(bands)}: "
            f"{', '.join(bands)}); name the bands under `regions: bands:`, or leave out `bands: top_preset:` "
            "to choose by measured importance"
        )
    return tuple(bands[position - 1] for position in sorted(positions))


def unmeasured_message(importance: Sequence[BandImportance], count: int) -> str | None:
    """Names the chosen bands without measurable importance; None where there are none."""
    empty = [entry.band for entry in importance if entry.rank <= count and entry.measurable is False]
    if not empty:
        return None
    useful = sum(entry.measurable is not False for entry in importance)
    # Where no band can be told from noise, no smaller number would help.
    cure = f"choose {useful}, or measure" if useful else "train longer, or measure"
    return (
        f"no measurable importance: {', '.join(empty)}; chosen only because top is {count}, while "
        f"{useful or 'none'} of the {len(importance)} bands can be told from noise; {cure} on more patches"
    )


def tie_message(importance: Sequence[BandImportance], count: int) -> str | None:
    """Says which bands could as well have been chosen otherwise; None where the choice is clear.

    The last chosen and the first band that was not are tied when they differ by less than the standard error
    of their difference, the root of the sum of the squares of both errors. All others that lie as close to
    the boundary are named too. Bands with and without measurable importance are not tied; where both lack it,
    `unmeasured_message` says so.
    """
    ranked = sorted(importance, key=lambda entry: entry.rank)
    if not 0 < count < len(ranked):
        return None
    last, following = ranked[count - 1], ranked[count]
    if last.measurable is False or not _tied(last, following):
        return None
    rivals = [entry.band for entry in ranked[count:] if _tied(last, entry)]
    unsure = [entry.band for entry in ranked[:count] if _tied(entry, following)]
    gap = last.importance - following.importance
    if gap == 0:
        reason = "are equal, so the order of the scene decides"
    else:
        reason = f"differ by {gap:.4f}, less than its standard error of {_error(last, following):.4f}"
    more = f"; as close: {', '.join(unsure)} in, {', '.join(rivals)} out" if len(rivals + unsure) > 2 else ""
    return (
        f"{last.band} (rank {count}, chosen) and {following.band} (rank {count + 1}, not chosen) {reason}: "
        f"another sample of patches may choose otherwise{more}"
    )


def _tied(better: BandImportance, worse: BandImportance) -> bool:
    if better.measurable is not worse.measurable:
        return False
    gap = better.importance - worse.importance
    return gap == 0 or gap < _error(better, worse)


def _error(one: BandImportance, other: BandImportance) -> float:
    return math.hypot(one.standard_error or 0.0, other.standard_error or 0.0)


def agreement_message(measures: Measures, top: int) -> str | None:
    """Says in one sentence how far two measures agree; None where there are not two."""
    if len(measures) != 2:
        return None
    (one, chosen), (other, check) = measures.items()
    there = {entry.band: entry for entry in check}
    pairs = [(entry, there[entry.band]) for entry in chosen]
    shared = sum(a.rank <= top and b.rank <= top for a, b in pairs)
    correlation = rank_correlation([a.importance for a, _ in pairs], [b.importance for _, b in pairs])
    disputed = [a.band for a, b in pairs if {a.measurable, b.measurable} == {True, False}]
    rank = "undefined" if correlation is None else f"{correlation:.2f}"
    return (
        f"{one} and {other} agree on {shared} of the best {min(top, len(pairs))} bands "
        f"(rank correlation of all bands: {rank})"
        + (f"; measurable by only one of them: {', '.join(disputed)}" if disputed else "")
    )


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Returns Spearman's rank correlation, equal values sharing their mean rank; None if undefined."""
    one, other = (_mean_ranks(np.asarray(values, np.float64)) for values in (first, second))
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(np.corrcoef(one, other)[0, 1])


def _mean_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    mean: NDArray[np.float64] = (last - (sizes - 1) / 2)[group]
    return mean
