"""What pixels measure on the ground: the one source of lengths, areas and directions, for every CRS.

A projected metre is a metre on the ground only where the projection is true to scale. In Web Mercator at 61
degrees it is 0.49 m; equal-area grids stretch one axis and shrink the other; degrees of longitude shrink
towards the pole. So positions are brought to the WGS 84 ellipsoid, and steps of one column and one row are
measured there, as vectors in space: nothing special happens at 180 degrees or at a pole.

Numbers that a grid states are kept where they are true within `NOMINAL`: 10 m in UTM stay exactly 10 m.
"""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import Geod, Transformer
from pyproj.exceptions import ProjError
from rasterio.crs import CRS
from rasterio.errors import CRSError

from glacierseg.errors import RasterError, RequestError

if TYPE_CHECKING:
    from glacierseg.raster.grid import Grid

NOMINAL = 0.002
"""A grid's own metres count where they differ by less from the ground: UTM in its zone by 0.1 % at most."""
TOLERANCE = 0.05
"""Largest relative error of lengths and areas when one pixel size stands for a whole grid."""
_NORTH_UP_DEG = 5.0
# Grid north of UTM and its like counts as north: it differs by 3 degrees at most from true north.
_ELLIPSOID = Geod(ellps="WGS84")
_NODES_M = 5000.0
_MOST_NODES = 200

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PixelAxes:
    """Metres to the east and to the north from one pixel to the next: numbers, `(H, 1)` or `(H, W)`.

    Attributes:
        column_east_m: From a column to the next one.
        column_north_m: The same.
        row_east_m: From a row to the next one.
        row_north_m: The same; negative where rows run southward.
    """

    column_east_m: Array | float
    column_north_m: Array | float
    row_east_m: Array | float
    row_north_m: Array | float


def name_of_crs(crs: CRS) -> str:
    """Returns a short name of a CRS: its EPSG code, else its own name."""
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else str(crs.to_dict().get("proj", crs.to_wkt()[:40]))


def degrees_of(crs: CRS, x: Any, y: Any) -> tuple[Array, Array]:
    """Returns WGS 84 longitudes and latitudes of positions; infinite where the CRS has no such place.

    Raises:
        RasterError: The CRS is not tied to the Earth.
    """
    longitudes, latitudes = _to_degrees(crs.to_wkt()).transform(x, y)
    return np.asarray(longitudes, float), np.asarray(latitudes, float)


@lru_cache(maxsize=64)
def counts_degrees(crs: CRS) -> bool:
    """Whether a CRS has the longitudes and latitudes that everybody uses, on whatever datum.

    Others that count angles have a turned pole, grads, or another meridian than that of Greenwich as 0.
    """
    if not crs.is_geographic:
        return False
    longitude, latitude = degrees_of(crs, 20.0, 50.0)
    return bool(abs(longitude - 20) < 0.1 and abs(latitude - 50) < 0.1)


def sides_m(crs: CRS, transform: Affine, column: float, row: float) -> tuple[float, float]:
    """Returns width and height on the ground of the pixel around a place.

    Where the two axes are not at right angles there, both sides are shortened alike, so that their product
    is the area of the pixel.

    Args:
        crs: Of the grid.
        transform: Of the grid.
        column: Column of the place, 0.5 in the middle of the first one.
        row: Row of the place.

    Returns:
        Metres; the grid's own where they are true within `NOMINAL`, NaN where the CRS has no such place.

    Raises:
        RasterError: The CRS is not tied to the Earth.
    """
    across, down, _ = _steps(crs, transform, np.array(column, float), np.array(row, float))
    width, height, area = _lengths(across, down)
    sides = [float(width), float(height)]
    covered = float(area)
    if not crs.is_geographic:
        *stated, stated_area = stated_m(crs, transform)
        if all(
            abs(found / said - 1) < most
            for found, said, most in zip(
                [*sides, covered], [*stated, stated_area], [NOMINAL, NOMINAL, 2 * NOMINAL], strict=True
            )
        ):
            sides, covered = stated, stated_area
    upright = covered / math.prod(sides)
    if upright < 1 - 1e-9:
        sides = [side * math.sqrt(upright) for side in sides]
    return sides[0], sides[1]


