"""The pixels of one product on the grid of its finest band: which can be used, and why others cannot.

A pixel without data in any band has none in all, and so have the other pixels of the same pixel of a coarser
band, before anything is resampled. What cannot be used is no data to the interpolation too.
"""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from glacierseg.errors import ProductError
from glacierseg.products.classes import CLEAR, MISSING, SATURATED, classify
from glacierseg.products.contents import AGAIN
from glacierseg.products.product import Product, ProductBand
from glacierseg.raster.blocks import Block, LayerReader, part_around
from glacierseg.raster.grid import Grid
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.sensors import SENSORS
from glacierseg.raster.values import Band, FileReader
from glacierseg.raster.warp import on_grid
from glacierseg.raster.write import create_raster, tiff_profile

MASKED = 128
"""Is added to the class of a pixel that becomes no data."""
_SAME_PX = 0.01
_STRIP_PX = 1024


@dataclass(frozen=True)
class Layout:
    """How the rasters of a product lie to one another.

    Attributes:
        grid: Of the finest.
        ratios: By GDAL's name of a raster, how many pixels of that grid one of its own is wide.
        coarsest: The greatest ratio of the bands.
    """

    grid: Grid
    ratios: dict[str, int]
    coarsest: int


@dataclass(frozen=True)
class Pixels:
    """Some ground of a product, in its own digital numbers.

    Attributes:
        product: The product.
        grid: Of the finest band, the part that is read.
        numbers: Digital numbers of each band by role, on its own grid.
        ratios: By role, how many pixels of `grid` one of the band is wide.
        classes: `(H, W)`, see `products.classes`; `MISSING` where any band has no data.
        saturated: `(H, W)` True where any band is.
    """

    product: Product
    grid: Grid
    numbers: dict[str, NDArray[Any]]
    ratios: dict[str, int]
    classes: NDArray[np.uint8]
    saturated: NDArray[np.bool_]


def layout_of(product: Product, bands: Sequence[ProductBand]) -> Layout:
    """Looks at how some bands of a product and its classes lie.

    Raises:
        RasterError: A file cannot be opened.
    """
    paths, grids = [band.path for band in bands], {}
    for path in (*paths, product.classes, product.saturation):
        if path:
            with open_raster(path) as dataset:
                grids[path] = grid_of(dataset)
    fine = min(grids.values(), key=lambda grid: grid.transform.a)
    # That all of them cover the same ground `products.read` has made sure of.
    ratios = {path: round(grid.transform.a / fine.transform.a) for path, grid in grids.items()}
    return Layout(fine, ratios, max(ratios[path] for path in paths))


def read_pixels(product: Product, bands: Sequence[ProductBand], layout: Layout, around: Grid) -> Pixels:
    """Reads the ground of a product that meets a grid.

    Args:
        product: The product.
        bands: Those that are needed.
        layout: From `layout_of`.
        around: The grid.

    Raises:
        RasterError: Pixels cannot be read.
        ProductError: Its classes are none, or an image is damaged.
    """
    for path in layout.ratios:
        product.require_whole(path)
    part = _whole_cells(part_around(layout.grid, around), layout)
    shape = part.height, part.width
    numbers, missing, saturated = {}, np.zeros(shape, bool), np.zeros(shape, bool)
    for band in bands:
        ratio = layout.ratios[band.path]
        numbers[band.role], absent = _read(band.path, part, ratio, product.nodata)
        missing |= spread(absent, ratio)
        if band.saturated is not None:
            saturated |= spread(numbers[band.role] == band.saturated, ratio)
    classes = spread(_classes(product, layout, part), layout.ratios[product.classes])
    missing |= classes == MISSING
    saturated |= classes == SATURATED
    if product.saturation:
        flags, _ = _read(product.saturation, part, layout.ratios[product.saturation], None)
        bits = _saturation_bits(product, bands)
        saturated |= spread((flags & bits) > 0, layout.ratios[product.saturation])
    if layout.coarsest > 1:
        missing = spread(any_in_cells(missing, layout.coarsest), layout.coarsest)
    classes[missing] = MISSING
    # Where SCL has no other class for them, saturated pixels that are kept are clear ground.
    classes[classes == SATURATED] = CLEAR
    return Pixels(
        product,
        layout.grid.crop(part.row, part.column, *shape),
        numbers,
        {band.role: layout.ratios[band.path] for band in bands},
        classes,
        saturated & ~missing,
    )


