"""Reading rasters no finer than a screen shows them."""

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
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.values import bands_of

LONG_SIDE_PX = 1200


@dataclass(frozen=True)
class Frame:
    """A part of a grid and the size that it is shown at.

    Attributes:
        window: The part, in pixels of the grid.
        shape: Rows and columns that are read for it.
    """

    window: Window
    shape: tuple[int, int]

    @property
    def step(self) -> float:
        """Grid pixels per pixel shown, along a row."""
        return float(self.window.width) / self.shape[1]


def frame_of(grid: Grid, long_side_px: int = LONG_SIDE_PX) -> Frame:
    """Returns the frame that shows a whole grid.

    Args:
        grid: The grid.
        long_side_px: Largest number of rows and of columns to read.
    """
    return part_of(Window(0, 0, grid.width, grid.height), long_side_px)


def part_of(window: Window, long_side_px: int) -> Frame:
    """Returns the frame that shows a part of a grid."""
    step = max(1.0, max(window.height, window.width) / long_side_px)
    return Frame(window, (max(1, round(window.height / step)), max(1, round(window.width / step))))


def read_classes(path: Path, frame: Frame) -> NDArray[np.uint8]:
    """Reads every n-th pixel of a raster of classes.

    Overviews are left aside: rasters with and without them would be sampled at different places, and the
    comparison of two masks would show differences that do not exist.

    Args:
        path: A raster of classes.
        frame: What to read.

    Raises:
        RasterError: It cannot be read.
    """
    try:
        with open_raster(path, OVERVIEW_LEVEL="NONE") as dataset:
            values: NDArray[np.uint8] = dataset.read(
                1, window=frame.window, out_shape=frame.shape, resampling=Resampling.nearest
            )
            return values
    except (RasterioError, OSError) as error:
        raise RasterError(f"{path}: cannot be read; remove it and run again to write it anew") from error


def read_values(path: Path, frame: Frame, index: int = 1) -> NDArray[np.float32]:
    """Reads the means of n x n pixels of a band, through overviews where there are any.

    Args:
        path: A raster of values.
        frame: What to read.
        index: 1-based number of the band.

    Returns:
        `frame.shape`, NaN where there is no data.

    Raises:
        RasterError: It cannot be read.
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


def read_grid(path: Path) -> Grid:
    """Returns the grid of a raster.

    Raises:
        RasterError: It cannot be read.
    """
    with open_raster(path) as dataset:
        return grid_of(dataset)
