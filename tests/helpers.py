"""Small made-up rasters for tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import from_origin

from glacierseg.raster.grid import Grid
from glacierseg.raster.write import write_raster


def utm_grid(height: int, width: int, pixel_m: float = 10.0) -> Grid:
    return Grid(CRS.from_epsg(32643), from_origin(700_000, 3_600_000, pixel_m, pixel_m), height, width)


def write_scene(
    path: Path,
    values: NDArray[Any],
    bands: Sequence[str] | None = None,
    nodata: float | None = None,
    pixel_m: float = 10.0,
) -> Path:
    """Writes `(C, H, W)` as a scene in UTM."""
    names = bands or [f"b{i + 1}" for i in range(len(values))]
    grid = utm_grid(*values.shape[1:], pixel_m)
    write_raster(path, values, grid, bands=names, nodata=nodata, cog=False)
    return path


def write_mask(path: Path, mask: NDArray[np.uint8]) -> Path:
    return write_scene(path, mask[None].astype(np.uint8), ["glacier"])


def blobs(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A mask of a few large smooth blobs."""
    rows, columns = np.mgrid[:height, :width]
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), bool)
    for _ in range(4):
        row, column = rng.uniform(0, height), rng.uniform(0, width)
        radius = rng.uniform(0.12, 0.22) * min(height, width)
        mask |= (rows - row) ** 2 + (columns - column) ** 2 < radius**2
    return mask.astype(np.uint8)


def easy_scene(mask: NDArray[np.uint8], bands: int = 4, seed: int = 0) -> NDArray[np.uint8]:
    """Bands of which the first two show the mask through noise and the others show nothing."""
    rng = np.random.default_rng(seed)
    values = rng.normal(100, 20, (bands, *mask.shape))
    values[0] += 45.0 * mask
    if bands > 1:
        values[1] -= 45.0 * mask
    return values.clip(1, 255).astype(np.uint8)