def read_classes(product: Product, layout: Layout, around: Grid) -> tuple[NDArray[np.uint8], Grid]:
    """Reads the classes of the ground of a product that meets a grid.

    Args:
        product: The product.
        layout: From `layout_of`.
        around: The grid.

    Returns:
        Numbers of `products.classes` `(H, W)` on their own grid, and that grid.

    Raises:
        RasterError: Pixels cannot be read.
        ProductError: They are no classes.
    """
    part = _whole_cells(part_around(layout.grid, around), layout)
    classes, ratio = _classes(product, layout, part), layout.ratios[product.classes]
    fine = layout.grid.crop(part.row, part.column, part.height, part.width)
    return classes, _coarse(fine, ratio, classes.shape)


def _classes(product: Product, layout: Layout, part: Block) -> NDArray[np.uint8]:
    found, absent = _read(product.classes, part, layout.ratios[product.classes], None)
    try:
        classes = classify(found, product.classes_kind)
    except ProductError as error:
        raise ProductError(f"{product.classes}: {error}; {AGAIN}") from error
    classes[absent] = MISSING
    return classes


def _whole_cells(part: Block, layout: Layout) -> Block:
    """Widens a part so that it begins and ends between two pixels of every raster."""
    step = math.lcm(*layout.ratios.values())
    row, column = part.row // step * step, part.column // step * step
    bottom = min(math.ceil((part.row + part.height) / step) * step, layout.grid.height)
    right = min(math.ceil((part.column + part.width) / step) * step, layout.grid.width)
    return Block(row, column, bottom - row, right - column)


def _read(path: str, part: Block, ratio: int, nodata: int | None) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Reads a part of a raster on its own grid: stored numbers, and where it has no data."""
    window = Window(*(side // ratio for side in (part.column, part.row, part.width, part.height)))
    with open_raster(path) as dataset:
        band = Band("", Path(path), 1, dataset.dtypes[0], dataset.nodata if nodata is None else nodata)
        layers, shown = FileReader(dataset, Path(path), [band]).read(window)
        declared = None if nodata is None else dataset.nodata
    absent = ~band.has_data(layers[0])
    if declared is not None and declared != nodata:
        absent |= layers[0] == declared
    if shown is not None:
        absent |= ~(shown if shown.ndim == 2 else shown[0])
    return layers[0], absent


def _saturation_bits(product: Product, bands: Sequence[ProductBand]) -> int:
    """Bits of Landsat's QA_RADSAT for some bands: the first one is that of band 1."""
    roles = {band.role for band in bands}
    numbers = [number for number, role in SENSORS[product.sensor].items() if role in roles]
    return sum(1 << (int(number) - 1) for number in numbers if number.isdecimal() and int(number) <= 9)


def spread(cells: NDArray[Any], ratio: int) -> NDArray[Any]:
    """Returns the pixels of a coarse raster as those of one that is finer by a ratio."""
    return cells.repeat(ratio, 0).repeat(ratio, 1) if ratio > 1 else cells


def any_in_cells(pixels: NDArray[np.bool_], ratio: int) -> NDArray[np.bool_]:
    """Returns coarse pixels True where any of their fine pixels is."""
    found = pixels[::ratio, ::ratio].copy()
    for row in range(ratio):
        for column in range(ratio):
            found |= pixels[row::ratio, column::ratio]
    return found


