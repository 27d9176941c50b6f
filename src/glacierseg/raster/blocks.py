"""Rasters of any size read and written in parts, so that memory stays bounded."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from glacierseg.errors import OutputError
from glacierseg.log import Progress
from glacierseg.raster.bounds import boxes_in, overlap
from glacierseg.raster.facts import facts_of_bands
from glacierseg.raster.grid import Grid
from glacierseg.raster.scene import Scene
from glacierseg.raster.values import Band, FileReader, as_stored
from glacierseg.raster.write import atomic_path, create_raster, tiff_profile, to_cog

# As high as a tile of our own files, and wide: many scenes are stored in rows, and a row that is cut into
# many blocks is decoded once for each of them.
BLOCK_HEIGHT_PX, BLOCK_WIDTH_PX = 256, 2048
_MARGIN_PX = 16
# ENVI's numbers and GDAL's names of the types that we write.
_TYPES = {"uint8": (1, "Byte"), "float32": (4, "Float32")}


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
        progress: Called with the share of pixels done, 0-1, after each block.
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


def blocks_within(part: Block) -> Iterator[Block]:
    """Yields blocks that cover a part of a raster exactly once, row by row."""
    for block in iterate_blocks((part.height, part.width)):
        yield Block(part.row + block.row, part.column + block.column, block.height, block.width)


def part_around(own: Grid, around: Grid | None) -> Block:
    """Returns the pixels of a grid that hold another one's ground, with a margin; all when unclear."""
    whole = Block(0, 0, own.height, own.width)
    if around is None:
        return whole
    boxes = [box for box in boxes_in(around, own.crs) if overlap(box, own.bounds)]
    if len(boxes) != 1 or not np.isfinite(boxes).all():
        return whole
    west, south, east, north = boxes[0]
    corners = [~own.transform * (x, y) for x in (west, east) for y in (south, north)]
    columns, rows = zip(*corners, strict=True)
    left, top = max(math.floor(min(columns)) - _MARGIN_PX, 0), max(math.floor(min(rows)) - _MARGIN_PX, 0)
    right = min(math.ceil(max(columns)) + _MARGIN_PX, own.width)
    bottom = min(math.ceil(max(rows)) + _MARGIN_PX, own.height)
    return Block(top, left, bottom - top, right - left) if bottom > top and right > left else whole


