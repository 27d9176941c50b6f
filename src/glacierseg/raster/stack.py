"""Several rasters of any CRS, resolution and extent as one named multi-band GeoTIFF."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import BandError, RequestError
from glacierseg.raster.blocks import (
    Block,
    LayerReader,
    Progress,
    common_storage,
    iterate_blocks,
    open_writer,
)
from glacierseg.raster.elevation import open_terrain
from glacierseg.raster.environment import bounded_gdal
from glacierseg.raster.grid import Grid
from glacierseg.raster.indices import INDICES
from glacierseg.raster.open import open_raster
from glacierseg.raster.outputs import TIFF, writes
from glacierseg.raster.recipes import find_inputs, parse_recipe, sensor_of_recipe
from glacierseg.raster.terrain import TERRAIN
from glacierseg.raster.values import Band, as_stored, bands_of
from glacierseg.raster.warp import (
    holds_classes,
    metric_grid,
    on_grid,
    read_grid,
    require_overlap,
    require_resampling,
)


@writes(out=TIFF)
def stack_rasters(
    files: Path | str | Sequence[Path | str],
    out: Path | str,
    *,
    recipe: str | Sequence[str] | None = None,
    dem: Path | str | None = None,
    like: Path | str | None = None,
    sensor: str | None = None,
    names: Sequence[str] | None = None,
    pixel_size_m: float | None = None,
    resampling: str = "bilinear",
    scale: float = 1.0,
    offset: float = 0.0,
    compress: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Stacks rasters on one grid, and makes spectral indices and terrain from them.

    Without a recipe every input band is kept under its name, followed by elevation and all terrain layers if
    an elevation model is given. Integers stay integers where no pixel has to be marked as missing by a value
    that the inputs do not declare; otherwise, and with a recipe, the result is floating-point with NaN where
    a band has no data. A pixel that lacks elevation keeps its spectral bands.

    Args:
        files: The rasters, in band order.
        out: The GeoTIFF to write.
        recipe: A key of `RECIPES`, or names of bands, indices and terrain layers, as a sequence or separated
            by commas.
        dem: Elevation in metres, any CRS and resolution; its first band is used.
        like: A raster on the wanted grid; without it the first file's, and where that is in degrees, a grid
            of square pixels in its UTM zone.
        sensor: A key of `SENSORS`, where bands are named by number only (`B2`).
        names: Names of all input bands, instead of those in the files.
        pixel_size_m: Side of the pixels of a grid in the UTM zone of the first file, which is made also where
            that file is not in degrees.
        resampling: How values between pixels are found.
        scale: Spectral bands of a recipe are multiplied by this first, ...
        offset: ... and this is added, so that indices are made from reflectance.
        compress: Deflate, else uncompressed.
        progress: Told the share done.

    Returns:
        The path of the result.

    Raises:
        RasterError: A file cannot be read.
        GridMismatchError: A file lies elsewhere.
        BandError: A band that the recipe needs is missing, or a name stands twice.
        RequestError: The recipe, the sensor or the resampling is unknown, the grid is asked for in two ways,
            the pixel size is not positive, there is no file, or a scale without a recipe.
        OutputError: The result cannot be written.
    """
    sources = [Path(files)] if isinstance(files, Path | str) else [Path(path) for path in files]
    if not sources:
        raise RequestError("a stack needs at least one file")
    require_resampling(resampling)
    if recipe is None and (scale, offset) != (1.0, 0.0):
        raise RequestError(
            f"{out}: scale and offset are for the spectral bands of a recipe, and none is given; name the "
            "bands in one (--recipe B2,B3), or leave them out"
        )
    out = Path(out)
    bands = _input_bands(sources, names)
    available = [band.name for band in bands]
    if recipe is None:
        wanted = (*available, *(TERRAIN if dem else ()))
        inputs = {name: name for name in available}
    else:
        wanted = parse_recipe(recipe)
        sensor = sensor_of_recipe(recipe, sensor)
        inputs = find_inputs(wanted, available, sensor=sensor, source=str(sources[0]))
    made = [name for name in wanted if name in TERRAIN and name not in inputs]
    if made and dem is None:
        raise RequestError(f"{out}: {made[0]} needs an elevation model; give one with --dem")
    grid = _target_grid(sources[0], None if like is None else Path(like), pixel_size_m)
    with bounded_gdal(), ExitStack() as stack:
        used = [band for band in bands if band.name in inputs.values()]
        plain = recipe is None and not made
        reader = _open_inputs(stack, used, grid, resampling, stored=plain) if used else None
        terrain = stack.enter_context(open_terrain(Path(dem), grid)) if dem and made else None
        if plain and reader is not None:
            dtype, nodata = common_storage(reader)
            masked = nodata is None and reader.has_masks
            writer = stack.enter_context(
                open_writer(out, grid, wanted, dtype, nodata, compress=compress, masked=masked, meaning=used)
            )
            for block in iterate_blocks(grid.shape, progress):
                values, valid = reader.read(block)
                writer.write(block, values.astype(dtype, copy=False), valid)
            return out
        writer = stack.enter_context(open_writer(out, grid, wanted, "float32", np.nan, compress=compress))
        for block in iterate_blocks(grid.shape, progress):
            layers = _read_inputs(reader, block, inputs, scale, offset) if reader else {}
            if terrain:
                layers |= terrain.read(block, made)
            values = np.stack([_make(name, layers) for name in wanted])
            writer.write(block, values, np.isfinite(values))
    return out