def stated_m(crs: CRS, transform: Affine) -> tuple[float, float, float]:
    """Returns width, height and area of a pixel in metres of a projected CRS, true on the ground or not."""
    a, b, _, d, e, _ = transform[:6]
    try:
        unit_m = float(crs.linear_units_factor[1])
    except CRSError as error:
        raise RasterError(
            f"the CRS {name_of_crs(crs)} is no map, so its pixels have no size on the ground; assign the "
            "right one, for example with `rio edit-info --crs EPSG:32643 FILE`"
        ) from error
    return math.hypot(a, d) * unit_m, math.hypot(b, e) * unit_m, abs(a * e - b * d) * unit_m**2


def unevenness(grid: "Grid") -> float:
    """Returns the largest relative error of a length or an area in a grid when all pixels have one size.

    The size is `Grid.pixel_size_m`, that in the middle. The error is NaN where a part of the grid has no
    place on Earth.

    Raises:
        RasterError: The middle of the grid has none.
    """
    width_m, height_m = grid.pixel_size_m
    across, down, _ = _steps(grid.crs, grid.transform, *_places(grid, 9))
    width, height, area = _lengths(across, down)
    # Squares of lengths are a quadratic form; its principal axes are the directions that are most wrong.
    xx, yy = (width / width_m) ** 2, (height / height_m) ** 2
    xy = (across * down).sum(axis=-1) / (width_m * height_m)
    half = np.hypot((xx - yy) / 2, xy)
    longest, shortest = np.sqrt((xx + yy) / 2 + half), np.sqrt(np.maximum((xx + yy) / 2 - half, 0))
    of_area = np.abs(area / (width_m * height_m) - 1)
    return float(np.max([longest - 1, 1 - shortest, of_area]))


def width_and_height_m(pixel_size_m: float | tuple[float, float]) -> tuple[float, float]:
    """Returns width and height of a pixel given both, or one number for a square pixel.

    Raises:
        RequestError: A side is not positive.
    """
    width_m, height_m = (float(side_m) for side_m in np.broadcast_to(pixel_size_m, 2))
    if not (width_m > 0 and height_m > 0):
        raise RequestError(f"a pixel must be larger than 0 m, not {width_m:g} x {height_m:g} m")
    return width_m, height_m


def even_pixel_m(grid: "Grid", name: str, files: Sequence[Any] | None = None) -> tuple[float, float]:
    """Returns width and height of a grid's pixels, when that is one size for all of them.

    It is the size in the middle. For callers that multiply numbers of pixels by one size.

    Args:
        grid: The grid.
        name: What to call it in an error: the file of a mask, or any name of a scene.
        files: Of the scene, for the cure; None for a mask, whose file is `name`.

    Raises:
        RasterError: A length or an area somewhere in the grid would be wrong by more than `TOLERANCE`.
    """
    size_m = grid.pixel_size_m
    if unevenness(grid) <= TOLERANCE:
        return size_m
    side = f"{math.sqrt(math.prod(size_m)):.3g}"
    paths = shlex.join(str(path) for path in ([name] if files is None else files))
    how = "--resampling nearest " if files is None else ""
    cure = "cut it into smaller scenes"
    if _fits_utm(grid):
        stack = f"glacierseg prepare stack {paths} --pixel-size-m {side} {how}--out UTM.tif"
        cure = f"bring it to UTM with `{stack}`, or {cure}"
    named = name_of_crs(grid.crs)
    width, height, area = _lengths(*_steps(grid.crs, grid.transform, *_places(grid, 9))[:2])
    if (area < (1 - 1e-3) * width * height).any() and np.ptp(area) <= TOLERANCE * np.max(area):
        raise RasterError(
            f"{name}: its pixels are slanted on the ground ({named}), so lengths in them are unclear; {cure}"
        )
    mean = np.sqrt(area[np.isfinite(area)])
    raise RasterError(
        f"{name}: its pixels are {mean.min():.4g} to {mean.max():.4g} m wide on the ground, by place "
        f"({named}); lengths and areas of one pixel size would be wrong by more than {100 * TOLERANCE:.0f} "
        f"%, so {cure}"
    )


