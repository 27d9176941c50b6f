"""What radar and repeated surveys see: motion, thinning, coherence, stable points and backscatter.

The ice is that of the shallow-ice model, so a tongue under debris moves, thins and shifts its stones though
no optical band can tell it from the rock beside it. What is measured has the errors of such products: noise
on ground that stands still, more of it where it is steep, few looks, speckle, slopes that no radar sees.
"""

from dataclasses import dataclass

import numpy as np

from glacierseg.synthetic.cover import Ground
from glacierseg.synthetic.ice import elevation_change, ice_velocity
from glacierseg.synthetic.landscape import Landscape
from glacierseg.synthetic.light import Sun, incidence
from glacierseg.synthetic.noise import FloatArray, blur, fractal_noise, ramp, smooth_noise

# Surface against mean over depth, (n + 2) / (n + 1) with Glen's n = 3, where ice does not slide.
_SURFACE_BY_MEAN = 1.25
# A descending pass that looks to the west, 39 degrees off the vertical.
_RADAR = Sun(azimuth_deg=100.0, elevation_deg=51.0)
_COHERENCE_LOOKS = 12
_SPECKLE_LOOKS = 8
# Stable points of a square metre of bare rock that the radar sees well.
_POINTS_PER_M2 = 2.5e-4


@dataclass(frozen=True)
class Motion:
    """How the ice moves, before anybody measures it.

    Attributes:
        down_m_year: `(H, W)` velocity of the surface towards higher rows.
        right_m_year: The same towards higher columns.
    """

    down_m_year: FloatArray
    right_m_year: FloatArray

    @property
    def speed_m_year(self) -> FloatArray:
        """Speed of the surface."""
        return np.asarray(np.hypot(self.down_m_year, self.right_m_year), dtype=np.float32)


def surface_motion(land: Landscape, pixel_size_m: float) -> Motion:
    """Returns how the ice's surface moves, by its thickness and slope over some thicknesses of ice."""
    ice = land.glacier.astype(np.float32)
    # Smoothed among ice alone: rock walls are steep and do not push.
    share = np.maximum(blur(ice, 50 / pixel_size_m), 1e-3)
    level_m = np.where(land.glacier, blur(land.surface_m * ice, 50 / pixel_size_m) / share, land.surface_m)
    thickness_m = blur(land.ice_m, 20 / pixel_size_m) * ice
    down, right = ice_velocity(level_m.astype(np.float32), thickness_m, pixel_size_m)
    return Motion(_SURFACE_BY_MEAN * down, _SURFACE_BY_MEAN * right)


def _steep(land: Landscape, pixel_size_m: float) -> FloatArray:
    """Returns 0 on gentle ground to 1 on walls."""
    return ramp(np.hypot(*np.gradient(blur(land.surface_m, 2.0), pixel_size_m)), 0.4, 1.2)


def survey_bands(rng: np.random.Generator, ground: Ground, motion: Motion) -> dict[str, FloatArray]:
    """Returns what two dates and two elevation models say: velocity, its divergence, change of elevation.

    Args:
        rng: Source of chance.
        ground: Rock and ice, and what lies on them.
        motion: Of the ice.
    """
    land, pixel_size_m = ground.land, ground.pixel_size_m
    shape, steep = ground.shape, _steep(land, pixel_size_m)
    # Offsets are tracked in windows of some 90 m; both components err, so still ground has a speed too.
    components = [
        blur(part, 30 / pixel_size_m) + (0.8 + 1.2 * steep) * smooth_noise(rng, shape, 90 / pixel_size_m)
        for part in (motion.down_m_year, motion.right_m_year)
    ]
    down, right = components
    # Differences of neighbours would be nothing but error, so the field is smoothed over the windows first.
    smooth_down, smooth_right = (blur(part, 45 / pixel_size_m) for part in components)
    divergence = np.gradient(smooth_down, pixel_size_m, axis=0)
    divergence += np.gradient(smooth_right, pixel_size_m, axis=1)
    change = np.where(
        land.glacier, elevation_change(land.surface_m, land.snow_line_m, ground.cover.debris_m), 0
    )
    # Ponds among debris eat into the ice.
    change = change - 1.2 * land.glacier * ground.cover.water
    error = (0.12 + 0.25 * steep) * smooth_noise(rng, shape, 120 / pixel_size_m)
    error += (0.1 + 0.15 * steep) * smooth_noise(rng, shape, 30 / pixel_size_m)
    return {
        "velocity": np.asarray(np.hypot(down, right), dtype=np.float32),
        "divergence": np.asarray(divergence, dtype=np.float32),
        "dh_dt": np.asarray(blur(change.astype(np.float32), 20 / pixel_size_m) + error, dtype=np.float32),
    }


