"""A made-up Himalayan basin with known truth."""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import RequestError
from glacierseg.synthetic.cover import Ground, make_cover
from glacierseg.synthetic.landscape import make_landscape
from glacierseg.synthetic.light import Sun, cast_shadow, incidence, make_clouds
from glacierseg.synthetic.noise import smooth_noise
from glacierseg.synthetic.radar import radar_bands, surface_motion, survey_bands
from glacierseg.synthetic.sensor import (
    BAND_NAMES,
    NOISE_BANDS,
    noise_bands,
    optical_bands,
    terrain_bands,
    thermal_band,
    to_levels_of,
)

SMALLEST_PX = 64
# Made around the basin and cut away: mountains beyond its rim throw shadows into it.
_RIM_PX = 64
# A small piece of land has little relief and other glaciers: small basins are cut from one of 512 pixels,
# tiny ones, which only tests want and want quickly, from one of 256.
_TINY_PX, _TINY_LAND_PX, _LEAST_LAND_PX = 128, 256, 512
_CLOUD_SHARE = 0.04


@dataclass(frozen=True, eq=False)
class SyntheticBasin:
    """A scene and all that is known about it.

    Attributes:
        bands: `(C, H, W)` levels 1-255 over `BAND_RANGES`.
        band_names: Of the C bands: `BAND_NAMES`, after `NOISE_BANDS` where these were asked for.
        truth: `(H, W)`: 1 glacier (clean or under debris, ponds included), 0 background, cloud over
            bare ground included, 255 where opaque cloud hides ice.
        elevation_m: `(H, W)` heights as an elevation model gives them, with its noise.
        clean_ice: `(H, W)` glacier whose ice is seen, clouds apart.
        debris: `(H, W)` glacier under stones.
        debris_m: `(H, W)` thickness of the stones in metres.
        snow: `(H, W)` seasonal snow outside glaciers.
        cloud: `(H, W)` cloud that hides most of the ground.
        shadow: `(H, W)` no direct sun: turned away, in cast shadow or below a cloud.
        lake: `(H, W)` water, beside glaciers or on them.
        pixel_size_m: Edge of a pixel.
    """

    bands: NDArray[np.uint8]
    band_names: tuple[str, ...]
    truth: NDArray[np.uint8]
    elevation_m: NDArray[np.float32]
    clean_ice: NDArray[np.bool_]
    debris: NDArray[np.bool_]
    debris_m: NDArray[np.float32]
    snow: NDArray[np.bool_]
    cloud: NDArray[np.bool_]
    shadow: NDArray[np.bool_]
    lake: NDArray[np.bool_]
    pixel_size_m: float


def _window(wanted: list[tuple[NDArray[np.bool_], float]], height: int, width: int) -> tuple[slice, slice]:
    """Returns the window of the given size, within the rim, whose layers come closest to wanted shares."""
    missed: float | NDArray[np.float64] = 0.0
    for layer, share in wanted:
        sums = cv2.integral(layer[_RIM_PX:-_RIM_PX, _RIM_PX:-_RIM_PX].astype(np.uint8)).astype(float)
        below = sums[height:] - sums[:-height]
        total = below[:, width:] - below[:, :-width]
        missed = missed + np.abs(total / (height * width) - share) / share
    row, column = np.unravel_index(int(np.argmin(missed)), np.shape(missed))
    top, left = int(row) + _RIM_PX, int(column) + _RIM_PX
    return slice(top, top + height), slice(left, left + width)


