"""Made-up ground for the tests of inventories."""

import numpy as np
from rasterio.crs import CRS
from rasterio.transform import from_origin

from glacierseg.raster.grid import Grid
from glacierseg.raster.write import write_raster


def grid_of(height, width, pixel_m=30.0, epsg=32645, west=478_000.0, north=3_108_000.0):
    return Grid(CRS.from_epsg(epsg), from_origin(west, north, pixel_m, pixel_m), height, width)


def write_dem(path, elevation, grid, nodata=-9999.0):
    values = np.where(np.isfinite(elevation), elevation, nodata).astype(np.float32)
    write_raster(path, values, grid, bands=["elevation"], nodata=nodata, cog=False)
    return path


def write_mask(path, mask, grid):
    write_raster(path, mask.astype(np.uint8), grid, bands=["glacier"], nodata=255, cog=False)
    return path


def two_valleys(height=120, width=80, pixel_m=30.0):
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
