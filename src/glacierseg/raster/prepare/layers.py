"""Layers that are given as files of their own, radar and motion, from any grid onto that of a scene.

The components of velocity lie along the axes of their file's CRS, and would have to turn on the way to
another one. Speed and divergence do not depend on axes, so both are computed on the file's own grid, with the
metres of the ground there, and only then brought to the scene's.
"""

import math
import re
import shlex
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import (
    BandError,
    GlaciersegWarning,
    GridMismatchError,
    RasterError,
    RequestError,
    did_you_mean,
)
from glacierseg.raster.blocks import Block, LayerReader, blocks_within, iterate_blocks, part_around
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import PixelAxes, name_of_crs, pixel_axes
from glacierseg.raster.indices import INDICES
from glacierseg.raster.open import edit_info, grid_of, open_raster
from glacierseg.raster.sensors import is_surface_temperature, role_of
from glacierseg.raster.terrain import TERRAIN
from glacierseg.raster.units import HEAT_OFFSET, HEAT_SCALE, is_reflected_light
from glacierseg.raster.values import Band, as_stored, bands_of
from glacierseg.raster.warp import holds_classes, on_grid, require_overlap
from glacierseg.raster.write import create_raster, tiff_profile

RADAR: Mapping[str, tuple[float, float] | None] = {
    "coherence": (0.0, 1.0),
    "backscatter": None,
    "persistent_scatterer": None,
}
MOTION: Mapping[str, tuple[float, float] | None] = {"velocity": None, "divergence": None, "dh_dt": None}
LAYERS = {**RADAR, **MOTION}
"""Names of the layers that recipes know, with the least and greatest value that each can have."""

COMPONENTS = ("velocity_x", "velocity_y")
"""Layers that velocity and divergence are made from."""
_MADE = ("velocity", "divergence")
# -9999, -32768 and -3.4e38 stand for missing data; no layer has such values in any unit.
_NO_VALUE = -9000.0
_USUAL = frozenset({-9999, -32768})
# Estimates of coherence in float32 may end a little beyond 1.
_ROUNDING = 0.01
# Of lengths in metres and times in years, as files write them: `m/day`, `m d-1`, `cm yr^-1`, `metre/year`.
_LENGTHS_M = {"mm": 1e-3, "cm": 1e-2, "m": 1.0, "km": 1e3}
_TIMES_YEARS = {"s": 1 / (365.25 * 86400), "d": 1 / 365.25, "mo": 1 / 12, "y": 1.0, "a": 1.0}
_BY_TIME = re.compile(
    r"(?P<length>[cmk]?m)(?:et(?:er|re)s?)?\s*(?:/|per|\s|[.*·])\s*"
    r"(?P<time>s|d|mo|y|a)(?:ec(?:ond)?s?|ays?|nths?|ea?rs?|rs?|nnum)?\s*(?:\^?-1)?"
)

Array = NDArray[np.float64]


def parse_layers(words: Sequence[str]) -> dict[str, Path]:
    """Returns the files of layers by name from words like `velocity=v.tif`.

    Raises:
        RequestError: A word has another form, or a name occurs twice.
    """
    files: dict[str, Path] = {}
    for word in words:
        name, _, file = (part.strip() for part in word.partition("="))
        if not (name and file):
            raise RequestError(f"layer {word!r} is not of the form NAME=FILE, such as velocity=velocity.tif")
        if name in files:
            raise RequestError(f"layer {name!r} is given twice; leave one of its files out")
        files[name] = Path(file)
    return files