def _input_bands(files: Sequence[Path], names: Sequence[str] | None) -> list[Band]:
    bands: list[Band] = []
    for path in files:
        with open_raster(path) as dataset:
            bands += bands_of(dataset, path)
    if names is not None:
        if len(names) != len(bands):
            raise BandError(
                f"{files[0]}: the inputs have {len(bands)} bands, but {len(names)} names are given"
            )
        bands = [replace(band, name=name) for band, name in zip(bands, names, strict=True)]
    found = [band.name for band in bands]
    if doubled := sorted({name for name in found if found.count(name) > 1}):
        raise BandError(
            f"{files[0]}: input band {doubled[0]!r} is there twice; give all bands names (--names)"
        )
    return bands


def _target_grid(first: Path, like: Path | None, pixel_size_m: float | None) -> Grid:
    if pixel_size_m is not None and not pixel_size_m > 0:
        raise RequestError(f"a pixel cannot be {pixel_size_m:g} m wide; give a positive number")
    if like is not None:
        if pixel_size_m is not None:
            raise RequestError(f"{like} gives the grid and with it the pixel size; leave one of the two out")
        return read_grid(like)
    grid = read_grid(first)
    return metric_grid(grid, pixel_size_m) if grid.is_geographic or pixel_size_m else grid


def _open_inputs(
    stack: ExitStack, bands: Sequence[Band], grid: Grid, resampling: str, *, stored: bool
) -> LayerReader:
    sources, datasets = {}, {}
    for path in dict.fromkeys(band.path for band in bands):
        dataset = sources[path] = stack.enter_context(open_raster(path))
        require_overlap(dataset, grid, path)
        how = "nearest" if holds_classes(dataset, path) else resampling
        datasets[path] = stack.enter_context(on_grid(dataset, grid, how))
    return LayerReader(as_stored(bands, sources) if stored else bands, datasets)


def _read_inputs(
    reader: LayerReader, block: Block, inputs: dict[str, str], scale: float, offset: float
) -> dict[str, NDArray[np.float32]]:
    """Reads what a recipe needs, by role or exact name, NaN where there is no data."""
    values, valid = reader.read(block)
    numbers = np.where(valid, values, np.nan).astype(np.float32)
    positions = {band.name: i for i, band in enumerate(reader.bands)}
    layers = {}
    for wanted, name in inputs.items():
        layer = numbers[positions[name]]
        spectral = wanted not in TERRAIN and wanted not in INDICES
        layers[wanted] = layer * np.float32(scale) + np.float32(offset) if spectral else layer
    return layers


def _make(name: str, layers: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    if name in layers:
        return layers[name]
    index = INDICES[name]
    return index.compute(*(layers[role] for role in index.roles))


__all__ = ["stack_rasters"]