def make_basin(
    seed: int,
    height_px: int = 512,
    width_px: int = 512,
    pixel_size_m: float = 10.0,
    sun_azimuth_deg: float = 150.0,
    sun_elevation_deg: float = 48.0,
    snow_line_m: float = 5200.0,
    *,
    noise: bool = False,
) -> SyntheticBasin:
    """Makes a basin: the same arguments give the same bytes on the same machine.

    Args:
        seed: Chooses the basin.
        height_px: Rows, at least 64.
        width_px: Columns, at least 64.
        pixel_size_m: Edge of a pixel, 5 to 20; ridges and glaciers are shaped for 10 m.
        sun_azimuth_deg: Where the sun stands, clockwise from north.
        sun_elevation_deg: How high it stands.
        snow_line_m: Mean height above which more snow falls than melts; most ground lies within 4300-5800 m.
        noise: Put three bands that know nothing of the basin before the others, first so that ranks which go
            by a band's place do not favour the others.

    Raises:
        RequestError: The size is too small, the pixel size out of range or the sun too low.
    """
    if min(height_px, width_px) < SMALLEST_PX:
        raise RequestError(
            f"a synthetic basin of {height_px} x {width_px} pixels is too small, choose {SMALLEST_PX} or more"
        )
    if not 5 <= pixel_size_m <= 20:
        raise RequestError(f"a pixel size of {pixel_size_m} m is out of range, choose 5 to 20 m")
    if not 10 <= sun_elevation_deg <= 90:
        raise RequestError(f"sun elevation {sun_elevation_deg} is out of range, choose 10 to 90 degrees")
    streams = [np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(9)]
    least_px = _TINY_LAND_PX if max(height_px, width_px) <= _TINY_PX else _LEAST_LAND_PX
    shape = tuple(math.ceil(max(size, least_px) / 8) * 8 + 2 * _RIM_PX for size in (height_px, width_px))
    sun = Sun(sun_azimuth_deg, sun_elevation_deg)

    land = make_landscape(streams[0], (shape[0], shape[1]), pixel_size_m, snow_line_m)
    lit = 1 - cast_shadow(land.surface_m, pixel_size_m, sun)
    cover = make_cover(streams[1], land, incidence(land.surface_m, pixel_size_m, sun) * lit, pixel_size_m)
    land = replace(land, surface_m=cover.surface_m)
    ground = Ground(land, cover, pixel_size_m)
    sunlight = incidence(land.surface_m, pixel_size_m, sun) * lit
    clouds = make_clouds(streams[2], sunlight.shape, pixel_size_m, sun, _CLOUD_SHARE)
    elevation_m = land.surface_m + np.float32(0.5) * smooth_noise(streams[3], sunlight.shape, 3.0)

    sun_height = math.sin(math.radians(sun_elevation_deg))
    bands = optical_bands(streams[4], ground, sunlight, clouds, sun_height)
    bands |= terrain_bands(elevation_m, pixel_size_m)
    bands["thermal"] = thermal_band(streams[5], ground, sunlight, clouds)
    motion = surface_motion(land, pixel_size_m)
    bands |= survey_bands(streams[7], ground, motion)
    bands |= radar_bands(streams[8], ground, motion)
    names = BAND_NAMES
    if noise:
        bands |= noise_bands(streams[6], sunlight.shape)
        names = NOISE_BANDS + names

    glacier, debris, cloud = land.glacier, cover.debris > 0.5, clouds.opacity > 0.6
    snow, lake = cover.snow > 0.5, cover.water > 0.5
    # A small basin still shows something of everything, so that what is learnt in one can serve in another.
    wanted = [(glacier, 0.25), (debris, 0.06), (cloud, _CLOUD_SHARE), (snow, 0.06), (lake, 0.012)]
    cut = _window(wanted, height_px, width_px)
    glacier, debris, cloud = glacier[cut], debris[cut], cloud[cut]
    truth = glacier.astype(np.uint8)
    truth[glacier & cloud] = 255
    return SyntheticBasin(
        bands=to_levels_of({name: band[cut] for name, band in bands.items()}, names),
        band_names=names,
        truth=truth,
        elevation_m=np.ascontiguousarray(elevation_m[cut], dtype=np.float32),
        clean_ice=glacier & ~debris,
        debris=debris,
        debris_m=np.ascontiguousarray(cover.debris_m[cut]),
        snow=snow[cut],
        cloud=cloud,
        shadow=(sunlight[cut] < 0.05) | (clouds.shadow[cut] > 0.5),
        lake=lake[cut],
        pixel_size_m=pixel_size_m,
    )
