"""What the ranks of bands are worth: is there anything to measure, and which bands could change places?

Both are answered from leave-one-out values, the importance of every band without one patch at a time (the
jackknife, Tukey 1958). So every measure is treated alike, and two bands are compared on the same patches.

- A band has measurable importance when its effect differs from zero by a t test. The tests of all bands of a
  measure go together (Holm 1979): the chance that any of the bands that tell nothing seems to tell something
  is at most 5 %.
- The rank of a band lies between bounds: at the top stand as many bands as are more important by a t test of
  the difference, at the bottom all that are not less important. All pairs are tested together (Holm), so in
  95 of 100 samples the bounds hold all true ranks at once (simultaneous intervals, Mogstad et al. 2024), and
  no band can be surely better than one that is not surely worse.

Patches count as independent. Neighbours look alike, so give as many places as there are.
"""

import numpy as np
from numpy.typing import NDArray

from glacierseg.evaluate.student import student_tail

LEVEL = 0.05


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
    """Returns p-values: how likely an effect at least so far from zero is where there is none.

    Args:
        effect: `(C,)` of all patches.
        left_out: `(P, C)` without one patch at a time.
        either_way: Whether an effect below zero counts too (two-sided).

    Returns:
        `(C,)`; one half for a band without any effect, or 1 if either way counts.
    """
    distance = _in_errors(effect, jackknife_error(left_out))
    if either_way:
        return 2 * student_tail(np.abs(distance), len(left_out) - 1)
    return student_tail(distance, len(left_out) - 1)


def holm(p_values: NDArray[np.float64], level: float = LEVEL) -> NDArray[np.bool_]:
    """Says which hypotheses fall, with a chance of at most `level` that any true one does (Holm 1979).

    Args:
        p_values: `(N,)`.
        level: Of all tests together.
    """
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    passed = p_values[order] <= level / (count - np.arange(count))
    falls = np.zeros(count, bool)
    falls[order] = np.logical_and.accumulate(passed)
    return falls


def rank_bounds(
    importance: NDArray[np.float64], left_out: NDArray[np.float64], level: float = LEVEL
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the best and the worst rank `(C,)` that each band may have.

    Args:
        importance: `(C,)` of all patches.
        left_out: `(P, C)` without one patch at a time.
        level: Chance that the bounds of any band do not hold its rank.
    """
    count, degrees = len(importance), len(left_out) - 1
    best, worst = np.ones(count, np.int64), np.full(count, count, np.int64)
    one, other = np.triu_indices(count, 1)
    if not one.size:
        return best, worst
    gap = importance[one] - importance[other]
    distance = _in_errors(gap, jackknife_error(left_out[:, one] - left_out[:, other]))
    differs = holm(2 * student_tail(np.abs(distance), degrees), level)
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
