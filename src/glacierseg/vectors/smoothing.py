"""Smooth outlines that keep the area, the holes and the pixels of the jagged ones.

How it works, on rings along pixel edges, in pixels:

1. Every unit edge lies between a glacier pixel and another one. Its middle becomes a point, so a ring turns
   into a chain of points, each on the line between the centres of two pixels, its *tie*.
2. The points slide along their ties toward the line between their neighbours, at most a quarter of a pixel.
   Steps of Taubin (1995), forth and a little further back, take out the stairs and hardly shrink the shape.
3. All points of a ring move along their ties by one distance, such that step 4 gives the area of the mask.
4. Corners are cut (Chaikin 1974), which makes a chain a curve.
5. Points that the curve does not need are dropped. A move along the normals, of a hundredth of a pixel even
   for a single pixel, gives back the area that this costs.

Why results stay valid and never overlap: the squares between the centres of four neighbouring pixels tile
the plane, and ties are their sides. A chain crosses a square from one side to another, and only a square
whose diagonal corners are alike holds two pieces of chain. They cut off opposite corners, so the other
diagonal lies between them wherever on their sides they begin. Corner cutting stays in the triangles between
a point and the middles of the pieces beside it, which lie in the same squares on the same side of that
diagonal. No step passes a pixel centre, so burning the smooth outlines gives the mask again.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from glacierseg.refine.engine.jit import compiled

Points = NDArray[np.float64]
# Six times forth and back.
_WEIGHTS = np.array([0.5, -0.53] * 6)
_LARGEST_SLIDE_PX = 0.25
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
    areas = jagged.areas
    sides = np.abs(jagged.points[jagged.following] - jagged.points).sum(axis=1)
    edges = jagged.sums(sides).round().astype(np.int64)
    points = curves(
        jagged.points, np.append(jagged.first, len(jagged.points)), areas, edges, _WEIGHTS, _LARGEST_SLIDE_PX
    )
    made = Rings(points, 4 * (np.cumsum(edges) - edges), jagged.polygons)
    lean = Rings.of(shapely.simplify(made.to_polygons(), _TOLERANCE_PX, preserve_topology=False))
    restore_areas(lean.points, np.append(lean.first, len(lean.points)), areas)
    return lean.to_polygons()


@dataclass(frozen=True)
class Rings:
    """Rings of polygons, one after the other.

    Attributes:
        points: `(N, 2)` the corners; the first one of a ring is not repeated at its end.
        first: `(rings,)` where each ring begins.
        polygons: `(polygons + 1,)` at which ring each polygon begins, and the number of rings. The first ring
            of a polygon is its exterior.
    """

    points: Points
    first: NDArray[np.int64]
    polygons: NDArray[np.int64]

    @classmethod
    def of(cls, polygons: NDArray[Any]) -> "Rings":
        """Takes polygons apart; there must be at least one, and no multi-part or empty geometry."""
        _, points, (ring_offsets, polygon_offsets) = shapely.to_ragged_array(polygons)
        # Every ring repeats its first point at its end.
        repeated = ring_offsets[1:] - 1
        first = ring_offsets[:-1] - np.arange(len(repeated))
        return cls(
            np.delete(points, repeated, axis=0), first.astype(np.int64), polygon_offsets.astype(np.int64)
        )

    def to_polygons(self) -> NDArray[Any]:
        """Puts the polygons together again."""
        ends = np.append(self.first[1:], len(self.points))
        closed = np.insert(self.points, ends, self.points[self.first], axis=0)
        offsets = np.append(0, ends + np.arange(1, len(ends) + 1))
        polygons: NDArray[Any] = shapely.from_ragged_array(
            shapely.GeometryType.POLYGON, closed, (offsets, self.polygons)
        )
        return polygons

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Points by ring, `(rings,)`."""
        return np.diff(self.first, append=len(self.points))

    @cached_property
    def following(self) -> NDArray[np.int64]:
        """Index of the next point along the ring, `(N,)`."""
        following = np.arange(1, len(self.points) + 1)
        following[self.first + self.sizes - 1] = self.first
        return following

    def by_point(self, values: NDArray[Any]) -> NDArray[Any]:
        """Repeats one value per ring for each of its points."""
        return np.repeat(values, self.sizes, axis=0)

    def sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Adds up one value per point over each ring, `(rings,)`."""
        sums: NDArray[np.float64] = np.add.reduceat(values, self.first)
        return sums

    @property
    def areas(self) -> NDArray[np.float64]:
        """Signed areas by ring, `(rings,)`, by the shoelace formula."""
        # Seen from a point of the ring itself, so that far-away coordinates cost no digits.
        from_first = self.points - self.by_point(self.points[self.first])
        return self.sums(cross(from_first, from_first[self.following])) / 2


def cross(one: Points, other: Points) -> NDArray[np.float64]:
    """Returns the z component of the cross products of plane vectors `(N, 2)`."""
    product: NDArray[np.float64] = one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
    return product


@compiled
def middles_of_edges(ring: Points, edges: int) -> tuple[Points, Points]:
    """Returns the middles of the unit edges of a ring, and unit vectors along their ties, `(M, 2)` each."""
    middles, ties = np.empty((edges, 2)), np.empty((edges, 2))
    count, size = 0, len(ring)
    for corner in range(size):
        following = ring[(corner + 1) % size]
        across, down = following[0] - ring[corner, 0], following[1] - ring[corner, 1]
        length = round(abs(across) + abs(down))
        across, down = across / length, down / length
        for step in range(length):
            middles[count, 0] = ring[corner, 0] + (step + 0.5) * across
            middles[count, 1] = ring[corner, 1] + (step + 0.5) * down
            ties[count, 0], ties[count, 1] = down, -across
            count += 1
    return middles, ties


@compiled
def slide(middles: Points, ties: Points, weights: NDArray[np.float64], largest_px: float) -> Points:
    """Slides points along their ties toward the line between their neighbours, once for each weight."""
    size = len(middles)
    points, moved = middles.copy(), middles.copy()
    offsets = np.zeros(size)
    for weight in weights:
        for at in range(size):
            before, after = at - 1, (at + 1 if at + 1 < size else 0)
            pull = 0.0
            for axis in range(2):
                middle = (points[before, axis] + points[after, axis]) / 2
                pull += (middle - points[at, axis]) * ties[at, axis]
            offset = min(max(offsets[at] + weight * pull, -largest_px), largest_px)
            offsets[at] = offset
            for axis in range(2):
                moved[at, axis] = middles[at, axis] + offset * ties[at, axis]
        points, moved = moved, points
    return points


@compiled
def cut_corners(values: Points) -> Points:
    """Puts two points on each side of a ring instead of its ends, at a quarter and at three quarters."""
    size = len(values)
    cut = np.empty((2 * size, 2))
    for at in range(size):
        after = at + 1 if at + 1 < size else 0
        for axis in range(2):
            one, other = values[at, axis], values[after, axis]
            cut[2 * at, axis] = 0.75 * one + 0.25 * other
            cut[2 * at + 1, axis] = 0.25 * one + 0.75 * other
    return cut


@compiled
def restore_area(points: Points, directions: Points, area: float) -> None:
    """Moves the points of a ring along their directions, by one factor t, so that it has the area asked for.

    With points p_i and directions n_i the area is the quadratic A + b t + c t^2, where A is the present area,
    b = sum(p_i x n_(i+1) + n_i x p_(i+1)) / 2 and c = sum(n_i x n_(i+1)) / 2. Points are seen from the first
    one, so that far-away coordinates cost no digits.
    """
    size = len(points)
    present = b = c = 0.0
    for at in range(size):
        after = at + 1 if at + 1 < size else 0
        x, y = points[at, 0] - points[0, 0], points[at, 1] - points[0, 1]
        next_x, next_y = points[after, 0] - points[0, 0], points[after, 1] - points[0, 1]
        present += (x * next_y - y * next_x) / 2
        b += (x * directions[after, 1] - y * directions[after, 0]) / 2
        b += (directions[at, 0] * next_y - directions[at, 1] * next_x) / 2
        c += (directions[at, 0] * directions[after, 1] - directions[at, 1] * directions[after, 0]) / 2
    missing = area - present
    # The root next to 0, written so that it also holds where c is 0.
    t = 2 * missing / (b + np.sign(b) * np.sqrt(max(b * b + 4 * c * missing, 0.0)))
    for at in range(size):
        for axis in range(2):
            points[at, axis] += t * directions[at, axis]


@compiled
def curves(
    points: Points,
    first: NDArray[np.int64],
    areas: NDArray[np.float64],
    edges: NDArray[np.int64],
    weights: NDArray[np.float64],
    largest_px: float,
) -> Points:
    """Turns rings along pixel edges into curves of the same areas.

    Args:
        points: `(N, 2)` corners in pixels.
        first: `(rings + 1,)` where each ring begins.
        areas: `(rings,)` signed areas.
        edges: `(rings,)` unit edges.
        weights: Of the slides.
        largest_px: How far a point may slide.

    Returns:
        `(4 M, 2)` points, four for each unit edge.
    """
    made = np.empty((4 * edges.sum(), 2))
    begin = 0
    for ring in range(len(areas)):
        middles, ties = middles_of_edges(points[first[ring] : first[ring + 1]], edges[ring])
        # Cutting corners is linear, so it may come before the areas: moving a point along its tie moves the
        # points that are made from it along what cutting makes of the ties.
        curve = cut_corners(cut_corners(slide(middles, ties, weights, largest_px)))
        restore_area(curve, cut_corners(cut_corners(ties)), areas[ring])
        made[begin : begin + len(curve)] = curve
        begin += len(curve)
    return made


@compiled
def restore_areas(points: Points, first: NDArray[np.int64], areas: NDArray[np.float64]) -> None:
    """Moves the points of all rings along their normals, in place, so that they have the areas asked for."""
    for ring in range(len(areas)):
        own = points[first[ring] : first[ring + 1]]
        size = len(own)
        normals = np.empty((size, 2))
        for at in range(size):
            after = at + 1 if at + 1 < size else 0
            across, down = own[after, 0] - own[at - 1, 0], own[after, 1] - own[at - 1, 1]
            length = np.hypot(across, down)
            normals[at, 0], normals[at, 1] = down / length, -across / length
        restore_area(own, normals, areas[ring])
