"""What values the bands of a scene hold: percentiles of a sample."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from glacierseg.raster.scene import Scene

PERCENTILES = (0.1, 5.0, 25.0, 50.0, 95.0, 99.9)
"""Those that `BandValues` holds, in its order."""
LEAST_PIXELS = 64
"""Fewer pixels with data tell nothing."""
_SIDE_PX = 64

ReadWindow = Callable[[int, int, int, int], tuple[NDArray[Any], NDArray[np.bool_]]]
"""From row, column, height and width to values `(C, height, width)` and where every band has data."""


@dataclass(frozen=True)
class BandValues:
    """Percentiles of a band's values: 0.1, 5, 25, 50, 95 and 99.9 %."""

    # How cards, which hold it, are validated; commands that read no card need not import pydantic.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    low: float
    p5: float
    p25: float
    median: float
    p95: float
    high: float

    @property
    def in_words(self) -> str:
        """Nearly all of them, and their median."""
        return f"{short(self.low)} to {short(self.high)}, median {short(self.median)}"

    @classmethod
    def of(cls, values: NDArray[Any]) -> "BandValues":
        """Measures them on values `(N,)`, at least one."""
        found = np.percentile(values.astype(np.float64), PERCENTILES)
        return cls(*map(float, found))

    def rescaled(self, scale: float, offset: float) -> "BandValues":
        """Returns what they are times a positive scale plus an offset."""
        return BandValues(*(scale * value + offset for value in asdict(self).values()))


def short(value: float) -> str:
    """Returns a band value for people: four digits that count, and no powers of ten."""
    return f"{float(f'{value:.4g}'):g}"


def sample_values(scene: Scene, *, apart_from_zeros: bool = False) -> NDArray[np.float32]:
    """Reads valid pixels `(C, N)` in windows spread evenly over a scene, see `sample_windows`."""
    with scene.open() as reader:
        return sample_windows(reader.read, scene.grid.shape, apart_from_zeros=apart_from_zeros)


def sample_windows(
    read: ReadWindow,
    shape: tuple[int, int],
    windows: int = 10,
    *,
    apart_from_zeros: bool = False,
) -> NDArray[np.float32]:
    """Reads valid pixels in windows spread evenly over a raster.

    Args:
        read: Reads a window.
        shape: Rows and columns.
        windows: So many in each direction, at most.
        apart_from_zeros: Leave out pixels with a zero in some band, and those beside them: outside of a swath
            without declared nodata are zeros, and along its edge values mixed with them.

    Returns:
        `(C, N)`; N may be 0.
    """
    found = []
    rows, columns = (spread_starts(length, _SIDE_PX, windows) for length in shape)
    for row, column in product(rows, columns):
        height, width = min(_SIDE_PX, shape[0] - row), min(_SIDE_PX, shape[1] - column)
        values, valid = read(row, column, height, width)
        if apart_from_zeros:
            valid = valid & ~_widened((values == 0).any(axis=0))
        found.append(values[:, valid].astype(np.float32))
    return np.concatenate(found, axis=1)


def measure_values(samples: NDArray[np.float32]) -> list[BandValues] | None:
    """Measures percentiles per band of samples `(C, N)`; None when there are too few to say anything."""
    return [BandValues.of(band) for band in samples] if samples.shape[1] >= LEAST_PIXELS else None


def spread_starts(length: int, side_px: int, most: int) -> list[int]:
    """Returns where at most so many windows start, evenly over a line, without overlap where that can be."""
    last = max(length - side_px, 0)
    count = min(most, last // side_px + 1)
    starts: list[int] = np.linspace(0, last, max(count, 2)).round().astype(int).tolist()
    return sorted(set(starts))


def _widened(pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns pixels `(H, W)` and all within two of them along rows and columns."""
    for axis in (0, 1):
        for _ in range(2):
            moved = np.swapaxes(pixels, 0, axis)
            grown = moved.copy()
            grown[1:] |= moved[:-1]
            grown[:-1] |= moved[1:]
            pixels = np.swapaxes(grown, 0, axis)
    return pixels
