"""Where the ground of one grid lies on another."""

from typing import Any

import numpy as np
import rasterio.features
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.coords import disjoint_bounds
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.warp import reproject, transform_bounds

from glacierseg.raster.grid import Grid

# A frame is a polygon with so many points on each side, since a side bends in another projection.
_POINTS = 21
# Frames shrink by this share of a pixel, so that grids edge to edge do not touch by a rounding error.
_RIM_PX = 1e-3


def move_points(points: NDArray[np.float64], crs: CRS, target: CRS) -> NDArray[np.float64]:
    """Returns points `(N, 2)` of one CRS in another; infinite where the other one has no place for them."""
    # Comparing two references is slow beside the rest, and most grids of a run share one.
    if crs is target or crs == target:
        return points
    to = Transformer.from_crs(crs.to_wkt(), target.to_wkt(), always_xy=True)
    return np.column_stack(to.transform(points[:, 0], points[:, 1]))


def frame_polygon(grid: Grid, target: Grid) -> Any:
    """Returns a grid's ground as a polygon in the CRS of another one, empty where it has no place there."""
    import shapely  # noqa: PLC0415

    steps = np.linspace(0, 1, _POINTS)[:-1]
    zeros, ones = np.zeros_like(steps), np.ones_like(steps)
    columns = np.concatenate([steps, ones, 1 - steps, zeros]) * grid.width
    rows = np.concatenate([zeros, steps, ones, 1 - steps]) * grid.height
    a, b, c, d, e, f = grid.transform[:6]
    xs, ys = a * columns + b * rows + c, d * columns + e * rows + f
    points = move_points(np.column_stack([xs, ys]), grid.crs, target.crs)
    # A place too far away for the projection has no position there, and no ground in common.
    polygon = shapely.Polygon(points) if np.isfinite(points).all() else shapely.Polygon()
    return polygon if polygon.is_valid else shapely.Polygon()


def footprint_on_grid(grid: Grid, wanted: Grid) -> NDArray[np.bool_]:
    """Returns the pixels of a grid that hold any ground of another one.

    Args:
        grid: Whose ground.
        wanted: On whose pixels.

    Returns:
        `(H, W)` of `wanted`; pixels that only touch the ground along an edge are not in it.
    """
    a, b, _, d, e, _ = wanted.transform[:6]
    side = min(abs(complex(a, d)), abs(complex(b, e)))
    polygon = frame_polygon(grid, wanted).buffer(-_RIM_PX * side, join_style="mitre")
    if polygon.is_empty:
        return np.zeros(wanted.shape, bool)
    burned = rasterio.features.rasterize(
        [polygon], out_shape=wanted.shape, transform=wanted.transform, all_touched=True, dtype="uint8"
    )
    return np.asarray(burned.astype(bool))


def area_on_grid(area: NDArray[np.bool_], grid: Grid, wanted: Grid) -> NDArray[np.bool_]:
    """Returns the pixels of a grid whose centres lie on an area of another one.

    Args:
        area: `(H, W)` of `grid`.
        grid: Where the area lies.
        wanted: On whose pixels.

    Returns:
        `(H, W)` of `wanted`, all False when the grids do not meet.
    """
    moved = np.zeros(wanted.shape, np.uint8)
    if may_meet(grid, wanted):
        reproject(
            area.astype(np.uint8),
            moved,
            src_transform=grid.transform,
            src_crs=grid.crs,
            dst_transform=wanted.transform,
            dst_crs=wanted.crs,
            resampling=Resampling.nearest,
        )
    return moved.astype(bool)


def may_meet(one: Grid, other: Grid) -> bool:
    """Whether the upright rectangles around two grids meet; where they do not, no ground is shared."""
    if one.crs is other.crs or one.crs == other.crs:
        return not disjoint_bounds(one.bounds, other.bounds)
    return not disjoint_bounds(transform_bounds(one.crs, other.crs, *one.bounds), other.bounds)
