"""Forgiving rims: pixels so near the true boundary that nobody can say on which side they lie."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from glacierseg.raster.truth import IGNORE


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
    rim = np.zeros(truth.shape, bool)
    if not truth.size:
        return rim
    width_m, height_m = pixel_size_m
    height, width = truth.shape
    # Edge row r lies between pixel rows r - 1 and r, so there is one more of them than of pixels; the first
    # and the last are the scene border and stay empty.
    level = np.zeros((height + 1, width), np.uint8)
    level[1:-1] = _differ(truth[:-1], truth[1:])
    upright = np.zeros((height, width + 1), np.uint8)
    upright[:, 1:-1] = _differ(truth[:, :-1], truth[:, 1:])
    rim[_near(level, buffer_m, along_m=width_m, across_m=height_m)[:height]] = True
    rim[_near(upright.T, buffer_m, along_m=height_m, across_m=width_m)[:width].T] = True
    return rim


def _differ(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.bool_]:
    both_known = (one != IGNORE) & (other != IGNORE)
    boundary: NDArray[np.bool_] = both_known & (one != other)
    return boundary


def _near(edges: NDArray[np.uint8], buffer_m: float, *, along_m: float, across_m: float) -> NDArray[np.bool_]:
    """Marks row r, column c where the centre of pixel (r, c) is near an edge of `edges`.

    Edge row r is the upper side of pixel row r, so an edge j rows further lies (j - 1/2) pixels below the
    pixel's centre; and it spans a whole pixel, so its nearest point is half a pixel nearer than its middle.
    """
    reach = buffer_m * (1 + 1e-9)  # so that 15 m takes a centre at 15 m although 1.5 * 10.000000001 is more
    rows = int(reach / across_m + 0.5)
    if rows == 0:
        return np.zeros(edges.shape, bool)
    columns = math.ceil(reach / along_m)
    across = (np.arange(1 - rows, rows + 1) - 0.5)[:, None] * across_m
    along = np.maximum(np.abs(np.arange(-columns, columns + 1)) - 0.5, 0)[None] * along_m
    kernel = (np.hypot(across, along) <= reach).astype(np.uint8)
    # Beyond its border OpenCV's dilation sees nothing, which is what is wanted here.
    near = cv2.dilate(np.ascontiguousarray(edges), kernel, anchor=(columns, rows - 1))
    return np.asarray(near, bool)