def radar_bands(rng: np.random.Generator, ground: Ground, motion: Motion) -> dict[str, FloatArray]:
    """Returns coherence over twelve days, density of persistent scatterers and backscatter.

    Args:
        rng: Source of chance.
        ground: Rock and ice, and what lies on them.
        motion: Of the ice.
    """
    # Cosine of the local incidence: near 1 where ground faces the radar, 0 where it lies in its shadow.
    side_m = ground.pixel_size_m
    facing = incidence(blur(ground.land.surface_m, 10 / side_m), side_m, _RADAR)
    return {
        "coherence": _coherence(rng, ground, motion, facing),
        "persistent_scatterer": _persistent_scatterers(rng, ground, facing),
        "backscatter": _backscatter(rng, ground, facing),
    }


def _coherence(rng: np.random.Generator, ground: Ground, motion: Motion, facing: FloatArray) -> FloatArray:
    """Returns coherence, 0 to 1: what moves, melts or shifts loses it, and few looks blur what is left."""
    shape, cover = ground.shape, ground.cover
    bare_ice = ground.land.glacier * (1 - cover.debris)
    # Under thin debris the ice melts fast, and its stones slide.
    shifting = cover.debris * (0.15 + 0.4 * np.exp(-cover.debris_m / 0.3))
    # Scree creeps and stones fall off glaciers too.
    scree = 0.4 * ramp(fractal_noise(rng, shape, 400 / ground.pixel_size_m, roughness=0.6), 0.4, 1.8)
    true = 0.88 * np.exp(-motion.speed_m_year / 12) * (1 - shifting) * (1 - scree)
    for share, lost in ((bare_ice, 0.6), (cover.snow, 0.8), (cover.plants, 0.45), (cover.water, 0.95)):
        true = true * (1 - lost * share)
    true = blur(np.asarray(true * ramp(facing, 0.0, 0.25), dtype=np.float32), 1.5)
    # Mean and spread of its estimate (Touzi et al. 1999, to first order).
    unlike = 1 - true**2
    seen = np.sqrt(true**2 + unlike / _COHERENCE_LOOKS)
    seen = seen + unlike / np.sqrt(2 * _COHERENCE_LOOKS) * smooth_noise(rng, shape, 3.0)
    return np.asarray(np.clip(seen, 0, 1), dtype=np.float32)


def _persistent_scatterers(rng: np.random.Generator, ground: Ground, facing: FloatArray) -> FloatArray:
    """Returns how many points to a hectare keep their echo over years: on bare rock, never on ice."""
    cover, pixel_size_m = ground.cover, ground.pixel_size_m
    # Outcrops have many, the gravel between them few or none, so that none is no proof of ice.
    outcrops = ramp(fractal_noise(rng, ground.shape, 400 / pixel_size_m, roughness=0.6), -0.6, 1.0)
    free = ~ground.land.glacier * (cover.snow + cover.plants + cover.water < 0.1)
    rate = _POINTS_PER_M2 * pixel_size_m**2 * outcrops * free * ramp(facing, 0.1, 0.4)
    points = rng.poisson(rate).astype(np.float32)
    return blur(points, 30 / pixel_size_m) * np.float32(10_000 / pixel_size_m**2)


def _backscatter(rng: np.random.Generator, ground: Ground, facing: FloatArray) -> FloatArray:
    """Returns backscatter in decibels: rough stones are bright, wet snow and water dark, with speckle.

    Not corrected for relief: slopes that face the radar are foreshortened and bright.
    """
    shape, land, cover = ground.shape, ground.land, ground.cover
    roughness = 1.3 * fractal_noise(rng, shape, 300 / ground.pixel_size_m, roughness=0.7)
    firn = ramp(land.surface_m - land.snow_line_m, -40, 100)
    ice = -14.5 - 3.5 * firn
    stones = -7.5 + roughness
    echo = -10.5 + roughness - 0.5 * cover.plants
    echo = np.where(land.glacier, ice + cover.debris * (stones - ice), echo)
    for share, decibels in ((cover.snow, -18.0), (cover.water, -20.0)):
        echo = echo + share * (decibels - echo)
    # Ground area in a cell of the image by that of flat ground.
    flat = np.cos(np.radians(_RADAR.elevation_deg))
    local = np.sqrt(np.maximum(1 - facing**2, 0.02))
    echo = echo + 10 * np.log10(flat / local) - 8 * ramp(facing, 0.15, 0.0)
    speckle = rng.gamma(_SPECKLE_LOOKS, 1 / _SPECKLE_LOOKS, shape)
    intensity = blur(np.asarray(10 ** (echo / 10) * speckle, dtype=np.float32), 0.7)
    return np.asarray(10 * np.log10(intensity), dtype=np.float32)
