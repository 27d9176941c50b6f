"""Terrain layers from an elevation model: slope, aspect, curvatures and ruggedness, by name.

Everything is computed from the eight neighbours of a pixel, in metres of the ground with x to the east and y
to the north, whichever way the rows and columns of the grid run (`glacierseg.raster.ground.pixel_axes`). A
pixel is NaN where one of the nine elevations is missing. The formulas take elevation in metres with one more
pixel on every side, `(H + 2, W + 2)`, and the axes of its pixels on the ground, and give `(H, W)`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import PixelAxes, pixel_axes

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
    "aspect": (0.0, 360.0),
    "unsphericity": None,
}
"""Names of the layers, with the least and greatest value that each can have."""

Array = NDArray[np.float64]
_STRIP_PX = 2**19


def terrain_of(
    elevation: NDArray[Any],
    grid: Grid,
    row: int,
    column: int,
    names: Sequence[str],
    *,
    true_north: bool = False,
) -> dict[str, NDArray[np.float32]]:
    """Computes terrain layers of a block of a grid, some rows at a time.

    Args:
        elevation: `(H + 2, W + 2)` metres, the block with one more pixel on every side; NaN where missing.
        grid: Where the block lies.
        row: First row of the block.
        column: First column.
        names: Which layers, of those in `TERRAIN`.
        true_north: Aspect counts from true north also where grid north is as good.

    Returns:
        `(H, W)` by name.

    Raises:
        RasterError: The grid's CRS is not tied to the Earth.
    """
    height, width = elevation.shape[0] - 2 * HALO_PX, elevation.shape[1] - 2 * HALO_PX
    layers = {name: np.empty((height, width), np.float32) for name in names}
    # Axes of single pixels are large beside the elevation.
    step = max(1, _STRIP_PX // max(width, 1))
    for first in range(0, height, step):
        rows = min(step, height - first)
        axes = pixel_axes(grid, row + first, column, rows, width, true_north=true_north)
        strip = terrain_layers(elevation[first : first + rows + 2 * HALO_PX], axes, names)
        for name, layer in strip.items():
            layers[name][first : first + rows] = layer
    return layers


def terrain_layers(
    elevation: NDArray[Any], axes: PixelAxes, names: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """Computes terrain layers of a block.

    Args:
        elevation: `(H + 2, W + 2)` metres, the block with one more pixel on every side; NaN where missing.
        axes: Of its pixels on the ground.
        names: Which layers, of those in `TERRAIN`.

    Returns:
        `(H, W)` by name.
    """
    # Kilometre-high values in float32 leave a third of a millimetre, which is much for a second difference.
    z = elevation.astype(np.float64)
    makers = {
        "elevation": lambda: z[1:-1, 1:-1],
        "slope": lambda: slope(z, axes),
        "aspect_sin": lambda: aspect(z, axes)[0],
        "aspect_cos": lambda: aspect(z, axes)[1],
        "curvature_profile": lambda: curvature(z, axes)[0],
        "curvature_tangential": lambda: curvature(z, axes)[1],
        "ruggedness": lambda: ruggedness(z),
        "aspect": lambda: aspect_degrees(z, axes),
        "unsphericity": lambda: unsphericity(z, axes),
    }
    return {name: makers[name]().astype(np.float32) for name in names}


def slope(z: Array, axes: PixelAxes) -> Array:
    """Slope in degrees, 0 flat to 90 vertical.

    arctan(sqrt(p^2 + q^2)) with the gradient (p, q) of the weighted 3 x 3 neighbourhood.
    Source: Horn (1981), Proceedings of the IEEE 69, 14-47.
    """
    return np.degrees(np.arctan(np.hypot(*_horn_gradient(z, axes))))


def aspect(z: Array, axes: PixelAxes) -> tuple[Array, Array]:
    """Sine and cosine of the direction in which the ground falls, clockwise from north.

    With them 359 and 1 degrees are neighbours: the sine is the eastward, the cosine the northward share.
    Both are 0 where the ground is level. Source of the gradient: Horn (1981).
    """
    p, q = _horn_gradient(z, axes)
    steepness = np.hypot(p, q)
    steepness[steepness == 0] = 1
    return -p / steepness, -q / steepness


def aspect_degrees(z: Array, axes: PixelAxes) -> Array:
    """Direction in which the ground falls in degrees clockwise from north, 0 up to 360.

    Level ground has no direction. It gets 0, so that lakes and filled sinks do not become holes in a scene.
    Source of the gradient: Horn (1981).
    """
    east, north = aspect(z, axes)
    # Adding 0 takes the sign off the zeros of level ground, which would show south.
    degrees = np.degrees(np.arctan2(east + 0.0, north + 0.0)).astype(np.float32)
    # Twice, as a hair less than 0 becomes 360 by rounding.
    return (degrees % 360 % 360).astype(np.float64)


def curvature(z: Array, axes: PixelAxes) -> tuple[Array, Array]:
    """Profile and tangential curvature in 1/m, positive where the ground bulges, negative where it is hollow.

    With p, q, r, s, t the derivatives z_x, z_y, z_xx, z_xy, z_yy of the quadratic surface through the 3 x 3
    neighbourhood (Zevenbergen and Thorne 1987, Earth Surface Processes and Landforms 12, 47-56), and
    g = p^2 + q^2:

    - profile, along the line of fall: -(p^2 r + 2 p q s + q^2 t) / (g (1 + g)^1.5)
    - tangential, across it: -(q^2 r - 2 p q s + p^2 t) / (g (1 + g)^0.5)

    Source: Mitasova and Hofierka (1993), Mathematical Geology 25, 657-669. Both are 0 where the ground is
    level, because there is no line of fall.
    """
    p, q, r, s, t = _derivatives(z, axes)
    g = p**2 + q**2
    along = p**2 * r + 2 * p * q * s + q**2 * t
    across = q**2 * r - 2 * p * q * s + p**2 * t
    divisor = np.where(g == 0, 1, g)
    return -along / (divisor * (1 + g) ** 1.5), -across / (divisor * np.sqrt(1 + g))


def unsphericity(z: Array, axes: PixelAxes) -> Array:
    """Half the difference of the largest and the least curvature of the ground in 1/m, 0 on a sphere.

    With the derivatives of `curvature`, it is sqrt(H^2 - K) of the mean and the Gaussian curvature:

    - H = -((1 + q^2) r - 2 p q s + (1 + p^2) t) / (2 (1 + p^2 + q^2)^1.5)
    - K = (r t - s^2) / (1 + p^2 + q^2)^2

    Source: Shary, Sharaya and Mitusov (2002), Geoderma 107, 1-32.
    """
    p, q, r, s, t = _derivatives(z, axes)
    rising = 1 + p**2 + q**2
    mean = -((1 + q**2) * r - 2 * p * q * s + (1 + p**2) * t) / (2 * rising**1.5)
    gaussian = (r * t - s**2) / rising**2
    return np.sqrt(np.maximum(mean**2 - gaussian, 0))


def ruggedness(z: Array) -> Array:
    """Terrain ruggedness index in metres: root of the summed squared differences to the eight neighbours.

    Source: Riley, DeGloria and Elliot (1999), Intermountain Journal of Sciences 5, 23-27.
    """
    neighbours = _neighbours(z)
    squares = np.zeros_like(neighbours[4])
    for neighbour in neighbours:
        squares += (neighbour - neighbours[4]) ** 2
    return np.sqrt(squares)


def _neighbours(z: Array) -> tuple[Array, ...]:
    """Nine views `(H, W)` of a padded block, row by row from its first one; the middle is the fifth."""
    rows, columns = z.shape[0] - 2, z.shape[1] - 2
    return tuple(z[i : i + rows, j : j + columns] for i in range(3) for j in range(3))


def _derivatives(z: Array, axes: PixelAxes) -> tuple[Array, Array, Array, Array, Array]:
    """z_x, z_y, z_xx, z_xy and z_yy of the quadratic surface through the 3 x 3 neighbourhood."""
    above_left, above, above_right, left, middle, right, below_left, below, below_right = _neighbours(z)
    column_east, row_east, column_north, row_north = _per_metre(axes)
    p, q = _gradient(axes, (right - left) / 2, (below - above) / 2)
    # The second derivatives by column and row turn as a quadratic form.
    by_column, by_row = right - 2 * middle + left, below - 2 * middle + above
    mixed = (below_right - below_left - above_right + above_left) / 4
    r = column_east**2 * by_column + 2 * column_east * row_east * mixed + row_east**2 * by_row
    t = column_north**2 * by_column + 2 * column_north * row_north * mixed + row_north**2 * by_row
    s = (
        column_east * column_north * by_column
        + (column_east * row_north + row_east * column_north) * mixed
        + row_east * row_north * by_row
    )
    return p, q, r, s, t


def _horn_gradient(z: Array, axes: PixelAxes) -> tuple[Array, Array]:
    """East and north components of the gradient."""
    above_left, above, above_right, left, middle, right, below_left, below, below_right = _neighbours(z)
    # Horn's weights leave the middle out; a pixel without elevation has no slope all the same.
    by_column = above_right + 2 * right + below_right - above_left - 2 * left - below_left + 0 * middle
    by_row = below_left + 2 * below + below_right - above_left - 2 * above - above_right
    return _gradient(axes, by_column / 8, by_row / 8)


def _gradient(axes: PixelAxes, by_column: Array, by_row: Array) -> tuple[Array, Array]:
    """East and north components of a gradient of which the changes by column and by row are known."""
    column_east, row_east, column_north, row_north = _per_metre(axes)
    return by_column * column_east + by_row * row_east, by_column * column_north + by_row * row_north


def _per_metre(axes: PixelAxes) -> tuple[Array | float, ...]:
    """Columns and rows for each metre to the east, then for each to the north."""
    area = axes.column_east_m * axes.row_north_m - axes.row_east_m * axes.column_north_m
    return (
        axes.row_north_m / area,
        -axes.column_north_m / area,
        -axes.row_east_m / area,
        axes.column_east_m / area,
    )
