"""Rasters and colour images no finer than a screen shows them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from glacierseg.errors import RasterError
from glacierseg.raster.grid import Grid
from glacierseg.raster.open import open_raster
from glacierseg.raster.scene import Scene
from glacierseg.raster.sensors import band_number, is_unnamed, role_of
from glacierseg.raster.values import bands_of

LONG_SIDE_PX = 1200
# Glaciologists' choices: ice is cyan and rock brown in the first, vegetation red in the second.
_FALSE_COLOURS = (("swir1", "nir", "red"), ("swir1", "nir", "green"), ("nir", "red", "green"))
# A dark image is brightened until its middle has this share of full light, or by this exponent.
_MIDDLE, _LEAST_EXPONENT = 0.3, 0.55
_NATURAL = ("red", "green", "blue")


@dataclass(frozen=True)
class Frame:
    """A part of a grid, in its pixels, and the rows and columns that it is shown in."""

    window: Window
    shape: tuple[int, int]

    @property
    def step(self) -> float:
        """Grid pixels per pixel shown, along a row."""
        return float(self.window.width) / self.shape[1]


def frame_of(grid: Grid, long_side_px: int = LONG_SIDE_PX) -> Frame:
    """Returns the frame that shows a whole grid."""
    return part_of(Window(0, 0, grid.width, grid.height), long_side_px)


def part_of(window: Window, long_side_px: int) -> Frame:
    """Returns the frame that shows a part of a grid."""
    step = max(1.0, max(window.height, window.width) / long_side_px)
    return Frame(window, (max(1, round(window.height / step)), max(1, round(window.width / step))))


def read_classes(path: Path, frame: Frame) -> NDArray[np.uint8]:
    """Reads every n-th pixel of a raster of classes.

    Overviews are left aside: rasters with and without them would be sampled at different places, and the
    comparison of two masks would show differences that do not exist.
    """
    try:
        with open_raster(path, OVERVIEW_LEVEL="NONE") as dataset:
            values: NDArray[np.uint8] = dataset.read(
                1, window=frame.window, out_shape=frame.shape, resampling=Resampling.nearest
            )
            return values
    except (RasterioError, OSError) as error:
        raise RasterError(f"{path}: cannot be read; remove it and run again to write it") from error


def read_values(path: Path, frame: Frame, index: int = 1) -> NDArray[np.float32]:
    """Reads the means of n x n pixels of a band, through overviews where there are any.

    Returns:
        `frame.shape`, NaN where there is no data.
    """
    try:
        with open_raster(path) as dataset:
            bands = bands_of(dataset, path, alpha_is_data=True)
            band = next(band for band in bands if band.index == index)
            layer: Any = dataset.read(
                index,
                window=frame.window,
                out_shape=frame.shape,
                resampling=Resampling.average if frame.step > 1 else Resampling.nearest,
                masked=True,
            )
    except (RasterioError, OSError) as error:
        raise RasterError(f"{path}: cannot be read; it is truncated or damaged, copy it again") from error
    values: NDArray[np.float32] = np.ma.filled(band.meaning(layer).astype(np.float32), np.nan)
    return values


@dataclass(frozen=True)
class Recipe:
    """Three bands of a scene, by position, that make a colour image: `natural`, `false` or `first`."""

    key: str
    label: str
    bands: tuple[int, int, int]


@dataclass(frozen=True)
class Composite:
    """A colour image of a scene.

    Attributes:
        recipe: Which bands it shows.
        pixels: `(H, W, 4)` uint8: red, green, blue and 255 where there is data.
        limits: For each of the three bands the values that became black and full colour.
        exponent: Of the shares between them; below 1 where it had to be brightened.
    """

    recipe: Recipe
    pixels: NDArray[np.uint8]
    limits: tuple[tuple[float, float], ...]
    exponent: float = 1.0


def guess_sensor(bands: Sequence[str]) -> str | None:
    """Guesses the sensor of bands that have only numbers, such as `B2`, from the numbers that occur."""
    numbers = {number for band in bands if not is_unnamed(band) and (number := band_number(band))}
    if not numbers:
        return None
    if numbers & {"8A", "12"} or {"8", "11"} <= numbers:
        return "sentinel2"
    return "landsat8" if numbers & {"10", "11"} or "1" not in numbers else "landsat7"


def composite_recipes(bands: Sequence[str], sensor: str | None = None) -> tuple[Recipe, ...]:
    """Chooses colour images by the names of the bands.

    Args:
        bands: Names of the scene's bands in order.
        sensor: Key of `raster.sensors.SENSORS`, for bands that have only numbers; guessed when None.

    Returns:
        Natural colour and a false colour where the scene has their bands; else the first three bands (the
        first band in grey when there are fewer).
    """
    sensor = sensor or guess_sensor(bands)
    positions: dict[str, int] = {}
    for position, band in enumerate(bands):
        if not is_unnamed(band) and (role := role_of(band, sensor)):
            positions.setdefault(role, position)
    recipes: list[Recipe] = []
    for key, roles in (("natural", _NATURAL), *(("false", roles) for roles in _FALSE_COLOURS)):
        if all(role in positions for role in roles) and key not in [recipe.key for recipe in recipes]:
            red, green, blue = (positions[role] for role in roles)
            named = "-".join(
                "SWIR" if role == "swir1" else "NIR" if role == "nir" else role for role in roles
            )
            label = "Natural colour" if key == "natural" else f"False colour ({named})"
            recipes.append(Recipe(key, label, (red, green, blue)))
    if recipes:
        return tuple(recipes)
    if len(bands) >= 3:
        return (Recipe("first", f"Bands {', '.join(bands[:3])}", (0, 1, 2)),)
    return (Recipe("first", f"Band {bands[0]}", (0, 0, 0)),) if bands else ()


def read_composite(
    scene: Scene,
    recipe: Recipe,
    frame: Frame,
    limits: tuple[tuple[float, float], ...] | None = None,
    exponent: float | None = None,
) -> Composite:
    """Reads a colour image.

    Args:
        scene: The scene.
        recipe: Which bands to show.
        frame: What to read.
        limits: Stretch to use, for a part that is to look like the whole; measured when None.
        exponent: Of the stretched shares; without it less than 1 where more than half of the image would be
            dark, as with snow beside rock.
    """
    read: dict[int, NDArray[np.float32]] = {}
    for position in recipe.bands:
        if position not in read:
            band = scene.bands[position]
            values = read_values(band.path, frame, band.index)
            if band.nodata is not None:
                values[values == band.nodata] = np.nan
            read[position] = values
    valid = np.logical_and.reduce([np.isfinite(values) for values in read.values()])
    if limits is None:
        limits = tuple(_limits(read[position][valid]) for position in recipe.bands)
    pixels = np.zeros((*frame.shape, 4), np.uint8)
    shares = [
        np.clip((np.nan_to_num(read[position]) - low) / (high - low), 0, 1)
        for position, (low, high) in zip(recipe.bands, limits, strict=True)
    ]
    if exponent is None:
        exponent = _exponent([share[valid] for share in shares])
    for channel, share in enumerate(shares):
        pixels[..., channel] = np.round(255 * (share if exponent == 1 else share**exponent))
    pixels[..., 3] = np.where(valid, 255, 0)
    pixels[~valid] = 0
    return Composite(recipe, pixels, limits, exponent)


def read_grey(scene: Scene, position: int, frame: Frame) -> NDArray[np.uint8]:
    """Reads a band in grey, stretched like a colour image.

    Returns:
        `frame.shape`: 0 where there is no data, else 1-255.
    """
    grey = read_composite(scene, Recipe("band", "", (position,) * 3), frame, exponent=1.0).pixels
    stretched: NDArray[np.uint8] = np.where(grey[..., 3] == 0, 0, np.maximum(grey[..., 0], 1))
    return stretched


def _limits(values: NDArray[np.float32]) -> tuple[float, float]:
    """Returns the 1st and 99th percentile, apart from each other even where all values are the same."""
    if not values.size:
        return 0.0, 1.0
    low, high = (float(limit) for limit in np.percentile(values[:: max(1, values.size // 200_000)], (1, 99)))
    return (low, high) if high > low else (low, low + 1.0)


def _exponent(shares: Sequence[NDArray[np.float32]]) -> float:
    """Returns what brings the middle of a dark image to `_MIDDLE`; 1 for one that is as bright."""
    median = float(np.median(np.concatenate(shares))) if shares and shares[0].size else 1.0
    if median >= _MIDDLE:
        return 1.0
    return max(_LEAST_EXPONENT, math.log(_MIDDLE) / math.log(max(median, 1e-3)))


def grey_of(composite: Composite) -> NDArray[np.uint8]:
    """Returns a pale grey image `(H, W)` on which overlays stand out."""
    luminance = composite.pixels[..., :3].astype(np.float32).mean(axis=2)
    grey: NDArray[np.uint8] = np.round(70 + 0.72 * luminance).astype(np.uint8)
    grey[composite.pixels[..., 3] == 0] = 255
    return grey
