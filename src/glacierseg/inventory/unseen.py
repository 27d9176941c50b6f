"""Where the data of a mask end, and how much of an outline is a boundary of ice rather than such an end."""

from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from glacierseg.raster.truth import IGNORE
from glacierseg.vectors.trace import to_crs

# Lines end a little before the corner, so that they do not lie along the edge that leads away from it.
_HAIR_PX = 1e-3


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
