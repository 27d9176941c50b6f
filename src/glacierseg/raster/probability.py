"""Probability rasters: the one reader of them.

Accepted are floating-point numbers from 0 to 1, and whole numbers with a scale (and offset) that brings them
there, as `predict` writes them; NaN, a nodata value and masks are no data. Refused are whole numbers without
a scale, such as percent or a mask, and numbers beyond 0 to 1. Further bands, such as the spread, are left
aside.
"""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from glacierseg.errors import RasterError
from glacierseg.raster.grid import Grid
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.truth import IGNORE
from glacierseg.raster.values import Band, FileReader, bands_of

LEVELS = 254
"""Of an 8-bit probability; 255 is no data."""
# What interpolation and 8-bit levels may add.
_SLACK = 0.01


@dataclass(frozen=True)
class ProbabilityReader:
    """An open probability raster.

    Attributes:
        path: Its path.
        grid: Where it lies.
        band: Its first band.
        dataset: The open file.
    """

    path: Path
    grid: Grid
    band: Band
    dataset: Any

    def read(self, window: Window) -> NDArray[np.float32]:
        """Reads probabilities `(h, w)`, NaN where there are none.

        Raises:
            RasterError: Pixels cannot be read, or are no probabilities.
        """
        layers, shown = FileReader(self.dataset, self.path, [self.band]).read(window)
        valid = self.band.has_data(layers[0])
        if shown is not None:
            valid &= shown if shown.ndim == 2 else shown[0]
        values = np.where(valid, self.band.meaning(layers[0]), np.nan).astype(np.float32)
        require_probabilities(values, self.path)
        return values


@contextmanager
def open_probability(path: Path) -> Iterator[ProbabilityReader]:
    """Opens a probability raster.

    Raises:
        RasterError: It is missing or damaged, or holds no probabilities.
    """
    with open_raster(path) as dataset:
        band = bands_of(dataset, path)[0]
        if np.dtype(band.dtype).kind != "f":
            raise RasterError(
                f"{path}: holds whole numbers ({band.dtype}) without a scale, and probabilities lie between "
                f"0 and 1; {_cure(path)}"
            )
        yield ProbabilityReader(Path(path), grid_of(dataset), band, dataset)


def probability_strips(path: Path, rows: int) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Reads the first band of a probability raster from top to bottom.

    Args:
        path: The raster.
        rows: How many rows to read at once.

    Yields:
        Which rows, and `(h, W)` probabilities, NaN where there are none.

    Raises:
        RasterError: The raster is missing, damaged, or holds no probabilities.
    """
    with open_probability(path) as probability:
        height, width = probability.grid.shape
        for top in range(0, height, rows):
            part = slice(top, min(top + rows, height))
            yield part, probability.read(Window(0, top, width, part.stop - top))


def levels_of(probability: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Returns probabilities of any shape as whole numbers of 0 to 254, 255 for NaN."""
    levels: NDArray[np.uint8] = np.rint(np.nan_to_num(probability) * LEVELS).astype(np.uint8)
    levels[np.isnan(probability)] = IGNORE
    return levels


def require_probabilities(values: NDArray[np.float32], path: Path) -> None:
    """Refuses numbers that are no probabilities; NaN may be among them.

    Raises:
        RasterError: One lies outside 0 to 1.
    """
    least, greatest = np.nanmin(values, initial=0), np.nanmax(values, initial=0)
    if greatest > 1 + _SLACK or least < -_SLACK:
        odd = greatest if greatest > 1 + _SLACK else least
        raise RasterError(f"{path}: holds {odd:g}, but probabilities lie between 0 and 1; {_cure(path)}")


def _cure(path: Path) -> str:
    percent = [
        "rio",
        "calc",
        "--dtype",
        "float32",
        "(/ (asarray (read 1)) 100.0)",
        str(path),
        "PROBABILITY.tif",
    ]
    return (
        "give the `_probability.tif` that `glacierseg predict` wrote, and bring percent to shares with "
        f"`{shlex.join(percent)}`"
    )
