"""What the pixels of a grid measure on the ground, the slope there, and truth brought onto the grid."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyproj import Geod
from rasterio.errors import RasterioError
from rasterio.warp import transform

from glacierseg.errors import RasterError
from glacierseg.raster.blocks import Block, LayerReader
from glacierseg.raster.elevation import open_terrain
from glacierseg.raster.grid import Grid, name_of_crs
from glacierseg.raster.outlines import is_vector, refuse_layer_of_raster
from glacierseg.raster.truth import IGNORE, load_truth, open_mask, plain_mask
from glacierseg.raster.values import Band
from glacierseg.raster.warp import on_grid, require_overlap

TOLERANCE = 0.05
"""Largest relative error of a pixel's width or height that distances and areas are given with."""


def ground_pixel_m(grid: Grid, name: str) -> tuple[float, float]:
    """Returns width and height of a grid's pixels, when that is one size for all of them.

    The pixels of a geographic grid have the size at its centre. Their width shrinks towards the pole, and
    a projected metre is not everywhere a metre on the ground (in Web Mercator it is 0.87 m at 30 degrees
    north), so both are measured on the WGS 84 ellipsoid in the middle and at the four corners.

    Args:
        grid: The grid.
        name: What to call it in an error.

    Raises:
        RasterError: The sides of a pixel are not at right angles, or its size on the ground differs by more
            than `TOLERANCE` from what the grid says: metres would then be wrong.
    """
    size_m = grid.pixel_size_m
    a, b, _, d, e, _ = grid.transform[:6]
    if abs(a * b + d * e) > 1e-6 * abs(a * e - b * d):
        raise RasterError(
            f"{name}: its pixels are slanted, so their metres are unclear; warp it to a UTM grid first"
        )
    places = [(0.5, 0.5), (0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)]
    for across, down in places:
        column, row = across * (grid.width - 1), down * (grid.height - 1)
        found = _measured_m(grid, column, row)
        for side, said, measured in zip(("wide", "high"), size_m, found, strict=True):
            if not abs(measured / said - 1) <= TOLERANCE:
                raise RasterError(
                    f"{name}: pixels taken for {said:.4g} m are {measured:.4g} m {side} on the ground at "
                    f"column {column:.0f}, row {row:.0f} ({name_of_crs(grid.crs)}); distances and areas "
                    "would be wrong, so reproject it to UTM or cut it into smaller scenes"
                )
    return size_m


def _measured_m(grid: Grid, column: float, row: float) -> tuple[float, float]:
    """Measures the pixel at a place along both axes; NaN where the CRS is not defined."""
    ends = [(column, row + 0.5), (column + 1, row + 0.5), (column + 0.5, row), (column + 0.5, row + 1)]
    x, y = zip(*(grid.transform * end for end in ends), strict=True)
    try:
        longitudes, latitudes = transform(grid.crs, "EPSG:4326", x, y)
    except RasterioError:
        return float("nan"), float("nan")
    geod = Geod(ellps="WGS84")
    across, down = (
        float(geod.inv(longitudes[i], latitudes[i], longitudes[i + 1], latitudes[i + 1])[2]) for i in (0, 2)
    )
    return across, down


def slope_on_grid(dem: Path, grid: Grid) -> NDArray[np.float32]:
    """Returns the slope of the ground on a grid.

    Args:
        dem: Elevation in metres, in any CRS and resolution.
        grid: The mask's grid.

    Returns:
        `(H, W)` degrees, NaN where elevation is missing.

    Raises:
        RasterError: The file cannot be read.
        GridMismatchError: It lies elsewhere.
    """
    with open_terrain(dem, grid) as terrain:
        return terrain.read(Block(0, 0, grid.height, grid.width), ["slope"])["slope"]


def align_truth(path: Path, grid: Grid, *, layer: str | None = None) -> tuple[NDArray[np.uint8], str | None]:
    """Reads truth onto the grid of a prediction, whatever grid it lies on.

    Outlines are burned in. A mask raster on another grid gives each pixel its nearest value, and 255 where it
    does not reach, so that nothing is scored there.

    Args:
        path: A mask raster or outlines.
        grid: The prediction's grid.
        layer: Of a vector file with several, see `glacierseg.raster.outlines`.

    Returns:
        `(H, W)` of 0, 1 and 255; and how the grids differed, None when nothing had to be moved.

    Raises:
        RasterError: The mask cannot be read.
        GridMismatchError: It lies elsewhere.
        TruthError: It has values other than 0, 1 and ignore, or no outline meets the grid.
    """
    if is_vector(path):
        return load_truth(path, grid, layer=layer), None
    refuse_layer_of_raster(path, layer)
    with open_mask(path) as mask:
        difference = grid.difference(mask.grid)
    if difference is None:
        return load_truth(path, grid), None
    with plain_mask(path) as dataset:
        require_overlap(dataset, grid, path)
        with on_grid(dataset, grid, "nearest") as aligned:
            band = Band("mask", path, 1, "uint8", IGNORE)
            values, valid = LayerReader([band], {path: aligned}).read(Block(0, 0, *grid.shape))
    return np.where(valid[0], values[0], np.uint8(IGNORE)), difference
