"""Scenes as 8-bit rasters whose levels mean the same in every scene."""

import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import GlaciersegWarning, RequestError, ValuesError
from glacierseg.log import Progress
from glacierseg.raster.blocks import iterate_blocks, open_layers, open_writer
from glacierseg.raster.environment import bounded_gdal
from glacierseg.raster.facts import RANGES_TAG, facts_of_bands
from glacierseg.raster.outputs import TIFF, require_output, writes
from glacierseg.raster.prepare.ranges import (
    HIGH_PERCENTILE,
    LOW_PERCENTILE,
    BandRange,
    Ranges,
    measure_ranges,
    read_ranges,
    write_ranges,
)
from glacierseg.raster.scene import Scene
from glacierseg.raster.units import (
    BRIGHTEST,
    DARKEST,
    LEVELS_UNIT,
    Conversion,
    best_conversion,
    conversion_cure,
    look_for_left_offset,
    reflected_bands,
)
from glacierseg.raster.values import LEAST_PIXELS, sample_values
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.prepare import NormalizeSettings

_log = logging.getLogger(__name__)
NODATA = 0
_MOST_OUTSIDE = 0.5
_NAMED = 3


@fields_as_keywords(settings=NormalizeSettings)
@writes(out=TIFF)
def normalize_scene(
    scene: Scene,
    out: Path | str,
    ranges: Path | str | Ranges,
    settings: NormalizeSettings | None = None,
    *,
    measure_on: Sequence[Scene] = (),
    progress: Progress | None = None,
) -> Path:
    """Writes a scene as 8-bit levels by per-band ranges.

    The ranges are measured and stored when their file is absent, and reused as they are when it is present:
    normalize a training scene first, then all others with the same file, so that a level means the same in
    each. How much of a scene lies outside of stored ranges is logged.

    Level 0 is nodata, in each band on its own; data are 1 to 255. One level of 256 is a small price: a
    nodata value goes through every GIS, whereas a mask inside the file is often lost.

    Args:
        scene: The scene.
        out: The GeoTIFF to write.
        ranges: The JSON file of ranges, or ranges that are known.
        settings: Or its fields as keywords.
        measure_on: When measured, the training scenes to measure on together; this scene when left out.
        progress: Called with the share done, 0-1.

    Returns:
        The path of the result.

    Raises:
        ValuesError: More than half of a band's pixels lie outside of its stored range.
        BandError: The stored ranges lack a band, or a band has no data to measure.
        DataError: The file of ranges is not one.
        RequestError: Its name does not end in .json, or an output is an input.
        RasterError: The scene cannot be read.
        OutputError: The result cannot be written.
    """
    settings, out = settings or NormalizeSettings(), Path(out)
    known, source = (ranges, "ranges of the training") if isinstance(ranges, Ranges) else (None, str(ranges))
    if known is None and not source.lower().endswith(".json"):
        raise RequestError(f"{source}: a file of ranges must end in .json; choose another --ranges")
    measuring = known is None and not Path(source).exists()
    for own in dict.fromkeys((scene, *measure_on) if measuring else (scene,)):
        if left := look_for_left_offset(own):
            warnings.warn(
                f"{own.paths[0]}: {left.in_words}; take the offset off before ranges are measured or used: "
                f"{conversion_cure(own, left.unit.cures[0])}",
                GlaciersegWarning,
                stacklevel=2,
            )
    if measuring:
        require_output(Path(source))
        measured = measure_ranges(
            measure_on or [scene],
            settings,
            progress=None if progress is None else lambda share: progress(share / 2),
        )
        write_ranges(source, measured)
    stored = known or read_ranges(source)
    bounds = [stored.of(name, source) for name in scene.band_names]
    facts = facts_of_bands(scene.bands)
    if facts.unit:
        facts = replace(facts, unit=LEVELS_UNIT)
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
            compress=settings.compress,
            tags={RANGES_TAG: _as_tag(scene.band_names, bounds), **facts.tags},
        ) as writer,
    ):
        found, outside = np.zeros((2, len(bounds)), np.int64)
        for block in iterate_blocks(scene.grid.shape, rest):
            values, valid = reader.read(block)
            levels = np.empty(values.shape, np.uint8)
            for band, bound in enumerate(bounds):
                levels[band] = to_levels(values[band], bound)
                found[band] += np.count_nonzero(valid[band])
                outside[band] += np.count_nonzero(_outside(values[band][valid[band]], bound))
            writer.write(block, levels, valid)
        if not measuring:
            shares = outside / np.maximum(found, 1)
            # Of a few pixels nearly all may well lie outside.
            _refuse_another_unit(scene, bounds, np.where(found < LEAST_PIXELS, 0, shares), source)
            _log.info(f"{out}: {_shares_in_words(scene.band_names, shares)}")
    return out


def _as_tag(names: Sequence[str], bounds: Sequence[BandRange]) -> str:
    return json.dumps({name: (bound.low, bound.high) for name, bound in zip(names, bounds, strict=True)})


def _outside(values: NDArray[Any], bound: BandRange) -> NDArray[np.bool_]:
    """Where values lie outside of a range; nowhere of one without width, of a band that was constant."""
    inside: NDArray[np.bool_] = (values >= bound.low) & (values <= bound.high)
    return np.logical_not(inside) if bound.high > bound.low else np.zeros(inside.shape, bool)


def _shares_in_words(names: Sequence[str], shares: NDArray[np.float64]) -> str:
    worst = np.argsort(-shares, kind="stable")[:_NAMED]
    return "outside of the stored ranges: " + ", ".join(f"{names[i]} {shares[i]:.1%}" for i in worst)


def _refuse_another_unit(
    scene: Scene, bounds: Sequence[BandRange], shares: NDArray[np.float64], source: str
) -> None:
    if not (shares > _MOST_OUTSIDE).any():
        return
    words = _shares_in_words(scene.band_names, shares)
    line = f"{scene.paths[0]}: more than half of a band lies {words} ({source})"
    known = reflected_bands(scene.band_names)
    light = [i for i, name in enumerate(scene.band_names) if name in known and bounds[i].high > bounds[i].low]
    cure = (
        "look at the unit of these bands; where it is right, measure ranges again on all scenes together, "
        "with --measure-on for each and another --ranges"
    )
    if (shares[light] > _MOST_OUTSIDE).any():
        values = sample_values(scene.select([scene.band_names[i] for i in light]))

        def misfit(conversion: Conversion) -> float:
            after = values.astype(np.float64) * conversion.scale + conversion.offset
            own = list(zip(after, (bounds[i] for i in light), strict=True))
            if max(_outside(band, bound).mean() for band, bound in own) > _MOST_OUTSIDE:
                return float("inf")
            # A scene of next to one value lies inside of any range, and does not fill it.
            ends = [(np.percentile(band, (LOW_PERCENTILE, HIGH_PERCENTILE)), bound) for band, bound in own]
            gaps = [abs(low - r.low) + abs(high - r.high) for (low, high), r in ends]
            return float(np.mean([gap / (r.high - r.low) for gap, (_, r) in zip(gaps, ends, strict=True)]))

        if values.size and (found := best_conversion(misfit)):
            cure = f"the unit of reflected light is another: {conversion_cure(scene, found.options)}"
    raise ValuesError(f"{line}; {cure}")


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
