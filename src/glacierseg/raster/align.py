"""Bringing rasters onto a grid: any CRS, resolution and extent."""

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
from rasterio.warp import calculate_default_transform, transform_bounds

from glacierseg.errors import GridMismatchError, RequestError, did_you_mean
from glacierseg.raster.blocks import (
    LayerReader,
    Progress,
    bounded_gdal,
    iterate_blocks,
    open_writer,
)
from glacierseg.raster.grid import Grid, name_of_crs
from glacierseg.raster.scene import Band, grid_of, open_raster
from glacierseg.raster.truth import IGNORE

RESAMPLINGS = ("nearest", "bilinear", "cubic", "average", "mode")
# Largest error of a reprojected position, in pixels. GDAL's usual 0.125 depends on where a block begins.
_TOLERANCE_PX = 1e-6
# Below this ratio of pixel sizes the interpolation kernel is widened so that finer pixels are averaged.
_SAME_SIZE = 0.95


def align_raster(
    source: Path,
    like: Path,
    out: Path,
    *,
    resampling: str | None = None,
    compress: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Brings a raster onto the grid of another one.

    A mask (one integer band that holds only 0, 1 and 255 or its nodata) takes its nearest pixel and is 255,
    ignore, where the source does not reach; a nodata value of 0 that it declares is taken for background.
    Other rasters keep their data type, band names and nodata value. Where they declare none, floating-point
    results use NaN, and integers an internal mask, because every integer may be a measurement.

    Args:
        source: The raster to bring.
        like: A raster on the wanted grid.
        out: The GeoTIFF to write.
        resampling: ``nearest``, ``bilinear``, ``cubic``, ``average`` or ``mode``; without it ``nearest`` for
            a mask and ``bilinear`` for data.
        compress: Deflate, else uncompressed.
        progress: Told the share done.

    Returns:
        The path of the result.

    Raises:
        RasterError: A file cannot be read or has no CRS.
        GridMismatchError: The two do not overlap.
        RequestError: The resampling is unknown, or would invent values in a mask.
        OutputError: The result cannot be written.
    """
    if resampling is not None and resampling not in RESAMPLINGS:
        raise RequestError(
            f"resampling {resampling!r} is unknown{did_you_mean(resampling, RESAMPLINGS)}; "
            f"choose one of {', '.join(RESAMPLINGS)}"
        )
    grid = read_grid(like)
    with bounded_gdal(), open_raster(source) as dataset:
        require_overlap(dataset, grid, source)
        if is_mask(dataset, source):
            if resampling not in {None, "nearest", "mode"}:
                raise RequestError(f"{source}: is a mask; {resampling} would mix its classes, use nearest")
            _align_mask(
                dataset,
                source,
                grid,
                out,
                resampling=resampling or "nearest",
                compress=compress,
                progress=progress,
            )
        else:
            _align_data(
                dataset,
                source,
                grid,
                out,
                resampling=resampling or "bilinear",
                compress=compress,
                progress=progress,
            )
    return out


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


def is_mask(dataset: Any, path: Path) -> bool:
    """Whether an open raster is one integer band of 0, 1, 255 and its nodata value only."""
    if dataset.count != 1 or np.dtype(dataset.dtypes[0]).kind not in "iu":
        return False
    allowed = [0, 1, IGNORE] if dataset.nodata is None else [0, 1, IGNORE, dataset.nodata]
    reader = LayerReader(bands_of(dataset, path), {path: dataset})
    return all(
        np.isin(reader.read(block)[0], allowed).all()
        for block in iterate_blocks((dataset.height, dataset.width))
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
def on_grid(dataset: Any, grid: Grid, resampling: str) -> Iterator[Any]:
    """Gives an open raster as it looks on a grid, computed as it is read.

    The result does not depend on the blocks it is read in: positions are exact, and the width of the
    interpolation kernel is fixed by the ratio of pixel sizes (GDAL would guess it anew for every block).

    Args:
        dataset: An open rasterio dataset.
        grid: The wanted grid.
        resampling: One of `RESAMPLINGS`.

    Yields:
        The dataset itself when it lies on that grid, else a `WarpedVRT`. Where the source declares no nodata,
        a floating-point VRT has NaN and an integer one an alpha band behind its own bands.
    """
    if grid.difference(grid_of(dataset)) is None:
        yield dataset
        return
    x_scale, y_scale = _kernel_scales(grid_of(dataset), grid)
    options: dict[str, Any] = {"XSCALE": x_scale, "YSCALE": y_scale, "UNIFIED_SRC_NODATA": "NO"}
    if dataset.nodata is not None:
        options |= {"src_nodata": dataset.nodata, "nodata": dataset.nodata}
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
    transform, width, height = calculate_default_transform(
        grid.crs, crs, grid.width, grid.height, *grid.bounds, resolution=size
    )
    left, top = transform.c, transform.f
    right, bottom = left + width * size, top - height * size
    first_column, first_row = math.floor(left / size), math.ceil(top / size)
    return Grid(
        crs,
        Affine(size, 0, first_column * size, 0, -size, first_row * size),
        height=first_row - math.floor(bottom / size),
        width=math.ceil(right / size) - first_column,
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


def _align_mask(
    dataset: Any,
    source: Path,
    grid: Grid,
    out: Path,
    *,
    resampling: str,
    compress: bool,
    progress: Progress | None,
) -> None:
    nodata = dataset.nodata
    x_scale, y_scale = _kernel_scales(grid_of(dataset), grid)
    with (
        WarpedVRT(
            dataset,
            crs=grid.crs,
            transform=grid.transform,
            height=grid.height,
            width=grid.width,
            resampling=Resampling[resampling],
            tolerance=_TOLERANCE_PX,
            src_nodata=IGNORE,
            nodata=IGNORE,
            XSCALE=x_scale,
            YSCALE=y_scale,
        ) as vrt,
        open_writer(
            out, grid, [dataset.descriptions[0] or "mask"], "uint8", IGNORE, compress=compress
        ) as writer,
    ):
        reader = LayerReader([Band("mask", source, 1, dataset.dtypes[0], None)], {source: vrt})
        for block in iterate_blocks(grid.shape, progress):
            values, valid = reader.read(block)
            if nodata not in {None, 0}:
                valid &= values != nodata
            writer.write(block, values.astype(np.uint8), valid)


def _align_data(
    dataset: Any,
    source: Path,
    grid: Grid,
    out: Path,
    *,
    resampling: str,
    compress: bool,
    progress: Progress | None,
) -> None:
    bands = bands_of(dataset, source)
    names = [name or f"band_{i}" for i, name in enumerate(dataset.descriptions, start=1)]
    with on_grid(dataset, grid, resampling) as aligned:
        reader = LayerReader(bands, {source: aligned})
        nodata = math.nan if aligned.nodata is None and reader.dtype.kind == "f" else aligned.nodata
        with open_writer(
            out,
            grid,
            names,
            str(reader.dtype),
            nodata,
            compress=compress,
            masked=nodata is None and reader.has_masks,
        ) as writer:
            for block in iterate_blocks(grid.shape, progress):
                writer.write(block, *reader.read(block))


__all__ = [
    "RESAMPLINGS",
    "align_raster",
    "bands_of",
    "is_mask",
    "metric_grid",
    "on_grid",
    "read_grid",
    "require_overlap",
    "utm_crs",
]
