"""The arithmetic of smooth outlines, ring by ring, compiled; `smoothing.py` says what it is for."""

import numpy as np
from numpy.typing import NDArray

from glacierseg.refine.engine.jit import compiled

Points = NDArray[np.float64]


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
