"""What the numbers of a raster mean, whatever its file does to say so, and what values its bands hold.

Files mark pixels without data in many ways: by a value for all bands or for each one, as NaN, by a mask
inside or beside the file, for all bands or for each, by an alpha band at any place, or by several of these at
once. They store numbers as they are, or to be scaled and offset. Readers of scenes, masks, probabilities and
elevation all read through `FileReader`, so that each of these means the same everywhere. `BandValues` are
percentiles of a sample.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from glacierseg.errors import RasterError
from glacierseg.raster.open import damage_refused

if TYPE_CHECKING:
    from glacierseg.raster.scene import Scene

# An alpha band is opaque or transparent; a few pixels in between are its softened edge. Near infrared that
# GDAL takes for alpha, as it does the fourth of four 8-bit bands, is not like that.
_ALPHA_SHARE = 0.98
_SAMPLE_PX = 512

PERCENTILES = (0.1, 5.0, 25.0, 50.0, 95.0, 99.9)
"""Those that `BandValues` holds, in its order."""
LEAST_PIXELS = 64
"""Percentiles of fewer pixels with data mean nothing."""
_WINDOW_PX = 64

ReadWindow = Callable[[int, int, int, int], tuple[NDArray[Any], NDArray[np.bool_]]]
"""From row, column, height and width to values `(C, height, width)` and where every band has data."""


@dataclass(frozen=True)
class Band:
    """One named layer of a raster.

    Attributes:
        name: Unique within its scene.
        path: The file it lies in.
        index: Its 1-based number in that file.
        dtype: Data type of the values that are read, by its numpy name.
        nodata: Value of pixels without data as stored, if one is declared.
        scale: Stored values times this ...
        offset: ... plus this are read. The file's own, and on top of it what `Scene.rescaled` asks for.
        unit: Unit of the values that are read, as the file names it; often empty.
        stored_dtype: Data type of the values as stored; that of the values that are read when empty.
        fill: Value that is read where the band has no data, and that counts as data; None for no such value.
    """

    name: str
    path: Path
    index: int
    dtype: str
    nodata: float | None
    scale: float = 1.0
    offset: float = 0.0
    unit: str = ""
    stored_dtype: str = ""
    fill: float | None = None

    @property
    def is_constant(self) -> bool:
        """Whether it is no layer of its file, but one value wherever the scene has data (`Scene.filled`)."""
        return self.scale == 0

    def __repr__(self) -> str:
        unit = f" in {self.unit}" if self.unit else ""
        return f"Band({self.name!r}, {self.dtype}{unit}, band {self.index} of {self.path.name})"

    def meaning(self, layer: NDArray[Any]) -> NDArray[Any]:
        """Returns what stored values of any shape stand for, in float32 where they are scaled."""
        if (self.scale, self.offset) == (1.0, 0.0):
            return layer
        # In double precision, so that decimetres of 8848.8 m lose nothing before they are rounded.
        meant: NDArray[Any] = (layer * float(self.scale) + float(self.offset)).astype(np.float32)
        return meant

    def has_data(self, layer: NDArray[Any]) -> NDArray[np.bool_]:
        """Returns where stored values of any shape are neither nodata, NaN nor infinite."""
        valid = np.isfinite(layer) if layer.dtype.kind in "fc" else np.ones(layer.shape, bool)
        if self.nodata is not None and not np.isnan(self.nodata):
            valid &= layer != self.nodata
        return valid


def bands_of(
    dataset: Any, path: Path, *, nodata: float | None = None, alpha_is_data: bool = False
) -> list[Band]:
    """Describes the bands of an open file, without one that only says where there is data.

    Args:
        dataset: The open file.
        path: Its path.
        nodata: Value of pixels without data where the file declares none.
        alpha_is_data: Whether a band that is marked as alpha is one like the others.

    Returns:
        The bands; one without a name is called by the file, with its number where there are several.

    Raises:
        RasterError: The file scales a band by zero or by something that is no number.
    """
    with damage_refused(path):
        alpha = None if alpha_is_data else alpha_of(dataset)
    indexes = [index for index in dataset.indexes if index != alpha]
    bands = []
    for index in indexes:
        scale, offset = float(dataset.scales[index - 1]), float(dataset.offsets[index - 1])
        if not (np.isfinite(scale) and scale and np.isfinite(offset)):
            raise RasterError(
                f"{path}: its band {index} declares scale {scale:g} and offset {offset:g}, which leave no "
                "values; write the file again with the right ones"
            )
        declared = dataset.nodatavals[index - 1]
        plain = (scale, offset) == (1.0, 0.0)
        bands.append(
            Band(
                name=dataset.descriptions[index - 1]
                or (Path(path).stem if len(indexes) == 1 else f"{Path(path).stem}_{index}"),
                path=Path(path),
                index=index,
                dtype=dataset.dtypes[index - 1] if plain else "float32",
                nodata=nodata if declared is None else declared,
                scale=scale,
                offset=offset,
                unit=dataset.units[index - 1] or "",
                stored_dtype=dataset.dtypes[index - 1],
            )
        )
    return bands


def as_stored(bands: Sequence[Band]) -> list[Band]:
    """Returns bands that are read as they are stored, for callers that write them again with their scale."""
    return [replace(band, dtype=band.stored_dtype or band.dtype, scale=1.0, offset=0.0) for band in bands]


def alpha_of(dataset: Any) -> int | None:
    """Returns the 1-based number of the band that says where an open file has data, if there is one.

    A band that the file marks as alpha is one unless it is the only band, has another name, or holds values
    between opaque and transparent: GDAL marks the fourth of four 8-bit bands on its own, and in a scene that
    is usually the near infrared.
    """
    marked = [index for index in dataset.indexes if dataset.colorinterp[index - 1] == ColorInterp.alpha]
    if not marked or dataset.count == 1:
        return None
    if isinstance(dataset, WarpedVRT):
        return int(marked[-1])
    for index in marked:
        name = (dataset.descriptions[index - 1] or "alpha").strip().lower()
        if not {"alpha", "mask", "opacity", "dataset_mask", "datamask"} & {name, *name.split()}:
            continue
        shape = tuple(min(side, _SAMPLE_PX) for side in dataset.shape)
        try:
            sample = dataset.read(index, out_shape=shape)
        except (RasterioError, OSError):
            return int(index)
        opaque = sample.max()
        if np.mean((sample == 0) | (sample == opaque)) >= _ALPHA_SHARE:
            return int(index)
    return None


class FileReader:
    """Reads some bands of one open file: stored numbers, and where the file itself masks them."""

    def __init__(self, dataset: Any, path: Path, bands: Sequence[Band]) -> None:
        self._dataset, self._path = dataset, path
        with damage_refused(path):
            self._look(bands)

    def _look(self, bands: Sequence[Band]) -> None:
        dataset = self._dataset
        self._indexes = [band.index for band in bands]
        alpha = alpha_of(dataset)
        self._alpha = None if alpha in self._indexes else alpha
        flags = [dataset.mask_flag_enums[index - 1] for index in self._indexes]
        self._shared = any(MaskFlags.per_dataset in each and MaskFlags.alpha not in each for each in flags)
        # GDAL's word for a mask of the band's own is to have no flag at all.
        self._own = not self._shared and any(not each for each in flags)
        # Whole numbers that were brought to another grid together with their mask, see `warp.on_grid`.
        self._nan = any(
            np.dtype(dataset.dtypes[band.index - 1]).kind == "f" and np.dtype(band.dtype).kind != "f"
            for band in bands
        )

    @property
    def is_masked(self) -> bool:
        """Whether the file marks pixels without data by a mask rather than by a value."""
        return self._alpha is not None or self._shared or self._own or self._nan

    @property
    def has_shared_mask(self) -> bool:
        """Whether that mask is one for all bands, and no alpha band."""
        return self._shared and self._alpha is None

    def read(
        self, window: Window, out: NDArray[Any] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Reads a window.

        Args:
            window: A part of the file.
            out: `(C, h, w)` to read into.

        Returns:
            Stored values `(C, h, w)`; and `(h, w)` or `(C, h, w)` False where the file masks them, None where
            it masks nothing.

        Raises:
            RasterError: The pixels cannot be read.
        """
        shown: NDArray[np.bool_] | None = None
        with damage_refused(self._path, f"pixels near row {int(window.row_off)}"):
            layers = self._dataset.read(self._indexes, window=window, out=out)
            if self._shared:
                shown = self._dataset.read_masks(self._indexes[0], window=window) > 0
            elif self._own:
                shown = self._dataset.read_masks(self._indexes, window=window) > 0
            if self._alpha is not None:
                opaque = self._dataset.read(self._alpha, window=window) > 0
                shown = opaque if shown is None else shown & opaque
        return layers, shown


