"""Made-up ground for the tests of inventories."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import from_origin

from glacierseg.raster.grid import Grid
from glacierseg.raster.write import write_raster


def grid_of(
    height: int,
    width: int,
    pixel_m: float = 30.0,
    epsg: int = 32645,
    west: float = 478_000.0,
    north: float = 3_108_000.0,
) -> Grid:
    return Grid(CRS.from_epsg(epsg), from_origin(west, north, pixel_m, pixel_m), height, width)


def write_dem(path: Path, elevation: NDArray[np.float64], grid: Grid, nodata: float = -9999.0) -> Path:
    values = np.where(np.isfinite(elevation), elevation, nodata).astype(np.float32)
    write_raster(path, values, grid, bands=["elevation"], nodata=nodata, cog=False)
    return path


def write_mask(path: Path, mask: NDArray[np.uint8], grid: Grid) -> Path:
    write_raster(path, mask.astype(np.uint8), grid, bands=["glacier"], nodata=255, cog=False)
    return path


def two_valleys(
    height: int = 120, width: int = 80, pixel_m: float = 30.0
) -> tuple[NDArray[np.float64], NDArray[np.uint8], int]:
    """A ridge from west to east with one ice body over it, which drains north and south.

    Returns:
        Elevation, mask, and the row of the ridge.
    """
    row, column = np.mgrid[:height, :width].astype(float)
    ridge = height // 2
    middle = (width - 1) / 2
    elevation = 6000 - 12 * np.abs(row - ridge + 0.5) + 0.15 * (column - middle) ** 2
    mask = (np.abs(row - ridge + 0.5) < 45) & (np.abs(column - middle) < 20)
    return elevation, mask.astype(np.uint8), ridge
