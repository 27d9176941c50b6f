"""Rasters on the grid of another one."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from glacierseg.choices import Resampling, require_choice
from glacierseg.errors import RequestError
from glacierseg.log import Progress
from glacierseg.raster.blocks import LayerReader, copy_bands, iterate_blocks, open_writer
from glacierseg.raster.environment import bounded_gdal
from glacierseg.raster.facts import facts_of
from glacierseg.raster.grid import Grid
from glacierseg.raster.open import open_raster
from glacierseg.raster.outputs import TIFF, writes
from glacierseg.raster.truth import BACKGROUND, GLACIER, IGNORE, open_mask, plain_mask
from glacierseg.raster.values import Band, bands_of
from glacierseg.raster.warp import (
    CLASS_RESAMPLINGS,
    holds_classes,
    on_grid,
    read_grid,
    require_overlap,
)


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
    ignore, where the source does not reach, by the rules of `glacierseg.raster.truth`. A raster of classes
    (see `glacierseg.raster.warp.holds_classes`) takes its nearest pixel too. Other rasters keep their data
    type, band names, nodata value, scale, offset and unit. Where they declare no nodata, floating-point
    results use NaN, and integers an internal mask, because every integer may be a measurement.

    Args:
        source: The raster to bring.
        like: A raster on the wanted grid.
        out: The GeoTIFF to write.
        resampling: ``nearest``, ``bilinear``, ``cubic``, ``average`` or ``mode``; without it ``nearest`` for
            masks and classes, ``bilinear`` for data.
        compress: Deflate, else uncompressed.
        progress: Called with the share done, 0-1.

    Returns:
        The path of the result.

    Raises:
        RasterError: A file cannot be read or has no CRS.
        GridMismatchError: The two do not overlap.
        RequestError: The resampling is unknown, or would invent values in a mask or between classes.
        TruthError: The source is a mask whose glacier is another value than 1.
        OutputError: The result cannot be written.
    """
    if resampling is not None:
        require_choice("resampling", resampling, get_args(Resampling))
    source, out = Path(source), Path(out)
    grid = read_grid(Path(like))
    with bounded_gdal(), open_raster(source) as dataset:
        require_overlap(dataset, grid, source)
        mask = is_mask(dataset, source)
        if mask or holds_classes(dataset, source):
            if resampling not in {None, *CLASS_RESAMPLINGS}:
                what = "is a mask" if mask else "holds classes"
                raise RequestError(f"{source}: {what}, and {resampling} would mix them; use nearest or mode")
            resampling = resampling or "nearest"
        if mask:
            _align_mask(source, grid, out, resampling or "nearest", compress=compress, progress=progress)
            return out
        bands = [
            replace(band, name=dataset.descriptions[band.index - 1] or f"band_{number}")
            for number, band in enumerate(bands_of(dataset, source), start=1)
        ]
        with on_grid(dataset, grid, resampling or "bilinear") as aligned:
            copy_bands(bands, {source: aligned}, grid, out, compress=compress, progress=progress)
    return out


def is_mask(dataset: Any, path: Path) -> bool:
    """Whether an open raster is one band of 0, 1, 255 and pixels without data only."""
    bands = bands_of(dataset, path)
    if len(bands) != 1:
        return False
    reader = LayerReader(bands, {path: dataset})
    has_class = False
    for block in iterate_blocks((dataset.height, dataset.width)):
        values, valid = reader.read(block)
        # Of a mask that declares 0 or 1 to be nodata that value counts too; elsewhere nodata says nothing.
        if not np.isin(values[valid], (BACKGROUND, GLACIER, IGNORE)).all():
            return False
        has_class |= bool(valid.any())
    return has_class


def _align_mask(
    source: Path, grid: Grid, out: Path, resampling: str, *, compress: bool, progress: Progress | None
) -> None:
    with open_mask(source) as mask:
        name = mask.name
    with (
        plain_mask(source) as dataset,
        on_grid(dataset, grid, resampling) as aligned,
        open_writer(
            out, grid, [name], "uint8", IGNORE, compress=compress, tags=facts_of(source).tags
        ) as writer,
    ):
        reader = LayerReader([Band("mask", source, 1, "uint8", IGNORE)], {source: aligned})
        for block in iterate_blocks(grid.shape, progress):
            writer.write(block, *reader.read(block))
