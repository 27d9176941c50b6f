"""Uncertainty of areas by the buffer method."""

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray


def buffer_uncertainty(outlines: NDArray[Any], buffer_m: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns by how much areas change when the boundary of the ice moves.

    Half the difference between the area grown and the area shrunk by `buffer_m`, as in Granshaw and Fountain
    (2006), Journal of Glaciology 52, 251-256, and Bolch, Menounos and Wheate (2010), Remote Sensing of
    Environment 114, 127-137. A line between two glaciers that touch is no boundary of the ice, so it does not
    move (the sum over all glaciers then says something about the ice).

    Args:
        outlines: `(N,)` polygons in metres that do not overlap.
        buffer_m: How uncertain the boundary is, `(N,)` where it differs.

    Returns:
        `(N,)` in square metres.
    """
    tree = shapely.STRtree(outlines)
    found = np.zeros(len(outlines))
    reaches = np.broadcast_to(buffer_m, len(outlines))
    for number, (outline, reach) in enumerate(zip(outlines, reaches, strict=True)):
        near = tree.query(outline, predicate="dwithin", distance=reach)
        others: Any = shapely.Polygon()
        rim = outline.boundary
        if len(near) > 1:
            west, south, east, north = outline.bounds
            box = west - 2 * reach, south - 2 * reach, east + 2 * reach, north + 2 * reach
            others = shapely.union_all(shapely.clip_by_rect(outlines[near[near != number]], *box))
            # Outlines of other people do not always touch to the last digit.
            rim = rim.difference(others.buffer(1e-3 * reach))
        ribbon = rim.buffer(reach)
        inner = ribbon.intersection(outline).area
        outer = ribbon.difference(outline).difference(others).area
        found[number] = (inner + outer) / 2
    return found
