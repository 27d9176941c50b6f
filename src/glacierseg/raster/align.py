"""Bringing rasters onto the grid of a scene."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from glacierseg.errors import RequestError
from glacierseg.raster.blocks import LayerReader, Progress, iterate_blocks, open_writer
from glacierseg.raster.environment import bounded_gdal
from glacierseg.raster.grid import Grid
from glacierseg.raster.open import open_raster
from glacierseg.raster.outputs import TIFF, writes
from glacierseg.raster.scene import Band
from glacierseg.raster.truth import BACKGROUND, GLACIER, IGNORE
from glacierseg.raster.warp import bands_of, on_grid, read_grid, require_overlap, require_resampling


@writes(out=TIFF)
def align_raster(
    source: Path | str,
    like: Path | str,
    out: Path | str,
    *,
    resampling: str | None = None,
    compress: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Brings a raster onto the grid of another one.

    A mask (one band that holds only 0, 1, 255 and pixels without data) takes its nearest pixel and is 255,
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
    if resampling is not None:
        require_resampling(resampling)
    source, out = Path(source), Path(out)
    grid = read_grid(Path(like))
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


def is_mask(dataset: Any, path: Path) -> bool:
    """Whether an open raster is one band of 0, 1, 255 and pixels without data only."""
    if dataset.count != 1:
        return False
    reader = LayerReader(bands_of(dataset, path), {path: dataset})
    has_class = False
    for block in iterate_blocks((dataset.height, dataset.width)):
        values, valid = reader.read(block)
        if not np.isin(values[valid], (BACKGROUND, GLACIER, IGNORE)).all():
            return False
        has_class |= bool(valid.any())
    return has_class


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
    declared = dataset.nodata
    name = dataset.descriptions[0] or "mask"
    with (
        on_grid(dataset, grid, resampling, nodata=IGNORE) as aligned,
        open_writer(out, grid, [name], "uint8", IGNORE, compress=compress) as writer,
    ):
        reader = LayerReader([Band("mask", source, 1, dataset.dtypes[0], None)], {source: aligned})
        for block in iterate_blocks(grid.shape, progress):
            values, valid = reader.read(block)
            if declared not in {None, 0}:
                valid &= values != declared
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