@dataclass(frozen=True)
class BandValues:
    """Percentiles of a band's values: 0.1, 5, 25, 50, 95 and 99.9 %."""

    # How cards, which hold it, are validated; commands that read no card need not import pydantic.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    low: float
    p5: float
    p25: float
    median: float
    p95: float
    high: float

    @property
    def in_words(self) -> str:
        """Nearly all of them, and their median."""
        return f"{short(self.low)} to {short(self.high)}, median {short(self.median)}"

    @classmethod
    def of(cls, values: NDArray[Any]) -> "BandValues":
        """Measures them on values `(N,)`, at least one."""
        found = np.percentile(values.astype(np.float64), PERCENTILES)
        return cls(*map(float, found))

    def rescaled(self, scale: float, offset: float) -> "BandValues":
        """Returns what they are times a positive scale plus an offset."""
        return BandValues(*(scale * value + offset for value in asdict(self).values()))


def short(value: float) -> str:
    """Returns a band value for people: four digits that count, and no powers of ten."""
    return f"{float(f'{value:.4g}'):g}"


def sample_values(scene: "Scene", *, apart_from_zeros: bool = False) -> NDArray[np.float32]:
    """Reads valid pixels `(C, N)` in windows spread evenly over a scene, see `sample_windows`."""
    with scene.open() as reader:
        return sample_windows(reader.read, scene.grid.shape, apart_from_zeros=apart_from_zeros)


