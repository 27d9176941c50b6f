"""Filling of holes that spares nunataks: rock too steep to carry ice."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import GridMismatchError
from glacierseg.raster.truth import GLACIER, IGNORE
from glacierseg.refine.steps import fill_holes


def fill_gentle_holes(
    mask: NDArray[Any],
    pixel_size_m: tuple[float, float],
    max_area_km2: float | None,
    slope_deg: NDArray[Any],
    max_slope_deg: float,
) -> NDArray[np.uint8]:
    """Fills holes as `glacierseg.refine.steps.fill_holes` does, except those that are steep.

    A hole is steep when the mean slope of its pixels exceeds `max_slope_deg`: ice does not stay on such
    ground, so the hole is a nunatak and no gap in the mask. Pixels without a slope do not count; a hole that
    has none at all is judged by its area alone. Repeating the step changes nothing.

    Args:
        mask: `(H, W)` of 0, 1 and 255.
        pixel_size_m: Width and height of a pixel.
        max_area_km2: The largest hole that is filled; every hole when None.
        slope_deg: `(H, W)`, 0 flat to 90 vertical, NaN where unknown.
        max_slope_deg: The steepest mean slope that is filled.

    Raises:
        GridMismatchError: Slope and mask differ in shape.
    """
    if slope_deg.shape != mask.shape:
        raise GridMismatchError(
            f"slope of shape {slope_deg.shape} does not fit a mask of shape {mask.shape}; "
            "bring the elevation model onto the mask's grid with `glacierseg prepare align`"
        )
    filled = fill_holes(mask, pixel_size_m, max_area_km2)
    # Two holes never touch at a side, or they would be one: what was filled falls apart into them again.
    holes = ((filled == GLACIER) & (np.asarray(mask) != GLACIER)).astype(np.uint8)
    number, labels = cv2.connectedComponents(holes, connectivity=4)
    inside = holes > 0
    label, slope = labels[inside], np.asarray(slope_deg)[inside].astype(np.float64)
    known = np.isfinite(slope)
    pixels = np.bincount(label[known], minlength=number)
    total = np.bincount(label[known], weights=slope[known], minlength=number)
    # A billionth for rounding: a hole of exactly the limit is filled.
    steep = total > max_slope_deg * pixels * (1 + 1e-9)
    filled[steep[labels] & inside & (filled != IGNORE)] = 0
    return filled