class LayerReader:
    """Reads blocks of bands, each with its own account of where it has data.

    Unlike `SceneReader`, which asks for data in every band, this keeps a pixel of one band although another
    band lacks it.
    """

    def __init__(self, bands: Sequence[Band], datasets: Mapping[Path, Any]) -> None:
        self.bands = tuple(bands)
        self.dtype = np.result_type(*(band.dtype for band in bands))
        self._files = []
        for path, dataset in datasets.items():
            positions = [i for i, band in enumerate(self.bands) if band.path == path]
            if positions:
                reader = FileReader(dataset, path, [self.bands[i] for i in positions])
                self._files.append((positions, reader))

    @property
    def has_masks(self) -> bool:
        """Whether a file marks pixels without data by a mask rather than by a value."""
        return any(file.is_masked for _, file in self._files)

    def read(self, block: Block) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Reads one block.

        Returns:
            Values `(C, height, width)`, and True `(C, height, width)` where there is data.

        Raises:
            RasterError: The pixels cannot be read.
        """
        shape = len(self.bands), block.height, block.width
        values, valid = np.empty(shape, self.dtype), np.ones(shape, bool)
        for positions, file in self._files:
            layers, shown = file.read(block.window)
            if shown is not None:
                valid[positions] = shown
            for position, layer in zip(positions, layers, strict=True):
                band = self.bands[position]
                valid[position] &= band.has_data(layer)
                meant = band.meaning(layer)
                if meant.dtype.kind == "f" and self.dtype.kind != "f":
                    # Whole numbers that were warped together with NaN for what is no data.
                    meant = np.rint(np.where(valid[position], meant, 0))
                values[position] = meant
        return values, valid


@contextmanager
def open_layers(scene: Scene) -> Iterator[LayerReader]:
    """Opens a scene for reading band by band.

    Raises:
        RasterError: A file cannot be opened.
    """
    with scene.open_files() as datasets:
        yield LayerReader(scene.bands, datasets)


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

    def describe(self, bands: Sequence[Band]) -> None:
        """Stores scale, offset and unit of bands whose values are written as they are stored."""
        self._dataset.scales = tuple(band.scale for band in bands)
        self._dataset.offsets = tuple(band.offset for band in bands)
        self._dataset.units = tuple(band.unit for band in bands)

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
    with atomic_path(path) as part, create_raster(part, profile) as dataset:
        dataset.descriptions = tuple(names)
        dataset.update_tags(**(tags or {}))
        yield LayerWriter(path, dataset, masked=masked)


def copy_bands(
    bands: Sequence[Band],
    datasets: Mapping[Path, Any],
    grid: Grid,
    out: Path,
    *,
    compress: bool = True,
    progress: Progress | None = None,
) -> None:
    """Writes bands as they are stored, with their names, scales, offsets, units and facts.

    Args:
        bands: The bands.
        datasets: Their open files on the grid, by path.
        grid: Where the pixels lie.
        out: The GeoTIFF to write.
        compress: As for `open_writer`.
        progress: Called with the share done, 0-1.

    Raises:
        RasterError: The bands cannot be read.
        OutputError: The result cannot be written.
    """
    reader = LayerReader(as_stored(bands), datasets)
    dtype, nodata = common_storage(reader)
    masked = nodata is None and reader.has_masks
    names = [band.name for band in bands]
    tags = facts_of_bands(bands).tags
    with open_writer(out, grid, names, dtype, nodata, compress=compress, masked=masked, tags=tags) as writer:
        writer.describe(bands)
        for block in iterate_blocks(grid.shape, progress):
            values, valid = reader.read(block)
            writer.write(block, values.astype(dtype, copy=False), valid)


class RowWriter:
    """Writes rows from top to bottom, and makes a cloud-optimised GeoTIFF of them in one pass.

    They wait in a plain file with a header, which GDAL copies from: compressing once takes half the time of
    writing a compressed GeoTIFF first.
    """

    def __init__(
        self,
        stem: Path,
        grid: Grid,
        *,
        bands: Sequence[str],
        dtype: str,
        nodata: float,
        scale: float = 1.0,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Opens the file.

        Args:
            stem: Path without ending of what is written until `to_cog`.
            grid: Where the pixels lie.
            bands: One description per band.
            dtype: ``uint8`` or ``float32``.
            nodata: Value of pixels without data.
            scale: What values are multiplied with to get what they mean.
            tags: More facts to store in the file.
        """
        self._raw, self._vrt = stem.with_suffix(".raw"), stem.with_suffix(".vrt")
        self._dtype = dtype
        envi, name = _TYPES[dtype]
        stem.with_suffix(".hdr").write_text(
            f"ENVI\nsamples = {grid.width}\nlines = {grid.height}\nbands = {len(bands)}\nheader offset = 0\n"
            f"file type = ENVI Standard\ndata type = {envi}\ninterleave = bil\nbyte order = 0\n"
        )
        facts = "".join(
            f"<MDI key={quoteattr(key)}>{escape(value)}</MDI>" for key, value in (tags or {}).items()
        )
        layers = "".join(
            f'<VRTRasterBand dataType="{name}" band="{number}"><Description>{escape(band)}</Description>'
            f"<NoDataValue>{nodata}</NoDataValue>"
            + (f"<Scale>{scale!r}</Scale>" if scale != 1 else "")
            + f'<SimpleSource><SourceFilename relativeToVRT="1">{escape(self._raw.name)}</SourceFilename>'
            f"<SourceBand>{number}</SourceBand></SimpleSource></VRTRasterBand>"
            for number, band in enumerate(bands, start=1)
        )
        corners = ", ".join(repr(float(value)) for value in grid.transform.to_gdal())
        self._vrt.write_text(
            f'<VRTDataset rasterXSize="{grid.width}" rasterYSize="{grid.height}">'
            f"<SRS>{escape(grid.crs.to_wkt())}</SRS><GeoTransform>{corners}</GeoTransform>"
            f"<Metadata>{facts}</Metadata>{layers}</VRTDataset>",
            encoding="utf-8",
        )
        self._file = self._raw.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, rows: NDArray[Any]) -> None:
        """Adds rows `(bands, rows, W)` below the earlier ones."""
        self._file.write(np.ascontiguousarray(rows.transpose(1, 0, 2), self._dtype).data)

    def to_cog(self, target: Path, *, resampling: str) -> None:
        """Makes the GeoTIFF and removes what it is made from.

        Args:
            target: Its path.
            resampling: How overviews are made.
        """
        # GDAL takes a file of very few bytes for none of ENVI's; what lies beyond the last row is not read.
        self._file.write(bytes(16))
        self._file.close()
        to_cog(self._vrt, target, resampling=resampling)
        for path in (self._raw, self._vrt, self._raw.with_suffix(".hdr")):
            path.unlink()
