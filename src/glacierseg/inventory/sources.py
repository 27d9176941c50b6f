"""What an inventory is made from: ice bodies of a mask or outlines, and rasters around them."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from glacierseg.raster.blocks import Block, LayerReader
from glacierseg.raster.bounds import middle_of_shapes, utm_at
from glacierseg.raster.elevation import open_elevation, open_tiles
from glacierseg.raster.environment import bounded_gdal
from glacierseg.raster.facts import SceneFacts, facts_of
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import counts_degrees, even_pixel_m, unevenness
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.outlines import dates_of, is_vector, read_shapes, refuse_layer_of_raster
from glacierseg.raster.outlines.repair import INVENTORY_IDS
from glacierseg.raster.probability import open_probability, require_probabilities
from glacierseg.raster.truth import GLACIER, IGNORE, read_mask
from glacierseg.raster.values import bands_of
from glacierseg.raster.warp import metric_grid, on_grid
from glacierseg.vectors.layers import polygons_only
from glacierseg.vectors.smoothing import smooth_outlines
from glacierseg.vectors.trace import to_crs, trace_polygons

LAYERS = ("glaciers", "refined_smooth", "smooth", "refined", "raw")
"""Of a file with several layers the first of these is taken: the best of what `vectorize` wrote."""
# Lines end a little before the corner, so that they do not lie along the edge that leads away from it.
_HAIR_PX = 1e-3
# A bounding box of more pixels is read from a coarser grid: 4000 x 4000 float64 arrays are 128 MB each.
_MOST_PX = 16_000_000
# Where one pixel size is wrong by more than this, ways along the ice would be; then a UTM grid is used.
_LARGEST_ERROR = 0.02
# So far beyond the ice terrain is looked at, with room to spare.
_SURROUNDINGS_M = 3000.0


@dataclass(frozen=True)
class Ice:
    """Outlines to make an inventory of.

    Attributes:
        polygons: `(N,)`; of outlines also multipolygons, one glacier in several parts.
        crs: Their CRS.
        lattice: Grid on which bodies can be labelled, in a CRS that `polygons` can be moved to.
        half_pixel_m: Half a pixel of the mask; None for outlines.
        divided: Whether they are from an inventory.
        ends: Lines where ice of the mask borders on pixels without data or on the rim of the mask.
        facts: Of the scene that the mask was made of; of outlines the day, where it is one.
    """

    polygons: NDArray[Any]
    crs: CRS
    lattice: Grid
    half_pixel_m: float | None
    divided: bool = False
    ends: NDArray[Any] = field(default_factory=lambda: np.empty(0, object))
    facts: SceneFacts = field(default_factory=SceneFacts)

    def at_rim(self, outlines: NDArray[Any]) -> NDArray[np.bool_]:
        """Says which lie within a pixel of the mask's rim, where the ice may go on; never so for outlines."""
        if self.half_pixel_m is None:
            return np.zeros(len(outlines), bool)
        rows, columns = self.lattice.shape
        inner = shapely.Polygon(
            [
                self.lattice.transform * corner
                for corner in ((1, 1), (columns - 1, 1), (columns - 1, rows - 1), (1, rows - 1))
            ]
        )
        near: NDArray[np.bool_] = ~shapely.within(outlines, inner)
        return near

    def observed_shares(self, outlines: NDArray[Any]) -> NDArray[np.float64]:
        """Returns how much of each outline the data show, see `observed_shares`; NaN for outlines."""
        if self.half_pixel_m is None:
            return np.full(len(outlines), np.nan)
        # Smooth outlines lie within half a pixel of those along pixel edges.
        return observed_shares(outlines, self.ends, 0.5 * abs(self.lattice.transform.determinant) ** 0.5)


def read_ice(path: Path, *, layer: str | None, smooth: bool, pixel_m: float) -> Ice:
    """Reads a mask or outlines.

    Args:
        path: A mask raster, or a vector file.
        layer: Of a file with several.
        smooth: Whether to smooth the outlines of a mask.
        pixel_m: Pixels of the lattice for outlines, which have none of their own.

    Raises:
        RasterError: The mask cannot be read.
        RequestError: A layer is asked for of a mask.
        TruthError: The mask has other values than 0, 1 and 255, or the outlines cannot be used.
    """
    refuse_layer_of_raster(path, layer, "--layer")
    if not is_vector(path):
        with open_raster(path) as dataset:
            grid = grid_of(dataset)
        mask = read_mask(path, grid)
        traced = trace_polygons(mask)
        polygons = smooth_outlines(traced) if smooth else traced
        half_pixel_m = float(np.sqrt(np.prod(even_pixel_m(grid, str(path))))) / 2
        ends = ends_of_data(mask, grid.transform, mask == GLACIER)
        crs = CRS.from_wkt(grid.crs.to_wkt())
        shapes = to_crs(polygons, grid.transform)
        return Ice(shapes, crs, grid, half_pixel_m, ends=ends, facts=facts_of(path))
    table = read_shapes(path, layer=layer, prefer=LAYERS)
    polygons = polygons_only(shapely.make_valid(table.geometry.to_numpy()))
    parts, owners = shapely.get_parts(polygons, return_index=True)
    # Without ids a shape of several parts may be all the ice of a region.
    single = np.bincount(owners, minlength=len(polygons)) == 1
    if has_ids(table):
        parts = np.concatenate([parts[single[owners]], polygons[~single & ~shapely.is_empty(polygons)]])
    polygons = parts
    crs = CRS.from_user_input(table.crs)
    lattice = _lattice(table, crs, pixel_m)
    if crs.is_geographic or lattice.pixel_size_m != (pixel_m, pixel_m):
        # Their own projection is in other units or not true to scale where they are.
        lattice = _lattice(table, utm_of(table), pixel_m)
    days = set(dates_of(table))
    facts = SceneFacts(first_date=days.pop()) if len(days) == 1 else SceneFacts()
    return Ice(polygons, crs, lattice, None, is_inventory(table), facts=facts)