def names_given(
    files: Mapping[str, Path | str], wanted: Sequence[str], available: Collection[str] = ()
) -> tuple[str, ...]:
    """Returns those of the wanted bands that layers give.

    Args:
        files: The layers by name.
        wanted: Names of the bands to make.
        available: Names of bands that are there already.

    Raises:
        RequestError: A layer is no wanted band, is there already, is not what layers are for, or is one
            component of velocity without the other.
    """
    if alone := {name for name in COMPONENTS if name in files} ^ set(COMPONENTS):
        if len(alone) == 1:
            raise RequestError(
                f"velocity has two components; give {alone.pop()} as a layer too, or neither of them"
            )
        given = set(files)
    else:
        given = {*files, *_MADE}
    for name in files:
        if name in available:
            raise RequestError(f"layer {name!r} is also a band of the input files; leave one of the two out")
        if name in TERRAIN or name in INDICES or is_reflected_light(role_of(name)):
            raise RequestError(
                f"layer {name!r} is reflected light, an index or terrain, which are made from the input "
                "files and the elevation model; leave it out"
            )
        used = name in wanted or (name in COMPONENTS and bool((set(_MADE) & set(wanted)) - set(files)))
        if not used:
            raise RequestError(
                f"layer {name!r} is no band of the recipe{did_you_mean(name, wanted)}; its bands are "
                f"{', '.join(wanted)}"
            )
    return tuple(name for name in wanted if name in given and name not in available)


class GivenLayers:
    """Reads blocks of layers on a scene's grid."""

    def __init__(self, readers: Mapping[str, LayerReader]) -> None:
        self._readers = dict(readers)

    def read(self, block: Block) -> dict[str, NDArray[np.float32]]:
        """Reads one block.

        Returns:
            `(height, width)` by name, NaN where a layer has no data.

        Raises:
            RasterError: The pixels cannot be read.
        """
        return {name: _with_nan(reader, block).astype(np.float32) for name, reader in self._readers.items()}


@contextmanager
def open_given_layers(
    files: Mapping[str, Path | str], names: Sequence[str], grid: Grid, resampling: str = "bilinear"
) -> Iterator[GivenLayers]:
    """Opens layers for reading on a grid.

    Args:
        files: The layers by name.
        names: From `names_given`.
        grid: Of the scene.
        resampling: A name of `choices.Resampling`; classes take the nearest pixel.

    Raises:
        RasterError: A file cannot be read.
        BandError: A file has several bands, and none of the layer's name.
        GridMismatchError: A file does not overlap the grid, the components of velocity have different CRS, or
            are wanted in another CRS than theirs.
    """
    with ExitStack() as stack:
        readers = {
            name: _open_layer(stack, name, Path(files[name]), grid, resampling)
            for name in names
            if name in files
        }
        if made := [name for name in names if name not in files]:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="glacierseg-")))
            components = [Path(files[name]) for name in COMPONENTS]
            for name, path in _make_motion(components, grid, folder).items():
                if name in made:
                    readers[name] = _open_layer(stack, name, path, grid, resampling)
        yield GivenLayers(readers)


def speed_and_divergence(east: Array, north: Array, axes: PixelAxes) -> tuple[Array, Array]:
    """Speed and horizontal divergence of velocity.

    Divergence is dvx/dx + dvy/dy by central differences. It is NaN where velocity of the pixel or of one of
    its four neighbours is missing. That axes turn with the curvature of the Earth is left out: at 100 m per
    year less than 1e-4 per year up to 80 degrees.

    Args:
        east: `(H + 2, W + 2)` component along x in metres per year.
        north: The same along y.
        axes: Metres along x and y of the pixels.

    Returns:
        Two arrays `(H, W)`, in the unit of the components and in 1/year.
    """
    area = axes.column_east_m * axes.row_north_m - axes.row_east_m * axes.column_north_m
    speed = np.hypot(east, north)[1:-1, 1:-1]
    (east_by_column, east_by_row), (north_by_column, north_by_row) = map(_changes, (east, north))
    by_x = (east_by_column * axes.row_north_m - east_by_row * axes.column_north_m) / area
    by_y = (north_by_row * axes.column_east_m - north_by_column * axes.row_east_m) / area
    return speed, by_x + by_y + 0 * speed


def _changes(values: Array) -> tuple[Array, Array]:
    """Changes by column and by row."""
    return (values[1:-1, 2:] - values[1:-1, :-2]) / 2, (values[2:, 1:-1] - values[:-2, 1:-1]) / 2


