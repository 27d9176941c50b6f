"""Several rasters of any CRS, resolution and extent as one named multi-band GeoTIFF."""

import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import BandError, GlaciersegWarning, RequestError
from glacierseg.log import Progress
from glacierseg.raster.blocks import (
    Block,
    LayerReader,
    copy_bands,
    iterate_blocks,
    open_writer,
)
from glacierseg.raster.elevation import open_terrain
from glacierseg.raster.environment import bounded_gdal
from glacierseg.raster.facts import SceneFacts, facts_of_bands
from glacierseg.raster.grid import Grid
from glacierseg.raster.indices import INDICES
from glacierseg.raster.open import open_raster
from glacierseg.raster.outputs import TIFF, writes
from glacierseg.raster.prepare.layers import names_given, open_given_layers
from glacierseg.raster.prepare.recipes import (
    RECIPES,
    find_inputs,
    make_bands,
    parse_recipe,
    sensor_of_recipe,
    terrain_to_make,
)
from glacierseg.raster.sensors import (
    SENSORS,
    band_number,
    contradiction,
    is_surface_temperature,
    parse_sensor,
    role_of,
    sensor_of,
)
from glacierseg.raster.terrain import TERRAIN
from glacierseg.raster.units import (
    HEAT_OFFSET,
    HEAT_SCALE,
    HOTTEST_K,
    converted_unit,
    light_among,
    require_unit,
)
from glacierseg.raster.values import Band, BandValues, bands_of, measure_values, sample_windows, short
from glacierseg.raster.warp import (
    declaring,
    holds_classes,
    metric_grid,
    on_grid,
    read_grid,
    require_overlap,
)
from glacierseg.settings.base import fields_as_keywords, one_or_several
from glacierseg.settings.prepare import StackSettings

_WINDOWS = 6
_ALL_ZERO = 0.001
# Aspect in degrees repeats its sine and cosine; it and unsphericity are for recipes.
_TERRAIN_WITHOUT_RECIPE = tuple(name for name in TERRAIN if name not in {"aspect", "unsphericity"})


