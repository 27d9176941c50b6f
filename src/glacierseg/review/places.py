"""Where to look next on a map: squares of ground with the largest expected error.

With the calibrated probability p that a pixel is glacier, the map errs there with probability 1 - p where it
has glacier and with p where it has none. Sums of that over the ground are expected square kilometres. They
are taken on cells, of which a place's side has a few, so that memory holds numbers of cells, not of pixels.
"""

import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.features import rasterize

from glacierseg.errors import RequestError
from glacierseg.predict.calibrated import STRIP_PX, is_calibrated
from glacierseg.predict.calibration import Calibration
from glacierseg.raster.bounds import wrap_towards
from glacierseg.raster.environment import bounded_gdal
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import pixel_areas_km2
from glacierseg.raster.probability import probability_strips
from glacierseg.raster.truth import GLACIER, IGNORE, mask_strips
from glacierseg.raster.warp import read_grid
from glacierseg.settings.predict import THRESHOLD

PLACE_M = 600.0
"""Side of a place: what is looked at in one view of a map at 1:5000."""
LARGEST_SHARE = 0.05
"""Of the ground of a scene that all places together cover; on small scenes they become smaller."""
# Fewest and most cells of a side.
_CELLS = 4, 8
_LEAST_DATA = 0.5
# Of its side: as far a place keeps from others and from checked ground, since neighbours share their faults.
_GAP = 0.5

_log = logging.getLogger(__name__)
_Sums = NDArray[np.float64]


def suggest_places(
    probability: Path | str,
    *,
    count: int = 20,
    place_m: float | None = None,
    calibration: Calibration | None = None,
    checked: gpd.GeoDataFrame | None = None,
    mask: Path | str | None = None,
) -> gpd.GeoDataFrame:
    """Chooses the squares of ground on which a map is expected to err most, one after the other.

    They run along the pixels of the raster, do not overlap, keep half their side from one another and from
    checked ground, and have data on at least half of their ground. There are fewer where no more fit.

    Args:
        probability: A probability raster.
        count: How many places.
        place_m: Their side; when None `PLACE_M`, or less where all together would cover more than
            `LARGEST_SHARE` of the ground with data.
        calibration: Of the network that predicted, if it has one and the raster is not calibrated already;
            probabilities of a network alone are nearer to 0 and 1 than they should be.
        checked: Ground that was looked at, polygons in any CRS.
        mask: The map that is looked at, on the grid of the probability; what has a probability of one half or
            more when None.

    Returns:
        In the CRS of the raster, the largest error first: `rank` from 1 up, `expected_error_km2`, which is
        the sum of `false_km2` (no glacier on the ground, expected where the map has glacier) and `missed_km2`
        (the reverse), and `geometry`.

    Raises:
        RasterError: The probability or the mask cannot be read.
        GridMismatchError: The mask lies on another grid.
        TruthError: The mask has other values than 0, 1 and 255.
        RequestError: Number or side of the places is not positive.
    """
    if count < 1 or (place_m is not None and not place_m > 0):
        side = "" if place_m is None else f" of {place_m:g} m"
        raise RequestError(f"places must be at least 1 and their side more than 0 m (got {count}{side})")
    path = Path(probability)
    grid = read_grid(path)
    if calibration is not None and calibration.scale.at_bound:
        calibration = None
    if calibration is None and not is_calibrated(path):
        _log.info(
            "the probabilities are not calibrated, so errors of which the network is sure count for less"
        )
    cells = _Cells.of(grid, place_m or PLACE_M)
    sums = cells.sums(_errors(path, grid, cells.strip_px, calibration, mask))
    fitting_m = 1000 * math.sqrt(LARGEST_SHARE * sums[2].sum() * grid.pixel_area_km2 / count)
    if place_m is None and fitting_m < PLACE_M:
        cells = _Cells.of(grid, max(fitting_m, 1e-3))
        sums = cells.sums(_errors(path, grid, cells.strip_px, calibration, mask))
    false_km2, missed_km2, data = (cells.by_place(layer) for layer in sums)
    error = np.where(data >= _LEAST_DATA * math.prod(cells.place_px), false_km2 + missed_km2, 0)
    error[cells.near(checked)] = 0
    chosen = list(cells.choose(error, count))
    if len(chosen) < count:
        _log.info(f"{len(chosen)} of {count} places: no more ground with data is left beside what is checked")
    rows, columns = np.array(chosen, int).reshape(-1, 2).T
    return gpd.GeoDataFrame(
        {
            "rank": np.arange(1, len(chosen) + 1, dtype=np.int32),
            "expected_error_km2": (false_km2 + missed_km2)[rows, columns],
            "false_km2": false_km2[rows, columns],
            "missed_km2": missed_km2[rows, columns],
        },
        geometry=[cells.polygon(*place) for place in chosen],
        crs=CRS.from_wkt(grid.crs.to_wkt()),
    )


