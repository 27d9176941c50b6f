"""What sensors and an elevation model see of the basin: light, heat and terrain, as bands of 8 bits.

Debris has the reflectance of the rock around it, so light alone does not tell it from bare ground.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from glacierseg.raster.ground import PixelAxes
from glacierseg.raster.prepare.normalize import to_levels
from glacierseg.raster.prepare.ranges import BandRange
from glacierseg.raster.prepare.recipes import RECIPES
from glacierseg.raster.terrain import TERRAIN, terrain_layers
from glacierseg.synthetic.cover import Ground
from glacierseg.synthetic.light import Clouds
from glacierseg.synthetic.noise import FloatArray, blur, fractal_noise, ramp, resize, shrink, smooth_noise

#: The bands, in the order of the mission's stack.
BAND_NAMES: tuple[str, ...] = RECIPES["himalaya-18"]
#: Values that levels 1 and 255 stand for: fixed, so one means the same in every basin. 0 means no data.
BAND_RANGES: dict[str, tuple[float, float]] = {
    "blue": (0.0, 1.0),  # reflectance
    "green": (0.0, 1.0),
    "red": (0.0, 1.0),
    "nir": (0.0, 1.0),
    "swir1": (0.0, 0.8),
    "elevation": (3000.0, 7500.0),  # metres
    "coherence": (0.0, 1.0),  # over 12 days
    "dh_dt": (-2.0, 2.0),  # metres a year
    "divergence": (-0.2, 0.2),  # of the velocity, per year
    "persistent_scatterer": (0.0, 5.0),  # points to a hectare
    "curvature_profile": (-0.03, 0.03),  # per metre, positive where the ground bulges
    "slope": (0.0, 75.0),  # degrees
    "aspect": (0.0, 360.0),  # degrees clockwise from north
    "curvature_tangential": (-0.04, 0.04),  # per metre
    "thermal": (245.0, 305.0),  # brightness temperature in kelvin
    "unsphericity": (0.0, 0.04),  # per metre
    "velocity": (0.0, 60.0),  # of the ice's surface, metres a year
    "backscatter": (-26.0, 0.0),  # decibels
    "noise_1": (-4.0, 4.0),  # white
    "noise_2": (-4.0, 4.0),  # smooth
    "noise_3": (-4.0, 4.0),  # striped
}
#: Bands that know nothing of the basin, which are made on request.
NOISE_BANDS: tuple[str, ...] = ("noise_1", "noise_2", "noise_3")
OPTICAL_BANDS: tuple[str, ...] = BAND_NAMES[:5]

# Reflectance in the optical bands.
_DARK_ROCK = (0.080, 0.092, 0.105, 0.130, 0.165)
_PALE_ROCK = (0.170, 0.200, 0.230, 0.265, 0.310)
_PLANTS = (0.045, 0.080, 0.065, 0.310, 0.200)
_WATER = (0.130, 0.150, 0.110, 0.045, 0.012)
_BARE_ICE = (0.500, 0.500, 0.440, 0.300, 0.035)
_FIRN = (0.800, 0.800, 0.770, 0.650, 0.100)
_OLD_SNOW = (0.700, 0.700, 0.670, 0.560, 0.095)
_CLOUD = (0.720, 0.720, 0.720, 0.720, 0.520)
# Share of skylight in the light on flat ground, and what the air itself scatters.
_SKYLIGHT = (0.24, 0.18, 0.14, 0.09, 0.04)
_HAZE = (0.030, 0.016, 0.009, 0.004, 0.0)


def _stack(spectrum: tuple[float, ...]) -> FloatArray:
    """Returns a spectrum as `(5, 1, 1)`."""
    return np.array(spectrum, dtype=np.float32)[:, None, None]


def _ground_reflectance(rng: np.random.Generator, ground: Ground) -> FloatArray:
    """Returns the reflectance `(5, H, W)` of the ground. Debris has that of the rock around."""
    shape, land, cover, pixel_size_m = ground.shape, ground.land, ground.cover, ground.pixel_size_m
    geology = ramp(fractal_noise(rng, shape, 1500 / pixel_size_m, roughness=0.5), -1.2, 1.2)
    grain = np.exp(0.16 * fractal_noise(rng, shape, 60 / pixel_size_m, roughness=0.8))
    rock = ((1 - geology) * _stack(_DARK_ROCK) + geology * _stack(_PALE_ROCK)) * grain
    bare = rock + cover.plants * (_stack(_PLANTS) - rock)

    above_m = land.surface_m - land.snow_line_m + 60 * smooth_noise(rng, shape, 300 / pixel_size_m)
    age = ramp(above_m, -60, 120)
    ice = (1 - age) * _stack(_BARE_ICE) + age * _stack(_FIRN)
    dust = 0.22 + 0.16 * fractal_noise(rng, shape, 200 / pixel_size_m, roughness=0.7)
    ice = ice + (1 - 0.8 * age) * np.clip(dust, 0, 0.8) * (rock - ice)
    melt = np.clip(0.18 + 0.18 * fractal_noise(rng, shape, 120 / pixel_size_m, roughness=0.7), 0, 0.7)
    snow = _stack(_OLD_SNOW) + melt * (rock - _stack(_OLD_SNOW))

    seen = np.where(land.glacier, ice + cover.debris * (rock - ice), bare + cover.snow * (snow - bare))
    seen = seen + cover.water * (_stack(_WATER) - seen)
    return np.asarray(seen, dtype=np.float32)


def optical_bands(
    rng: np.random.Generator, ground: Ground, sunlight: FloatArray, clouds: Clouds, sun_height: float
) -> dict[str, FloatArray]:
    """Returns the reflectance that a sensor would measure, not corrected for relief.

    Args:
        rng: Source of chance.
        ground: Rock and ice, and what lies on them.
        sunlight: Cosine of the sun's incidence, 0 in cast shadow.
        clouds: Clouds and their shadow.
        sun_height: Sine of the sun's elevation.
    """
    sky = _stack(_SKYLIGHT)
    direct = sunlight / np.float32(sun_height) * (1 - 0.85 * clouds.shadow)
    reflected = _ground_reflectance(rng, ground)
    seen = np.asarray(reflected * ((1 - sky) * direct + sky) + _stack(_HAZE), dtype=np.float32)
    texture = 1 + 0.08 * fractal_noise(rng, direct.shape, 300 / ground.pixel_size_m, roughness=0.6)
    seen += clouds.opacity * (_stack(_CLOUD) * texture - seen)
    bands = {}
    for name, band in zip(OPTICAL_BANDS, seen, strict=True):
        noisy = blur(band, 0.6) + 0.006 * rng.standard_normal(band.shape).astype(np.float32)
        bands[name] = np.asarray(np.clip(noisy, 0.002, 1.1), dtype=np.float32)
    return bands


def thermal_band(
    rng: np.random.Generator, ground: Ground, sunlight: FloatArray, clouds: Clouds
) -> FloatArray:
    """Returns brightness temperature in kelvin, sharp only to six pixels.

    Stones on ice are the warmer the thicker they lie: half a metre of them hides the cold below.
    """
    land, cover = ground.land, ground.cover
    lapse = 0.0065 * (land.surface_m - 4500)
    warmed = 13 * (sunlight * (1 - 0.8 * clouds.shadow) - 0.6)
    rock = 282 - lapse + warmed + 1.6 * smooth_noise(rng, ground.shape, 250 / ground.pixel_size_m)
    ice = np.minimum(273 - 0.3 * lapse + 1.5 * (sunlight - 0.6), rock)
    stones = rock - (rock - ice) * np.exp(-cover.debris_m / 0.15)
    kelvin = np.where(land.glacier, ice + cover.debris * (stones - ice), rock - 3 * cover.plants)
    kelvin = kelvin + cover.snow * (ice - kelvin)
    kelvin = kelvin + cover.water * (277 - kelvin)
    kelvin = kelvin + clouds.opacity * (258 - kelvin)
    coarse = shrink(blur(np.asarray(kelvin, dtype=np.float32), 3.0), 4)
    coarse += 0.5 * rng.standard_normal(coarse.shape).astype(np.float32)
    return resize(coarse, ground.shape)


def terrain_bands(elevation_m: FloatArray, pixel_size_m: float) -> dict[str, FloatArray]:
    """Returns the layers of an elevation model, as `glacierseg prepare stack` makes them."""
    smooth = blur(elevation_m, 1.0)
    names = [name for name in BAND_NAMES if name in TERRAIN and name != "elevation"]
    north_up = PixelAxes(pixel_size_m, 0.0, 0.0, -pixel_size_m)
    return {"elevation": elevation_m} | terrain_layers(np.pad(smooth, 1, mode="reflect"), north_up, names)


def noise_bands(rng: np.random.Generator, shape: tuple[int, int]) -> dict[str, FloatArray]:
    """Returns three fields of unit deviation that know nothing of the basin: white, smooth and striped."""
    stripes = np.repeat(rng.standard_normal((shape[0], 1)), shape[1], axis=1)
    fine = rng.standard_normal(shape)
    return {
        "noise_1": rng.standard_normal(shape).astype(np.float32),
        "noise_2": smooth_noise(rng, shape, 9.0),
        "noise_3": (0.8 * stripes + 0.6 * fine).astype(np.float32),
    }


def to_levels_of(bands: Mapping[str, FloatArray], names: Sequence[str]) -> NDArray[np.uint8]:
    """Returns the named bands as `(C, H, W)` levels of `prepare normalize` over `BAND_RANGES`."""
    return np.stack([to_levels(bands[name], BandRange(*BAND_RANGES[name])) for name in names])