def pixel_axes(
    grid: "Grid", row: int, column: int, height: int, width: int, *, true_north: bool = False
) -> PixelAxes:
    """Returns the axes of the pixels of a block of a grid; they do not depend on how blocks are cut.

    East and north are those of the grid's x and y where the whole grid is true to scale and its y runs within
    5 degrees of north, as in UTM; else those of the ground.

    Args:
        grid: The grid, in any orientation.
        row: First row of the block.
        column: First column.
        height: Rows.
        width: Columns.
        true_north: Always those of the ground.

    Raises:
        RasterError: The CRS is not tied to the Earth.
    """
    if not true_north and _is_plain(grid):
        a, b, _, d, e, _ = (part * float(grid.crs.linear_units_factor[1]) for part in grid.transform[:6])
        return PixelAxes(a, d, b, e)
    if counts_degrees(grid.crs) and not (grid.transform.b or grid.transform.d):
        # Along a parallel nothing changes, so that one pixel stands for a whole row.
        column, width = 0, 1
    nodes = [_nodes(grid, size) for size in grid.shape]
    rows, columns = (axis + np.zeros((len(nodes[0]), len(nodes[1]))) for axis in np.ix_(*nodes))
    vectors = np.stack(_steps(grid.crs, grid.transform, columns, rows))
    # Between the nodes vectors in space change smoothly, also over a pole, where directions do not.
    for axis, (begin, count) in enumerate(((row, height), (column, width))):
        places = np.arange(begin, begin + count, dtype=np.float64) + 0.5
        vectors = _between(vectors, nodes[axis], places, axis + 1)
    across, down, up = vectors
    east = np.stack([-up[..., 1], up[..., 0], np.zeros(up.shape[:-1])], axis=-1)
    away = np.linalg.norm(east, axis=-1, keepdims=True)
    # On a pole itself every direction serves.
    east = np.where(away > 0, east / np.where(away > 0, away, 1), [0.0, 1.0, 0.0])
    north = np.cross(up, east)
    north /= np.linalg.norm(north, axis=-1, keepdims=True)
    found = [(step * towards).sum(axis=-1) for step in (across, down) for towards in (east, north)]
    return PixelAxes(found[0], found[1], found[2], found[3])


def pixel_areas_km2(grid: "Grid") -> Array | float:
    """Returns the area of every pixel of a grid on the ground: one number, `(H, 1)` or `(H, W)`.

    Raises:
        RasterError: The CRS is not tied to the Earth.
    """
    axes = pixel_axes(grid, 0, 0, *grid.shape)
    found: Array | float = axes.column_east_m * axes.row_north_m - axes.column_north_m * axes.row_east_m
    return np.abs(found) / 1e6


def _fits_utm(grid: "Grid") -> bool:
    """Whether one size would serve all pixels of a grid in UTM over the same ground."""
    from glacierseg.raster.warp import metric_grid  # noqa: PLC0415  (it builds on this module)

    try:
        return unevenness(metric_grid(grid)) <= TOLERANCE
    except RasterError:
        return False


@lru_cache(maxsize=32)
def _to_degrees(wkt: str) -> Transformer:
    try:
        return Transformer.from_crs(wkt, "EPSG:4326", always_xy=True)
    except ProjError as error:
        raise RasterError(
            f"the CRS {wkt[:40]} is not tied to the Earth, so its pixels have no size on the ground; "
            "assign the right one, for example with `rio edit-info --crs EPSG:32643 FILE`"
        ) from error


def _steps(crs: CRS, transform: Affine, columns: Array, rows: Array) -> tuple[Array, Array, Array]:
    """Vectors in space `(..., 3)`: a step of one column, a step of one row, and the direction up."""
    west, east = (_in_space(crs, transform, columns + half, rows) for half in (-0.5, 0.5))
    top, bottom = (_in_space(crs, transform, columns, rows + half) for half in (-0.5, 0.5))
    middle = (west + east + top + bottom) / np.array([1.0, 1.0, 1 - _ELLIPSOID.es])
    with np.errstate(invalid="ignore"):
        return east - west, bottom - top, middle / np.linalg.norm(middle, axis=-1, keepdims=True)