def _open_layer(stack: ExitStack, name: str, path: Path, grid: Grid, resampling: str) -> LayerReader:
    dataset = stack.enter_context(open_raster(path))
    band = _by_year(_in_kelvin(_band_of(dataset, name, path), name), name)
    require_overlap(dataset, grid, path)
    if name in COMPONENTS and (own := grid_of(dataset)).crs != grid.crs:
        raise GridMismatchError(
            f"{path}: {name} lies along an axis of {name_of_crs(own.crs)}, and the scene is in "
            f"{name_of_crs(grid.crs)}; leave velocity_x and velocity_y out of the recipe, since velocity and "
            "divergence are made from them in any CRS"
        )
    how = "nearest" if holds_classes(dataset, path) else resampling
    _refuse_impossible(dataset, band, name, grid)
    return LayerReader([band], {path: stack.enter_context(on_grid(dataset, grid, how))})


def _refuse_impossible(dataset: Any, band: Band, name: str, grid: Grid) -> None:
    """Refuses values that a layer cannot have: undeclared ones of missing data, and others beyond its bounds.

    On another grid they would mix with their neighbours.

    Raises:
        RasterError: The file has such a value where the grid needs it.
    """
    if name not in {*LAYERS, *COMPONENTS}:
        return
    part, least, greatest = part_around(grid_of(dataset), grid), math.inf, -math.inf
    reader = LayerReader(as_stored([band]), {band.path: dataset})
    for block in blocks_within(part):
        values, valid = reader.read(block)
        found = values[valid].astype(np.float64)
        least, greatest = min(least, found.min(initial=math.inf)), max(greatest, found.max(initial=-math.inf))
    meant = least * band.scale + band.offset
    if meant <= _NO_VALUE or least in _USUAL:
        raise RasterError(
            f"{band.path}: has values of {meant:g}, which no {name} has; where they stand for missing data, "
            f"declare that with `{edit_info(dataset, '--nodata', str(float(least)))}`"
        )
    low, high = LAYERS.get(name) or (-math.inf, math.inf)
    most = greatest * band.scale + band.offset
    if meant < low - _ROUNDING or most > high + _ROUNDING:
        words = [
            "rio",
            "convert",
            str(band.path),
            f"{name}.tif",
            "--dtype",
            "float32",
            "--scale-ratio",
            "0.00392157",
        ]
        raise RasterError(
            f"{band.path}: {name} must be from {low:g} to {high:g} (found {meant:g} to {most:g}); bring it "
            f"there first, 8-bit levels for example with `{shlex.join(words)}`"
        )


def _band_of(dataset: Any, name: str, path: Path) -> Band:
    """Returns the only band of a file, or the one of a layer's name."""
    bands = bands_of(dataset, path)
    found = bands if len(bands) == 1 else [band for band in bands if band.name == name]
    if len(found) != 1:
        raise BandError(
            f"{path}: has {len(bands)} bands, and not one is called {name}; write the right one to a file of "
            f"its own with `glacierseg prepare select {path} --bands 1 --out {name}.tif`"
        )
    return found[0]


def _in_kelvin(band: Band, name: str) -> Band:
    """Returns Landsat's surface temperature in kelvin where it is in digital numbers."""
    in_numbers = np.dtype(band.dtype).kind in "iu" and is_surface_temperature(band.path.stem)
    if not (in_numbers and (role_of(name) or "").startswith("thermal")):
        return band
    warnings.warn(
        f"{band.path}: {name} is converted from digital numbers to kelvin, times {HEAT_SCALE} plus "
        f"{HEAT_OFFSET:g} as in Landsat Collection 2",
        GlaciersegWarning,
        stacklevel=4,
    )
    return replace(band, dtype="float32", scale=HEAT_SCALE, offset=HEAT_OFFSET)


