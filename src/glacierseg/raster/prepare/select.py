"""Some bands of a scene as a scene of their own."""

from collections.abc import Sequence
from pathlib import Path

from glacierseg.log import Progress
from glacierseg.raster.blocks import copy_bands
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
        progress: Called with the share done, 0-1.

    Returns:
        The path of the result.

    Raises:
        BandError: A band is not there, or asked for twice.
        RasterError: The scene cannot be read.
        OutputError: The result cannot be written.
    """
    out, chosen = Path(out), scene.select(bands)
    with bounded_gdal(), chosen.open_files() as datasets:
        copy_bands(chosen.bands, datasets, scene.grid, out, compress=compress, progress=progress)
    return out
