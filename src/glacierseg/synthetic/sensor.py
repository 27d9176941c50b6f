"""What a satellite sees of the basin: 18 bands of 8 bits."""

import numpy as np
from numpy.typing import NDArray

from glacierseg.synthetic.cover import Cover
from glacierseg.synthetic.landscape import Landscape
from glacierseg.synthetic.light import Clouds
from glacierseg.synthetic.noise import FloatArray, blur, fractal_noise, ramp, resize, shrink, smooth_noise

#: Values that codes 1 and 255 stand for: fixed, so a code means the same in every basin. 0 means no data.
BAND_RANGES: dict[str, tuple[float, float]] = {
    "blue": (0.0, 1.0),  # reflectance
    "green": (0.0, 1.0),
    "red": (0.0, 1.0),
    "noise_1": (-4.0, 4.0),  # white
    "nir": (0.0, 1.0),
    "swir1": (0.0, 0.8),
    "swir2": (0.0, 0.8),
    "thermal": (245.0, 305.0),  # brightness temperature in kelvin
    "ndsi": (-1.0, 1.0),  # (green - swir1) / (green + swir1)
    "noise_2": (-4.0, 4.0),  # smooth
    "ndwi": (-1.0, 1.0),  # (green - nir) / (green + nir)
    "nir_swir1": (0.0, 10.0),  # nir / swir1
    "elevation": (3000.0, 7500.0),  # metres
    "slope": (0.0, 75.0),  # degrees
    "noise_3": (-4.0, 4.0),  # striped
    "aspect_sin": (-1.0, 1.0),  # 1 faces east
    "aspect_cos": (-1.0, 1.0),  # 1 faces north
    "ruggedness": (0.0, 12.0),  # deviation of height from its surroundings in metres
}
BAND_NAMES: tuple[str, ...] = tuple(BAND_RANGES)
NOISE_BANDS: tuple[str, ...] = ("noise_1", "noise_2", "noise_3")
_OPTICAL = ("blue", "green", "red", "nir", "swir1", "swir2")

# Reflectance in the six optical bands.
_DARK_ROCK = (0.080, 0.092, 0.105, 0.130, 0.165, 0.145)
_PALE_ROCK = (0.170, 0.200, 0.230, 0.265, 0.310, 0.270)
_PLANTS = (0.045, 0.080, 0.065, 0.310, 0.200, 0.105)
_WATER = (0.130, 0.150, 0.110, 0.045, 0.012, 0.010)
_BARE_ICE = (0.500, 0.500, 0.440, 0.300, 0.035, 0.028)
_FIRN = (0.800, 0.800, 0.770, 0.650, 0.100, 0.075)
_OLD_SNOW = (0.700, 0.700, 0.670, 0.560, 0.095, 0.075)
_CLOUD = (0.720, 0.720, 0.720, 0.720, 0.520, 0.420)
# Share of skylight in the light on flat ground, and what the air itself scatters.
_SKYLIGHT = (0.24, 0.18, 0.14, 0.09, 0.04, 0.03)
_HAZE = (0.030, 0.016, 0.009, 0.004, 0.0, 0.0)


def _stack(spectrum: tuple[float, ...]) -> FloatArray:
    """Returns a spectrum as `(6, 1, 1)`."""
    return np.array(spectrum, dtype=np.float32)[:, None, None]


def _ground_reflectance(
    rng: np.random.Generator, land: Landscape, cover: Cover, pixel_size_m: float
) -> FloatArray:
    """Returns the reflectance `(6, H, W)` of the ground. Debris has that of the rock around."""
    shape = land.ice_m.shape
    geology = ramp(fractal_noise(rng, shape, 1500 / pixel_size_m, roughness=0.5), -1.2, 1.2)
    grain = np.exp(0.16 * fractal_noise(rng, shape, 60 / pixel_size_m, roughness=0.8))
    rock = ((1 - geology) * _stack(_DARK_ROCK) + geology * _stack(_PALE_ROCK)) * grain
    ground = rock + cover.plants * (_stack(_PLANTS) - rock)

    above_m = land.surface_m - land.snow_line_m + 60 * smooth_noise(rng, shape, 300 / pixel_size_m)
    age = ramp(above_m, -60, 120)
    ice = (1 - age) * _stack(_BARE_ICE) + age * _stack(_FIRN)
    dust = 0.22 + 0.16 * fractal_noise(rng, shape, 200 / pixel_size_m, roughness=0.7)
    ice = ice + (1 - 0.8 * age) * np.clip(dust, 0, 0.8) * (rock - ice)
    melt = np.clip(0.18 + 0.18 * fractal_noise(rng, shape, 120 / pixel_size_m, roughness=0.7), 0, 0.7)
    snow = _stack(_OLD_SNOW) + melt * (rock - _stack(_OLD_SNOW))

    ground = np.where(land.glacier, ice + cover.debris * (rock - ice), ground + cover.snow * (snow - ground))
    ground = ground + cover.water * (_stack(_WATER) - ground)
    return np.asarray(ground, dtype=np.float32)


