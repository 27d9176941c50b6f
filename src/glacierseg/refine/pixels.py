"""Sizes on the ground in pixels."""

import math

import numpy as np

from glacierseg.errors import RequestError


def width_and_height_m(pixel_size_m: float | tuple[float, float]) -> tuple[float, float]:
    """Returns width and height of a pixel given both, or one number for a square pixel.

    Raises:
        RequestError: A side is not positive.
    """
    width_m, height_m = (float(side_m) for side_m in np.broadcast_to(pixel_size_m, 2))
    if not (width_m > 0 and height_m > 0):
        raise RequestError(f"a pixel must be larger than 0 m, not {width_m:g} x {height_m:g} m")
    return width_m, height_m


def smallest_count(area_km2: float, pixel_size_m: tuple[float, float]) -> int:
    """Returns the least number of pixels that cover at least an area.

    Rounding of the pixel size must not decide, so a billionth less than the area is taken for the area.
    """
    return math.ceil(area_km2 * 1e6 / (pixel_size_m[0] * pixel_size_m[1]) * (1 - 1e-9))


def largest_count(area_km2: float, pixel_size_m: tuple[float, float]) -> float:
    """Returns the largest number of pixels that cover at most an area, by the same tolerance.

    Infinity gives infinity.
    """
    pixels = area_km2 * 1e6 / (pixel_size_m[0] * pixel_size_m[1]) * (1 + 1e-9)
    return math.floor(pixels) if math.isfinite(pixels) else pixels


def whole_pixels(distance_m: float, side_m: float) -> int:
    """Returns how many whole pixels fit into a distance, by the same tolerance."""
    return math.floor(distance_m / side_m * (1 + 1e-9))
