"""How far the ends of glaciers moved: along centre lines, or roughly, from their lowest parts."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio.crs
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from glacierseg.raster.blocks import Block
from glacierseg.raster.elevation import open_terrain
from glacierseg.raster.grid import Grid
from glacierseg.raster.outlines import read_shapes
from glacierseg.raster.warp import read_grid
from glacierseg.settings.outlines import ChangeInputs

LINE, LOWEST = "centre line", "lowest part (approximation)"
_LOWEST_SHARE = 0.02
# Where more of the elevation is missing, what is missing may be the lowest part.
_LEAST_KNOWN = 0.95


@dataclass(frozen=True)
class TerminusShift:
    """Movement of one terminus.

    Attributes:
        shift_m: Forward is positive; NaN where it is unknown.
        method: `centre line`, or `lowest part (approximation)`.
        at_end_of_line: Whether a glacier goes on beyond the end of the line, so its terminus lies farther.
    """

    shift_m: float
    method: str
    at_end_of_line: bool = False


def measure_termini(
    old: NDArray[Any],
    new: NDArray[Any],
    crs: CRS,
    inputs: ChangeInputs,
    *,
    error_m: float,
) -> list[TerminusShift | None]:
    """Measures the shift of the terminus of every glacier that has a line, or approximates it.

    Args:
        old: `(N,)` glaciers of the old date.
        new: `(M,)` glaciers of the new date.
        crs: Of both, in metres.
        inputs: Centre lines from the head down, turned by the elevation model when there is one; and that
            elevation, for glaciers without a line.
        error_m: Uncertainty of the outlines.

    Returns:
        One for each old glacier, None where it was not measured.

    Raises:
        TruthError: The file has no lines that can be used.
        RasterError: The elevation cannot be read.
    """
    found: list[TerminusShift | None] = [None] * len(old)
    if (inputs.centre_lines is None and inputs.dem is None) or not len(old):
        return found
    elevation = _elevation(inputs.dem, old, new, crs) if inputs.dem is not None else None
    tree = shapely.STRtree(new)
    if inputs.centre_lines is not None:
        layer, option = inputs.centre_lines_layer, "--centre-lines-layer"
        table = read_shapes(inputs.centre_lines, layer=layer, shapes="lines", option=option)
        lines = shapely.get_parts(shapely.line_merge(table.geometry.to_crs(crs).to_numpy()))
        crossing = shapely.STRtree(lines)
        for number, shape in enumerate(old):
            near = lines[np.sort(crossing.query(shape, predicate="intersects"))]
            inside = shapely.length(shapely.intersection(near, shape))
            # The longest line inside is the main one.
            if inside.max(initial=0) > 0:
                line = near[inside.argmax()]
                line = run_down(line, *elevation) if elevation is not None else line
                now = shapely.union_all(new[tree.query(line, predicate="intersects")])
                found[number] = shift_along_line(line, shape, now, error_m=error_m)
    if elevation is not None:
        for number, shape in enumerate(old):
            if found[number] is None:
                now = shapely.union_all(new[tree.query(shape, predicate="intersects")])
                found[number] = shift_of_lowest_part(shape, now, *elevation)
    return found


def _elevation(
    path: Path, old: NDArray[Any], new: NDArray[Any], crs: CRS
) -> tuple[NDArray[np.float32], Grid]:
    """Reads an elevation model in metres around all glaciers, at its own resolution."""
    side = max(*read_grid(path).pixel_size_m, 1.0)
    left, bottom, right, top = shapely.total_bounds(np.concatenate([old, new]))
    grid = Grid(
        rasterio.crs.CRS.from_wkt(crs.to_wkt()),
        Affine(side, 0, left, 0, -side, top),
        math.ceil((top - bottom) / side),
        math.ceil((right - left) / side),
    )
    with open_terrain(path, grid) as terrain:
        layers = terrain.read(Block(0, 0, grid.height, grid.width), ["elevation"])
    return layers["elevation"], grid


def shift_along_line(line: Any, old: Any, new: Any, *, error_m: float = 0.0) -> TerminusShift:
    """Measures along a centre line that runs down the glacier.

    The terminus is where the line last leaves the glacier: the end of the last part of the line inside it.

    Args:
        line: A line from the head of the glacier to its terminus or beyond, in metres.
        old: The glacier at the old date.
        new: The glaciers at the new date.
        error_m: Uncertainty of the outlines: a line that ends so near to the outline ends on it.
    """
    ends = [_last_inside(line, shape) for shape in (old, new)]
    end = shapely.get_point(line, -1)
    beyond = [
        shapely.intersects(shape, end) and shapely.distance(shapely.boundary(shape), end) > error_m
        for shape in (old, new)
    ]
    return TerminusShift(ends[1] - ends[0], LINE, any(beyond))


def run_down(line: Any, elevation_m: NDArray[np.floating], grid: Grid) -> Any:
    """Returns a line so that it runs from its higher end to its lower one.

    The first and the last place of the line whose elevation is known decide; with fewer than two such places
    it stays as it is.

    Args:
        line: A line in the grid's CRS.
        elevation_m: `(H, W)`, NaN where unknown.
        grid: Where the elevation lies.
    """
    points = shapely.get_coordinates(shapely.segmentize(line, min(grid.pixel_size_m)))
    columns, rows = ~grid.transform * (points[:, 0], points[:, 1])
    rows, columns = np.floor(rows).astype(np.int64), np.floor(columns).astype(np.int64)
    inside = (rows >= 0) & (rows < grid.height) & (columns >= 0) & (columns < grid.width)
    heights = elevation_m[rows[inside], columns[inside]]
    known = heights[np.isfinite(heights)]
    return shapely.reverse(line) if len(known) > 1 and known[-1] > known[0] else line


def shift_of_lowest_part(old: Any, new: Any, elevation_m: NDArray[np.floating], grid: Grid) -> TerminusShift:
    """Approximates the shift by how far the middle of the lowest 2 % of the glacier moved.

    The distance is straight, and positive where the lowest part lies lower than before. It says little of a
    glacier with several tongues, and nothing where elevation is missing for more than a twentieth of it.

    Args:
        old: The glacier at the old date, in the grid's CRS.
        new: The glacier at the new date.
        elevation_m: `(H, W)` of one date for both, NaN where unknown.
        grid: Projected, in metres.
    """
    places = [_lowest(shape, elevation_m, grid) for shape in (old, new)]
    if places[0] is None or places[1] is None:
        return TerminusShift(math.nan, LOWEST)
    (x0, y0, z0), (x1, y1, z1) = places[0], places[1]
    return TerminusShift(math.copysign(math.hypot(x1 - x0, y1 - y0), z0 - z1), LOWEST)


def _last_inside(line: Any, shape: Any) -> float:
    inside = shapely.get_coordinates(shapely.intersection(line, shape))
    if not len(inside):
        return math.nan
    return float(shapely.line_locate_point(line, shapely.points(inside)).max())


def _lowest(shape: Any, elevation_m: NDArray[np.floating], grid: Grid) -> tuple[float, float, float] | None:
    if shape.is_empty:
        return None
    # In the window around the shape: a scene has hundreds of glaciers.
    left, bottom, right, top = shape.bounds
    corners = [
        ~grid.transform * place for place in ((left, top), (right, top), (right, bottom), (left, bottom))
    ]
    first = np.maximum(np.floor(np.min(corners, axis=0)).astype(int), 0)
    last = np.minimum(np.ceil(np.max(corners, axis=0)).astype(int), (grid.width, grid.height))
    if (last <= first).any():
        return None
    window = grid.crop(first[1], first[0], last[1] - first[1], last[0] - first[0])
    inside = rasterio.features.geometry_mask([shape], window.shape, window.transform, invert=True)
    rows, columns = np.nonzero(inside) + first[::-1, None]
    known = np.isfinite(elevation_m[rows, columns])
    if not len(known) or known.mean() < _LEAST_KNOWN:
        return None
    rows, columns = rows[known], columns[known]
    heights = elevation_m[rows, columns]
    chosen = np.argsort(heights, kind="stable")[: max(math.ceil(_LOWEST_SHARE * len(rows)), 1)]
    row, column = rows[chosen].mean() + 0.5, columns[chosen].mean() + 0.5
    x, y = grid.transform * (column, row)
    return float(x), float(y), float(heights[chosen].mean())
