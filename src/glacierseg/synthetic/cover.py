"""What lies on the ground: debris on glaciers, seasonal snow, lakes, plants."""

from dataclasses import dataclass

import cv2
import numpy as np

from glacierseg.synthetic.landscape import Landscape
from glacierseg.synthetic.noise import (
    FloatArray,
    blur,
    fractal_noise,
    pixel_positions,
    ramp,
    resize,
    shrink,
    smooth_noise,
)
from glacierseg.synthetic.relief import fill_pits

_DEBRIS_SHARE_OF_ICE = 0.22
_SNOW_SHARE_OF_ICE = 0.30
_THINNEST_DEBRIS_M, _THICKEST_DEBRIS_M = 0.03, 1.0


@dataclass(frozen=True)
class Cover:
    """How much of each pixel `(H, W)` a cover hides, 0 to 1, and how thick it is where that is asked.

    Attributes:
        debris: Stones on ice; 0 outside glaciers.
        debris_m: Thickness of the stones in metres, mean over the pixel.
        snow: Seasonal snow; 0 on glaciers.
        water: Lakes beside and on glaciers.
        plants: Meadows.
        surface_m: Height of what one sees: hummocks of debris, level lakes.
    """

    debris: FloatArray
    debris_m: FloatArray
    snow: FloatArray
    water: FloatArray
    plants: FloatArray
    surface_m: FloatArray


@dataclass(frozen=True)
class Ground:
    """What sensors look at.

    Attributes:
        land: Rock and ice.
        cover: What lies on them.
        pixel_size_m: Edge of a pixel.
    """

    land: Landscape
    cover: Cover
    pixel_size_m: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        height, width = self.land.ice_m.shape
        return height, width


