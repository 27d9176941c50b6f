"""Where on Earth a grid lies: boxes and footprints in any CRS, also across 180 degrees and around a pole."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import rasterio.features
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.warp import reproject

from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import counts_degrees, degrees_of

# A frame is a polygon with so many points on each side, since a side bends in another projection.
_POINTS = 33
# UTM is defined to these latitudes; beyond them lies the universal polar stereographic projection.
_UTM_NORTH, _UTM_SOUTH = 84.0, -80.0
# Frames shrink by this share of a pixel, so that grids edge to edge do not touch by a rounding error.
_RIM_PX = 1e-3

Box = tuple[float, float, float, float]
Points = NDArray[np.float64]


def move_points(points: Points, crs: CRS, target: CRS) -> Points:
    """Returns points `(N, 2)` of one CRS in another; infinite where the other one has no place for them."""
    # Comparing two references is slow beside the rest, and most grids of a run share one.
    if crs is target or crs == target:
        return points
    return np.column_stack(_way(crs.to_wkt(), target.to_wkt()).transform(points[:, 0], points[:, 1]))


def frame_points(grid: Grid) -> Points:
    """Returns points `(N, 2)` along the four sides of a grid in its CRS, the first one not repeated."""
    steps = np.linspace(0, 1, _POINTS)[:-1]
    zeros, ones = np.zeros_like(steps), np.ones_like(steps)
    columns = np.concatenate([steps, ones, 1 - steps, zeros]) * grid.width
    rows = np.concatenate([zeros, steps, ones, 1 - steps]) * grid.height
    a, b, c, d, e, f = grid.transform[:6]
    return np.column_stack([a * columns + b * rows + c, d * columns + e * rows + f])


def boxes_in(grid: Grid, crs: CRS) -> tuple[Box, ...]:
    """Returns upright boxes (west, south, east, north) in a CRS that together hold a grid's ground.

    In degrees there are several, because people write one meridian in different ways: a box from 170 to 190
    degrees is also one from -190 to -170. A grid around a pole holds all longitudes. In a projection that has
    no place for some of the ground the box has no end, since the rest has no known place.

    Args:
        grid: Any grid.
        crs: In which the boxes are wanted.
    """
    if not counts_degrees(crs):
        box = grid.bounds if grid.crs == crs else _box_of(move_points(_spread(grid), grid.crs, crs))
        return (tuple(box),)
    west, south, east, north = degree_box(grid)
    return tuple((west + turn, south, east + turn, north) for turn in (-360.0, 0.0, 360.0))


def degree_box(grid: Grid) -> Box:
    """Returns the box of a grid in degrees. Its middle lies between -180 and 180, its sides may lie beyond.

    Of a grid around a pole it is the whole cap of the globe.
    """
    longitudes, latitudes = degrees_of(grid.crs, *frame_points(grid).T)
    if not (np.isfinite(longitudes) & np.isfinite(latitudes)).all():
        return -180.0, -90.0, 180.0, 90.0
    along = np.unwrap(np.append(longitudes, longitudes[0]), period=360)
    west, east = float(along.min()), float(along.max())
    south, north = float(latitudes.min()), float(latitudes.max())
    if abs(along[-1] - along[0]) > 180 or np.abs(np.diff(along)).max() > 90:
        # The frame goes around a pole, which then lies inside, or passes close by.
        south, north = (south, 90.0) if south + north > 0 else (-90.0, north)
        return -180.0, south, 180.0, north
    if east - west >= 360:
        return -180.0, south, 180.0, north
    turn = 360 * round((west + east) / 720)
    return west - turn, south, east - turn, north


def may_meet(one: Grid, other: Grid) -> bool:
    """Whether boxes around two grids overlap; where they do not, no ground is shared."""
    same = one.crs is other.crs or one.crs == other.crs
    if same and not counts_degrees(one.crs):
        return overlap(one.bounds, other.bounds)
    if not any(overlap(box, degree_box(other)) for box in boxes_in(one, CRS.from_epsg(4326))):
        return False
    # Far from a projection's own ground its positions may be anywhere, so both have to agree.
    return counts_degrees(other.crs) or any(overlap(box, other.bounds) for box in boxes_in(one, other.crs))


def overlap(one: Any, other: Any) -> bool:
    """Whether two boxes (west, south, east, north) share more than an edge."""
    return bool(one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3])


def near_boxes(bounds: NDArray[np.float64], boxes: tuple[Box, ...]) -> NDArray[np.bool_]:
    """Returns which of many boxes `(N, 4)`, such as a table's `bounds`, touch one of a few."""
    near = np.zeros(len(bounds), bool)
    for west, south, east, north in boxes:
        near |= (
            (bounds[:, 0] <= east)
            & (bounds[:, 2] >= west)
            & (bounds[:, 1] <= north)
            & (bounds[:, 3] >= south)
        )
    return near


