"""Elevation models of any CRS and resolution: the one reader of heights.

Accepted are heights in any unit of length that the file names (metres when it names none), scaled and offset
as it says; feet and the like become metres. Left out as voids, counted and said in one warning, are heights
below -500 or above 9000 m, which are impossible (-32768, -9999, -3.4e38, 32767 and whatever else was not
declared), and areas of exactly 0 whose rim lies far above, such as missing tiles; the sea stays. Refused is a
model whose heights go beyond 9000 m in many pixels of many values, since these are feet or decimetres that
the file does not name.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from glacierseg.errors import GlaciersegWarning, RasterError
from glacierseg.raster.blocks import Block, LayerReader, blocks_within, iterate_blocks, part_around
from glacierseg.raster.bounds import boxes_in, may_meet
from glacierseg.raster.grid import Grid
from glacierseg.raster.open import edit_info, grid_of, open_raster
from glacierseg.raster.terrain import HALO_PX, terrain_of
from glacierseg.raster.values import as_stored, bands_of
from glacierseg.raster.warp import on_grid, read_grid, require_overlap
from glacierseg.raster.write import create_raster, tiff_profile

LOWEST_M, HIGHEST_M = -500.0, 9000.0
"""No land is lower or higher."""
# The highest mountain in feet; higher numbers are in another unit.
_HIGHEST_FEET = 29_100
_FEW_VALUES, _FEW_SHARE = 3, 0.01
# Land at the rim of the sea is lower than this, in the median.
_SHORE_M = 100.0
# Sides this near to a line of pixels lie on it.
_SAME_PX = 0.01
_METRES = {
    **dict.fromkeys(("", "m", "metre", "metres", "meter", "meters"), 1.0),
    **dict.fromkeys(("ft", "foot", "feet", "international foot"), 0.3048),
    **dict.fromkeys(
        ("us-ft", "usft", "ftus", "us survey foot", "us survey feet", "us_survey_foot"), 1200 / 3937
    ),
    **dict.fromkeys(("dm", "decimetre", "decimeter", "decimetres", "decimeters"), 0.1),
    **dict.fromkeys(("cm", "centimetre", "centimeter", "centimetres", "centimeters"), 0.01),
    **dict.fromkeys(("mm", "millimetre", "millimeter", "millimetres", "millimeters"), 0.001),
    **dict.fromkeys(("km", "kilometre", "kilometer", "kilometres", "kilometers"), 1000.0),
}


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
def open_terrain(paths: Path | Sequence[Path], grid: Grid) -> Iterator[TerrainReader]:
    """Opens the first band of an elevation model, or of several that are its tiles, for reading on a grid.

    Values between pixels are found by cubic convolution, because the kinks of linear interpolation would
    show in the curvature; a model on the grid's own lattice is taken as it is.

    Args:
        paths: An elevation model, or several; where they overlap the first one counts.
        grid: The wanted grid.

    Raises:
        RasterError: A file cannot be read.
        GridMismatchError: None overlaps the grid.
    """
    widened = grid.crop(-HALO_PX, -HALO_PX, grid.height + 2 * HALO_PX, grid.width + 2 * HALO_PX)
    with open_tiles([paths] if isinstance(paths, Path | str) else paths, widened) as dataset:
        resampling = "nearest" if _on_lattice(dataset, grid) else "cubic"
        with on_grid(dataset, widened, resampling) as aligned:
            path = Path(dataset.name)
            yield TerrainReader(LayerReader(bands_of(dataset, path)[:1], {path: aligned}), grid)


@contextmanager
def open_tiles(paths: Sequence[Path], around: Grid) -> Iterator[Any]:
    """Opens elevation models as one, on the lattice of the first that holds some of the ground."""
    near = [path for path in paths if may_meet(read_grid(path), around)] if len(paths) > 1 else paths
    if len(near) < 2:
        with open_elevation((*near, *paths)[0], around) as dataset:
            yield dataset
        return
    with TemporaryDirectory(prefix="glacierseg-") as folder, ExitStack() as stack:
        tiles = [stack.enter_context(open_elevation(path, around)) for path in near]
        grid = _union([grid_of(tile) for tile in tiles], around)
        readers = []
        for tile in tiles:
            how = "nearest" if _on_lattice(tile, grid) else "cubic"
            bands, path = bands_of(tile, Path(tile.name))[:1], Path(tile.name)
            readers.append(LayerReader(bands, {path: stack.enter_context(on_grid(tile, grid, how))}))
        copy = Path(folder) / "elevation.tif"
        with create_raster(copy, tiff_profile(grid, 1, "float32", math.nan)) as written:
            for block in iterate_blocks(grid.shape):
                heights = np.full((block.height, block.width), np.nan, np.float32)
                for reader in readers:
                    values, valid = reader.read(block)
                    np.copyto(heights, values[0], where=valid[0] & np.isnan(heights))
                written.write(heights, 1, window=block.window)
        with open_raster(copy) as dataset:
            yield dataset


def _union(grids: Sequence[Grid], around: Grid) -> Grid:
    """Returns the grid on the first one's lattice that holds what all grids have of some ground."""
    first, corners = grids[0], []
    middle = first.transform * (first.width / 2, first.height / 2)
    for grid in grids:
        near = part_around(grid, around)
        part = grid.crop(near.row, near.column, near.height, near.width)
        # Of boxes that are a turn of the globe apart, the one beside the first grid.
        box = min(boxes_in(part, first.crs), key=lambda box: abs((box[0] + box[2]) / 2 - middle[0]))
        corners += [~first.transform * (x, y) for x in (box[0], box[2]) for y in (box[1], box[3])]
    columns, rows = zip(*corners, strict=True)
    left, top = math.floor(min(columns) + _SAME_PX), math.floor(min(rows) + _SAME_PX)
    right, bottom = math.ceil(max(columns) - _SAME_PX), math.ceil(max(rows) - _SAME_PX)
    return first.crop(top, left, bottom - top, right - left)


