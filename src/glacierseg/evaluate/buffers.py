"""Forgiving rims: pixels so near the true boundary that nobody can say on which side they lie."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

_CACHE_BYTES = 2**19


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
    rims = [np.zeros(truth.shape, bool) for _ in buffers_m]
    if not truth.size:
        return rims
    height, width = truth.shape
    kernels = [_kernels(pixel_size_m, buffer_m) for buffer_m in buffers_m]
    # Farther than this no edge matters. Strips stay in the processor's cache.
    halo = max((max(level.shape[0], upright.shape[0]) for level, upright in kernels), default=0)
    at_once = max(_CACHE_BYTES // width, 4 * halo, 1)
    for top in range(0, height, at_once):
        bottom = min(top + at_once, height)
        first, last = max(top - halo, 0), min(bottom + halo, height)
        part = truth[first:last]
        # Edge row r lies between pixel rows r - 1 and r, so there is one more of them than of pixels; the
        # first and the last are the scene border, or beyond the halo, and stay empty.
        level = np.zeros((last - first + 1, width), np.uint8)
        level[1:-1] = _differ(part[:-1], part[1:])
        upright = np.zeros((last - first, width + 1), np.uint8)
        upright[:, 1:-1] = _differ(part[:, :-1], part[:, 1:])
        for rim, (level_kernel, upright_kernel) in zip(rims, kernels, strict=True):
            if not level_kernel.size and not upright_kernel.size:
                continue
            near = rim[top:bottom].view(np.uint8)
            rows = slice(top - first, bottom - first)
            if level_kernel.size:
                near |= _dilate(level, level_kernel, before=1)[rows]
            if upright_kernel.size:
                near |= _dilate(upright, upright_kernel, beside=1)[rows, :width]
    return rims


def _differ(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Marks where one is glacier and the other background, neither being ignored."""
    found: NDArray[np.bool_] = (one ^ other) == 1
    return found.view(np.uint8)


def _kernels(
    pixel_size_m: tuple[float, float], buffer_m: float
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Returns which edges are near the centre of a pixel: level ones, and upright ones."""
    width_m, height_m = pixel_size_m
    return (
        _kernel(buffer_m, along_m=width_m, across_m=height_m),
        np.ascontiguousarray(_kernel(buffer_m, along_m=height_m, across_m=width_m).T),
    )


def _kernel(buffer_m: float, *, along_m: float, across_m: float) -> NDArray[np.uint8]:
    """Marks the edges near a pixel centre; the pixel's own upper edge is the one above the middle.

    Edge row r is the upper side of pixel row r, so an edge j rows further lies (j - 1/2) pixels below the
    pixel's centre; and it spans a whole pixel, so its nearest point is half a pixel nearer than its middle.
    """
    reach = buffer_m * (1 + 1e-9)  # so that 15 m takes a centre at 15 m although 1.5 * 10.000000001 is more
    rows = int(reach / across_m + 0.5)
    columns = math.ceil(reach / along_m)
    across = (np.arange(1 - rows, rows + 1) - 0.5)[:, None] * across_m
    along = np.maximum(np.abs(np.arange(-columns, columns + 1)) - 0.5, 0)[None] * along_m
    near: NDArray[np.bool_] = np.hypot(across, along) <= reach
    return near.astype(np.uint8)


def _dilate(
    edges: NDArray[np.uint8], kernel: NDArray[np.uint8], *, before: int = 0, beside: int = 0
) -> NDArray[np.uint8]:
    """Dilates; beyond its border OpenCV sees nothing, which is what is wanted here."""
    rows, columns = kernel.shape
    anchor = ((columns - beside) // 2, (rows - before) // 2)
    return np.asarray(cv2.dilate(edges, kernel, anchor=anchor), np.uint8)
