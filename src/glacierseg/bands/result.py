"""What every measure of band importance gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.bands.ranks import chance_of_none, holm, jackknife_error, leave_one_out_means, rank_bounds


@dataclass(frozen=True)
class BandImportance:
    """Importance of one band under one measure.

    Attributes:
        rank: 1 for the most important band. Bands without measurable importance come after all others.
        band: Its name.
        importance: A share of the sum over all bands (gradient and integrated gradients), or the IoU that is
            lost without the band (permutation and drop), which may be negative.
        spread: Standard deviation of the same over patches.
        standard_error: How far `importance` itself may lie off by the choice of patches; None where it is not
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
        """Says the rank with its bounds, such as `3 (2-5)`, or the ranks that bands without any share."""
        if self.rank_low is None or self.rank_high is None:
            return str(self.rank)
        bounds = (
            str(self.rank_low) if self.rank_low == self.rank_high else f"{self.rank_low}-{self.rank_high}"
        )
        if self.measurable is False:
            return f"none: {bounds}"
        return bounds if self.rank_low == self.rank_high else f"{self.rank} ({bounds})"


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
        p_values: `(C,)`, of bands that tell nothing; None where that cannot be tested.
    """
    count = len(bands)
    # What is not tested passes.
    useful = np.ones(count, bool) if p_values is None else holm(p_values)
    order = sorted(range(count), key=lambda i: (not useful[i], -importance[i], i))
    low, high = np.full(count, useful.sum() + 1), np.full(count, count)
    if left_out is not None and useful.any():
        low[useful], high[useful] = rank_bounds(importance[useful], left_out[:, useful])
    known = left_out is not None
    return tuple(
        BandImportance(
            rank,
            bands[i],
            float(importance[i]),
            float(spread[i]),
            _at(None if left_out is None else jackknife_error(left_out), i),
            _at(region_spread, i),
            _at(p_values, i),
            None if p_values is None else bool(useful[i]),
            int(low[i]) if known else None,
            int(high[i]) if known else None,
        )
        for rank, i in enumerate(order, start=1)
    )


def rank_shares(
    bands: Sequence[str],
    shares: NDArray[np.float64],
    regions: Sequence[int] | None,
    use: NDArray[np.float64] | None = None,
) -> tuple[BandImportance, ...]:
    """Ranks bands by the mean of their shares over patches.

    Args:
        bands: Names.
        shares: `(P, C)`, each row summing to one.
        regions: Number of the region of each patch; None for one region.
        use: `(Q, C)` of `use_of_bands`, zero on the average for a band that tells nothing; a band that the
            network holds against others has it below zero. None where it is not known.
    """
    left_out, p_values = None, None
    if len(shares) > 1:
        left_out = leave_one_out_means(shares)
    if use is not None and len(use) > 1:
        p_values = chance_of_none(use.mean(0), leave_one_out_means(use), either_way=True)
    over_regions = spread_over_regions(regions, lambda chosen: shares[chosen].mean(0), len(shares))
    return rank_bands(bands, shares.mean(0), shares.std(0), left_out, over_regions, p_values)


def spread_over_regions(
    regions: Sequence[int] | None, measure: Any, patches: int
) -> NDArray[np.float64] | None:
    """Returns the standard deviation `(C,)` over regions of what `measure` gives for their patches.

    Args:
        regions: Number of the region of each patch; None for one region.
        measure: Takes `(P,)` booleans, gives `(C,)`.
        patches: Their number.
    """
    numbers = np.zeros(patches, int) if regions is None else np.asarray(regions)
    each = np.unique(numbers)
    if len(each) < 2:
        return None
    spread: NDArray[np.float64] = np.std([measure(numbers == one) for one in each], 0)
    return spread


def _at(values: NDArray[np.float64] | None, place: int) -> float | None:
    return None if values is None else float(values[place])