@dataclass
class _Heights:
    """Counts of all heights of a model.

    Attributes:
        pixels: With data.
        voids: Pixels of impossible heights, by value; of many values only some are kept.
        odd: All of these.
        too_high: Of these the ones above the highest land.
        zeros: Pixels that are stored as 0.
        greatest_m: Greatest height.
    """

    pixels: int = 0
    voids: dict[float, int] = field(default_factory=dict)
    odd: int = 0
    too_high: int = 0
    zeros: int = 0
    greatest_m: float = -math.inf

    def add(self, stored: NDArray[Any], metres: NDArray[np.float64]) -> None:
        """Counts some pixels, all with data."""
        self.pixels += metres.size
        self.zeros += int(np.count_nonzero(stored == 0))
        self.greatest_m = max(self.greatest_m, float(metres.max(initial=-math.inf)))
        odd = _is_odd(metres)
        self.odd += int(np.count_nonzero(odd))
        self.too_high += int(np.count_nonzero(metres > HIGHEST_M))
        for value, count in zip(*np.unique(stored[odd], return_counts=True), strict=True):
            if float(value) in self.voids or len(self.voids) <= _FEW_VALUES:
                self.voids[float(value)] = self.voids.get(float(value), 0) + int(count)


@contextmanager
def open_elevation(path: Path, around: Grid | None = None) -> Iterator[Any]:
    """Opens an elevation model whose first band, scaled as it says, is heights in metres without voids.

    Args:
        path: An elevation model.
        around: The ground that is needed; all of the model when None.

    Yields:
        The file itself where nothing is to be corrected, else a copy of the part that is needed with NaN for
        voids; an open rasterio dataset in both cases.

    Raises:
        RasterError: The file cannot be read, or its heights are not in a unit that it names.
        GridMismatchError: It does not overlap the grid.
    """
    path = Path(path)
    with open_raster(path) as dataset:
        if around is not None:
            require_overlap(dataset, around, path)
        own, band = grid_of(dataset), bands_of(dataset, path)[0]
        to_metres = _to_metres(dataset, band.unit, path)
        part = part_around(own, around)
        reader = LayerReader([band], {path: dataset})
        stored_as = LayerReader(as_stored([band]), {path: dataset})
        found = _Heights()
        for block in blocks_within(part):
            values, valid = reader.read(block)
            stored = values if band.scale == 1 and not band.offset else stored_as.read(block)[0]
            found.add(stored[valid], values[valid].astype(np.float64) * to_metres)
        _refuse_other_units(found, band.unit, path)
        zero_m = band.offset * to_metres
        judge_zeros = bool(found.zeros) and abs(found.greatest_m - zero_m) > _SHORE_M
        if to_metres == 1.0 and not found.odd and not judge_zeros:
            yield dataset
            return
        heights = np.full((part.height, part.width), np.nan, np.float32)
        zero = np.zeros(heights.shape, bool)
        for block in blocks_within(part):
            values, valid = reader.read(block)
            metres = np.where(valid, values * np.float32(to_metres), np.nan)[0]
            rows = slice(block.row - part.row, block.row - part.row + block.height)
            columns = slice(block.column - part.column, block.column - part.column + block.width)
            heights[rows, columns] = np.where(_is_odd(metres), np.nan, metres)
            zero[rows, columns] = valid[0] & (stored_as.read(block)[0][0] == 0)
        empty = _missing_tiles(zero, heights, zero_m) if judge_zeros else np.zeros_like(zero)
        heights[empty] = np.nan
        _warn(found, int(np.count_nonzero(empty)), to_metres, band.unit, path)
        if to_metres == 1.0 and not found.odd and not empty.any():
            yield dataset
            return
        with TemporaryDirectory(prefix="glacierseg-") as folder:
            copy = Path(folder) / "elevation.tif"
            grid = own.crop(part.row, part.column, part.height, part.width)
            with create_raster(copy, tiff_profile(grid, 1, "float32", math.nan)) as written:
                written.write(heights, 1)
            del heights
            with open_raster(copy) as corrected:
                yield corrected