def _rubble_upstream(land: Landscape, pixel_size_m: float) -> FloatArray:
    """Returns how much rock fell onto the ice that flows through each pixel, relative to the mean of all ice.

    Every pixel looks back along its flow line, up the ice surface, and gathers what the walls beside it shed:
    that draws moraines along the sides and, below confluences, down the middle of a tongue.
    """
    surface, ice = shrink(land.surface_m, 2), shrink(land.ice_m, 2) > 0
    to_south, to_east = np.gradient(blur(surface, 2.0), 2 * pixel_size_m)
    steepness = np.hypot(to_south, to_east)
    walls = np.where(ice, 0, ramp(steepness, 0.5, 0.9)).astype(np.float32)
    shed = np.where(ice, blur(walls, 1.5), 0).astype(np.float32)
    length = np.maximum(steepness, 1e-3)
    down = np.dstack([to_south / length, to_east / length]).astype(np.float32)
    rows, columns = pixel_positions(ice.shape)
    gathered, inside = shed.copy(), ice.astype(np.float32)
    for _ in range(int(2400 / (2 * pixel_size_m))):
        step = cv2.remap(down, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        rows, columns = rows + step[..., 0], columns + step[..., 1]
        here = cv2.remap(np.dstack([shed, ice.astype(np.float32)]), columns, rows, cv2.INTER_LINEAR)
        inside *= here[..., 1]
        gathered += inside * here[..., 0]
    gathered = resize(blur(gathered, 0.7), land.ice_m.shape)
    return np.asarray(gathered / max(float(gathered[land.glacier].mean()), 1e-6), dtype=np.float32)


def _make_debris(
    rng: np.random.Generator, land: Landscape, pixel_size_m: float
) -> tuple[FloatArray, FloatArray]:
    """Covers the lowest and the most rubble-laden ice below the snow line; returns share and thickness."""
    shape = land.ice_m.shape
    if not land.glacier.any():
        return np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    below_m = land.snow_line_m - blur(land.surface_m, 4.0)
    score = (
        below_m / 150
        + 1.0 * np.minimum(_rubble_upstream(land, pixel_size_m), 4)
        + 0.8 * smooth_noise(rng, shape, 1200 / pixel_size_m)
        + 0.25 * fractal_noise(rng, shape, 120 / pixel_size_m, roughness=0.6)
    ) + np.minimum(below_m, 0) / 40
    least = float(np.quantile(score[land.glacier], 1 - _DEBRIS_SHARE_OF_ICE))
    score = blur(score, 1.0)
    share = np.where(land.glacier, ramp(score, least - 0.2, least + 0.2), 0).astype(np.float32)
    # From a layer of single stones, ten times as thick every two steps of the score: what melts out stays.
    thickness_m = np.minimum(_THINNEST_DEBRIS_M * 10 ** ((score - least) / 2), _THICKEST_DEBRIS_M)
    return share, np.asarray(share * thickness_m, dtype=np.float32)


def _make_snow(
    rng: np.random.Generator, land: Landscape, sunlight: FloatArray, pixel_size_m: float
) -> FloatArray:
    """Leaves snow in high, shaded and hollow places outside glaciers."""
    shape = land.ice_m.shape
    surface = land.surface_m
    hollow = np.clip((blur(surface, 60 / pixel_size_m) - surface) / 12, -1.5, 1.5)
    slope = np.hypot(*np.gradient(blur(surface, 1.0), pixel_size_m))
    score = (
        (surface - land.snow_line_m) / 250
        - 1.5 * sunlight
        + 0.9 * hollow
        - 2.5 * ramp(slope, 0.8, 1.5)
        + 0.6 * fractal_noise(rng, shape, 300 / pixel_size_m, roughness=0.6)
    )
    bare = ~land.glacier
    share = min(_SNOW_SHARE_OF_ICE * float(land.glacier.mean()) / max(float(bare.mean()), 1e-6), 0.4)
    least = float(np.quantile(score[bare], 1 - share)) if bare.any() else 0.0
    snow = ramp(blur(score.astype(np.float32), 0.8), least - 0.15, least + 0.15)
    return np.where(bare, snow, np.float32(0))


def _make_lakes(land: Landscape, pixel_size_m: float) -> tuple[FloatArray, FloatArray]:
    """Fills the hollows that ice left in rock; returns the water's share and level."""
    ground = shrink(land.surface_m, 2)
    rim = np.ones(ground.shape, dtype=bool)
    rim[1:-1, 1:-1] = False
    level = fill_pits(ground, rim, rise=0)
    depth = level - ground
    wet = (depth > 3.5) & (shrink(land.ice_m, 2) == 0)
    _, labels, facts, _ = cv2.connectedComponentsWithStats(wet.astype(np.uint8), connectivity=4)
    area_m2 = facts[:, cv2.CC_STAT_AREA] * (2 * pixel_size_m) ** 2
    keep = (area_m2 >= 2_000) & (area_m2 <= 150_000)
    keep[0] = False
    water = resize(blur(keep[labels].astype(np.float32), 0.7), land.ice_m.shape)
    water = np.where(land.glacier, 0, ramp(water, 0.35, 0.65)).astype(np.float32)
    return water, resize(level, water.shape)


def _make_ponds(
    rng: np.random.Generator, land: Landscape, debris: FloatArray, pixel_size_m: float
) -> FloatArray:
    """Strews ponds over the gentlest debris-covered ice."""
    slope = np.hypot(*np.gradient(blur(land.surface_m, 4.0), pixel_size_m))
    site = smooth_noise(rng, debris.shape, 90 / pixel_size_m)
    return ramp(site, 1.9, 2.1) * ramp(debris, 0.7, 0.95) * ramp(slope, 0.45, 0.3)


def make_cover(rng: np.random.Generator, land: Landscape, sunlight: FloatArray, pixel_size_m: float) -> Cover:
    """Lays debris, snow, water and plants on a landscape.

    Args:
        rng: Source of chance.
        land: Rock and ice.
        sunlight: Cosine of incidence, 0 in shadow: where it is low, snow lasts.
        pixel_size_m: Edge of a pixel.
    """
    shape = land.ice_m.shape
    debris, debris_m = _make_debris(rng, land, pixel_size_m)
    lakes, level_m = _make_lakes(land, pixel_size_m)
    ponds = _make_ponds(rng, land, debris, pixel_size_m)
    hummocks = debris * 1.6 * smooth_noise(rng, shape, 60 / pixel_size_m) * (1 - ponds)
    ripples = land.glacier * 0.25 * fractal_noise(rng, shape, 40 / pixel_size_m)
    surface_m = np.where(lakes > 0.5, level_m, land.surface_m + hummocks + ripples)
    water = np.maximum(lakes, ponds)
    snow = _make_snow(rng, land, sunlight, pixel_size_m) * (1 - water)
    patchy = 0.35 * fractal_noise(rng, shape, 250 / pixel_size_m, roughness=0.7)
    low = (land.snow_line_m - 380 - land.surface_m) / 200 + patchy
    slope = np.hypot(*np.gradient(blur(land.surface_m, 2.0), pixel_size_m))
    plants = np.where(land.glacier, 0, ramp(low, 0.0, 1.0) * ramp(slope, 0.9, 0.5)).astype(np.float32)
    return Cover(
        debris, debris_m, snow, water, plants * (1 - snow) * (1 - water), surface_m.astype(np.float32)
    )
