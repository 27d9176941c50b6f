"""Rasters read for one outline at a time, whatever their CRS and resolution."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from glacierseg.raster.blocks import Block, LayerReader
from glacierseg.raster.elevation import open_elevation
from glacierseg.raster.environment import bounded_gdal
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import counts_degrees, unevenness
from glacierseg.raster.open import grid_of
from glacierseg.raster.probability import open_probability, require_probabilities
from glacierseg.raster.values import bands_of
from glacierseg.raster.warp import metric_grid, on_grid

# A bounding box of more pixels is read from a coarser grid: 4000 x 4000 float64 arrays are 128 MB each.
_MOST_PX = 16_000_000
# Where one pixel size is wrong by more than this, ways along the ice would be; then a UTM grid is used.
_LARGEST_ERROR = 0.02


class LocalRaster:
    """Reads the first band of a raster around places."""

    def __init__(
        self, path: Path, dataset: Any, require: Callable[[NDArray[Any], Path], None] | None = None
    ) -> None:
        self.path = path
        self._dataset, self._require = dataset, require
        self._bands = bands_of(dataset, path)[:1]
        self.grid = grid_of(dataset)
        self.crs = CRS.from_wkt(self.grid.crs.to_wkt())

    def window(self, bounds: tuple[float, float, float, float], margin_px: int) -> Grid:
        """Returns the part of the raster's own lattice around a box in its CRS; it may reach beyond."""
        west, south, east, north = bounds
        corners = [
            ~self.grid.transform * corner
            for corner in ((west, north), (east, south), (west, south), (east, north))
        ]
        columns, rows = zip(*corners, strict=True)
        column, row = math.floor(min(columns)) - margin_px, math.floor(min(rows)) - margin_px
        return self.grid.crop(
            row, column, math.ceil(max(rows)) + margin_px - row, math.ceil(max(columns)) + margin_px - column
        )

    def metric_window(self, bounds: tuple[float, float, float, float], margin_px: int) -> Grid:
        """Returns a grid around a box, of bearable size, whose pixels are of one size within 2 %.

        It is the raster's own lattice where that serves, else one in UTM, or a coarser one.
        """
        grid = self.window(bounds, margin_px)
        if self._is_cut_by_seam(bounds) or not unevenness(grid) <= _LARGEST_ERROR:
            grid = metric_grid(grid)
        if (pixels := grid.height * grid.width) > _MOST_PX:
            grid = coarser(grid, math.ceil(math.sqrt(pixels / _MOST_PX)))
        return grid

    def _is_cut_by_seam(self, bounds: tuple[float, float, float, float]) -> bool:
        """Whether a box goes on beyond 180 degrees, where the raster ends and begins anew."""
        west, _, east, _ = bounds
        beyond = west < self.grid.bounds.left or east > self.grid.bounds.right
        return counts_degrees(self.grid.crs) and beyond and (west < -180 < east or west < 180 < east)

    def read(self, grid: Grid) -> NDArray[np.float64]:
        """Reads values on a grid, `(H, W)`, NaN where there are none.

        Raises:
            RasterError: The pixels cannot be read.
        """
        values = np.full(grid.shape, np.nan)
        row, column = self.grid.place_of(grid)
        if self.grid.crop(row, column, grid.height, grid.width).difference(grid) is None:
            top, left = max(row, 0), max(column, 0)
            height = min(row + grid.height, self.grid.height) - top
            width = min(column + grid.width, self.grid.width) - left
            if height > 0 and width > 0:
                block = Block(top, left, height, width)
                there = slice(top - row, top - row + height), slice(left - column, left - column + width)
                values[there] = self._values(self._dataset, block)
        else:
            finer = grid.pixel_area_km2 > 2 * self.grid.pixel_area_km2
            with on_grid(self._dataset, grid, "average" if finer else "bilinear") as aligned:
                values[:] = self._values(aligned, Block(0, 0, *grid.shape))
        return values

    def _values(self, dataset: Any, block: Block) -> NDArray[np.float64]:
        values, valid = LayerReader(self._bands, {self.path: dataset}).read(block)
        found: NDArray[np.float64] = np.where(valid[0], values[0].astype(np.float64), np.nan)
        if self._require is not None:
            self._require(found, self.path)
        return found


def coarser(grid: Grid, factor: int) -> Grid:
    """Returns a grid over the same ground with pixels `factor` times as wide and high."""
    return Grid(
        grid.crs,
        grid.transform * Affine.scale(factor),
        math.ceil(grid.height / factor),
        math.ceil(grid.width / factor),
    )


@contextmanager
def open_local(path: Path) -> Iterator[LocalRaster]:
    """Opens an elevation model for reading around outlines, in metres.

    Raises:
        RasterError: It cannot be read, has no CRS, or its heights are in a unit that it does not name.
    """
    with bounded_gdal(), open_elevation(path) as dataset:
        yield LocalRaster(path, dataset)


@contextmanager
def open_local_probability(path: Path) -> Iterator[LocalRaster]:
    """Opens a probability raster for reading around outlines.

    Raises:
        RasterError: It cannot be read, has no CRS, or holds no probabilities.
    """
    with bounded_gdal(), open_probability(path) as probability:
        yield LocalRaster(path, probability.dataset, require_probabilities)
