"""Forgiving rims: pixels so near the true boundary that nobody can say on which side they lie."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from glacierseg.raster.truth import IGNORE
from glacierseg.refine.engine import rim
from glacierseg.refine.engine.bits import pack, unpack


def boundary_rim(
    truth: NDArray[np.uint8], pixel_size_m: tuple[float, float], buffer_m: float
) -> NDArray[np.bool_]:
    """Returns which pixels lie within a distance of the true glacier boundary.

    The boundary is made of the pixel edges between glacier (1) and background (0). Neither the scene border
    nor an edge to an ignored pixel is one: what lies beyond is unknown. A pixel belongs to the rim when its
    centre is at most `buffer_m` from the nearest point of such an edge (Euclidean, in metres). The centres of
    the pixels beside a boundary are half a pixel away from it, so a 10 m buffer takes one pixel on either
    side at 10 m resolution, and none at all at 30 m, where it changes no score.

    Args:
        truth: `(H, W)` of 0, 1 and 255.
        pixel_size_m: Width and height of a pixel.
        buffer_m: Half the width of the rim.

    Returns:
        `(H, W)`, True in the rim.
    """
    return boundary_rims(truth, pixel_size_m, [buffer_m])[0]


def boundary_rims(
    truth: NDArray[np.uint8], pixel_size_m: tuple[float, float], buffers_m: Sequence[float]
) -> list[NDArray[np.bool_]]:
    """Returns the rims of several widths, see `boundary_rim`."""
    if not truth.size:
        return [np.zeros(truth.shape, bool) for _ in buffers_m]
    glacier, ignore = pack(truth), pack(truth, IGNORE)
    rims = (rim.boundary_rim(glacier, pixel_size_m, buffer_m, ignore) for buffer_m in buffers_m)
    return [unpack(one).view(np.bool_) for one in rims]