def optical_bands(
    rng: np.random.Generator,
    land: Landscape,
    cover: Cover,
    sunlight: FloatArray,
    clouds: Clouds,
    sun_height: float,
    pixel_size_m: float,
) -> dict[str, FloatArray]:
    """Returns the reflectance that a sensor would measure, not corrected for relief.

    Args:
        rng: Source of chance.
        land: Rock and ice.
        cover: What lies on them.
        sunlight: Cosine of the sun's incidence, 0 in cast shadow.
        clouds: Clouds and their shadow.
        sun_height: Sine of the sun's elevation.
        pixel_size_m: Edge of a pixel.
    """
    sky = _stack(_SKYLIGHT)
    direct = sunlight / np.float32(sun_height) * (1 - 0.85 * clouds.shadow)
    ground = _ground_reflectance(rng, land, cover, pixel_size_m)
    seen = np.asarray(ground * ((1 - sky) * direct + sky) + _stack(_HAZE), dtype=np.float32)
    texture = 1 + 0.08 * fractal_noise(rng, direct.shape, 300 / pixel_size_m, roughness=0.6)
    seen += clouds.opacity * (_stack(_CLOUD) * texture - seen)
    bands = {}
    for name, band in zip(_OPTICAL, seen, strict=True):
        noisy = blur(band, 0.6) + 0.006 * rng.standard_normal(band.shape).astype(np.float32)
        bands[name] = np.asarray(np.clip(noisy, 0.002, 1.1), dtype=np.float32)
    return bands


def thermal_band(
    rng: np.random.Generator,
    land: Landscape,
    cover: Cover,
    sunlight: FloatArray,
    clouds: Clouds,
    pixel_size_m: float,
) -> FloatArray:
    """Returns brightness temperature in kelvin, sharp only to six pixels.

    Stones on ice stay colder than rock at the same height and in the same light.
    """
    shape = sunlight.shape
    lapse = 0.0065 * (land.surface_m - 4500)
    warmed = 13 * (sunlight * (1 - 0.8 * clouds.shadow) - 0.6)
    rock = 282 - lapse + warmed + 1.6 * smooth_noise(rng, shape, 250 / pixel_size_m)
    stones = rock - np.clip(7.5 + 2.5 * smooth_noise(rng, shape, 700 / pixel_size_m), 1.5, 12)
    ice = np.minimum(273 - 0.3 * lapse + 1.5 * (sunlight - 0.6), rock)
    kelvin = np.where(land.glacier, ice + cover.debris * (stones - ice), rock - 3 * cover.plants)
    kelvin = kelvin + cover.snow * (ice - kelvin)
    kelvin = kelvin + cover.water * (277 - kelvin)
    kelvin = kelvin + clouds.opacity * (258 - kelvin)
    coarse = shrink(blur(np.asarray(kelvin, dtype=np.float32), 3.0), 4)
    coarse += 0.5 * rng.standard_normal(coarse.shape).astype(np.float32)
    return resize(coarse, shape)


def terrain_bands(elevation_m: FloatArray, pixel_size_m: float) -> dict[str, FloatArray]:
    """Returns elevation, slope, aspect and ruggedness of an elevation model."""
    smooth = blur(elevation_m, 1.0)
    to_south, to_east = np.gradient(smooth, pixel_size_m)
    steepness = np.hypot(to_south, to_east)
    length = np.maximum(steepness, 1e-6)
    rough = elevation_m - blur(elevation_m, 2.5)
    return {
        "elevation": elevation_m,
        "slope": np.degrees(np.arctan(steepness)).astype(np.float32),
        "aspect_sin": np.asarray(-to_east / length, dtype=np.float32),
        "aspect_cos": np.asarray(to_south / length, dtype=np.float32),
        "ruggedness": np.sqrt(blur(rough**2, 2.5)),
    }


def noise_bands(rng: np.random.Generator, shape: tuple[int, int]) -> dict[str, FloatArray]:
    """Returns three fields of unit deviation that know nothing of the basin: white, smooth and striped."""
    stripes = np.repeat(rng.standard_normal((shape[0], 1)), shape[1], axis=1)
    fine = rng.standard_normal(shape)
    return {
        "noise_1": rng.standard_normal(shape).astype(np.float32),
        "noise_2": smooth_noise(rng, shape, 9.0),
        "noise_3": (0.8 * stripes + 0.6 * fine).astype(np.float32),
    }


def index_bands(optical: dict[str, FloatArray]) -> dict[str, FloatArray]:
    """Returns the three band ratios."""
    green, nir, swir = optical["green"], optical["nir"], optical["swir1"]
    return {
        "ndsi": (green - swir) / (green + swir),
        "ndwi": (green - nir) / (green + nir),
        "nir_swir1": nir / swir,
    }


def to_codes(bands: dict[str, FloatArray]) -> NDArray[np.uint8]:
    """Returns the bands as `(18, H, W)` codes 1-255 over `BAND_RANGES`; 0 is left for missing data."""
    codes = [1 + 254 * (bands[name] - low) / (high - low) for name, (low, high) in BAND_RANGES.items()]
    return np.clip(np.rint(np.stack(codes)), 1, 255).astype(np.uint8)
