"""The rim of a mask: pixels near the edges between what is set and what is not."""

import math

import numpy as np
from numpy.typing import NDArray

from glacierseg.refine.engine.bits import Bits
from glacierseg.refine.engine.jit import ONE, U63, compiled
from glacierseg.refine.engine.kernel import kernel_of
from glacierseg.refine.engine.morphology import dilate


def boundary_rim(
    glacier: Bits, pixel_size_m: tuple[float, float], buffer_m: float, ignore: Bits | None = None
) -> Bits:
    """Returns the pixels whose centre is at most a distance from an edge between glacier and background.

    The distance is Euclidean, to the nearest point of a pixel edge. Neither the border nor an edge to an
    ignored pixel is one.

    Args:
        glacier: The set.
        pixel_size_m: Width and height of a pixel.
        buffer_m: The distance.
        ignore: Pixels of which nothing is known.
    """
    width_m, height_m = pixel_size_m
    hidden = glacier.words[:0] if ignore is None else ignore.words
    # Edge row r is the upper side of pixel row r, edge column c the left side of pixel column c. The first
    # and the last are the border and empty, so that as many edges as pixels are enough.
    level, upright = np.zeros_like(glacier.words), np.zeros_like(glacier.words)
    _edges(glacier.words, hidden, level, upright)
    across_rows = near_edges(buffer_m, along_m=width_m, across_m=height_m)
    across_columns = near_edges(buffer_m, along_m=height_m, across_m=width_m)
    rim = Bits(np.zeros_like(level), glacier.width)
    if across_rows is not None:
        rim = dilate(Bits(level, glacier.width), kernel_of(*across_rows))
    if across_columns is not None:
        element, (x, y) = across_columns
        rim |= dilate(Bits(upright, glacier.width), kernel_of(element.T, (y, x)))
    return rim


def near_edges(
    buffer_m: float, *, along_m: float, across_m: float
) -> tuple[NDArray[np.bool_], tuple[int, int]] | None:
    """Returns which level edges are near a pixel as element and anchor, None when none is.

    An edge j rows further lies (j - 1/2) pixels below the pixel's centre; and it spans a whole pixel, so its
    nearest point is half a pixel nearer than its middle.
    """
    reach = buffer_m * (1 + 1e-9)  # so that 15 m takes a centre at 15 m although 1.5 * 10.000000001 is more
    rows = int(reach / across_m + 0.5)
    if rows == 0:
        return None
    columns = math.ceil(reach / along_m)
    across = (np.arange(1 - rows, rows + 1) - 0.5)[:, None] * across_m
    along = np.maximum(np.abs(np.arange(-columns, columns + 1)) - 0.5, 0)[None] * along_m
    return np.hypot(across, along) <= reach, (columns, rows - 1)


@compiled
def _edges(
    glacier: NDArray[np.uint64],
    ignore: NDArray[np.uint64],
    level: NDArray[np.uint64],
    upright: NDArray[np.uint64],
) -> None:
    height, size = glacier.shape
    for y in range(height):
        for w in range(size):
            here = glacier[y, w]
            # Column 0 is taken for its own left neighbour.
            left = (here << ONE) | (glacier[y, w - 1] >> U63 if w else here & ONE)
            upright[y, w] = here ^ left
            if y:
                level[y, w] = here ^ glacier[y - 1, w]
            if ignore.shape[0]:
                hidden = ignore[y, w]
                hidden_left = (hidden << ONE) | (ignore[y, w - 1] >> U63 if w else np.uint64(0))
                upright[y, w] &= ~(hidden | hidden_left)
                if y:
                    level[y, w] &= ~(hidden | ignore[y - 1, w])