def _by_year(band: Band, name: str) -> Band:
    """Returns velocity or dh/dt in metres per year where the file says that it is in another unit."""
    if name not in {"velocity", "dh_dt", *COMPONENTS} or not band.unit.strip():
        return band
    found = _BY_TIME.fullmatch(band.unit.strip().lower())
    if found is None:
        warnings.warn(
            f"{band.path}: {name} is said to be in {band.unit!r}, which is not known; it is taken as metres "
            "per year",
            GlaciersegWarning,
            stacklevel=5,
        )
        return band
    factor = _LENGTHS_M[found["length"]] / _TIMES_YEARS[found["time"]]
    if math.isclose(factor, 1):
        return band
    warnings.warn(
        f"{band.path}: {name} is converted from {band.unit} to metres per year, times {factor:.6g}",
        GlaciersegWarning,
        stacklevel=5,
    )
    return replace(
        band, dtype="float32", scale=band.scale * factor, offset=band.offset * factor, unit="m/year"
    )


def _make_motion(components: Sequence[Path], grid: Grid, folder: Path) -> dict[str, Path]:
    """Writes speed and divergence on the grid of the components, where a scene needs them."""
    x_path, y_path = components
    with ExitStack() as stack:
        datasets = [stack.enter_context(open_raster(path)) for path in components]
        own, other = map(grid_of, datasets)
        if own.crs != other.crs:
            raise GridMismatchError(
                f"{y_path}: velocity_y is in {name_of_crs(other.crs)}, and velocity_x in "
                f"{name_of_crs(own.crs)}; give both components along the axes of one CRS"
            )
        require_overlap(datasets[0], grid, x_path)
        require_overlap(datasets[1], own, y_path)
        readers = []
        for dataset, name, path in zip(datasets, COMPONENTS, components, strict=True):
            band = _by_year(_band_of(dataset, name, path), name)
            _refuse_impossible(dataset, band, name, grid)
            aligned = stack.enter_context(on_grid(dataset, own, "bilinear"))
            readers.append(LayerReader([band], {path: aligned}))
        part = part_around(own, grid)
        within = own.crop(part.row, part.column, part.height, part.width)
        paths = {name: folder / f"{name}.tif" for name in _MADE}
        profile = tiff_profile(within, 1, "float32", math.nan)
        written = [stack.enter_context(create_raster(path, profile)) for path in paths.values()]
        for block in iterate_blocks(within.shape):
            place = Block(block.row + part.row, block.column + part.column, block.height, block.width)
            east, north = (_with_halo(reader, place, own) for reader in readers)
            made = speed_and_divergence(east, north, _along_crs(own, place))
            for file, layer in zip(written, made, strict=True):
                file.write(layer.astype(np.float32), 1, window=block.window)
    return paths


def _with_nan(reader: LayerReader, block: Block) -> Array:
    values, valid = reader.read(block)
    return np.where(valid[0], values[0].astype(np.float64), np.nan)


def _with_halo(reader: LayerReader, block: Block, own: Grid) -> Array:
    """Reads a block with one more pixel on every side, NaN where there is no data and beyond the file."""
    top, left = max(block.row - 1, 0), max(block.column - 1, 0)
    bottom = min(block.row + block.height + 1, own.height)
    right = min(block.column + block.width + 1, own.width)
    values = _with_nan(reader, Block(top, left, bottom - top, right - left))
    found = np.full((block.height + 2, block.width + 2), np.nan)
    row, column = top - block.row + 1, left - block.column + 1
    found[row : row + bottom - top, column : column + right - left] = values
    return found


def _along_crs(own: Grid, block: Block) -> PixelAxes:
    """Returns metres of the ground along the x and y of a grid's CRS, not to the east and north."""
    ground = pixel_axes(own, block.row, block.column, block.height, block.width)
    a, b, _, d, e, _ = own.transform[:6]
    area = a * e - b * d
    # Metres for each unit of x and of y; which way x and y run on the ground does not matter.
    x_m = np.hypot(
        e * ground.column_east_m - d * ground.row_east_m, e * ground.column_north_m - d * ground.row_north_m
    ) / abs(area)
    y_m = np.hypot(
        a * ground.row_east_m - b * ground.column_east_m, a * ground.row_north_m - b * ground.column_north_m
    ) / abs(area)
    return PixelAxes(a * x_m, d * y_m, b * x_m, e * y_m)
