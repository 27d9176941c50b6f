"""Rasters as they look on another grid, whatever their CRS, resolution and extent."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from glacierseg.errors import GridMismatchError, RequestError, did_you_mean
from glacierseg.raster.grid import Grid, name_of_crs
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.scene import Band

RESAMPLINGS = ("nearest", "bilinear", "cubic", "average", "mode")
# Largest error of a reprojected position, in pixels. GDAL's usual 0.125 depends on where a block begins.
_TOLERANCE_PX = 1e-6
# Below this ratio of pixel sizes the interpolation kernel is widened so that finer pixels are averaged.
_SAME_SIZE = 0.95


def read_grid(path: Path) -> Grid:
    """Reads the grid of a raster.

    Raises:
        RasterError: It cannot be read or has no CRS.
    """
    with open_raster(path) as dataset:
        return grid_of(dataset)


def bands_of(dataset: Any, path: Path) -> list[Band]:
    """Describes the bands of one open file; a band without a name is called by the file and its number."""
    return [
        Band(
            name=dataset.descriptions[index - 1]
            or (path.stem if dataset.count == 1 else f"{path.stem}_{index}"),
            path=path,
            index=index,
            dtype=dataset.dtypes[index - 1],
            nodata=dataset.nodatavals[index - 1],
        )
        for index in dataset.indexes
    ]


def require_resampling(name: str) -> None:
    """Checks that a resampling is one of `RESAMPLINGS`.

    Raises:
        RequestError: It is not.
    """
    if name not in RESAMPLINGS:
        raise RequestError(
            f"resampling {name!r} is unknown{did_you_mean(name, RESAMPLINGS)}; "
            f"choose one of {', '.join(RESAMPLINGS)}"
        )


def require_overlap(dataset: Any, grid: Grid, path: Path) -> None:
    """Checks that an open raster and a grid share ground.

    Raises:
        RasterError: The raster has no CRS.
        GridMismatchError: They share none.
    """
    own = grid_of(dataset)
    try:
        west, south, east, north = transform_bounds(own.crs, grid.crs, *own.bounds, densify_pts=21)
    except (RasterioError, ValueError):
        west = south = east = north = math.inf
    left, bottom, right, top = grid.bounds
    if not (west < right and east > left and south < top and north > bottom):
        raise GridMismatchError(
            f"{path}: lies elsewhere than the wanted grid ({name_of_crs(grid.crs)}, "
            f"{left:g} {bottom:g} {right:g} {top:g}); check that both are of the same place"
        )


@contextmanager
def on_grid(dataset: Any, grid: Grid, resampling: str, *, nodata: float | None = None) -> Iterator[Any]:
    """Gives an open raster as it looks on a grid, computed as it is read.

    The result does not depend on the blocks it is read in: positions are exact, and the width of the
    interpolation kernel is fixed by the ratio of pixel sizes (GDAL would guess it anew for every block).

    Args:
        dataset: An open rasterio dataset.
        grid: The wanted grid.
        resampling: One of `RESAMPLINGS`.
        nodata: Value of pixels without data, instead of the one that the dataset declares.

    Yields:
        The dataset itself when it lies on that grid, else a `WarpedVRT`. Where the source declares no nodata,
        a floating-point VRT has NaN and an integer one an alpha band behind its own bands.
    """
    if grid.difference(grid_of(dataset)) is None:
        yield dataset
        return
    x_scale, y_scale = _kernel_scales(grid_of(dataset), grid)
    options: dict[str, Any] = {"XSCALE": x_scale, "YSCALE": y_scale, "UNIFIED_SRC_NODATA": "NO"}
    declared = dataset.nodata if nodata is None else nodata
    if declared is not None:
        options |= {"src_nodata": declared, "nodata": declared}
    elif np.dtype(dataset.dtypes[0]).kind == "f":
        options |= {"src_nodata": math.nan, "nodata": math.nan}
    else:
        options["add_alpha"] = True
    with WarpedVRT(
        dataset,
        crs=grid.crs,
        transform=grid.transform,
        height=grid.height,
        width=grid.width,
        resampling=Resampling[resampling],
        tolerance=_TOLERANCE_PX,
        **options,
    ) as vrt:
        yield vrt


@contextmanager
def declaring(dataset: Any, nodata: float) -> Iterator[Any]:
    """Gives an open raster as one that declares a value of pixels without data, and is as it was otherwise.

    Args:
        dataset: An open rasterio dataset that declares none.
        nodata: That value, as stored.
    """
    with WarpedVRT(dataset, src_nodata=nodata, nodata=nodata) as vrt:
        yield vrt


def metric_grid(grid: Grid, pixel_size_m: float | None = None) -> Grid:
    """Returns the grid in the UTM zone of a grid's centre that covers the same ground.

    Args:
        grid: Any grid.
        pixel_size_m: Side of the square pixels; without it the side of a square of the same area, in whole
            metres where that is at least 5 m.

    Returns:
        A grid whose lines lie on multiples of the pixel size, so that neighbouring grids fit together.
    """
    crs = utm_crs(grid)
    size = pixel_size_m or math.sqrt(grid.pixel_area_km2 * 1e6)
    if pixel_size_m is None and size >= 5:
        size = float(round(size))
    west, south, east, north = transform_bounds(grid.crs, crs, *grid.bounds, densify_pts=21)
    first_column, first_row = math.floor(west / size), math.ceil(north / size)
    return Grid(
        crs,
        Affine(size, 0, first_column * size, 0, -size, first_row * size),
        height=first_row - math.floor(south / size),
        width=math.ceil(east / size) - first_column,
    )


def utm_crs(grid: Grid) -> CRS:
    """Returns the UTM zone (WGS 84) of a grid's centre."""
    west, south, east, north = transform_bounds(grid.crs, "EPSG:4326", *grid.bounds, densify_pts=21)
    zone = min(max(int(((west + east) / 2 + 180) // 6) + 1, 1), 60)
    return CRS.from_epsg((32600 if south + north >= 0 else 32700) + zone)


def _kernel_scales(source: Grid, target: Grid) -> tuple[float, float]:
    """Target pixels per source pixel along both axes, at most 1."""
    scales = [own / wanted for own, wanted in zip(source.pixel_size_m, target.pixel_size_m, strict=True)]
    x_scale, y_scale = (1.0 if scale > _SAME_SIZE else scale for scale in scales)
    return x_scale, y_scale
