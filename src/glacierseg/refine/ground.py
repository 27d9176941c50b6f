"""The slope of the ground on a grid, and truth brought onto the grid."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glacierseg.raster.blocks import Block, LayerReader
from glacierseg.raster.elevation import open_terrain
from glacierseg.raster.grid import Grid
from glacierseg.raster.outlines import is_vector, refuse_layer_of_raster
from glacierseg.raster.truth import IGNORE, load_truth, open_mask, plain_mask
from glacierseg.raster.values import Band
from glacierseg.raster.warp import on_grid, require_overlap


def slope_on_grid(dem: Path | Sequence[Path], grid: Grid) -> NDArray[np.float32]:
    """Returns the slope of the ground on a grid.

    Args:
        dem: Elevation in metres, in any CRS and resolution, or its tiles.
        grid: The mask's grid.

    Returns:
        `(H, W)` degrees, NaN where elevation is missing.

    Raises:
        RasterError: The file cannot be read.
        GridMismatchError: It does not overlap the mask.
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
        GridMismatchError: It does not overlap the mask.
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
