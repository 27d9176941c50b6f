"""Sunlight on relief: illumination, cast shadow, and clouds with their shadows."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from glacierseg.synthetic.noise import FloatArray, blur, fractal_noise, ramp


@dataclass(frozen=True)
class Sun:
    """Where the sun stands.

    Attributes:
        azimuth_deg: Clockwise from north.
        elevation_deg: Above the horizon.
    """

    azimuth_deg: float
    elevation_deg: float

    @property
    def towards(self) -> tuple[float, float]:
        """Unit step in (rows, columns) on a north-up grid that leads towards the sun."""
        azimuth = math.radians(self.azimuth_deg)
        return -math.cos(azimuth), math.sin(azimuth)

    @property
    def tangent(self) -> float:
        """Tangent of the elevation."""
        return math.tan(math.radians(self.elevation_deg))


def shift(field: FloatArray, rows: float, columns: float) -> FloatArray:
    """Returns the field as seen `rows` and `columns` further on; the rim is repeated."""
    step = np.array([[1, 0, columns], [0, 1, rows]], dtype=np.float32)
    moved = cv2.warpAffine(
        field,
        step,
        (field.shape[1], field.shape[0]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(moved, dtype=np.float32)


def incidence(surface_m: FloatArray, pixel_size_m: float, sun: Sun) -> FloatArray:
    """Returns the cosine of the sun's angle to the ground's normal, 0 where the ground faces away."""
    to_south, to_east = np.gradient(surface_m, pixel_size_m)
    row, column = sun.towards
    facing = math.sin(math.radians(sun.elevation_deg)) - math.cos(math.radians(sun.elevation_deg)) * (
        to_south * row + to_east * column
    )
    return np.asarray(np.maximum(facing / np.sqrt(1 + to_south**2 + to_east**2), 0), dtype=np.float32)


def cast_shadow(surface_m: FloatArray, pixel_size_m: float, sun: Sun) -> FloatArray:
    """Returns how deep each pixel lies in the shadow that other ground casts: 0 (lit) to 1.

    Walks from every pixel towards the sun until no ground can reach the ray any more.
    """
    row, column = sun.towards
    reach_m = float(np.ptp(surface_m)) / sun.tangent
    above = np.full_like(surface_m, -np.inf)
    distance_px = 1.0
    while distance_px * pixel_size_m < reach_m and distance_px < max(surface_m.shape):
        ray = np.float32(distance_px * pixel_size_m * sun.tangent)
        above = np.maximum(above, shift(surface_m, row * distance_px, column * distance_px) - ray)
        distance_px += 1.0 if distance_px < 60 else 2.0
    return ramp(above - surface_m, 0.0, 6.0)


@dataclass(frozen=True)
class Clouds:
    """Clouds and what they darken, each `(H, W)` from 0 (none) to 1.

    Attributes:
        opacity: How much of the ground a cloud hides.
        shadow: How much of the direct sunlight a cloud takes.
    """

    opacity: FloatArray
    shadow: FloatArray


def make_clouds(
    rng: np.random.Generator, shape: tuple[int, int], pixel_size_m: float, sun: Sun, share: float
) -> Clouds:
    """Makes cumulus clouds that cover about `share` of the scene and hang about 700 m above the ground."""
    field = fractal_noise(rng, shape, 900 / pixel_size_m, roughness=0.55)
    edge = float(np.quantile(field, 1 - share))
    opacity = blur(ramp(field, edge - 0.15, edge + 0.25), 1.5)
    row, column = sun.towards
    away_px = 700 / sun.tangent / pixel_size_m
    shadow = blur(shift(opacity, row * away_px, column * away_px), 3.0)
    return Clouds(opacity, np.minimum(shadow, 1 - opacity))
