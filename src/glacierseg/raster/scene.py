"""Scenes: multi-band rasters whose bands are known by name, from one file or several on one grid.

`open_scene` accepts what `raster.open` does. Scale and offset of the files are applied; each band has its own
nodata; masks, alpha bands, NaN and infinities are no data; an alpha band is no band of the scene. It refuses
files on different grids, doubled names and names of another number than the bands.
"""

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from glacierseg.errors import BandError, GlaciersegError, GridMismatchError, RasterError, did_you_mean
from glacierseg.raster.grid import Grid
from glacierseg.raster.open import files_shown, grid_of, has_header, open_raster
from glacierseg.raster.values import Band, FileReader, bands_of

if TYPE_CHECKING:
    from glacierseg.raster.facts import SceneFacts

_STRIP_ROWS = 512


@dataclass(frozen=True)
class Scene:
    """A multi-band raster on one grid. Only facts: `read` and `open` give pixels.

    Attributes:
        name: Stem of its first file.
        grid: Where its pixels lie.
        bands: Its layers in order.
    """

    name: str
    grid: Grid
    bands: tuple[Band, ...]

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands in order."""
        return tuple(band.name for band in self.bands)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that the bands lie in, each once."""
        return tuple(dict.fromkeys(band.path for band in self.bands))

    @property
    def files(self) -> tuple[Path, ...]:
        """The raster files, and of virtual mosaics (VRT) all that they show, see `open.files_shown`."""
        return files_shown(self.paths)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Smallest data type that holds every band."""
        return np.result_type(*(band.dtype for band in self.bands))

    @property
    def facts(self) -> "SceneFacts":
        """Where it comes from, by the tags of its files, see `glacierseg.raster.facts.facts_of_bands`.

        Raises:
            RasterError: A file cannot be opened.
        """
        from glacierseg.raster.facts import facts_of_bands  # noqa: PLC0415  (it builds on this module)

        return facts_of_bands(self.bands)

    def __repr__(self) -> str:
        names = ", ".join(self.band_names)
        return "\n".join(
            [
                f"Scene {self.name}: {self.grid.in_words}",
                f"{len(self.bands)} band{'s' if len(self.bands) > 1 else ''} of {self.dtype}: {names}",
                ", ".join(f"{what} {value}" for what, value in self._origin().items()),
            ]
        )

    def _repr_html_(self) -> str:
        rows = {"size": self.grid.in_words, "bands": ", ".join(self.band_names), "type": str(self.dtype)}
        cells = "".join(
            f"<tr><th style='text-align:left'>{what}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for what, value in (rows | self._origin()).items()
        )
        name = html.escape(self.name)
        return f"<table><caption style='text-align:left'><b>{name}</b></caption>{cells}</table>"

    def _origin(self) -> dict[str, str]:
        """Unit, date and sensor in words, for people; a file that has vanished says nothing."""
        from glacierseg.raster.facts import SceneFacts, days_in_words  # noqa: PLC0415

        facts = SceneFacts()
        with suppress(GlaciersegError):
            facts = self.facts
        found = {"unit": facts.unit, "date": days_in_words(facts.dates), "sensor": facts.sensor}
        return {what: value or "unknown" for what, value in found.items()}

    def read(
        self, window: Window | None = None, max_px: int | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Reads all bands.

        Args:
            window: A part of the scene, `rasterio.windows.Window(column, row, width, height)`; all when None.
            max_px: Largest number of rows and of columns to return: every n-th pixel of both is read, with
                the smallest n that fits. All pixels when None.

        Returns:
            Values `(C, H, W)` in the scene's data type, 0 where not valid; and `(H, W)` True where every band
            has data.

        Raises:
            RasterError: The window misses the scene or reaches beyond it, or pixels cannot be read.
        """
        whole = Window(0, 0, self.grid.width, self.grid.height)
        part = whole if window is None else window.round_offsets().round_lengths()
        column, row, width, height = (round(number) for number in part.flatten())
        fits = 0 <= row < row + height <= self.grid.height and 0 <= column < column + width <= self.grid.width
        if not fits or (max_px is not None and max_px < 1):
            raise RasterError(
                f"{self.paths[0]}: cannot read {width} x {height} px from column {column} and row {row}"
                f"{'' if max_px is None else f' as {max_px} px'}; the scene has {self.grid.width} x "
                f"{self.grid.height} px"
            )
        step = 1 if max_px is None else math.ceil(max(height, width) / max_px)
        with self.open() as reader:
            if step == 1:
                return reader.read(row, column, height, width)
            # A row at a time: memory is bounded by what is returned.
            rows = [reader.read(one, column, 1, width) for one in range(row, row + height, step)]
        values = np.concatenate([read[:, :, ::step] for read, _ in rows], axis=1)
        return values, np.concatenate([valid[:, ::step] for _, valid in rows])

    def select(self, bands: Sequence[str | int]) -> "Scene":
        """Returns the scene with only some bands, in the order asked for.

        Args:
            bands: Names, or 1-based numbers.

        Raises:
            BandError: None is asked for, or one that is not there, or one twice.
        """
        if not bands:
            raise BandError(
                f"{self.paths[0]}: no band is asked for; its bands are {', '.join(self.band_names)}"
            )
        chosen = []
        for wanted in bands:
            number = int(wanted) if isinstance(wanted, int) or wanted.isdecimal() else None
            if number is not None and str(wanted) not in self.band_names:
                if not 1 <= number <= len(self.bands):
                    raise BandError(
                        f"{self.paths[0]}: has no band {number}; its bands are 1 to {len(self.bands)}"
                    )
                chosen.append(self.bands[number - 1])
                continue
            if wanted not in self.band_names:
                raise BandError(
                    f"{self.paths[0]}: has no band {wanted!r}{did_you_mean(str(wanted), self.band_names)}; "
                    f"its bands are {', '.join(self.band_names)}"
                )
            chosen.append(self.bands[self.band_names.index(str(wanted))])
        if doubled := _doubled([band.name for band in chosen]):
            raise BandError(f"{self.paths[0]}: band {doubled!r} is asked for twice; ask for it once")
        return replace(self, bands=tuple(chosen))

    def rescaled(self, bands: Sequence[str], scale: float = 1.0, offset: float = 0.0) -> "Scene":
        """Returns the scene with some bands read as other values, in float32.

        Args:
            bands: Their names.
            scale: Their values times this ...
            offset: ... plus this.
        """
        return replace(
            self,
            bands=tuple(
                replace(band, dtype="float32", scale=band.scale * scale, offset=band.offset * scale + offset)
                if band.name in bands and not band.is_constant
                else band
                for band in self.bands
            ),
        )

    def filled(self, values: Mapping[str, float]) -> "Scene":
        """Returns the scene with bands that have a value wherever they have no data, in float32.

        Such a band takes no pixel away from the others. Bands that the scene lacks have it everywhere.

        Args:
            values: By name of the band.
        """
        bands = [
            replace(band, dtype="float32", fill=values[band.name]) if band.name in values else band
            for band in self.bands
        ]
        # What is not there is read from another band, times 0.
        bands += [
            replace(self.bands[0], name=name, dtype="float32", scale=0.0, offset=value, unit="", fill=value)
            for name, value in values.items()
            if name not in self.band_names
        ]
        return replace(self, bands=tuple(bands))

    @contextmanager
    def open_files(self) -> Iterator[dict[Path, Any]]:
        """Opens the files; gives rasterio datasets by path.

        Raises:
            RasterError: A file cannot be opened.
        """
        with ExitStack() as stack:
            yield {path: stack.enter_context(open_raster(path)) for path in self.paths}

    @contextmanager
    def open(self) -> Iterator["SceneReader"]:
        """Opens the files for reading; one reader belongs to one process and one thread.

        Raises:
            RasterError: A file cannot be opened.
        """
        with self.open_files() as datasets:
            yield SceneReader(self, datasets)


