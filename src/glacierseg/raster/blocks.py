"""Walking over rasters of any size block by block, so that memory stays bounded."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.windows import Window

from glacierseg.errors import OutputError, RasterError
from glacierseg.raster.grid import Grid
from glacierseg.raster.open import open_raster
from glacierseg.raster.scene import Band, Scene, has_data, is_masked
from glacierseg.raster.write import atomic_path, tiff_profile

Progress = Callable[[float], None]
"""Is told the share of the work that is done, 0 to 1."""

# As high as a tile of our own files, and wide: many scenes are stored in rows, and a row that is cut into
# many blocks is decoded once for each of them.
BLOCK_HEIGHT_PX, BLOCK_WIDTH_PX = 256, 2048


@dataclass(frozen=True)
class Block:
    """A rectangle of pixels: first row and column, height and width."""

    row: int
    column: int
    height: int
    width: int

    @property
    def window(self) -> Window:
        """The same for rasterio."""
        return Window(self.column, self.row, self.width, self.height)

    @property
    def slices(self) -> tuple[slice, slice]:
        """The same for an array of the whole raster."""
        return slice(self.row, self.row + self.height), slice(self.column, self.column + self.width)


def iterate_blocks(
    shape: tuple[int, int],
    progress: Progress | None = None,
    *,
    height_px: int = BLOCK_HEIGHT_PX,
    width_px: int = BLOCK_WIDTH_PX,
) -> Iterator[Block]:
    """Yields blocks that cover a raster exactly once, row by row.

    Args:
        shape: Rows and columns of the raster.
        progress: Told the share of pixels done after each block.
        height_px: Rows of a block; fewer at the lower rim.
        width_px: Columns of a block; fewer at the right rim.
    """
    rows, columns = shape
    done = 0
    for row in range(0, rows, height_px):
        for column in range(0, columns, width_px):
            block = Block(row, column, min(height_px, rows - row), min(width_px, columns - column))
            yield block
            done += block.height * block.width
            if progress is not None:
                progress(done / (rows * columns))


class LayerReader:
    """Reads blocks of bands, each with its own account of where it has data.

    Unlike `SceneReader`, which asks for data in every band, this keeps a pixel of one band although another
    band lacks it.
    """

    def __init__(self, bands: Sequence[Band], datasets: Mapping[Path, Any]) -> None:
        self.bands = tuple(bands)
        self.dtype = np.result_type(*(band.dtype for band in bands))
        self._datasets = dict(datasets)
        self._masked = {
            path for path, dataset in self._datasets.items() if is_masked(dataset, path, self.bands)
        }

    @property
    def has_masks(self) -> bool:
        """Whether a file marks pixels without data by a mask rather than by a value."""
        return bool(self._masked)

    def read(self, block: Block) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Reads one block.

        Returns:
            Values `(C, height, width)`, and True `(C, height, width)` where there is data.

        Raises:
            RasterError: The pixels cannot be read.
        """
        shape = len(self.bands), block.height, block.width
        values, valid = np.empty(shape, self.dtype), np.ones(shape, bool)
        for path, dataset in self._datasets.items():
            positions = [i for i, band in enumerate(self.bands) if band.path == path]
            try:
                layers = dataset.read([self.bands[i].index for i in positions], window=block.window)
                if path in self._masked:
                    valid[positions] = self._read_mask(path, block) > 0
            except (RasterioError, OSError) as error:
                raise RasterError(
                    f"{path}: pixels near row {block.row} cannot be read; the file is truncated or damaged, "
                    "copy it again"
                ) from error
            for position, layer in zip(positions, layers, strict=True):
                valid[position] &= has_data(layer, self.bands[position].nodata)
                values[position] = self.bands[position].meaning(layer)
        return values, valid

    def _read_mask(self, path: Path, block: Block) -> NDArray[Any]:
        dataset = self._datasets[path]
        # GDAL takes an alpha band for the mask only when there are one or three bands beside it.
        has_alpha = dataset.colorinterp[-1] == ColorInterp.alpha
        mask: NDArray[Any] = (
            dataset.read(dataset.count, window=block.window)
            if has_alpha
            else dataset.dataset_mask(window=block.window)
        )
        return mask


@contextmanager
def open_layers(scene: Scene) -> Iterator[LayerReader]:
    """Opens a scene for reading band by band.

    Raises:
        RasterError: A file cannot be opened.
    """
    with ExitStack() as stack:
        yield LayerReader(scene.bands, {path: stack.enter_context(open_raster(path)) for path in scene.paths})


def common_storage(reader: LayerReader) -> tuple[str, float | None]:
    """Returns a data type and nodata value that can hold every band of a reader without loss.

    Integers stay integers when their bands agree on the nodata value; otherwise, and for floating-point
    bands that do not agree, pixels without data become NaN.
    """
    declared = {None if band.nodata is None else str(band.nodata) for band in reader.bands}
    nodata = reader.bands[0].nodata
    if reader.dtype.kind == "f":
        return str(reader.dtype), nodata if len(declared) == 1 and nodata is not None else math.nan
    one_mask = not reader.has_masks or len({band.path for band in reader.bands}) == 1
    if len(declared) == 1 and one_mask:
        return str(reader.dtype), nodata
    return str(np.result_type(reader.dtype, np.float32)), math.nan


class LayerWriter:
    """Writes blocks of an open GeoTIFF."""

    def __init__(self, path: Path, dataset: Any, *, masked: bool) -> None:
        self._path, self._dataset, self._masked = path, dataset, masked

    def write(self, block: Block, values: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """Writes one block.

        Args:
            block: Where.
            values: `(C, height, width)`; changed where not valid.
            valid: `(C, height, width)` True where there is data.

        Raises:
            OutputError: The block cannot be written.
        """
        nodata = self._dataset.nodata
        if nodata is not None:
            values[~valid] = nodata
        try:
            self._dataset.write(values, window=block.window)
            if self._masked:
                mask = np.where(valid.all(axis=0), np.uint8(255), np.uint8(0))
                self._dataset.write_mask(mask, window=block.window)
        except (RasterioError, OSError) as error:
            raise OutputError(f"{self._path}: cannot be written; is the disk full?") from error


@contextmanager
def open_writer(
    path: Path,
    grid: Grid,
    names: Sequence[str],
    dtype: str,
    nodata: float | None,
    *,
    compress: bool = True,
    masked: bool = False,
    tags: Mapping[str, str] | None = None,
) -> Iterator[LayerWriter]:
    """Opens a tiled GeoTIFF for writing by blocks; it is whole or absent.

    Args:
        path: Final path.
        grid: Where the pixels lie.
        names: One description per band.
        dtype: Data type by its numpy name.
        nodata: Value of pixels without data.
        compress: Deflate, else uncompressed, which reads faster in training.
        masked: Mark pixels without data by an internal mask, for data that leave no value free.
        tags: More facts to store in the file.

    Raises:
        OutputError: The folder cannot be written to.
    """
    profile = tiff_profile(grid, len(names), dtype, nodata)
    if compress:
        profile["num_threads"] = "all_cpus"
    else:
        del profile["compress"], profile["predictor"]
    with atomic_path(path) as part, rasterio.open(part, "w", **profile) as dataset:
        dataset.descriptions = tuple(names)
        dataset.update_tags(**(tags or {}))
        yield LayerWriter(path, dataset, masked=masked)
