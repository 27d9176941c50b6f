"""Where a scene of several products lies, and which of its ground is wanted, known or masked."""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from glacierseg.errors import GridMismatchError, RequestError, TruthError
from glacierseg.raster.bounds import boxes_in, may_meet, middle_of_shapes, utm_at
from glacierseg.raster.grid import Grid
from glacierseg.raster.open import grid_of
from glacierseg.raster.outlines import is_vector, outlines_near, read_outlines, refuse_layer_of_raster
from glacierseg.raster.truth import GLACIER, make_glacier, plain_mask, rasterize_outlines
from glacierseg.raster.warp import on_grid, read_grid, require_overlap

# Sides this near to a line of pixels lie on it.
_SAME_PX = 0.01


def scene_grid(
    grids: Sequence[Grid], *, like: Path | None = None, pixel_size_m: float | None = None, basin: Any = None
) -> Grid:
    """Returns the grid of a scene of several products.

    It goes on the pixels of the first product in the zone that is chosen: the only one, that of the basin's
    middle, or the one with most of the ground.

    Args:
        grids: Of the products.
        like: A raster on the wanted grid.
        pixel_size_m: Side of the pixels; those of the product when None.
        basin: GeoDataFrame of the ground that is wanted, for the choice of a zone.

    Raises:
        RequestError: The size of pixels is asked for in two ways.
        RasterError: The raster cannot be read.
        GridMismatchError: It shares no ground with any product.
    """
    if like is not None:
        if pixel_size_m is not None:
            raise RequestError(f"{like} gives the grid and with it the pixel size; leave one of the two out")
        grid = read_grid(like)
        if not any(may_meet(own, grid) for own in grids):
            raise GridMismatchError(
                f"{like}: shares no ground with the products; check that both are of one place"
            )
        return grid
    crs = _zone(grids, basin)
    first = next(grid for grid in grids if grid.crs == crs)
    size, x, y = first.transform.a, first.transform.c, first.transform.f
    if pixel_size_m is not None:
        size, x, y = pixel_size_m, 0.0, 0.0
    boxes = np.array([box for grid in grids for box in boxes_in(grid, crs)])
    (west, south), (east, north) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    left, right = math.floor((west - x) / size + _SAME_PX), math.ceil((east - x) / size - _SAME_PX)
    top, bottom = math.floor((y - north) / size + _SAME_PX), math.ceil((y - south) / size - _SAME_PX)
    transform = Affine(size, 0, x + left * size, 0, -size, y - top * size)
    return Grid(crs, transform, bottom - top, right - left)


def _zone(grids: Sequence[Grid], basin: Any) -> CRS:
    areas: list[tuple[CRS, float]] = []
    for grid in grids:
        ground = grid.pixel_area_km2 * grid.height * grid.width
        so_far = next((area for crs, area in areas if crs == grid.crs), 0.0)
        areas = [(crs, area) for crs, area in areas if crs != grid.crs] + [(grid.crs, so_far + ground)]
    if basin is not None:
        own = utm_at(*middle_of_shapes(basin.geometry))
        if any(crs == own for crs, _ in areas):
            return own
    return max(areas, key=lambda one: one[1])[0]


def cut_to(grid: Grid, outlines: Any) -> Grid:
    """Returns the part of a grid that holds outlines in its CRS."""
    west, south, east, north = outlines.total_bounds
    corners = [~grid.transform * (x, y) for x in (west, east) for y in (south, north)]
    columns, rows = zip(*corners, strict=True)
    left, top = max(math.floor(min(columns)), 0), max(math.floor(min(rows)), 0)
    right, bottom = min(math.ceil(max(columns)), grid.width), min(math.ceil(max(rows)), grid.height)
    return grid.crop(top, left, max(bottom - top, 1), max(right - left, 1))


class Ground:
    """Some ground, of outlines or of a mask, to be laid on grids."""

    def __init__(self, stack: ExitStack, path: Path, layer: str | None, target: Grid, option: str) -> None:
        """Opens it.

        Args:
            stack: Closes it.
            path: Outlines, or a raster of 0 and 1.
            layer: Of outlines with several.
            target: The grid of the scene, which it must meet.
            option: Where the user says which layer, for an error.

        Raises:
            TruthError: It cannot be read as either, or no outline meets the scene.
            GridMismatchError: The mask does not meet the scene.
            RequestError: A layer is asked for of a raster.
        """
        self.path = path
        self._outlines: Any = None
        self._mask: Any = None
        if is_vector(path):
            self._outlines = read_outlines(path, target, layer=layer, option=option, shapes="polygons")
            return
        refuse_layer_of_raster(path, layer, option)
        try:
            self._mask = stack.enter_context(plain_mask(path))
        except TruthError as error:
            raise TruthError(
                f"{path}: a mask to add holds 1 for ground that becomes no data, 0 for other ground and 255 "
                f"where it says nothing, in one band; make one, of class 3 for example with "
                f"`{make_glacier(3, path)}`"
            ) from error
        require_overlap(self._mask, target, path)

    def on(self, grid: Grid) -> NDArray[np.bool_]:
        """Returns `(H, W)` True for its pixels."""
        if self._outlines is not None:
            return inside(self._outlines, grid, self.path)
        if not may_meet(grid, grid_of(self._mask)):
            return np.zeros(grid.shape, bool)
        with on_grid(self._mask, grid, "nearest") as dataset:
            found: NDArray[np.bool_] = dataset.read(1) == GLACIER
        return found


def inside(outlines: Any, grid: Grid, path: Path) -> NDArray[np.bool_]:
    """Returns `(H, W)` True where pixels of a grid have their centre in outlines of any CRS."""
    try:
        near = outlines_near(outlines, grid, path)
    except TruthError:
        return np.zeros(grid.shape, bool)
    return np.asarray(rasterize_outlines(near, grid) == GLACIER)
