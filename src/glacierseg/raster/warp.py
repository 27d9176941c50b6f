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
from rasterio.vrt import WarpedVRT

from glacierseg.errors import GridMismatchError, RasterError, RequestError, did_you_mean
from glacierseg.raster.bounds import boxes_in, crs_towards, may_meet, middle_of, move_points, utm_at
from glacierseg.raster.grid import Grid, name_of_crs
from glacierseg.raster.ground import sides_m
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
    if not may_meet(grid_of(dataset), grid):
        left, bottom, right, top = grid.bounds
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
        src_crs=crs_towards(grid_of(dataset), grid),
        crs=grid.crs,
        transform=grid.transform,
        height=grid.height,
        width=grid.width,
        resampling=Resampling[resampling],
        tolerance=_TOLERANCE_PX,
        **options,
    ) as vrt:
        yield vrt


def metric_grid(grid: Grid, pixel_size_m: float | None = None) -> Grid:
    """Returns the grid in the UTM zone of a grid's centre that covers the same ground.

    Args:
        grid: Any grid.
        pixel_size_m: Side of the square pixels; without it the side of a square of the same area, in whole
            metres where that is at least 5 m.

    Returns:
        A grid whose lines lie on multiples of the pixel size, so that neighbouring grids fit together.

    Raises:
        RasterError: The grid is too wide for one zone.
    """
    crs = utm_crs(grid)
    size = pixel_size_m or math.sqrt(grid.pixel_area_km2 * 1e6)
    if pixel_size_m is None and size >= 5:
        size = float(round(size))
    ((west, south, east, north),) = boxes_in(grid, crs)
    if not math.isfinite(west + south + east + north):
        raise RasterError(
            f"a grid in {name_of_crs(grid.crs)} is too wide for {name_of_crs(crs)}, the UTM zone of its "
            "middle; cut it into smaller scenes first"
        )
    first_column, first_row = math.floor(west / size), math.ceil(north / size)
    return Grid(
        crs,
        Affine(size, 0, first_column * size, 0, -size, first_row * size),
        height=first_row - math.floor(south / size),
        width=math.ceil(east / size) - first_column,
    )


def utm_crs(grid: Grid) -> CRS:
    """Returns the UTM zone (WGS 84) of a grid's centre, see `glacierseg.raster.bounds.utm_at`.

    Raises:
        RasterError: The centre has no place on Earth.
    """
    longitude, latitude = middle_of(grid)
    if not math.isfinite(longitude + latitude):
        raise RasterError(
            f"the middle of a grid has no place on Earth in {name_of_crs(grid.crs)}, so it has no UTM zone; "
            "check that its CRS is the right one, or cut it into smaller scenes"
        )
    return utm_at(longitude, latitude)


def _kernel_scales(source: Grid, target: Grid) -> tuple[float, float]:
    """Target pixels per source pixel along both axes, at most 1."""
    wanted_m = target.pixel_size_m
    # The source may reach over half the globe, so its pixels are measured where the target is.
    place = target.transform * (target.width / 2, target.height / 2)
    ((x, y),) = move_points(np.array([place]), target.crs, source.crs)
    own_m = sides_m(source.crs, source.transform, *(~source.transform * (x, y)))
    if not math.isfinite(sum(own_m)):
        own_m = source.pixel_size_m
    scales = [own / wanted for own, wanted in zip(own_m, wanted_m, strict=True)]
    x_scale, y_scale = (1.0 if scale > _SAME_SIZE else scale for scale in scales)
    return x_scale, y_scale
