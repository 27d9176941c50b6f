"""Polygons along the pixel edges of a mask, strip by strip."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from glacierseg.raster.truth import GLACIER
from glacierseg.vectors import corners

_STRIP_PX = 2**24
_LEAST_ROOM = 2**16


@dataclass(frozen=True)
class PixelOutlines:
    """Outlines along pixel edges as whole numbers: eight bytes a corner, where polygons take a hundred.

    Attributes:
        points: `(N, 2)` columns and rows of all corners; the first of a ring is not repeated at its end.
        rings: `(rings + 1,)` where each ring begins.
        polygons: `(polygons + 1,)` at which ring each polygon begins; the first ring is the exterior.
        sizes_px: `(polygons,)` pixels.
    """

    points: NDArray[np.int32]
    rings: NDArray[np.int64]
    polygons: NDArray[np.int64]
    sizes_px: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sizes_px)

    def part(self, begin: int, end: int) -> NDArray[Any]:
        """Returns the polygons from `begin` up to `end`, in pixels, x the column and y the row."""
        offsets = self.polygons[begin : end + 1]
        if len(offsets) < 2:
            return np.array([], dtype=object)
        rings = self.rings[offsets[0] : offsets[-1] + 1]
        points = self.points[rings[0] : rings[-1]].astype(np.float64)
        rings = rings - rings[0]
        closed = np.insert(points, rings[1:], points[rings[:-1]], axis=0)
        parts: NDArray[Any] = shapely.from_ragged_array(
            shapely.GeometryType.POLYGON, closed, (rings + np.arange(len(rings)), offsets - offsets[0])
        )
        return parts

    def chunks(self, points: int = 2**17) -> Iterator[NDArray[Any]]:
        """Yields all polygons in order, some at a time: about so many corners, at least one polygon."""
        begin = 0
        while begin < len(self):
            target = self.rings[self.polygons[begin]] + points
            end = int(np.searchsorted(self.rings[self.polygons], target, side="right")) - 1
            end = min(max(end, begin + 1), len(self))
            yield self.part(begin, end)
            begin = end


def trace_polygons(mask: NDArray[np.uint8]) -> NDArray[Any]:
    """Returns one polygon for each 4-connected part of glacier, holes and all.

    Pixels that touch at a corner belong to different polygons; otherwise rings would cross themselves there
    and be invalid. The area of a polygon is its number of pixels. With rows going down, as on a map with
    north up, exteriors run counterclockwise.

    Args:
        mask: `(H, W)` of 0, 1 and 255.

    Returns:
        Polygons in pixels, x the column and y the row: the largest first; of equal ones first that which
        begins in the upper row, then that which begins farther left.
    """
    rows = max(1, _STRIP_PX // max(mask.shape[1], 1))
    outlines = trace_strips((mask[top : top + rows] for top in range(0, len(mask), rows)), mask.shape[1])
    return outlines.part(0, len(outlines))


def trace_strips(strips: Iterable[NDArray[np.uint8]], width: int) -> PixelOutlines:
    """Traces a mask that comes in strips, as `trace_polygons` does a whole one.

    The result does not depend on where the strips begin. Besides it, memory holds one strip, and the corners
    of glaciers that are not at their end yet.

    Args:
        strips: `(h, W)` each, of 0, 1 and 255, from top to bottom.
        width: W.
    """
    tracer = _Tracer(width)
    found = [tracer.add(strip) for strip in strips]
    found.append(tracer.add(np.zeros((1, width), np.uint8)))
    return _in_order(found)


@dataclass(frozen=True)
class _Rings:
    """Rings of whole glaciers: corners, beginnings, the glacier of each, signed areas."""

    points: NDArray[np.int32]
    starts: NDArray[np.int64]
    glaciers: NDArray[np.int32]
    areas: NDArray[np.int64]


class _Tracer:
    """What is known of glaciers that reach the last row so far."""

    def __init__(self, width: int) -> None:
        # At least one pixel of background ends a row; eight of them are a word.
        self._bytes = 8 * (width // 8 + 1)
        self._width, self._top = width, 0
        self._used = self._used_pairs = 0
        room = max(_LEAST_ROOM, 4 * self._bytes)
        self._corners = np.empty((3, room), np.int32)
        self._pairs = np.empty((room // 2, 2), np.int32)
        self._pending = np.full(self._bytes, -1, np.int32)
        self._above = np.zeros(self._bytes // 8, np.uint64)

    def add(self, strip: NDArray[np.uint8]) -> _Rings:
        """Adds rows below those that are there; returns what is whole now."""
        pixels = np.zeros((len(strip), self._bytes), np.uint8)
        np.equal(strip, GLACIER, out=pixels[:, : self._width].view(np.bool_))
        words, done = pixels.view(np.uint64), (0, self._used, self._used_pairs)
        while True:
            done = corners.sweep(
                words, self._above, self._top, self._corners, self._pairs, self._pending, done
            )
            row, self._used, self._used_pairs = done
            if row == len(strip):
                break
            self._corners = _doubled(self._corners, axis=1)
            self._pairs = _doubled(self._pairs, axis=0)
        self._top += len(strip)
        return self._take()

    def _take(self) -> _Rings:
        is_open = np.zeros(self._used, np.bool_)
        corners.close_runs(self._above.view(np.uint8), self._pending, self._corners, is_open)
        rings, parents, open_rings = corners.label_glaciers(
            self._corners, self._pairs, self._used_pairs, is_open
        )
        whole = _Rings(*corners.take_rings(self._corners, rings, parents, open_rings))
        self._used, self._used_pairs = corners.keep_open(
            self._corners, rings, open_rings, self._pairs, self._used_pairs, self._pending
        )
        return whole


def _doubled(values: NDArray[np.int32], axis: int) -> NDArray[np.int32]:
    """Returns room for twice as many, the first ones copied."""
    return np.concatenate([values, np.empty_like(values)], axis=axis)


def _in_order(found: list[_Rings]) -> PixelOutlines:
    """Puts glaciers in the order of `trace_polygons`, the rings of each behind one another."""
    points = np.concatenate([rings.points for rings in found])
    lengths = np.concatenate([np.diff(rings.starts) for rings in found])
    starts = np.cumsum(lengths) - lengths
    areas = np.concatenate([rings.areas for rings in found])
    if not len(areas):
        none = np.zeros(1, np.int64)
        return PixelOutlines(points, none, none, none[:0])
    # Glaciers are named by numbers that begin again in every strip.
    bases = np.cumsum([0, *(rings.glaciers.max(initial=-1) + 1 for rings in found[:-1])])
    names = np.concatenate([rings.glaciers + base for rings, base in zip(found, bases, strict=True)])
    # They stand in `points` now, and would take as much memory again.
    found.clear()
    exteriors = np.flatnonzero(areas > 0)
    _, glaciers = np.unique(names, return_inverse=True)
    sizes_px = np.bincount(glaciers, areas).astype(np.int64)
    # Exteriors come in the order of their names within a strip.
    left = np.minimum.reduceat(points[:, 0], starts)[exteriors]
    top = points[starts[exteriors], 1]
    order = np.lexsort((left, top, -sizes_px))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    by_glacier = np.argsort(rank[glaciers], kind="stable")
    lengths = lengths[by_glacier]
    rings = np.append(0, np.cumsum(lengths))
    polygons = np.append(0, np.cumsum(np.bincount(rank[glaciers], minlength=len(order))))
    ordered = corners.reorder(points, starts[by_glacier], rings)
    return PixelOutlines(ordered, rings, polygons, sizes_px[order])


def to_crs(polygons: NDArray[Any], transform: Affine) -> NDArray[Any]:
    """Moves polygons from pixels to the coordinates of a raster's CRS.

    Args:
        polygons: In pixels, x the column and y the row.
        transform: From (column, row) to coordinates.
    """
    a, b, c, d, e, f = transform[:6]

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        columns, rows = points.T
        return np.column_stack([a * columns + b * rows + c, d * columns + e * rows + f])

    moved: NDArray[Any] = shapely.transform(polygons, move)
    return moved
