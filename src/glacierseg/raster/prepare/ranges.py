"""Value ranges of bands: measured once, stored, and used again for every other scene."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import BandError, DataError, RequestError
from glacierseg.log import Progress
from glacierseg.raster.blocks import iterate_blocks, open_layers
from glacierseg.raster.environment import bounded_gdal
from glacierseg.raster.prepare.recipes import PHYSICAL_RANGES
from glacierseg.raster.scene import Scene
from glacierseg.raster.write import write_json
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.prepare import NormalizeSettings

# Snow is bright and rare in a scene of rock, ice lies between: a tight cut would merge them.
LOW_PERCENTILE, HIGH_PERCENTILE = NormalizeSettings().percentiles
_HALF = 1 << 16


@dataclass(frozen=True)
class BandRange:
    """The values that become the darkest and the brightest level of one band."""

    low: float
    high: float


@dataclass(frozen=True)
class Ranges:
    """The ranges of the bands of one kind of scene.

    Attributes:
        bands: By band name.
        low_percentile: Share of values below `low` where it was measured, in percent.
        high_percentile: Share of values up to `high`, in percent.
        scenes: Names of the scenes that they were measured on.
    """

    bands: Mapping[str, BandRange]
    low_percentile: float = LOW_PERCENTILE
    high_percentile: float = HIGH_PERCENTILE
    scenes: tuple[str, ...] = field(default=())

    def of(self, name: str, source: str) -> BandRange:
        """Returns the range of a band.

        Raises:
            BandError: There is none.
        """
        if name not in self.bands:
            raise BandError(
                f"{source}: has no range for band {name!r} (it has {', '.join(self.bands)}); "
                "give a scene with the same bands, or measure ranges again into another file"
            )
        return self.bands[name]


@fields_as_keywords(settings=NormalizeSettings)
def measure_ranges(
    scenes: Sequence[Scene],
    settings: NormalizeSettings | None = None,
    *,
    progress: Progress | None = None,
) -> Ranges:
    """Measures the ranges of bands over all valid pixels of the training scenes together.

    The percentiles are exact (the smallest value that at least so many percent do not exceed), for scenes of
    any size: the scenes are read twice, first counting the upper, then the lower halves of the bits of the
    values as 32-bit floating-point numbers, which sort like the values themselves.

    Args:
        scenes: Scenes with the same bands.
        settings: Or its fields as keywords.
        progress: Called with the share done, 0-1.

    Raises:
        RequestError: There is no scene.
        BandError: The scenes have different bands, or a band has no data.
        RasterError: A scene cannot be read.
    """
    settings = settings or NormalizeSettings()
    if not scenes:
        raise RequestError("ranges are measured on scenes; give at least one")
    names = scenes[0].band_names
    for scene in scenes[1:]:
        if scene.band_names != names:
            raise BandError(
                f"{scene.paths[0]}: has bands {', '.join(scene.band_names)} instead of {', '.join(names)}; "
                "ranges need scenes with the same bands"
            )
    fixed = PHYSICAL_RANGES if settings.physical else {}
    known = {name: BandRange(*bounds) for name, bounds in fixed.items() if name in names}
    wanted = [name for name in names if name not in known]
    if wanted:
        chosen = [scene.select(wanted) for scene in scenes]
        shares = (settings.percentiles[0] / 100, settings.percentiles[1] / 100)
        known |= dict(zip(wanted, _percentiles(chosen, shares, progress), strict=True))
    return Ranges(
        {name: known[name] for name in names},
        *settings.percentiles,
        scenes=tuple(scene.name for scene in scenes),
    )


def write_ranges(path: Path | str, ranges: Ranges) -> None:
    """Stores ranges as JSON.

    Raises:
        OutputError: The folder cannot be written to.
    """
    write_json(Path(path), asdict(ranges))


def read_ranges(path: Path | str) -> Ranges:
    """Reads stored ranges.

    Raises:
        DataError: The file is not such a JSON file.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        bands = {
            name: BandRange(float(bounds["low"]), float(bounds["high"]))
            for name, bounds in data["bands"].items()
        }
        ranges = Ranges(
            bands,
            float(data.get("low_percentile", LOW_PERCENTILE)),
            float(data.get("high_percentile", HIGH_PERCENTILE)),
            tuple(data.get("scenes", ())),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: holds no band ranges; expected "
            '{"bands": {"NAME": {"low": 0, "high": 1}}}, so delete it to measure them again'
        ) from error
    for name, bounds in bands.items():
        if not bounds.low <= bounds.high or not math.isfinite(bounds.high - bounds.low):
            raise DataError(f"{path}: range of band {name!r} is not in order; low must not exceed high")
    return ranges


def _percentiles(
    scenes: Sequence[Scene], shares: tuple[float, float], progress: Progress | None
) -> list[BandRange]:
    names = scenes[0].band_names
    upper = np.zeros((len(names), _HALF), np.int64)
    passes = 2 * len(scenes)
    for number, scene in enumerate(scenes):
        for band, keys in _sortable_values(scene, _part_of(progress, number, passes)):
            upper[band] += np.bincount(keys >> 16, minlength=_HALF)
    if empty := [name for name, counts in zip(names, upper, strict=True) if not counts.any()]:
        raise BandError(
            f"{scenes[0].paths[0]}: band {empty[0]!r} has no data to measure a range on; leave it out"
        )
    # (band, low or high): the upper half of the sought value, and its rank among values with that half.
    halves, ranks = np.empty((len(names), 2), np.int64), np.empty((len(names), 2), np.int64)
    for band, counts in enumerate(upper):
        total = np.cumsum(counts)
        for end, share in enumerate(shares):
            rank = min(max(math.ceil(share * int(total[-1])), 1), int(total[-1]))
            half = int(np.searchsorted(total, rank))
            halves[band, end] = half
            ranks[band, end] = rank - (int(total[half - 1]) if half else 0)
    lower = np.zeros((len(names), 2, _HALF), np.int64)
    for number, scene in enumerate(scenes, start=len(scenes)):
        for band, keys in _sortable_values(scene, _part_of(progress, number, passes)):
            for end in (0, 1):
                inside = keys[keys >> 16 == halves[band, end]]
                lower[band, end] += np.bincount(inside & (_HALF - 1), minlength=_HALF)
    found = []
    for band in range(len(names)):
        ends = [
            _from_key(
                int(halves[band, end]), int(np.searchsorted(np.cumsum(lower[band, end]), ranks[band, end]))
            )
            for end in (0, 1)
        ]
        found.append(BandRange(*ends))
    return found


def _sortable_values(scene: Scene, progress: Progress | None) -> Any:
    """Yields (band number, keys of its valid values) block by block."""
    with bounded_gdal(), open_layers(scene) as reader:
        for block in iterate_blocks(scene.grid.shape, progress):
            values, valid = reader.read(block)
            for band in range(len(scene.bands)):
                yield band, _to_keys(values[band][valid[band]])


def _to_keys(values: NDArray[Any]) -> NDArray[np.uint32]:
    """Maps values to unsigned integers in the same order."""
    # Adding zero turns minus zero into zero, so that equal values have equal keys.
    bits = (values.astype(np.float32) + np.float32(0)).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))


def _from_key(upper: int, lower: int) -> float:
    key = upper << 16 | lower
    bits = key ^ (1 << 31) if key >> 31 else ~key & 0xFFFFFFFF
    return float(np.uint32(bits).view(np.float32))


def _part_of(progress: Progress | None, number: int, parts: int) -> Progress | None:
    """Scales the progress of one of several equal parts."""
    if progress is None:
        return None
    return lambda share: progress((number + share) / parts)