def wrap_towards(shapes: Any, grid: Grid) -> Any:
    """Returns shapes `(N,)` in a geographic grid's CRS with longitudes as near its middle as can be.

    A grid may run from 170 to 190 degrees and outlines be written from -180 to 180. Each shape stays in one
    piece, less than 180 degrees wide. In a projected CRS shapes stay as they are.
    """
    import shapely  # noqa: PLC0415

    if not counts_degrees(grid.crs):
        return shapes
    middle = (grid.transform * (grid.width / 2, grid.height / 2))[0]
    west, _, east, _ = shapely.bounds(shapes).T
    if not ((west < middle - 180) | (east > middle + 180) | (east - west > 180)).any():
        return shapes
    moved = shapely.transform(
        shapes, lambda xy: np.column_stack([middle + (xy[:, 0] - middle + 180) % 360 - 180, xy[:, 1]])
    )
    # Across the seam opposite the middle a shape would be torn: it goes on beyond instead.
    west, _, east, _ = shapely.bounds(moved).T
    torn = east - west > 180
    moved[torn] = shapely.transform(
        moved[torn], lambda xy: np.column_stack([xy[:, 0] + 360 * (xy[:, 0] < middle), xy[:, 1]])
    )
    return moved


def crs_towards(grid: Grid, wanted: Grid) -> CRS:
    """Returns a grid's CRS so that positions of another grid are found on it across 180 degrees.

    GDAL gives longitudes from -180 to 180, and has no pixels for them where a raster runs on from 170 to 190.
    So a CRS in degrees counts around the raster's own middle, where that makes a difference.
    """
    if not counts_degrees(grid.crs):
        return grid.crs
    west, _, east, _ = grid.bounds
    middle = (west + east) / 2
    usual = west >= -180 - 1e-9 and east <= 180 + 1e-9
    if counts_degrees(wanted.crs):
        left, _, right, _ = wanted.bounds
        usual = middle - 180 <= left and right <= middle + 180
    return grid.crs if usual else CRS.from_string(f"{grid.crs.to_proj4()} +lon_wrap={middle:.6f}")


def middle_of(grid: Grid) -> tuple[float, float]:
    """Returns longitude (-180 to 180) and latitude of a grid's middle; infinite where it has none."""
    x, y = grid.transform * (grid.width / 2, grid.height / 2)
    longitude, latitude = (float(axis) for axis in degrees_of(grid.crs, x, y))
    if math.isfinite(longitude):
        longitude = (longitude + 180) % 360 - 180
    return longitude, latitude


def middle_of_shapes(shapes: Any) -> tuple[float, float]:
    """Returns longitude and latitude of the middle of a GeoSeries of any CRS.

    The mean of places inside the shapes is taken in space: between 179 and -179 degrees lie 180.
    """
    inside = shapes.representative_point().to_crs(4326)
    east, north = np.radians(inside.x.to_numpy()), np.radians(inside.y.to_numpy())
    directions = np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)
    x, y, z = (float(axis.mean()) for axis in directions)
    return math.degrees(math.atan2(y, x)), math.degrees(math.atan2(z, math.hypot(x, y)))


def utm_at(longitude: float, latitude: float) -> CRS:
    """Returns the UTM zone (WGS 84) of a place; near the poles the polar stereographic CRS that goes with it.

    Zones are six degrees wide; the exceptions for south-western Norway and Svalbard are not made.
    """
    if latitude > _UTM_NORTH:
        return CRS.from_epsg(5041)
    if latitude < _UTM_SOUTH:
        return CRS.from_epsg(5042)
    zone = int((longitude + 180) % 360 // 6) + 1
    return CRS.from_epsg((32600 if latitude >= 0 else 32700) + zone)


def frame_polygon(grid: Grid, target: Grid) -> Any:
    """Returns a grid's ground as a polygon in the CRS of another one, empty where it has no place there.

    In degrees it lies within 180 degrees of the middle of the other grid, around a pole as a cap.
    """
    import shapely  # noqa: PLC0415

    points = move_points(frame_points(grid), grid.crs, target.crs)
    # A place too far away for the projection has no position there.
    if not np.isfinite(points).all():
        return shapely.Polygon()
    if not counts_degrees(target.crs):
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


@lru_cache(maxsize=64)
def _way(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


def _spread(grid: Grid) -> Points:
    """Points all over a grid, its frame among them."""
    columns, rows = (np.linspace(0, size, _POINTS) for size in (grid.width, grid.height))
    columns, rows = np.tile(columns, _POINTS), np.repeat(rows, _POINTS)
    a, b, c, d, e, f = grid.transform[:6]
    return np.column_stack([a * columns + b * rows + c, d * columns + e * rows + f])


def _box_of(points: Points) -> Box:
    if not np.isfinite(points).all():
        return -math.inf, -math.inf, math.inf, math.inf
    (west, south), (east, north) = points.min(axis=0), points.max(axis=0)
    return float(west), float(south), float(east), float(north)


def _valid(polygon: Any) -> Any:
    """The polygon, or an empty one where it crosses itself, as if torn apart over the ends of a map."""
    return polygon if polygon.is_valid else type(polygon)()
