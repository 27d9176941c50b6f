"""What every measure of band importance gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class BandImportance:
    """Importance of one band under one measure.

    Attributes:
        rank: 1 for the most important band.
        band: Its name.
        importance: A share of the sum over all bands (gradient and integrated gradients), or the IoU that is
            lost without the band (permutation and drop), which may be negative.
        spread: Standard deviation of the same over patches.
        standard_error: How far `importance` itself may lie off by the choice of patches; None where it is not
            known (fewer than two patches, or a table of an older version).
        region_spread: Standard deviation over regions; None with fewer than two.
    """

    rank: int
    band: str
    importance: float
    spread: float
    standard_error: float | None = None
    region_spread: float | None = None


def rank_bands(
    bands: Sequence[str],
    importance: NDArray[np.float64],
    spread: NDArray[np.float64],
    standard_error: NDArray[np.float64] | None = None,
    region_spread: NDArray[np.float64] | None = None,
) -> tuple[BandImportance, ...]:
    """Ranks bands, the most important first; equal ones in band order.

    Args:
        bands: Names.
        importance: `(C,)`, in their order.
        spread: `(C,)`.
        standard_error: `(C,)`.
        region_spread: `(C,)`.
    """
    order = sorted(range(len(bands)), key=lambda i: (-importance[i], i))
    return tuple(
        BandImportance(
            rank,
            bands[i],
            float(importance[i]),
            float(spread[i]),
            _at(standard_error, i),
            _at(region_spread, i),
        )
        for rank, i in enumerate(order, start=1)
    )


def rank_shares(
    bands: Sequence[str], shares: NDArray[np.float64], regions: Sequence[int] | None
) -> tuple[BandImportance, ...]:
    """Ranks bands by the mean of their shares over patches.

    Args:
        bands: Names.
        shares: `(P, C)`, each row summing to one.
        regions: Number of the region of each patch; None for one region.
    """
    error = None
    if len(shares) > 1:
        error = shares.std(0, ddof=1) / np.sqrt(len(shares))
    return rank_bands(
        bands,
        shares.mean(0),
        shares.std(0),
        error,
        spread_over_regions(regions, lambda chosen: shares[chosen].mean(0), len(shares)),
    )


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