def sample_windows(
    read: ReadWindow,
    shape: tuple[int, int],
    windows: int = 10,
    *,
    apart_from_zeros: bool = False,
) -> NDArray[np.float32]:
    """Reads valid pixels in windows spread evenly over a raster.

    Args:
        read: Reads a window.
        shape: Rows and columns.
        windows: So many in each direction, at most.
        apart_from_zeros: Leave out pixels with a zero in some band, and those beside them: outside of a swath
            without declared nodata are zeros, and along its edge values mixed with them.

    Returns:
        `(C, N)`; N may be 0.
    """
    found = []
    rows, columns = (spread_starts(length, _WINDOW_PX, windows) for length in shape)
    for row, column in product(rows, columns):
        height, width = min(_WINDOW_PX, shape[0] - row), min(_WINDOW_PX, shape[1] - column)
        values, valid = read(row, column, height, width)
        if apart_from_zeros:
            valid = valid & ~_widened((values == 0).any(axis=0))
        found.append(values[:, valid].astype(np.float32))
    return np.concatenate(found, axis=1)


def measure_values(samples: NDArray[np.float32]) -> list[BandValues] | None:
    """Measures percentiles per band of samples `(C, N)`; None when there are too few to say anything."""
    return [BandValues.of(band) for band in samples] if samples.shape[1] >= LEAST_PIXELS else None


def spread_starts(length: int, side_px: int, most: int) -> list[int]:
    """Returns where at most so many windows start, evenly over a line, without overlap where that can be."""
    last = max(length - side_px, 0)
    count = min(most, last // side_px + 1)
    starts: list[int] = np.linspace(0, last, max(count, 2)).round().astype(int).tolist()
    return sorted(set(starts))


def _widened(pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns pixels `(H, W)` and all within two of them along rows and columns."""
    for axis in (0, 1):
        for _ in range(2):
            moved = np.swapaxes(pixels, 0, axis)
            grown = moved.copy()
            grown[1:] |= moved[:-1]
            grown[:-1] |= moved[1:]
            pixels = np.swapaxes(grown, 0, axis)
    return pixels