def _is_odd(metres: NDArray[Any]) -> NDArray[np.bool_]:
    return (metres < LOWEST_M) | (metres > HIGHEST_M)


def _to_metres(dataset: Any, unit: str, path: Path) -> float:
    """Returns what heights are multiplied with, by the unit of the band, else of the CRS."""
    key = unit.strip().lower()
    if key not in _METRES:
        raise RasterError(
            f"{path}: its values are in {unit!r}, and heights are needed in a unit of length; give an "
            "elevation model, or name the unit with "
            f"`{edit_info(dataset, '--bidx', '1', '--units', 'm')}`"
        )
    if key:
        return _METRES[key]
    crs = CRS.from_wkt(dataset.crs.to_wkt())
    parts = [part for part in crs.sub_crs_list if part.is_vertical] if crs.is_compound else []
    axes = parts[0].axis_info if parts else crs.axis_info[2:]
    return float(axes[0].unit_conversion_factor) if axes else 1.0


def _refuse_other_units(found: _Heights, unit: str, path: Path) -> None:
    """Many heights of many values beyond the highest land are no voids: the unit is another one."""
    if found.too_high <= _FEW_SHARE * found.pixels or len(found.voids) <= _FEW_VALUES:
        return
    name = "ft" if found.greatest_m <= _HIGHEST_FEET else "dm"
    with open_raster(path) as dataset:
        words = edit_info(dataset, "--bidx", "1", "--units", name)
    raise RasterError(
        f"{path}: heights go up to {found.greatest_m:g} m, and no land is higher than {HIGHEST_M:g} m, so "
        f"they are in another unit than {unit or 'metres'}; name it, for example "
        f"{'feet' if name == 'ft' else 'decimetres'} with "
        f"`{words}`"
    )


def _missing_tiles(zero: NDArray[np.bool_], heights: NDArray[np.float32], zero_m: float) -> NDArray[np.bool_]:
    """Returns areas of zeros whose rim lies far from what zero means, and those that have no rim."""
    import cv2  # noqa: PLC0415  (a quarter of a second, and rarely needed)

    count, labels = cv2.connectedComponents(zero.astype(np.uint8), connectivity=8)
    # Labels of whole numbers below 2^24 survive in float32, which is what OpenCV dilates.
    grown = cv2.dilate(labels.astype(np.float32), np.ones((3, 3), np.uint8)).astype(np.int64)
    rim = (grown > 0) & ~zero & np.isfinite(heights)
    owners, beside = grown[rim], heights[rim]
    order = np.lexsort((beside, owners))
    owners, beside = owners[order], beside[order]
    firsts, sizes = np.searchsorted(owners, np.arange(count)), np.bincount(owners, minlength=count)
    medians = np.full(count, np.inf)
    medians[sizes > 0] = beside[(firsts + sizes // 2)[sizes > 0]]
    missing = np.abs(medians - zero_m) > _SHORE_M
    missing[0] = False
    found: NDArray[np.bool_] = missing[labels]
    return found


def _warn(found: _Heights, empty: int, to_metres: float, unit: str, path: Path) -> None:
    parts = []
    if found.odd:
        values = ", ".join(f"{value:g}" for value in sorted(found.voids)[:_FEW_VALUES])
        more = ", ..." if len(found.voids) > _FEW_VALUES else ""
        parts.append(f"{found.odd} px of impossible heights ({values}{more})")
    if empty:
        parts.append(f"{empty} px of 0 in areas between much higher ground")
    if parts:
        share = 100 * (found.odd + empty) / max(found.pixels, 1)
        warnings.warn(
            f"{path}: elevation ignores {' and '.join(parts)}, {share:.3g} % of its pixels here; declare "
            "them as nodata",
            GlaciersegWarning,
            stacklevel=4,
        )
    if to_metres != 1.0:
        warnings.warn(
            f"{path}: heights are in {unit or 'the unit of the CRS'} and are converted to metres, times "
            f"{to_metres:g}",
            GlaciersegWarning,
            stacklevel=4,
        )


def _on_lattice(dataset: Any, grid: Grid) -> bool:
    """Whether a raster's pixels coincide with those of a grid that goes on beyond its rim."""
    own = grid_of(dataset)
    column, row = ~own.transform * (grid.transform * (0, 0))
    return own.crop(round(row), round(column), grid.height, grid.width).difference(grid) is None
