"""Structuring elements as horizontal spans."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Kernel:
    """Offsets of pixels from a pixel, those of a row as spans.

    Dilation sets a pixel when any pixel at these offsets from it is set, erosion when all are: as OpenCV has
    it, which does not mirror the element.

    Attributes:
        spans: `(spans, 2)` int64, each different pair of first and last column offset once.
        rows: `(parts, 2)` int64, row offset and number of the span, in rising order.
    """

    spans: NDArray[np.int64]
    rows: NDArray[np.int64]

    @property
    def reach(self) -> int:
        """The largest offset in columns, either way."""
        return int(np.abs(self.spans).max(initial=0))

    def mirrored(self) -> "Kernel":
        """Returns the kernel turned by 180 degrees about its anchor."""
        rows = self.rows[::-1] * (-1, 1)
        return Kernel(-self.spans[:, ::-1], np.ascontiguousarray(rows))


def kernel_of(element: NDArray[np.generic], anchor: tuple[int, int]) -> Kernel:
    """Returns the kernel of a structuring element.

    Args:
        element: `(h, w)`, 0 outside.
        anchor: Column and row of the pixel that offsets are measured from; as in OpenCV, x comes first.
    """
    inside = np.pad(np.asarray(element) != 0, ((0, 0), (1, 1))).astype(np.int8)
    spans: dict[tuple[int, int], int] = {}
    rows = []
    for y, changes in enumerate(np.diff(inside, axis=1)):
        firsts, ends = np.flatnonzero(changes == 1), np.flatnonzero(changes == -1)
        for first, end in zip(firsts.tolist(), ends.tolist(), strict=True):
            span = (first - anchor[0], end - 1 - anchor[0])
            rows.append((y - anchor[1], spans.setdefault(span, len(spans))))
    return Kernel(np.array(list(spans), np.int64).reshape(-1, 2), np.array(rows, np.int64).reshape(-1, 2))


@lru_cache(maxsize=64)
def ellipse(columns: int, rows: int) -> Kernel:
    """Returns the pixels whose centres lie in the ellipse that fits into `rows` x `columns` pixels.

    The anchor is the middle pixel, or the one right of and below the middle where there is none.
    """
    x = (np.arange(columns) - (columns - 1) / 2) / (columns / 2)
    y = (np.arange(rows) - (rows - 1) / 2) / (rows / 2)
    return kernel_of(x[None] ** 2 + y[:, None] ** 2 <= 1, (columns // 2, rows // 2))


@lru_cache(maxsize=64)
def diamond(radius: int) -> Kernel:
    """Returns what `radius` dilations by a 3 x 3 cross make of a pixel."""
    offsets = range(-radius, radius + 1)
    widths = sorted({radius - abs(y) for y in offsets})
    spans = [(-width, width) for width in widths]
    rows = [(y, widths.index(radius - abs(y))) for y in offsets]
    return Kernel(np.array(spans, np.int64), np.array(rows, np.int64))
