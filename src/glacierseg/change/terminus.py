"""How far the end of a glacier moved: along a centre line, or roughly, from its lowest part."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio.features
import shapely
from numpy.typing import NDArray

from glacierseg.raster.grid import Grid

LINE, LOWEST = "centre line", "lowest part (approximation)"
_LOWEST_SHARE = 0.02
# Where more of the elevation is missing, what is missing may be the lowest part.
_LEAST_KNOWN = 0.95


@dataclass(frozen=True)
class TerminusShift:
    """Movement of one terminus.

    Attributes:
        shift_m: Forward is positive; NaN where it cannot be told.
        method: `centre line`, or `lowest part (approximation)`.
        at_end_of_line: Whether a glacier goes on beyond the end of the line, so that its terminus lies
            farther than the line can tell.
    """

    shift_m: float
    method: str
    at_end_of_line: bool = False


def shift_along_line(line: Any, old: Any, new: Any, *, error_m: float = 0.0) -> TerminusShift:
    """Measures along a centre line that runs down the glacier.

    The terminus is where the line last leaves the glacier: the end of the last part of the line inside it.

    Args:
        line: A line from the head of the glacier to its terminus or beyond, in metres.
        old: The glacier at the old date.
        new: The glaciers at the new date.
        error_m: How far outlines may be off: a line that ends so near to the outline ends on it.
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
