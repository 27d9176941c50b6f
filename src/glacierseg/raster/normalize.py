"""Scenes as 8-bit rasters whose levels mean the same in every scene."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import RequestError
from glacierseg.raster.blocks import Progress, iterate_blocks, open_layers, open_writer
from glacierseg.raster.environment import bounded_gdal
from glacierseg.raster.outputs import TIFF, require_output, writes
from glacierseg.raster.ranges import (
    HIGH_PERCENTILE,
    LOW_PERCENTILE,
    BandRange,
    measure_ranges,
    read_ranges,
    write_ranges,
)
from glacierseg.raster.recipes import PHYSICAL_RANGES
from glacierseg.raster.scene import Scene

NODATA = 0
DARKEST, BRIGHTEST = 1, 255


@writes(out=TIFF)
def normalize_scene(
    scene: Scene,
    out: Path | str,
    ranges: Path | str,
    *,
    measure_on: Sequence[Scene] = (),
    low_percentile: float = LOW_PERCENTILE,
    high_percentile: float = HIGH_PERCENTILE,
    physical: bool = False,
    compress: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Writes a scene as 8-bit levels by per-band ranges.

    The ranges are measured and stored when their file is absent, and reused as they are when it is present:
    normalize a training scene first, then all others with the same file, so that a level means the same in
    each.

    Level 0 is nodata, in each band on its own; data are 1 to 255. One level of 256 is a small price: a
    nodata value goes through every GIS, whereas a mask inside the file is often lost.

    Args:
        scene: The scene.
        out: The GeoTIFF to write.
        ranges: The JSON file of ranges.
        measure_on: When measured, the training scenes to measure on together; this scene when left out.
        low_percentile: What becomes the darkest level, when measured.
        high_percentile: What becomes the brightest level, when measured.
        physical: When measured, take the bounds that a band has by definition (an index from -1 to 1, slope
            from 0 to 90 degrees) instead of its percentiles.
        compress: Deflate, else uncompressed.
        progress: Told the share done.

    Returns:
        The path of the result.

    Raises:
        BandError: The stored ranges lack a band, or a band has no data to measure.
        DataError: The file of ranges is not one.
        RequestError: Its name does not end in .json, or an output is an input.
        RasterError: The scene cannot be read.
        OutputError: The result cannot be written.
    """
    out, ranges = Path(out), Path(ranges)
    if ranges.suffix.lower() != ".json":
        raise RequestError(f"{ranges}: is no name for a file of ranges; end it in .json")
    measuring = not ranges.exists()
    if measuring:
        require_output(ranges)
        measured = measure_ranges(
            measure_on or [scene],
            low_percentile=low_percentile,
            high_percentile=high_percentile,
            fixed=PHYSICAL_RANGES if physical else None,
            progress=None if progress is None else lambda share: progress(share / 2),
        )
        write_ranges(ranges, measured)
    stored = read_ranges(ranges)
    bounds = [stored.of(name, str(ranges)) for name in scene.band_names]
    rest = progress
    if progress is not None and measuring:
        rest = lambda share: progress(0.5 + share / 2)  # noqa: E731
    with (
        bounded_gdal(),
        open_layers(scene) as reader,
        open_writer(
            out,
            scene.grid,
            scene.band_names,
            "uint8",
            NODATA,
            compress=compress,
            tags={"GLACIERSEG_RANGES": ranges.name},
        ) as writer,
    ):
        for block in iterate_blocks(scene.grid.shape, rest):
            values, valid = reader.read(block)
            levels = np.empty(values.shape, np.uint8)
            for band, bound in enumerate(bounds):
                levels[band] = to_levels(values[band], bound)
            writer.write(block, levels, valid)
    return out


def to_levels(values: NDArray[Any], bounds: BandRange) -> NDArray[np.uint8]:
    """Maps values to levels from 1 (at or below `low`) to 255 (at or above `high`), evenly in between.

    A range without width, of a band that was constant, parts values up to it from those above.

    Args:
        values: Of one band, any shape and type; those that are not finite become an arbitrary level.
        bounds: The range of the band.
    """
    numbers = np.nan_to_num(values.astype(np.float64), nan=bounds.low)
    width = bounds.high - bounds.low
    if width > 0:
        shares = (np.clip(numbers, bounds.low, bounds.high) - bounds.low) / width
    else:
        shares = (numbers > bounds.high).astype(np.float64)
    return np.rint(DARKEST + shares * (BRIGHTEST - DARKEST)).astype(np.uint8)
