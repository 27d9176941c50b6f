"""Polygons along the pixel edges of a mask."""

from typing import Any

import numpy as np
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import NDArray

from glacierseg.raster.truth import GLACIER


def trace_polygons(mask: NDArray[np.uint8]) -> NDArray[Any]:
    """Returns one polygon for each 4-connected part of glacier, holes and all.

    Pixels that touch at a corner belong to different polygons; otherwise rings would cross themselves there
    and be invalid. The area of a polygon is its number of pixels.

    Args:
        mask: `(H, W)` of 0, 1 and 255.

    Returns:
        Polygons in pixels, x the column and y the row: the largest first; of equal ones first that which
        begins in the upper row, then that which begins farther left.
    """
    glacier = mask == GLACIER
    shapes = rasterio.features.shapes(glacier.view(np.uint8), mask=glacier, connectivity=4)
    rings = [geometry["coordinates"] for geometry, _ in shapes]
    polygons = np.array([shapely.Polygon(ring[0], ring[1:]) for ring in rings], dtype=object)
    left, top, _, _ = shapely.bounds(polygons).T
    ordered: NDArray[Any] = polygons[np.lexsort((left, top, -shapely.area(polygons)))]
    return ordered


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
