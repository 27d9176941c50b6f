"""Rock and ice together: relief, the troughs that an ice age left in it, and today's glaciers."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from glacierseg.synthetic.ice import flow_ice
from glacierseg.synthetic.noise import FloatArray, blur, fractal_noise, ramp, resize, shrink, smooth_noise
from glacierseg.synthetic.relief import make_relief

# The height that all basins share, so that another snow line means more or less ice and not another place.
_MIDDLE_M = 5200.0
_SHARE_BELOW_MIDDLE = 60.0
_ICE_AGE_DROP_M = 350.0


@dataclass(frozen=True)
class Landscape:
    """The ground as it lies.

    Attributes:
        surface_m: `(H, W)` height of rock or ice.
        ice_m: `(H, W)` thickness of ice; 0 outside glaciers.
        snow_line_m: `(H, W)` height above which more snow falls than melts.
    """

    surface_m: FloatArray
    ice_m: FloatArray
    snow_line_m: FloatArray

    @property
    def glacier(self) -> NDArray[np.bool_]:
        """Where ice lies."""
        return self.ice_m > 0


def _carve_troughs(bed: FloatArray, pixel_size_m: float) -> FloatArray:
    """Lets the glaciers of two ice ages widen and deepen the valleys of `bed`."""
    for _ in range(2):
        coarse = shrink(bed, 4)
        snow_line = np.full_like(coarse, _MIDDLE_M - _ICE_AGE_DROP_M)
        ice = flow_ice(coarse, np.zeros_like(coarse), snow_line, 4 * pixel_size_m, years=150)
        # Ice grinds where it slides, which takes drag (1 bar at 11 m depth times slope), not on divides.
        slope = np.hypot(*np.gradient(coarse + ice, 4 * pixel_size_m))
        depth = 0.4 * ice * ramp(ice * slope, 3.0, 20.0)
        bed = bed - np.maximum(blur(resize(depth, bed.shape), 3.0), 0)
    return bed


def _snow_line(
    rng: np.random.Generator, bed: FloatArray, snow_line_m: float, pixel_size_m: float
) -> FloatArray:
    """Returns the snow line place by place: lower on slopes that face north."""
    rise_to_south = np.gradient(blur(bed, 4.0), pixel_size_m, axis=0)
    weather = 70 * smooth_noise(rng, bed.shape, 80)
    return np.asarray(snow_line_m - 150 * np.clip(rise_to_south, -1, 1) + weather, dtype=np.float32)


def _drop_small(mask: NDArray[np.bool_], least_px: float) -> NDArray[np.bool_]:
    """Removes connected parts of fewer than `least_px` pixels."""
    _, labels, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    keep = facts[:, cv2.CC_STAT_AREA] >= least_px
    keep[0] = False
    return np.asarray(keep[labels], dtype=bool)


def make_landscape(
    rng: np.random.Generator, shape: tuple[int, int], pixel_size_m: float, snow_line_m: float
) -> Landscape:
    """Makes relief and the glaciers on it.

    Args:
        rng: Source of chance.
        shape: `(H, W)`, both multiples of 8.
        pixel_size_m: Edge of a pixel.
        snow_line_m: Mean height of the snow line.
    """
    half = 2 * pixel_size_m
    bed = make_relief(rng, shape, pixel_size_m)
    bed += np.float32(_MIDDLE_M - np.percentile(bed, _SHARE_BELOW_MIDDLE))
    bed = _carve_troughs(bed, half)
    line = _snow_line(rng, bed, snow_line_m, half)

    ice = np.zeros_like(shrink(bed, 4))
    for factor, years in ((4, 300), (2, 30)):
        coarse = shrink(bed, factor)
        ice = np.maximum(resize(ice, coarse.shape), 0)
        ice = flow_ice(coarse, ice, shrink(line, factor), factor * half, years)

    # Rock is rough where it is steep; ice is what rises above it.
    rock = resize(bed, shape)
    slope = np.hypot(*np.gradient(rock, pixel_size_m))
    rock += (0.5 + 5.5 * ramp(slope, 0.1, 0.9)) * fractal_noise(rng, shape, 24, roughness=0.6)
    ice_surface = blur(resize(blur(coarse + ice, 0.7), shape), 2.0)
    thick = (ice_surface - rock > 1.5) & (blur(resize(ice, shape), 2.0) > 3)
    glacier = _drop_small(thick, 12_000 / pixel_size_m**2)
    glacier = ~_drop_small(~glacier, 3_000 / pixel_size_m**2)
    # Ice thins out towards its margin; what was filled in gets thin ice too.
    to_margin = cv2.distanceTransform(glacier.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    thickness = np.maximum(ice_surface - rock, 1) * np.sqrt(np.minimum(to_margin / 10, 1)) * glacier
    thickness = np.maximum(blur(thickness.astype(np.float32), 1.0), np.float32(0.01)) * glacier
    return Landscape(rock + thickness, thickness, resize(line, shape))
