"""How the area of a glacier is spread over elevation."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BAND_M = 50


@dataclass(frozen=True)
class Bands:
    """Elevation bands of one glacier, from the lowest to the highest without gaps.

    Attributes:
        from_m: `(N,)` lower bounds, multiples of 50 m; they belong to the band.
        area_km2: `(N,)`, together the area of the glacier.
        permille: `(N,)` whole thousandths of the area, together 1000, as in RGI 7.0.
    """

    from_m: NDArray[np.int64]
    area_km2: NDArray[np.float64]
    permille: NDArray[np.int64]


def elevation_bands(heights_m: NDArray[np.float64], area_km2: float) -> Bands:
    """Counts the pixels of a glacier in bands of 50 m.

    Args:
        heights_m: `(N,)` elevation of its pixels, at least one.
        area_km2: Its area. Where elevation is missing, it is taken to be spread as where it is known.
    """
    steps = np.floor(heights_m / BAND_M).astype(np.int64)
    counts = np.bincount(steps - steps.min())
    shares = counts / counts.sum()
    return Bands(
        from_m=(steps.min() + np.arange(len(counts))) * BAND_M,
        area_km2=shares * area_km2,
        permille=_thousandths(shares),
    )


def _thousandths(shares: NDArray[Any]) -> NDArray[np.int64]:
    """Rounds shares so that they add up to 1000: what is left goes to the largest remainders."""
    exact = shares * 1000
    whole: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    whole[np.argsort(whole - exact, kind="stable")[: 1000 - whole.sum()]] += 1
    return whole