def _errors(
    path: Path, grid: Grid, rows: int, calibration: Calibration | None, mask: Path | str | None
) -> Iterator[NDArray[np.float32]]:
    """Yields strips `(3, h, W)`: expected false and missed km2 of pixels, and where they have data."""
    calibrate = None if calibration is None or is_calibrated(path) else calibration.apply
    masks = repeat(None) if mask is None else mask_strips(Path(mask), grid, rows=rows)
    for (part, stored), given in zip(probability_strips(path, rows), masks, strict=mask is not None):
        decided = (stored >= THRESHOLD).astype(np.uint8) if given is None else given
        known = ~np.isnan(stored) & (decided != IGNORE)
        p = np.where(known, stored if calibrate is None else calibrate(stored), 0)
        area_km2 = pixel_areas_km2(grid.crop(part.start, 0, *stored.shape))
        missed = np.where(decided == GLACIER, 0, p)
        false = np.where((decided == GLACIER) & known, 1 - p, 0)
        yield np.stack([false * area_km2, missed * area_km2, known]).astype(np.float32)


@dataclass(frozen=True)
class _Cells:
    """Cells of some pixels over a raster, of which several make a place; what is left at its rims is none.

    Attributes:
        grid: Of the raster.
        step: Rows and columns of a cell.
        side: Cells that a place has from top to bottom and from left to right.
    """

    grid: Grid
    step: tuple[int, int]
    side: tuple[int, int]

    @classmethod
    def of(cls, grid: Grid, place_m: float) -> "_Cells":
        """Divides a grid for places of a side, or a little less: whole cells, and no more than the grid."""
        width_m, height_m = grid.pixel_size_m
        found = []
        for pixel_m, size in zip((height_m, width_m), grid.shape, strict=True):
            # Hundredths of a pixel are what a grid's metres are rounded to.
            side = min(max(math.floor(place_m / pixel_m + 0.01), 1), size)
            steps = range(math.ceil(side / _CELLS[1]), max(side // _CELLS[0], 1) + 1)
            _, step = min((side % pixels, pixels) for pixels in steps)
            found.append((step, side // step))
        (row_step, down), (column_step, across) = found
        return cls(grid, (row_step, column_step), (down, across))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        return self.grid.height // self.step[0], self.grid.width // self.step[1]

    @property
    def place_px(self) -> tuple[int, int]:
        """Rows and columns of a place in pixels."""
        return self.step[0] * self.side[0], self.step[1] * self.side[1]

    @property
    def gap(self) -> tuple[int, int]:
        """Cells between places."""
        return math.ceil(_GAP * self.side[0]), math.ceil(_GAP * self.side[1])

    @property
    def strip_px(self) -> int:
        """Rows of whole cells to read at once."""
        return self.step[0] * math.ceil(STRIP_PX / self.step[0])

    def sums(self, strips: Iterable[NDArray[np.float32]]) -> _Sums:
        """Sums layers `(C, h, W)` by cell, `(C, *shape)`."""
        _, columns = self.shape
        with bounded_gdal():
            found = [
                strip[:, : rows * self.step[0], : columns * self.step[1]]
                .reshape(len(strip), rows, self.step[0], columns, self.step[1])
                .sum(axis=(2, 4), dtype=np.float64)
                for strip in strips
                for rows in [strip.shape[1] // self.step[0]]
            ]
        return np.concatenate(found, axis=1)

    def by_place(self, cells: _Sums) -> _Sums:
        """Sums cells by place, at its upper left cell."""
        return _window_sums(cells, self.side)

    def near(self, checked: gpd.GeoDataFrame | None) -> NDArray[np.bool_]:
        """Says of each place whether it touches checked ground or lies in the gap around it."""
        rows, columns = self.shape
        taken = np.zeros((rows, columns), np.uint8)
        if checked is not None:
            shapes = checked.geometry.to_crs(self.grid.crs.to_wkt()).to_numpy()
            shapes = wrap_towards(shapes[~(shapely.is_empty(shapes) | shapely.is_missing(shapes))], self.grid)
            transform = self.grid.transform * Affine.scale(self.step[1], self.step[0])
            if len(shapes):
                rasterize(shapes, out=taken, transform=transform, all_touched=True)
        (down, across), gap = self.side, self.gap
        around = np.pad(taken, ((gap[0], gap[0]), (gap[1], gap[1])))
        return _window_sums(around, (down + 2 * gap[0], across + 2 * gap[1])) > 0

    def choose(self, error: _Sums, count: int) -> Iterator[tuple[int, int]]:
        """Yields the upper left cells of places, each that of the largest error left."""
        left = error.copy()
        reach = self.side[0] + self.gap[0], self.side[1] + self.gap[1]
        for _ in range(count):
            row, column = divmod(int(left.argmax()), left.shape[1])
            if not left[row, column] > 0:
                return
            yield row, column
            rows, columns = (
                slice(max(at - far + 1, 0), at + far) for at, far in zip((row, column), reach, strict=True)
            )
            left[rows, columns] = 0

    def polygon(self, row: int, column: int) -> shapely.Polygon:
        """Returns the square of a place in the CRS of the raster."""
        part = self.grid.crop(row * self.step[0], column * self.step[1], *self.place_px)
        return shapely.Polygon([part.transform * at for at in _corners(*part.shape)])


def _corners(height: int, width: int) -> list[tuple[int, int]]:
    return [(0, 0), (0, height), (width, height), (width, 0)]


def _window_sums(values: NDArray[np.generic], side: tuple[int, int]) -> _Sums:
    """Sums every window of `(H, W)` numbers; without differences, so that nothing stays exactly 0."""
    sums = np.asarray(values, np.float64)
    for axis, count in enumerate(side):
        sums = np.moveaxis(sums, axis, 0)
        windows = len(sums) - count + 1
        sums = np.moveaxis(np.sum([sums[i : i + windows] for i in range(count)], axis=0), 0, axis)
    return sums