class SceneReader:
    """Reads windows of an open scene."""

    def __init__(self, scene: Scene, datasets: dict[Path, Any]) -> None:
        self.scene = scene
        self._files = []
        for path, dataset in datasets.items():
            positions = [i for i, band in enumerate(scene.bands) if band.path == path]
            self._files.append((positions, FileReader(dataset, path, [scene.bands[i] for i in positions])))
        # One file gives all values as they are wanted: they need no second place in memory.
        self._stored_as_meant = len(datasets) == 1 and all(
            (band.scale, band.offset, np.dtype(band.dtype)) == (1.0, 0.0, scene.dtype) for band in scene.bands
        )

    def read(self, row: int, column: int, height: int, width: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Reads a window, which may reach beyond the scene.

        Beyond the scene's rim the values are its mirror image, so that a network sees plausible ground, and
        are not valid.

        Args:
            row: First row; may be negative.
            column: First column; may be negative.
            height: Rows.
            width: Columns.

        Returns:
            Values `(C, height, width)` in the scene's data type, 0 where not valid inside the scene; and
            `(height, width)` True where every band has data.

        Raises:
            RasterError: The pixels cannot be read.
        """
        grid = self.scene.grid
        top, left = max(row, 0), max(column, 0)
        bottom, right = min(row + height, grid.height), min(column + width, grid.width)
        if bottom <= top or right <= left:
            raise RasterError(f"{self.scene.paths[0]}: window at row {row}, column {column} misses the scene")
        values, valid = self._read_inside(Window(left, top, right - left, bottom - top))
        margins = ((top - row, row + height - bottom), (left - column, column + width - right))
        if any(any(sides) for sides in margins):
            values = np.pad(values, ((0, 0), *margins), mode="symmetric")
            valid = np.pad(valid, margins, constant_values=False)
        return values, valid

    def strips(self) -> Iterator[tuple[slice, NDArray[Any], NDArray[np.bool_]]]:
        """Reads the whole scene from top to bottom in strips of its full width.

        Yields:
            The rows, their values `(C, rows, W)` and where they are valid `(rows, W)`, as from `read`.
        """
        height, width = self.scene.grid.shape
        for top in range(0, height, _STRIP_ROWS):
            rows = min(_STRIP_ROWS, height - top)
            yield slice(top, top + rows), *self.read(top, 0, rows, width)

    def _read_inside(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        shape = int(window.height), int(window.width)
        values = np.empty((len(self.scene.bands), *shape), self.scene.dtype)
        valid, filled = np.ones(shape, bool), np.zeros(shape, bool)
        for positions, file in self._files:
            bands = [self.scene.bands[position] for position in positions]
            layers, shown = file.read(window, out=values if self._stored_as_meant else None)
            needed = [band.fill is None for band in bands]
            if shown is not None and any(needed):
                valid &= shown if shown.ndim == 2 else shown[needed].all(axis=0)
            for number, (position, band, layer) in enumerate(zip(positions, bands, layers, strict=True)):
                has_data = band.has_data(layer)
                if not self._stored_as_meant:
                    values[position] = band.meaning(layer)
                if band.fill is None:
                    valid &= has_data
                    continue
                if shown is not None:
                    has_data &= shown if shown.ndim == 2 else shown[number]
                values[position][~has_data] = band.fill
                filled |= has_data & (not band.is_constant)
        if all(band.fill is not None for band in self.scene.bands):
            # No band is needed, but some must be there.
            valid = filled
        if not valid.all():
            values[:, ~valid] = 0
        return values, valid


def open_scene(
    paths: Path | str | Sequence[Path | str],
    *,
    bands: Sequence[str] | None = None,
    nodata: float | None = None,
) -> Scene:
    """Describes a scene from one file, or from several files on one grid.

    Args:
        paths: The files, in band order.
        bands: Names for all bands; without it they come from the band descriptions, and `band_1`,
            `band_2`, ... where a file has none.
        nodata: Value of pixels without data where the files declare none.

    Raises:
        RasterError: A file is missing, not a raster or has no CRS.
        GridMismatchError: The files do not lie on one grid.
        BandError: Names are doubled, or their number is not that of the bands.
    """
    files = [Path(paths)] if isinstance(paths, Path | str) else [Path(path) for path in paths]
    if not files:
        raise RasterError("a scene needs at least one file")
    grid, found, alphas = _bands_of_files(files, nodata)
    if bands is not None and alphas and len(bands) == len(found) + len(alphas):
        # A band that is given a name is data.
        for place, band in alphas.items():
            found.insert(place, band)
    if bands is not None:
        if len(bands) != len(found):
            raise BandError(f"{files[0]}: has {len(found)} bands, but {len(bands)} names are given for it")
        found = [replace(band, name=name) for band, name in zip(found, bands, strict=True)]
    if doubled := _doubled([band.name for band in found]):
        raise BandError(
            f"{files[0]}: band {doubled!r} is named twice; name every band, with --band-names or, in a "
            "configuration, `bands:`"
        )
    scene = Scene(files[0].stem, grid, tuple(found))
    _refuse_cut_tiles(scene)
    return scene


def _bands_of_files(files: Sequence[Path], nodata: float | None) -> tuple[Grid, list[Band], dict[int, Band]]:
    """Returns the one grid of some files, their bands, and by its place each band that is only a mask."""
    found: list[Band] = []
    alphas: dict[int, Band] = {}
    grid: Grid | None = None
    for path in files:
        with open_raster(path) as dataset:
            own = grid_of(dataset)
            if grid is None:
                grid = own
            elif difference := grid.difference(own):
                raise GridMismatchError(
                    f"{path}: lies on another grid than {files[0]} ({difference}); "
                    f"run `glacierseg prepare align {quote(str(path))} --like {quote(str(files[0]))} "
                    "--out ALIGNED.tif`"
                )
            known = {band.index for band in bands_of(dataset, path, nodata=nodata)}
            for band in bands_of(dataset, path, nodata=nodata, alpha_is_data=True):
                if band.index not in known:
                    alphas[len(found) + len(alphas)] = band
                    continue
                described = dataset.descriptions[band.index - 1]
                found.append(band if described else replace(band, name=f"band_{len(found) + 1}"))
    assert grid is not None  # noqa: S101  (there is at least one file)
    return grid, found, alphas


def _refuse_cut_tiles(scene: Scene) -> None:
    """A mosaic shows zeros for what raw tiles lack, and opening them refuses that."""
    for tile in set(scene.files) - set(scene.paths):
        if has_header(tile):
            open_raster(tile).close()


def _doubled(names: Sequence[str]) -> str | None:
    return next((name for name in sorted(names) if names.count(name) > 1), None)
