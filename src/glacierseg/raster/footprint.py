"""Where the ground of one grid lies on another."""

from typing import Any

import numpy as np
import rasterio.features
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.warp import reproject

from glacierseg.raster.bounds import crs_towards, degree_box, frame_points, may_meet, move_points
from glacierseg.raster.grid import Grid

# Points of one side lie at equal distances, which no projection changes so much from one to the next.
_TORN = 100
# Frames shrink by this share of a pixel, so that grids edge to edge do not touch by a rounding error.
_RIM_PX = 1e-3


def frame_polygon(grid: Grid, target: Grid) -> Any:
    """Returns a grid's ground as a polygon in the CRS of another one, empty where it has no place there.

    In degrees it lies within 180 degrees of the middle of the other grid, around a pole as a cap.
    """
    import shapely  # noqa: PLC0415

    points = move_points(frame_points(grid), grid.crs, target.crs)
    # A place too far away for the projection has no position there, or one at the other end of the map.
    if not np.isfinite(points).all() or _is_torn(points, target):
        return shapely.Polygon()
    if not target.is_geographic:
        return _valid(shapely.Polygon(points))
    west, south, east, north = degree_box(grid)
    if east - west >= 360 and (south == -90 or north == 90):
        pole = 90.0 if north == 90 else -90.0
        around = np.append(points, points[:1], axis=0)
        around[:, 0] = np.unwrap(around[:, 0], period=360)
        points = np.concatenate([around, [[around[-1, 0], pole], [around[0, 0], pole]]])
    else:
        points[:, 0] = np.unwrap(points[:, 0], period=360)
    middle = (target.transform * (target.width / 2, target.height / 2))[0]
    turn = 360 * np.rint((middle - points[:, 0].mean()) / 360)
    window = shapely.box(middle - 180, -90, middle + 180, 90)
    copies = [_valid(shapely.Polygon(points + np.array([turn + by, 0]))) for by in (-360, 0, 360)]
    return shapely.union_all([copy.intersection(window) for copy in copies])


def _is_torn(points: NDArray[np.float64], target: Grid) -> bool:
    """Whether a frame jumps from one end of a map of the world to the other."""
    if target.is_geographic:
        return False
    steps = np.linalg.norm(np.diff(points, axis=0, append=points[:1]), axis=1).reshape(4, -1)
    return bool((steps.max(axis=1) > _TORN * np.median(steps, axis=1)).any())


def _valid(polygon: Any) -> Any:
    return polygon if polygon.is_valid else type(polygon)()


def footprint_on_grid(grid: Grid, wanted: Grid) -> NDArray[np.bool_]:
    """Returns the pixels of a grid that hold any ground of another one.

    Where the other one's frame has no whole image in the CRS of this grid, their centres decide.

    Args:
        grid: Whose ground.
        wanted: On whose pixels.

    Returns:
        `(H, W)` of `wanted`; pixels that only touch the ground along an edge are not in it.
    """
    a, b, _, d, e, _ = wanted.transform[:6]
    side = min(abs(complex(a, d)), abs(complex(b, e)))
    polygon = frame_polygon(grid, wanted)
    if polygon.is_empty:
        return area_on_grid(np.ones(grid.shape, bool), grid, wanted)
    polygon = polygon.buffer(-_RIM_PX * side, join_style="mitre")
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
            src_crs=crs_towards(grid, wanted),
            dst_transform=wanted.transform,
            dst_crs=wanted.crs,
            resampling=Resampling.nearest,
        )
    return moved.astype(bool)
