"""Smooth outlines that keep the area, the holes and the pixels of the jagged ones.

How it works, on rings along pixel edges, in pixels:

1. Every unit edge lies between a glacier pixel and another one. Its middle becomes a point, so a ring turns
   into a chain of points, each on the line between the centres of two pixels, its *tie*.
2. The points slide along their ties toward the line between their neighbours, at most a quarter of a pixel.
   Steps of Taubin (1995), forth and a little further back, take out the stairs and hardly shrink the shape.
3. All points of a ring move along their ties by one distance, such that step 4 gives the area of the mask.
4. Corners are cut (Chaikin 1974), which makes a chain a curve.
5. Points that the curve does not need are dropped. A move along the normals, of a hundredth of a pixel even
   for a lone pixel, gives back the area that this costs.

Why results stay valid and never overlap: the squares between the centres of four neighbouring pixels tile
the plane, and ties are their sides. A chain crosses a square from one side to another, and only a square
whose diagonal corners are alike holds two pieces of chain. They cut off opposite corners, so the other
diagonal lies between them wherever on their sides they begin. Corner cutting stays in the triangles between
a point and the middles of the pieces beside it, which lie in the same squares on the same side of that
diagonal. No step passes a pixel centre, so burning the smooth outlines gives the mask again.
"""

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from glacierseg.vectors.rings import Points, Rings, cross

_SLIDES = 6
_LARGEST_SLIDE_PX = 0.25
_FORTH, _BACK = 0.5, -0.53
_CUTS = 2
_TOLERANCE_PX = 0.02


def smooth_outlines(polygons: NDArray[Any]) -> NDArray[Any]:
    """Smooths polygons that run along pixel edges.

    Args:
        polygons: `(N,)` polygons in pixels with whole-numbered corners, as `trace_polygons` gives them.

    Returns:
        `(N,)` valid polygons, one for each, that do not overlap, with the same holes, the same area, and the
        same pixel centres inside.
    """
    if not len(polygons):
        return polygons
    jagged = Rings.of(polygons)
    chains, ties = _middles_of_edges(jagged)
    curves = _slide(chains, ties)
    # Cutting corners is linear, so it may come first: moving a point along its tie moves the points that are
    # made from it along what cutting makes of the ties.
    for _ in range(_CUTS):
        curves, ties = _cut_corners(curves, ties)
    curves = _restore_areas(curves, ties, jagged.areas)
    lean = Rings.of(shapely.simplify(curves.to_polygons(), _TOLERANCE_PX, preserve_topology=False))
    return _restore_areas(lean, _normals(lean), jagged.areas).to_polygons()


def _middles_of_edges(rings: Rings) -> tuple[Rings, Points]:
    """Returns the middles of all unit edges, and unit vectors along their ties, `(N, 2)`."""
    sides = rings.points[rings.following] - rings.points
    lengths = np.abs(sides).sum(axis=1).round().astype(np.int64)
    directions = sides / lengths[:, None]
    side = np.repeat(np.arange(len(lengths)), lengths)
    begins = np.cumsum(lengths) - lengths
    along = np.arange(len(side)) - begins[side] + 0.5
    middles = rings.points[side] + along[:, None] * directions[side]
    ties = np.column_stack([directions[side, 1], -directions[side, 0]])
    return Rings(middles, begins[rings.first], rings.polygons), ties


def _slide(rings: Rings, ties: Points) -> Rings:
    offsets_px = np.zeros(len(ties))
    points = rings.points
    for _ in range(_SLIDES):
        for weight in (_FORTH, _BACK):
            pull = (points[rings.preceding] + points[rings.following]) / 2 - points
            offsets_px += weight * (pull * ties).sum(axis=1)
            np.clip(offsets_px, -_LARGEST_SLIDE_PX, _LARGEST_SLIDE_PX, out=offsets_px)
            points = rings.points + offsets_px[:, None] * ties
    return Rings(points, rings.first, rings.polygons)


def _cut_corners(rings: Rings, ties: Points) -> tuple[Rings, Points]:
    """Puts two points on each side of a ring instead of its ends, at a quarter and at three quarters."""

    def cut(values: Points) -> Points:
        following = values[rings.following]
        both = np.stack([0.75 * values + 0.25 * following, 0.25 * values + 0.75 * following], axis=1)
        return both.reshape(-1, 2)

    return Rings(cut(rings.points), 2 * rings.first, rings.polygons), cut(ties)


def _normals(rings: Rings) -> Points:
    tangents = rings.points[rings.following] - rings.points[rings.preceding]
    normals: Points = np.column_stack([tangents[:, 1], -tangents[:, 0]]) / np.hypot(*tangents.T)[:, None]
    return normals


def _restore_areas(rings: Rings, directions: Points, areas: NDArray[np.float64]) -> Rings:
    """Moves all points of a ring along their directions by one factor t, so that it has the area asked for.

    With points p_i and directions n_i the area is the quadratic A + b t + c t^2, where A is the present area,
    b = sum(p_i x n_(i+1) + n_i x p_(i+1)) / 2 and c = sum(n_i x n_(i+1)) / 2.
    """
    near = rings.points - rings.by_point(rings.points[rings.first])
    following = rings.following
    b = rings.sums(cross(near, directions[following]) + cross(directions, near[following])) / 2
    c = rings.sums(cross(directions, directions[following])) / 2
    missing = areas - rings.areas
    # The root next to 0, written so that it also holds where c is 0.
    t = 2 * missing / (b + np.sign(b) * np.sqrt(np.maximum(b * b + 4 * c * missing, 0)))
    return Rings(rings.points + rings.by_point(t)[:, None] * directions, rings.first, rings.polygons)
