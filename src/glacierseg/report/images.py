"""Rasters and colour images no finer than a screen shows them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Interleaving, Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from glacierseg.errors import RasterError
from glacierseg.raster.environment import CACHE_MB, bounded_gdal
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
# The least rows that are read at a time.
_STRIP_PX = 128
# Rows of blocks that a strip may reach into, and what GDAL keeps besides.
_STRIP_BLOCKS = 2.5
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


def read_values(path: Path, frame: Frame) -> NDArray[np.float32]:
    """Reads the means of n x n pixels of the first band, through overviews where there are any.

    Returns:
        `frame.shape`, NaN where there is no data.
    """
    return _read_file(path, frame, [1])[1]


def read_layers(scene: Scene, positions: Iterable[int], frame: Frame) -> dict[int, NDArray[np.float32]]:
    """Reads bands of a scene like `read_values`, all of a file at once.

    Args:
        scene: The scene.
        positions: Of the bands, from 0.
        frame: What to read.

    Returns:
        `frame.shape` by position, NaN where there is no data.

    Raises:
        RasterError: The scene cannot be read.
    """
    wanted = dict.fromkeys(positions)
    found: dict[int, NDArray[np.float32]] = {}
    for path in dict.fromkeys(scene.bands[position].path for position in wanted):
        own = [position for position in wanted if scene.bands[position].path == path]
        read = _read_file(path, frame, [scene.bands[position].index for position in own])
        for position in own:
            band = scene.bands[position]
            values = read[band.index].copy()
            if band.nodata is not None:
                values[values == band.meaning(np.array(band.nodata, np.float64))] = np.nan
            found[position] = values
    return found


def _read_file(path: Path, frame: Frame, indexes: Sequence[int]) -> dict[int, NDArray[np.float32]]:
    wanted = list(dict.fromkeys(indexes))
    try:
        with open_raster(path) as dataset, bounded_gdal(_cache_mb(dataset)):
            bands = {band.index: band for band in bands_of(dataset, path, alpha_is_data=True)}
            layers = [
                dataset.read(
                    wanted,
                    window=part.window,
                    out_shape=(len(wanted), *part.shape),
                    resampling=Resampling.average if frame.step > 1 else Resampling.nearest,
                    masked=True,
                )
                for part in _strips(dataset, frame)
            ]
    except (RasterioError, OSError) as error:
        raise RasterError(f"{path}: cannot be read; it is truncated or damaged, copy it again") from error
    joined: Any = np.ma.concatenate  # which has no types
    layer = joined(layers, axis=1) if len(layers) > 1 else layers[0]
    return {
        index: np.ma.filled(bands[index].meaning(layer[number]).astype(np.float32), np.nan)
        for number, index in enumerate(wanted)
    }


def _strips(dataset: Any, frame: Frame) -> list[Frame]:
    """Cuts what is read into strips, where a file has to be decoded whole for each of its bands.

    Files that keep all bands of a pixel together are decoded for one band as for all of them. GDAL reads one
    band after the other and keeps what it decoded, as far as its cache reaches: so strip by strip. Where
    there are overviews these are read, and small files fit in the cache.
    """
    window, (rows, columns) = frame.window, frame.shape
    is_small = _row_mb(dataset) * dataset.height <= CACHE_MB / 2
    if is_small or frame.step <= 1 or dataset.interleaving != Interleaving.pixel or dataset.overviews(1):
        return [frame]
    step = window.height / rows
    high = max(1, int(max(dataset.block_shapes[0][0], _STRIP_PX) / step))
    return [
        Frame(
            Window(window.col_off, window.row_off + row * step, window.width, min(high, rows - row) * step),
            (min(high, rows - row), columns),
        )
        for row in range(0, rows, high)
    ]


def _cache_mb(dataset: Any) -> int:
    """Returns a size of the cache that holds the blocks of a strip, with all bands."""
    rows = max(int(dataset.block_shapes[0][0]), _STRIP_PX)
    return max(CACHE_MB, math.ceil(_STRIP_BLOCKS * _row_mb(dataset) * rows))


def _row_mb(dataset: Any) -> float:
    size = sum(np.dtype(kind).itemsize for kind in dataset.dtypes)
    return float(dataset.width * size / 2**20)


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
    """Guesses the sensor of bands that have only numbers, such as `B2`, from the numbers that occur.

    `B02` with its zero is written for Sentinel-2 only.
    """
    numbers = {number for band in bands if not is_unnamed(band) and (number := band_number(band))}
    if not numbers:
        return None
    has_zero = any(band.strip().upper().startswith("B0") for band in bands)
    if has_zero or numbers & {"8A", "12"} or {"8", "11"} <= numbers:
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
    *,
    layers: Mapping[int, NDArray[np.float32]] | None = None,
) -> Composite:
    """Reads a colour image.

    Args:
        scene: The scene.
        recipe: Which bands to show.
        frame: What to read.
        limits: Stretch to use, for a part that is to look like the whole; measured when None.
        exponent: Of the stretched shares; without it less than 1 where more than half of the image would be
            dark, as with snow beside rock.
        layers: From `read_layers`, with the bands of the recipe among others; read when None.

    Raises:
        RasterError: The scene cannot be read.
    """
    read = read_layers(scene, recipe.bands, frame) if layers is None else layers
    valid = np.logical_and.reduce([np.isfinite(read[position]) for position in recipe.bands])
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


def read_composites(scene: Scene, recipes: Sequence[Recipe], frame: Frame) -> tuple[Composite, ...]:
    """Reads several colour images, each band once.

    Raises:
        RasterError: The scene cannot be read.
    """
    layers = read_layers(scene, [position for recipe in recipes for position in recipe.bands], frame)
    return tuple(read_composite(scene, recipe, frame, layers=layers) for recipe in recipes)


def read_greys(scene: Scene, positions: Sequence[int], frame: Frame) -> list[NDArray[np.uint8]]:
    """Reads bands in grey, each stretched like a colour image.

    Args:
        scene: The scene.
        positions: Positions of the bands, from 0.
        frame: What to read.

    Returns:
        `frame.shape` of each: 0 where there is no data, else 1-255.

    Raises:
        RasterError: The scene cannot be read.
    """
    layers = read_layers(scene, positions, frame)
    return [_grey(scene, position, frame, layers) for position in positions]


def _grey(
    scene: Scene, position: int, frame: Frame, layers: Mapping[int, NDArray[np.float32]]
) -> NDArray[np.uint8]:
    recipe = Recipe("band", "", (position,) * 3)
    grey = read_composite(scene, recipe, frame, exponent=1.0, layers=layers).pixels
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
