"""Do two measures of band importance say the same?"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from glacierseg.bands.measures import Measures
from glacierseg.bands.result import BandImportance


@dataclass(frozen=True)
class Agreement:
    """How far two measures agree.

    Attributes:
        first: One measure.
        second: The other.
        correlation: Of the order of their values (Spearman), -1 to 1, whether measurable or not; None where a
            measure cannot tell any bands apart.
        shared: How many bands are among the best `top` of both.
        top: How many bands were compared there.
        disputed: Bands whose importance only one of the two can measure.
    """

    first: str
    second: str
    correlation: float | None
    shared: int
    top: int
    disputed: tuple[str, ...] = ()

    def in_words(self) -> str:
        """Says it in a line."""
        rank = "undefined" if self.correlation is None else f"{self.correlation:.2f}"
        return (
            f"{self.first} and {self.second}: rank correlation {rank}, "
            f"{self.shared} of the best {self.top} in common"
            + (f"; measurable by one only: {', '.join(self.disputed)}" if self.disputed else "")
        )


def agreement_of(measures: Measures, top: int) -> tuple[Agreement, ...]:
    """Compares every two measures of the same bands.

    Args:
        measures: Results by measure.
        top: How many of the best bands to compare.
    """
    values = {name: {entry.band: entry.importance for entry in result} for name, result in measures.items()}
    best = {name: {e.band for e in result if e.rank <= top} for name, result in measures.items()}
    return tuple(
        Agreement(
            one,
            other,
            rank_correlation(list(values[one].values()), [values[other][band] for band in values[one]]),
            len(best[one] & best[other]),
            min(top, len(values[one])),
            _disputed(measures[one], measures[other]),
        )
        for one, other in combinations(measures, 2)
    )


def _disputed(one: Sequence[BandImportance], other: Sequence[BandImportance]) -> tuple[str, ...]:
    there = {entry.band: entry.measurable for entry in other}
    return tuple(e.band for e in one if {e.measurable, there[e.band]} == {True, False})


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Returns Spearman's rank correlation, equal values sharing their mean rank; None if undefined."""
    one, other = (_mean_ranks(np.asarray(values, np.float64)) for values in (first, second))
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    one, other = one - one.mean(), other - other.mean()
    return float((one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum()))


def _mean_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    mean: NDArray[np.float64] = (last - (sizes - 1) / 2)[group]
    return mean
