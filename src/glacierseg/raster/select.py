"""Some bands of a scene as a scene of their own."""

from collections.abc import Sequence
from pathlib import Path

from glacierseg.log import Progress
from glacierseg.raster.blocks import (
    common_storage,
    iterate_blocks,
    open_layers,
    open_writer,
)
from glacierseg.raster.environment import bounded_gdal
from glacierseg.raster.outputs import TIFF, writes
from glacierseg.raster.scene import Scene


@writes(out=TIFF)
def select_bands(
    scene: Scene,
    bands: Sequence[str | int],
    out: Path | str,
    *,
    compress: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Writes some bands of a scene, in the order asked for, under their names.

    Values, data type, nodata, scale, offset and unit are kept as they are stored. Only where bands disagree
    on their nodata value are they written as floating-point numbers with NaN.

    Args:
        scene: The scene.
        bands: Names, or 1-based numbers.
        out: The GeoTIFF to write.
        compress: Deflate, else uncompressed.
        progress: Told the share done.

    Returns:
        The path of the result.

    Raises:
        BandError: A band is not there, or asked for twice.
        RasterError: The scene cannot be read.
        OutputError: The result cannot be written.
    """
    out, chosen = Path(out), scene.select(bands)
    with bounded_gdal(), open_layers(chosen, stored=True) as reader:
        dtype, nodata = common_storage(reader)
        with open_writer(
            out,
            scene.grid,
            chosen.band_names,
            dtype,
            nodata,
            compress=compress,
            masked=nodata is None and reader.has_masks,
            meaning=chosen.bands,
        ) as writer:
            for block in iterate_blocks(scene.grid.shape, progress):
                values, valid = reader.read(block)
                writer.write(block, values.astype(dtype, copy=False), valid)
    return out