def grown(mask: NDArray[np.bool_], distance_m: float, pixel_size_m: tuple[float, float]) -> NDArray[np.bool_]:
    """Returns a mask with all pixels whose centres lie within a distance of one of its own.

    Args:
        mask: `(H, W)`.
        distance_m: The distance.
        pixel_size_m: Width and height of a pixel; they are alike.
    """
    import cv2  # noqa: PLC0415  (a quarter of a second, and rarely needed)

    side_m = math.sqrt(pixel_size_m[0] * pixel_size_m[1])
    reach_px = distance_m / side_m + 1e-3
    halo, result = math.ceil(reach_px), np.zeros_like(mask)
    for top in range(0, len(mask), _STRIP_PX):
        first, last = max(top - halo, 0), min(top + _STRIP_PX + halo, len(mask))
        away = cv2.distanceTransform((~mask[first:last]).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        if mask[first:last].any():
            result[top : top + _STRIP_PX] = (away <= reach_px)[top - first : top - first + _STRIP_PX]
    return result


class ProductReader:
    """Reads blocks of a product on the grid of a scene.

    Attributes:
        grid: Of the product's finest band.
        day: Day of the image as YYYYMMDD.
    """

    def __init__(self, layers: LayerReader, state: LayerReader, grid: Grid, day: int) -> None:
        self._layers, self._state, self.grid, self.day = layers, state, grid, day

    def state(self, block: Block) -> NDArray[np.uint8]:
        """Reads classes `(h, w)`, with `MASKED` added where they become no data; 0 where there are none."""
        values, valid = self._state.read(block)
        found: NDArray[np.uint8] = np.where(valid[0], values[0], MISSING).astype(np.uint8)
        return found

    def read(self, block: Block) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Reads bands `(C, h, w)` in their units, and True `(h, w)` where all of them have data."""
        values, valid = self._layers.read(block)
        return values, np.all(valid, axis=0)


def open_pixels(
    stack: ExitStack, pixels: Pixels, masked: NDArray[np.bool_], target: Grid, folder: Path
) -> ProductReader:
    """Opens the pixels of a product for reading on another grid.

    Args:
        stack: Closes it.
        pixels: The product's; their numbers are taken out of it.
        masked: `(H, W)` True where they become no data.
        target: The grid of the scene.
        folder: Where they wait.
    """
    nodata, unusable = pixels.product.nodata, masked | (pixels.classes == MISSING)
    by_role = {band.role: band for band in pixels.product.bands}
    bands, datasets = [], {}
    for role in list(pixels.numbers):
        band, numbers, ratio = by_role[role], pixels.numbers.pop(role), pixels.ratios[role]
        # A coarse pixel counts as long as one of its fine pixels can be used.
        lost = ~any_in_cells(~unusable, ratio) if ratio > 1 else unusable
        numbers[lost] = nodata
        path = folder / f"{band.role}.tif"
        grid = _coarse(pixels.grid, ratio, numbers.shape)
        store(path, numbers, grid, nodata)
        dataset = stack.enter_context(open_raster(path))
        datasets[path] = stack.enter_context(on_grid(dataset, target, "bilinear", dtype="float32"))
        bands.append(Band(band.role, path, 1, "float32", nodata, band.scale, band.offset))
    state = folder / "state.tif"
    store(state, pixels.classes + np.uint8(MASKED) * masked, pixels.grid, MISSING)
    dataset = stack.enter_context(open_raster(state))
    on_target = {state: stack.enter_context(on_grid(dataset, target, "nearest"))}
    own = LayerReader([Band("state", state, 1, "uint8", MISSING)], on_target)
    day = int(pixels.product.acquired.strftime("%Y%m%d"))
    return ProductReader(LayerReader(bands, datasets), own, pixels.grid, day)


def _coarse(fine: Grid, ratio: int, shape: tuple[int, ...]) -> Grid:
    return Grid(fine.crs, fine.transform * Affine.scale(ratio), shape[0], shape[1])


def store(path: Path, values: NDArray[Any], grid: Grid, nodata: float | None) -> None:
    """Writes a band that is read once and thrown away."""
    profile = tiff_profile(grid, 1, str(values.dtype), nodata)
    del profile["compress"], profile["predictor"]
    with create_raster(path, profile) as dataset:
        dataset.write(values, 1)
