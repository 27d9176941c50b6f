"""Elevation models of any CRS and resolution, read as terrain layers on a scene's grid."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.raster.blocks import Block, LayerReader
from glacierseg.raster.grid import Grid
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.terrain import HALO_PX, terrain_of
from glacierseg.raster.warp import bands_of, on_grid, require_overlap


class TerrainReader:
    """Reads terrain layers of blocks of a grid; they do not depend on how the blocks are cut."""

    def __init__(self, elevation: LayerReader, grid: Grid) -> None:
        self._elevation, self._grid = elevation, grid

    def read(self, block: Block, names: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Computes layers of one block.

        Args:
            block: A part of the grid.
            names: Which layers, of those in `TERRAIN`.

        Returns:
            `(height, width)` by name, NaN where elevation is missing.

        Raises:
            RasterError: The elevation cannot be read.
        """
        # The elevation lies on the grid with a halo, where a block and its halo begin at the block's numbers.
        widened = Block(block.row, block.column, block.height + 2 * HALO_PX, block.width + 2 * HALO_PX)
        values, valid = self._elevation.read(widened)
        elevation = np.where(valid[0], values[0].astype(np.float64), np.nan)
        return terrain_of(elevation, self._grid, block.row, block.column, names)


@contextmanager
def open_terrain(path: Path, grid: Grid) -> Iterator[TerrainReader]:
    """Opens the first band of an elevation model for reading on a grid.

    Values between pixels are found by cubic convolution, because the kinks of linear interpolation would
    show in the curvature; a model on the grid's own lattice is taken as it is.

    Args:
        path: Elevation in metres.
        grid: The wanted grid.

    Raises:
        RasterError: The file cannot be read.
        GridMismatchError: It lies elsewhere.
    """
    with open_raster(path) as dataset:
        require_overlap(dataset, grid, path)
        widened = grid.crop(-HALO_PX, -HALO_PX, grid.height + 2 * HALO_PX, grid.width + 2 * HALO_PX)
        resampling = "nearest" if _on_lattice(dataset, grid) else "cubic"
        with on_grid(dataset, widened, resampling) as aligned:
            yield TerrainReader(LayerReader(bands_of(dataset, path)[:1], {path: aligned}), grid)


def _on_lattice(dataset: Any, grid: Grid) -> bool:
    """Whether a raster's pixels coincide with those of a grid that goes on beyond its rim."""
    own = grid_of(dataset)
    column, row = ~own.transform * (grid.transform * (0, 0))
    return own.crop(round(row), round(column), grid.height, grid.width).difference(grid) is None


__all__ = ["TerrainReader", "open_terrain"]
