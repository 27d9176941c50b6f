"""Terrain layers from an elevation model: slope, aspect, curvature and ruggedness, by name.

Everything is computed from the eight neighbours of a pixel, in metres, with x to the east and y to the north
of the grid. A pixel is NaN where one of the nine elevations is missing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Geod

from glacierseg.errors import RasterError
from glacierseg.raster.grid import Grid

HALO_PX = 1
"""How far a layer looks beyond its pixel."""

TERRAIN: Mapping[str, tuple[float, float] | None] = {
    "elevation": None,
    "slope": (0.0, 90.0),
    "aspect_sin": (-1.0, 1.0),
    "aspect_cos": (-1.0, 1.0),
    "curvature_profile": None,
    "curvature_tangential": None,
    "ruggedness": None,
}
"""Names of the layers, with the least and greatest value that each can have."""

Array = NDArray[np.float64]


def pixel_sizes_m(grid: Grid, first_row: int, rows: int) -> tuple[Array, Array]:
    """Returns widths and heights of the pixels of some rows.

    On a geographic grid they follow the WGS 84 ellipsoid at the middle of each row; a degree of longitude
    shrinks towards the pole. On a projected grid they are constant.

    Args:
        grid: A grid whose rows run from west to east and whose columns from north to south.
        first_row: May lie beyond the grid.
        rows: How many.

    Returns:
        Two `(rows, 1)` arrays.

    Raises:
        RasterError: The grid is rotated or upside down, so that rows and columns have no such directions.
    """
    a, b, _, d, e, f = grid.transform[:6]
    if b or d or a <= 0 or e >= 0:
        raise RasterError(
            "terrain needs a grid with north at its top, and this one is rotated or flipped; "
            "align the scene to a north-up grid first"
        )
    if not grid.is_geographic:
        width_m, height_m = grid.pixel_size_m
        return np.full((rows, 1), width_m), np.full((rows, 1), height_m)
    ellipsoid = Geod(ellps="WGS84")
    latitude = np.radians(f + e * (first_row + np.arange(rows) + 0.5))[:, None]
    bend = 1 - ellipsoid.es * np.sin(latitude) ** 2
    east_m_per_radian = ellipsoid.a / np.sqrt(bend) * np.cos(latitude)
    north_m_per_radian = ellipsoid.a * (1 - ellipsoid.es) / bend**1.5
    return np.radians(a) * east_m_per_radian, np.radians(-e) * north_m_per_radian


def terrain_layers(
    elevation: NDArray[Any], width_m: Array | float, height_m: Array | float, names: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """Computes terrain layers of a block.

    Args:
        elevation: `(H + 2, W + 2)` metres, the block with one more pixel on every side; NaN where missing.
        width_m: Width of a pixel, or `(H, 1)` of each row.
        height_m: Height of a pixel, or `(H, 1)` of each row.
        names: Which layers, of those in `TERRAIN`.

    Returns:
        `(H, W)` by name.
    """
    # Kilometre-high values in float32 leave a third of a millimetre, which is much for a second difference.
    z = elevation.astype(np.float64)
    makers = {
        "elevation": lambda: z[1:-1, 1:-1],
        "slope": lambda: slope(z, width_m, height_m),
        "aspect_sin": lambda: aspect(z, width_m, height_m)[0],
        "aspect_cos": lambda: aspect(z, width_m, height_m)[1],
        "curvature_profile": lambda: curvature(z, width_m, height_m)[0],
        "curvature_tangential": lambda: curvature(z, width_m, height_m)[1],
        "ruggedness": lambda: ruggedness(z),
    }
    return {name: makers[name]().astype(np.float32) for name in names}


def slope(z: Array, width_m: Array | float, height_m: Array | float) -> Array:
    """Slope in degrees, 0 flat to 90 vertical.

    arctan(sqrt(p^2 + q^2)) with the gradient (p, q) of the weighted 3 x 3 neighbourhood.
    Source: Horn (1981), Proceedings of the IEEE 69, 14-47.

    Args:
        z: `(H + 2, W + 2)` elevation in metres.
        width_m: Width of a pixel, or `(H, 1)`.
        height_m: Height of a pixel, or `(H, 1)`.

    Returns:
        `(H, W)`.
    """
    return np.degrees(np.arctan(np.hypot(*_horn_gradient(z, width_m, height_m))))


def aspect(z: Array, width_m: Array | float, height_m: Array | float) -> tuple[Array, Array]:
    """Sine and cosine of the direction in which the ground falls, clockwise from grid north.

    With them 359 and 1 degrees are neighbours: the sine is the eastward, the cosine the northward share.
    Both are 0 where the ground is level. Source of the gradient: Horn (1981).

    Args:
        z: `(H + 2, W + 2)` elevation in metres.
        width_m: Width of a pixel, or `(H, 1)`.
        height_m: Height of a pixel, or `(H, 1)`.

    Returns:
        Two arrays `(H, W)`.
    """
    p, q = _horn_gradient(z, width_m, height_m)
    steepness = np.hypot(p, q)
    steepness[steepness == 0] = 1
    return -p / steepness, -q / steepness


def curvature(z: Array, width_m: Array | float, height_m: Array | float) -> tuple[Array, Array]:
    """Profile and tangential curvature in 1/m, positive where the ground bulges, negative where it is hollow.

    With p, q, r, s, t the derivatives z_x, z_y, z_xx, z_xy, z_yy of the quadratic surface through the 3 x 3
    neighbourhood (Zevenbergen and Thorne 1987, Earth Surface Processes and Landforms 12, 47-56), and
    g = p^2 + q^2:

    - profile, along the line of fall: -(p^2 r + 2 p q s + q^2 t) / (g (1 + g)^1.5)
    - tangential, across it: -(q^2 r - 2 p q s + p^2 t) / (g (1 + g)^0.5)

    Source: Mitasova and Hofierka (1993), Mathematical Geology 25, 657-669. Both are 0 where the ground is
    level, because there is no line of fall.

    Args:
        z: `(H + 2, W + 2)` elevation in metres.
        width_m: Width of a pixel, or `(H, 1)`.
        height_m: Height of a pixel, or `(H, 1)`.

    Returns:
        Two arrays `(H, W)`.
    """
    northwest, north, northeast, west, middle, east, southwest, south, southeast = _neighbours(z)
    p = (east - west) / (2 * width_m)
    q = (north - south) / (2 * height_m)
    r = (east - 2 * middle + west) / width_m**2
    t = (north - 2 * middle + south) / height_m**2
    s = (northeast - northwest - southeast + southwest) / (4 * width_m * height_m)
    g = p**2 + q**2
    along = p**2 * r + 2 * p * q * s + q**2 * t
    across = q**2 * r - 2 * p * q * s + p**2 * t
    divisor = np.where(g == 0, 1, g)
    return -along / (divisor * (1 + g) ** 1.5), -across / (divisor * np.sqrt(1 + g))


def ruggedness(z: Array) -> Array:
    """Terrain ruggedness index in metres: root of the summed squared differences to the eight neighbours.

    Source: Riley, DeGloria and Elliot (1999), Intermountain Journal of Sciences 5, 23-27.

    Args:
        z: `(H + 2, W + 2)` elevation in metres.

    Returns:
        `(H, W)`.
    """
    neighbours = _neighbours(z)
    squares = np.zeros_like(neighbours[4])
    for neighbour in neighbours:
        squares += (neighbour - neighbours[4]) ** 2
    return np.sqrt(squares)


def _neighbours(z: Array) -> tuple[Array, ...]:
    """Nine views `(H, W)` of a padded block, from north-west to south-east; the middle is the fifth."""
    rows, columns = z.shape[0] - 2, z.shape[1] - 2
    return tuple(z[i : i + rows, j : j + columns] for i in range(3) for j in range(3))


def _horn_gradient(z: Array, width_m: Array | float, height_m: Array | float) -> tuple[Array, Array]:
    """East and north components of the gradient."""
    northwest, north, northeast, west, middle, east, southwest, south, southeast = _neighbours(z)
    # Horn's weights leave the middle out; a pixel without elevation has no slope all the same.
    p = (northeast + 2 * east + southeast - northwest - 2 * west - southwest + 0 * middle) / (8 * width_m)
    q = (northwest + 2 * north + northeast - southwest - 2 * south - southeast) / (8 * height_m)
    return p, q