def _lattice(table: Any, crs: CRS, pixel_m: float) -> Grid:
    """A grid with lines at multiples of a pixel, in the middle of a table."""
    west, south, east, north = table.to_crs(crs).total_bounds
    column, row = round((west + east) / 2 / pixel_m), round((south + north) / 2 / pixel_m)
    transform = Affine(pixel_m, 0, column * pixel_m, 0, -pixel_m, row * pixel_m)
    return Grid(rasterio.CRS.from_wkt(crs.to_wkt()), transform, 1, 1)


def has_ids(table: Any) -> bool:
    """Says whether a table has a column that may hold ids of glaciers."""
    return bool({str(name).lower() for name in table.columns} & {*INVENTORY_IDS, "id", "name"})


def is_inventory(table: Any) -> bool:
    """Says whether a table has ids that only inventories give, so that its ice is divided already."""
    return bool({str(name).lower() for name in table.columns} & ({*INVENTORY_IDS} - {"glacier_id"}))


def ends_of_data(
    mask: NDArray[np.uint8], transform: Affine, inside: NDArray[np.bool_] | None = None
) -> NDArray[Any]:
    """Returns the lines along which pixels border on pixels without data or on the rim of the mask.

    Args:
        mask: `(H, W)` of 0, 1 and 255.
        transform: From (column, row) to coordinates.
        inside: `(H, W)` which pixels; all with data when None.

    Returns:
        `(N,)` straight lines in coordinates, as long as the edges go straight on.
    """
    seen = np.pad(mask != IGNORE, 1)
    inner = seen if inside is None else np.pad(inside, 1) & seen
    found = []
    for axis in (0, 1):
        one, other = (np.moveaxis(part, axis, 0) for part in (inner, seen))
        edges = (one[:-1] & ~other[1:]) | (~other[:-1] & one[1:])
        turns = np.diff(np.pad(edges, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        (across, begin), (_, end) = np.nonzero(turns > 0), np.nonzero(turns < 0)
        ends = np.stack(
            [np.column_stack([begin + _HAIR_PX, across]), np.column_stack([end - _HAIR_PX, across])], axis=1
        )
        # An edge before row 1 of the padded mask is the upper rim, 0.
        ends = ends - (1, 0)
        found.append(ends if axis == 0 else ends[:, :, ::-1])
    return to_crs(np.asarray(shapely.linestrings(np.concatenate(found))), transform)


def observed_shares(outlines: NDArray[Any], ends: NDArray[Any], reach: float) -> NDArray[np.float64]:
    """Returns the share of the length of each outline where the data show that the ice ends.

    Elsewhere the outline follows the end of the data, and the ice may go on beyond it. Lines between two
    glaciers count in neither.

    Args:
        outlines: `(N,)` polygons that do not overlap.
        ends: `(M,)` lines where data end, in the same CRS.
        reach: An outline that is no farther from such a line follows it, in units of that CRS.

    Returns:
        `(N,)` from 0 to 1, exactly 1 where data end nowhere along the outline.
    """
    shares = np.ones(len(outlines))
    if not len(ends):
        return shares
    glaciers = shapely.STRtree(outlines)
    of, near = shapely.STRtree(ends).query(outlines, predicate="dwithin", distance=reach)
    for one in np.unique(of):
        rim = outlines[one].boundary
        others = glaciers.query(outlines[one], predicate="intersects")
        if len(others) > 1:
            rim = rim.difference(shapely.union_all(outlines[others[others != one]]).buffer(2e-3 * reach))
        beside = shapely.union_all(shapely.buffer(ends[near[of == one]], reach, cap_style="flat"))
        if rim.length > 0:
            shares[one] = 1 - rim.intersection(beside).length / rim.length
    return shares


def utm_of(table: Any) -> CRS:
    """Returns the UTM zone of the middle of a table, near the poles the CRS that takes its place."""
    return CRS.from_wkt(utm_at(*middle_of_shapes(table.geometry)).to_wkt())


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
        """Whether a box goes on beyond 180 degrees, where the raster ends and begins again."""
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
def open_local_tiles(paths: Sequence[Path], around: Grid) -> Iterator[LocalRaster]:
    """Opens several elevation models that are tiles of one, see `open_local`.

    Args:
        paths: The tiles; where they overlap the first one counts.
        around: Grid of the ice, whose ground and surroundings are read.

    Raises:
        RasterError: As there.
    """
    reach = math.ceil(_SURROUNDINGS_M / min(around.pixel_size_m))
    wide = around.crop(-reach, -reach, around.height + 2 * reach, around.width + 2 * reach)
    with bounded_gdal(), open_tiles(paths, wide) as dataset:
        yield LocalRaster(paths[0], dataset)


@contextmanager
def open_local_probability(path: Path) -> Iterator[LocalRaster]:
    """Opens a probability raster for reading around outlines.

    Raises:
        RasterError: It cannot be read, has no CRS, or holds no probabilities.
    """
    with bounded_gdal(), open_probability(path) as probability:
        yield LocalRaster(path, probability.dataset, require_probabilities)