@fields_as_keywords(settings=StackSettings)
@writes(out=TIFF)
def stack_rasters(
    files: Path | str | Sequence[Path | str],
    out: Path | str,
    settings: StackSettings | None = None,
    *,
    dem: Path | str | Sequence[Path | str] | None = None,
    like: Path | str | None = None,
    layers: Mapping[str, Path | str] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Stacks rasters on one grid, and makes spectral indices and terrain from them.

    Without a recipe every input band is kept under its name, followed by elevation and the terrain layers
    but `aspect` and `unsphericity` if an elevation model is given. Integers stay integers where no pixel has
    to be marked as missing by a value that the inputs do not declare; otherwise, and with a recipe, the
    result is floating-point with NaN where a band has no data. A pixel that lacks elevation keeps its
    spectral bands.

    With a recipe, values of reflected light are looked at first: where they still have the offset of
    Sentinel-2 or the scale of Landsat products in them, indices would be wrong, and making some is refused.
    Landsat's surface temperature (`ST_B10`) in digital numbers becomes kelvin.

    Args:
        files: The rasters, in band order.
        out: The GeoTIFF to write.
        settings: Or its fields as keywords; a recipe may then be a sequence of names.
        dem: Elevation in metres, any CRS and resolution; its first band is used. Several files are tiles.
        layers: Files of a recipe's other bands by name (`raster.prepare.layers`), on any grid.
        like: A raster on the wanted grid; without it the first file's, and where that is in degrees, a grid
            of square pixels in its UTM zone.
        progress: Called with the share done, 0-1.

    Returns:
        The path of the result.

    Raises:
        RasterError: A file cannot be read.
        GridMismatchError: A file does not overlap the grid.
        BandError: A band that the recipe needs is missing, a name occurs twice, or one given by hand
            contradicts the file's own.
        ValuesError: Indices are asked for, and values of reflected light are in a unit that makes them wrong.
        RequestError: The recipe or the sensor is unknown, the grid is asked for in two ways, there is no
            file, or a scale without a recipe.
        OutputError: The result cannot be written.
    """
    sources = [Path(files)] if isinstance(files, Path | str) else [Path(path) for path in files]
    if not sources:
        raise RequestError("a stack needs at least one file")
    tiles = [Path(path) for path in one_or_several(dem)]
    settings, out = settings or StackSettings(), Path(out)
    layers = layers or {}
    given: tuple[str, ...] = ()
    recipe, sensor, scale, offset = settings.recipe, settings.sensor, settings.scale, settings.offset
    bands = _input_bands(sources, settings)
    available = [band.name for band in bands]
    if recipe is None:
        _refuse_scale(scale, offset, out)
        _refuse_layers(layers, out)
        wanted = (*available, *(_TERRAIN_WITHOUT_RECIPE if tiles else ()))
        inputs = {name: name for name in available}
    else:
        wanted = parse_recipe(recipe)
        sensor = sensor_of_recipe(recipe, _named_sensor(sources, sensor))
        given = names_given(layers, wanted, available)
        inputs = find_inputs(wanted, available, sensor=sensor, source=str(sources[0]), given=given)
    made = terrain_to_make(wanted, inputs, out, has_dem=bool(tiles))
    grid = _target_grid(sources[0], None if like is None else Path(like), settings.pixel_size_m)
    used = [band for band in bands if band.name in inputs.values()]
    with bounded_gdal(), ExitStack() as stack:
        datasets = _open_inputs(stack, used, grid, settings.resampling)
        if recipe is None and not made:
            copy_bands(used, datasets, grid, out, compress=settings.compress, progress=progress)
            return out
        light: tuple[str, ...] = ()
        if recipe is not None:
            light = light_among(inputs, sensor, scale, offset, str(out))
            makes = [name for name in wanted if name in INDICES and name not in inputs]
            shown = [band for band in used if band.name in {inputs[name] for name in light}]
            sampled = _sample(shown, datasets, grid) if shown else None
            if warning := require_unit(sampled, scale, offset, makes, str(sources[0])):
                _warn(warning)
            used = [_in_kelvin(band, inputs, datasets, grid) for band in used]
        reader = _RecipeReader(
            LayerReader(used, datasets) if used else None, inputs, light, scale or 1.0, offset or 0.0
        )
        others = stack.enter_context(open_given_layers(layers, given, grid, settings.resampling))
        terrain = stack.enter_context(open_terrain(tiles, grid)) if tiles and made else None
        tags = _facts(used, settings).tags
        writer = stack.enter_context(
            open_writer(out, grid, wanted, "float32", np.nan, compress=settings.compress, tags=tags)
        )
        for block in iterate_blocks(grid.shape, progress):
            found = reader.read(block) | others.read(block)
            if terrain:
                found |= terrain.read(block, made)
            values = make_bands(wanted, found)
            writer.write(block, values, np.isfinite(values))
    if reader.zeros > _ALL_ZERO * grid.height * grid.width:
        _warn(
            f"{sources[0]}: {reader.zeros / (grid.height * grid.width):.1%} of the pixels are 0 in every "
            "spectral band, and the files declare no value for missing data; if these have none, stack again "
            "with --nodata 0"
        )
    return out


def _facts(used: Sequence[Band], settings: StackSettings) -> SceneFacts:
    """Returns what is known of the files, as it is true of what is made of them."""
    facts = facts_of_bands(used)
    if settings.recipe is None or facts == SceneFacts():
        return facts
    return replace(
        facts,
        unit=converted_unit(facts.unit, settings.scale or 1.0, settings.offset or 0.0),
        recipe=settings.recipe if settings.recipe in RECIPES else "",
    )


def _refuse_scale(scale: float | None, offset: float | None, out: Path) -> None:
    if (scale in {None, 1.0}) and (offset in {None, 0.0}):
        return
    raise RequestError(
        f"{out}: scale and offset are for the spectral bands of a recipe, and none is given; name the "
        "bands in one (--recipe B2,B3), or leave them out"
    )


def _refuse_layers(layers: Mapping[str, Path | str], out: Path) -> None:
    if layers:
        raise RequestError(
            f"{out}: layers are for the bands of a recipe, and none is given; name the bands in one "
            f"(--recipe red,nir,{next(iter(layers))}), or leave --layer out"
        )


class _RecipeReader:
    """Reads what a recipe needs, by role or exact name, NaN where there is no data.

    Attributes:
        zeros: Pixels so far that are 0 in every band of reflected light, where no file declares nodata.
    """

    def __init__(
        self,
        reader: LayerReader | None,
        inputs: Mapping[str, str],
        light: Sequence[str],
        scale: float,
        offset: float,
    ) -> None:
        self._reader, self._light = reader, light
        self._scale, self._offset = np.float32(scale), np.float32(offset)
        places = {band.name: i for i, band in enumerate(reader.bands)} if reader else {}
        self._places = {wanted: places[name] for wanted, name in inputs.items()}
        bright = [reader.bands[self._places[name]] for name in light] if reader else []
        self._undeclared = bool(bright) and all(band.nodata is None for band in bright)
        self.zeros = 0

    def read(self, block: Block) -> dict[str, NDArray[np.float32]]:
        if self._reader is None:
            return {}
        values, valid = self._reader.read(block)
        numbers = np.where(valid, values, np.nan).astype(np.float32)
        layers = {wanted: numbers[place] for wanted, place in self._places.items()}
        if self._undeclared:
            self.zeros += int(np.count_nonzero(np.all([layers[name] == 0 for name in self._light], axis=0)))
        for name in self._light:
            layers[name] = layers[name] * self._scale + self._offset
        return layers


def _input_bands(files: Sequence[Path], settings: StackSettings) -> list[Band]:
    names, nodata = settings.band_names, settings.nodata
    bands: list[Band] = []
    for path in files:
        with open_raster(path) as dataset:
            own = [_called_by_file(band, dataset.count) for band in bands_of(dataset, path)]
        if nodata is None and sensor_of(path.stem) and {band.dtype for band in own} == {"uint16"}:
            own = [_declared(band, 0) for band in own]
        bands += own if nodata is None else [_declared(band, nodata) for band in own]
    if names is not None:
        if len(names) != len(bands):
            raise BandError(
                f"{files[0]}: the inputs have {len(bands)} bands, but {len(names)} names are given"
            )
        sensor = parse_sensor(settings.sensor) if settings.sensor else None
        for band, name in zip(bands, names, strict=True):
            wrong = contradiction(name, band.name, sensor)
            if sensor_of(band.path.stem):
                wrong = contradiction(name, band.path.stem) or wrong
            if wrong:
                raise BandError(
                    f"{band.path}: {wrong}; give --band-names in the order of the files, or leave them out"
                )
        bands = [replace(band, name=name) for band, name in zip(bands, names, strict=True)]
    found = [band.name for band in bands]
    if doubled := sorted({name for name in found if found.count(name) > 1}):
        raise BandError(f"{files[0]}: input band {doubled[0]!r} occurs twice; name all bands (--band-names)")
    return bands


def _called_by_file(band: Band, count: int) -> Band:
    """Returns a band under its file's name where that says what it is, and its own does not."""
    is_named = count == 1 and role_of(band.path.stem) is not None and role_of(band.name) is None
    return replace(band, name=band.path.stem) if is_named and band_number(band.name) is None else band


def _declared(band: Band, nodata: float) -> Band:
    return band if band.nodata is not None else replace(band, nodata=nodata)


def _named_sensor(files: Sequence[Path], sensor: str | None) -> str | None:
    """Returns the sensor by the names of the files.

    Raises:
        RequestError: Another one is given by hand.
    """
    named = {found: path for path in reversed(files) if (found := sensor_of(path.stem))}
    given = parse_sensor(sensor) if sensor else None
    if given and (others := [found for found in named if SENSORS[found] != SENSORS[given]]):
        raise RequestError(
            f"{named[others[0]]}: is of {others[0]} by its name, not {given}; leave --sensor out"
        )
    return given or (next(iter(named)) if len(named) == 1 else None)


def _in_kelvin(band: Band, inputs: Mapping[str, str], datasets: Mapping[Path, Any], grid: Grid) -> Band:
    """Returns Landsat's surface temperature in kelvin where it is in digital numbers."""
    is_known = is_surface_temperature(band.name) or is_surface_temperature(band.path.stem)
    wanted = next(wanted for wanted, name in inputs.items() if name == band.name)
    if not is_known and not wanted.startswith("thermal"):
        return band
    found = _sample([band], datasets, grid)
    if not found or found[0].median < HOTTEST_K:
        return band
    if not is_known:
        _warn(
            f"{band.path}: {wanted} is in digital numbers and not in kelvin (median "
            f"{short(found[0].median)}); it stays as it is, since only files named ST_B10 or ST_B6 are "
            "known to convert"
        )
        return band
    _warn(
        f"{band.path}: {wanted} is converted from digital numbers to kelvin, times {HEAT_SCALE} plus "
        f"{HEAT_OFFSET:g} as in Landsat Collection 2"
    )
    return replace(
        band,
        dtype="float32",
        scale=band.scale * HEAT_SCALE,
        offset=band.offset * HEAT_SCALE + HEAT_OFFSET,
    )


def _target_grid(first: Path, like: Path | None, pixel_size_m: float | None) -> Grid:
    if like is not None:
        if pixel_size_m is not None:
            raise RequestError(f"{like} gives the grid and with it the pixel size; leave one of the two out")
        return read_grid(like)
    grid = read_grid(first)
    return metric_grid(grid, pixel_size_m) if grid.is_geographic or pixel_size_m else grid


def _open_inputs(stack: ExitStack, bands: Sequence[Band], grid: Grid, resampling: str) -> dict[Path, Any]:
    datasets = {}
    for path in dict.fromkeys(band.path for band in bands):
        dataset = stack.enter_context(open_raster(path))
        require_overlap(dataset, grid, path)
        nodata = next(band.nodata for band in bands if band.path == path)
        if dataset.nodata is None and nodata is not None:
            # Undeclared nodata must not be mixed into its neighbours by interpolation either.
            dataset = stack.enter_context(declaring(dataset, nodata))
        how = "nearest" if holds_classes(dataset, path) else resampling
        datasets[path] = stack.enter_context(on_grid(dataset, grid, how))
    return datasets


def _sample(bands: Sequence[Band], datasets: Mapping[Path, Any], grid: Grid) -> list[BandValues] | None:
    paths = {band.path for band in bands}
    reader = LayerReader(bands, {path: dataset for path, dataset in datasets.items() if path in paths})

    def read(row: int, column: int, height: int, width: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        values, valid = reader.read(Block(row, column, height, width))
        return values, np.all(valid, axis=0)

    # Windows of compressed products are slow to read, and a few show the unit.
    return measure_values(sample_windows(read, grid.shape, _WINDOWS, apart_from_zeros=True))


def _warn(line: str) -> None:
    warnings.warn(line, GlaciersegWarning, stacklevel=3)