def _in_space(crs: CRS, transform: Affine, columns: Array, rows: Array) -> Array:
    """Positions on the ellipsoid in metres from the middle of the Earth, `(..., 3)`; NaN where undefined."""
    a, b, c, d, e, f = transform[:6]
    longitudes, latitudes = degrees_of(crs, a * columns + b * rows + c, d * columns + e * rows + f)
    there = np.isfinite(longitudes) & np.isfinite(latitudes)
    longitudes, latitudes = (np.radians(np.where(there, axis, np.nan)) for axis in (longitudes, latitudes))
    sine, cosine = np.sin(latitudes), np.cos(latitudes)
    radius = _ELLIPSOID.a / np.sqrt(1 - _ELLIPSOID.es * sine**2)
    return np.stack(
        [
            radius * cosine * np.cos(longitudes),
            radius * cosine * np.sin(longitudes),
            radius * (1 - _ELLIPSOID.es) * sine,
        ],
        axis=-1,
    )


def _lengths(across: Array, down: Array) -> tuple[Array, Array, Array]:
    """Width, height and area of pixels from their steps."""
    area = np.linalg.norm(np.cross(across, down), axis=-1)
    return np.linalg.norm(across, axis=-1), np.linalg.norm(down, axis=-1), area


def _places(grid: "Grid", count: int) -> tuple[Array, Array]:
    """Columns and rows of pixels spread over a grid, its corners among them."""
    rows, columns = (np.linspace(0.5, size - 0.5, count) for size in grid.shape)
    return np.tile(columns, count), np.repeat(rows, count)


@lru_cache(maxsize=8)
def _is_plain(grid: "Grid") -> bool:
    """Whether a grid's own metres and its own north serve everywhere in it."""
    if grid.is_geographic:
        return False
    columns, rows = _places(grid, 3)
    across, down, up = _steps(grid.crs, grid.transform, columns, rows)
    found, stated = _lengths(across, down), stated_m(grid.crs, grid.transform)
    true = np.all(
        [
            np.abs(one / said - 1) < most
            for one, said, most in zip(found, stated, (NOMINAL, NOMINAL, 2 * NOMINAL), strict=True)
        ],
        axis=0,
    )
    # A step along the CRS's y, whose direction is compared with that of the pole.
    a, b, _, d, e, _ = grid.transform[:6]
    y = (across * -b + down * a) / (a * e - b * d)
    pole = np.array([0.0, 0.0, 1.0]) - up * up[:, 2:]
    turned = (y * pole).sum(axis=-1) / (np.linalg.norm(y, axis=-1) * np.linalg.norm(pole, axis=-1))
    return bool((true & (turned > math.cos(math.radians(_NORTH_UP_DEG)))).all())


def _nodes(grid: "Grid", size: int) -> Array:
    """Rows or columns between which the axes of pixels are interpolated: a few kilometres apart."""
    side = max(min(grid.pixel_size_m), 1e-6)
    return np.linspace(0.5, size - 0.5, min(max(math.ceil(size * side / _NODES_M), 1), _MOST_NODES) + 1)


def _between(values: Array, nodes: Array, places: Array, axis: int) -> Array:
    """Interpolates linearly along an axis."""
    if len(nodes) == 1 or nodes[0] == nodes[-1]:
        before, share = np.zeros(len(places), int), np.zeros(len(places))
        after = before
    else:
        before = np.clip(np.searchsorted(nodes, places, side="right") - 1, 0, len(nodes) - 2)
        after = before + 1
        share = (places - nodes[before]) / (nodes[after] - nodes[before])
    weight = share.reshape([-1 if number == axis else 1 for number in range(values.ndim)])
    return np.take(values, before, axis) * (1 - weight) + np.take(values, after, axis) * weight
