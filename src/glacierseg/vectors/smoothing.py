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

from glacierseg.vectors.curves import curves, restore_areas
from glacierseg.vectors.rings import Rings

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
