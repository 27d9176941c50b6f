"""The steps of refinement, each from a mask to a new mask.

Masks are `(H, W)` of 0 background, 1 glacier and 255 ignore. A step takes ignored pixels for background,
never turns one into glacier, and gives them back as 255. What lies beyond the scene border never adds glacier
to a mask nor takes any from it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.refine import packed
from glacierseg.refine.packed import Smoothing, pack_mask, unpack_mask


def remove_fragments(
    mask: NDArray[Any],
    pixel_size_m: tuple[float, float],
    min_area_km2: float,
    connectivity: int = 8,
    *,
    keep_cut: bool = False,
) -> NDArray[np.uint8]:
    """Removes connected parts of glacier that are smaller than an area.

    Args:
        mask: `(H, W)`.
        pixel_size_m: Width and height of a pixel.
        min_area_km2: The smallest area that stays.
        connectivity: 8 joins pixels that touch at a corner, 4 does not.
        keep_cut: Whether fragments that reach the scene border or touch an ignored pixel stay: nobody knows
            how large they are beyond. On small chips many a glacier shows only a corner.
    """
    return unpack_mask(
        packed.remove_fragments(pack_mask(mask), pixel_size_m, min_area_km2, connectivity, keep_cut=keep_cut)
    )


def fill_holes(
    mask: NDArray[Any], pixel_size_m: tuple[float, float], max_area_km2: float | None = None
) -> NDArray[np.uint8]:
    """Fills holes in glacier, see `glacierseg.refine.engine.holes.label_holes` for what is one.

    Args:
        mask: `(H, W)`.
        pixel_size_m: Width and height of a pixel.
        max_area_km2: The largest hole that is filled; every hole when None. Fragments inside a hole do not
            count to its area.
    """
    return unpack_mask(packed.fill_holes(pack_mask(mask), pixel_size_m, max_area_km2))


def fill_gentle_holes(
    mask: NDArray[Any],
    pixel_size_m: tuple[float, float],
    max_area_km2: float | None,
    slope_deg: NDArray[Any],
    max_slope_deg: float,
) -> NDArray[np.uint8]:
    """Fills holes as `fill_holes` does, except those that are steep.

    A hole is steep when the mean slope of its pixels exceeds `max_slope_deg`: ice does not stay on such
    ground, so the hole is a nunatak and no gap in the mask. Pixels without a slope do not count; a hole that
    has none at all is judged by its area alone. Repeating the step changes nothing.

    Args:
        mask: `(H, W)`.
        pixel_size_m: Width and height of a pixel.
        max_area_km2: The largest hole that is filled; every hole when None.
        slope_deg: `(H, W)`, 0 flat to 90 vertical, NaN where unknown.
        max_slope_deg: The steepest mean slope that is filled.

    Raises:
        GridMismatchError: Slope and mask differ in shape.
    """
    return unpack_mask(
        packed.fill_gentle_holes(pack_mask(mask), pixel_size_m, max_area_km2, slope_deg, max_slope_deg)
    )


def merge_fragments(
    mask: NDArray[Any], pixel_size_m: tuple[float, float], distance_m: float
) -> NDArray[np.uint8]:
    """Joins fragments that face each other over a gap of at most a distance.

    The gap is measured from edge to edge: at 10 m, two background pixels between two fragments are 20 m.
    Added are those parts of the closing by a disk of that diameter which touch at least two fragments (all
    8-connected), and nothing else: shores, bays and corners that merely come near each other stay as they
    are. Repeating the step changes nothing. A distance that is less than a pixel does nothing.

    Args:
        mask: `(H, W)`.
        pixel_size_m: Width and height of a pixel.
        distance_m: The widest gap that is bridged.
    """
    return unpack_mask(packed.merge_fragments(pack_mask(mask), pixel_size_m, distance_m))


def smooth(mask: NDArray[Any], iterations: int, method: Smoothing = "majority") -> NDArray[np.uint8]:
    """Smooths, grows or shrinks glacier by morphology, counted in pixels.

    `majority` gives every pixel the value of most of its 3 x 3 neighbourhood, again and again until nothing
    changes or `iterations` are done; beyond the scene border a mask continues with its border pixels.
    `closing` dilates `iterations` times with a 3 x 3 cross and erodes as often, which fills narrow bays;
    beyond the border it sees background. `opening` erodes first, which removes narrow spurs; beyond the
    border it sees glacier, so that a glacier that leaves the scene is not eaten from there.

    `dilation` adds every pixel from which glacier is at most `iterations` steps away, a step going to one of
    the four neighbours; `erosion` takes every pixel from which *known background* is. So neither the scene
    border nor an ignored pixel ever takes glacier away: nobody knows that it ends there. Both work again on
    their own result, so they are not idempotent.

    Args:
        mask: `(H, W)`.
        iterations: 0 does nothing.
        method: `majority`, `closing`, `opening`, `dilation` or `erosion`.

    Raises:
        RequestError: There is no such method.
    """
    return unpack_mask(packed.smooth(pack_mask(mask), iterations, method))
