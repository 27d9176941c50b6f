"""Tags of a scene's file about its origin, most of which are copied to its maps."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

from glacierseg.errors import RasterError
from glacierseg.raster.open import files_shown, open_raster
from glacierseg.raster.units import reflected_bands
from glacierseg.raster.values import Band, bands_of

SEASON_DAYS = 45
"""Images that are farther apart in the year may differ in snow and light."""
RANGES_TAG = "GLACIERSEG_RANGES"
"""Tag of a normalized scene with its ranges by band."""
_PREFIX = "GLACIERSEG_"
_SEPARATOR = ";"
_LISTED = 2
# Of a tag that another program wrote; a name of a product has 60.
_MOST_LETTERS = 120
# Overviews, masks and statistics that lie beside a raster.
_BESIDE = frozenset({".ovr", ".msk", ".xml"})
# What in a VRT gives other values than those of its files.
_COMPUTES = re.compile("<(ScaleRatio|ScaleOffset|Exponent|LUT|PixelFunctionType|Algorithm)>")


@dataclass(frozen=True)
class SceneFacts:
    """Where a scene comes from; what is not known is empty.

    Attributes:
        first_date: Day of the earliest image, UTC.
        last_date: Day of the latest image.
        sensor: Key of `raster.sensors.SENSORS`.
        products: Names of the products.
        baseline: Processing baseline (`05.11`) or collection (`02`).
        unit: Of the bands of reflected light, as `raster.units` names it.
        recipe: Key of `raster.prepare.recipes.RECIPES`.
        masked: Classes whose pixels became no data (`cloud`).
    """

    first_date: date | None = None
    last_date: date | None = None
    sensor: str = ""
    products: tuple[str, ...] = ()
    baseline: str = ""
    unit: str = ""
    recipe: str = ""
    masked: tuple[str, ...] = ()

    @property
    def tags(self) -> dict[str, str]:
        """The known ones as tags of a raster."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {_PREFIX + name.upper(): _as_text(value) for name, value in found.items() if value}

    @property
    def dates(self) -> tuple[date, ...]:
        """The known days, the first one first; one day alone once."""
        return tuple(sorted({day for day in (self.first_date, self.last_date) if day}))

    @property
    def in_words(self) -> str:
        """What is known, for people; empty where nothing is."""
        products = list(self.products[:_LISTED])
        if more := len(self.products) - len(products):
            products.append(f"{more} more products")
        found = [
            days_in_words(self.dates),
            self.sensor,
            *products,
            f"baseline {self.baseline}" if self.baseline else "",
            self.unit,
            f"masked: {', '.join(self.masked)}" if self.masked else "",
        ]
        return ", ".join(word for word in found if word)

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> "SceneFacts":
        """Reads them from the tags of a raster, which other programs may have written.

        A date that is none counts as unknown, and a time of the day is left out. Text becomes one line.
        """
        found: dict[str, Any] = {}
        for field in fields(cls):
            text = tags.get(_PREFIX + field.name.upper(), "")
            if field.name.endswith("_date"):
                found[field.name] = _as_date(text.strip())
            elif field.type is str:
                found[field.name] = _as_line(text)
            else:
                found[field.name] = tuple(filter(None, map(_as_line, text.split(_SEPARATOR))))
        return cls(**found)


def facts_of(path: Path | str) -> SceneFacts:
    """Reads what a raster says about where it comes from.

    A virtual mosaic (VRT) without such tags says what the files that it shows say together, as
    `facts_of_bands` puts it.

    Raises:
        RasterError: It cannot be opened.
    """
    with open_raster(path) as dataset:
        facts, is_mosaic = SceneFacts.from_tags(dataset.tags()), dataset.driver == "VRT"
    return _facts_shown(Path(path)) if is_mosaic and facts == SceneFacts() else facts


def facts_of_bands(bands: Sequence[Band]) -> SceneFacts:
    """Returns what the files of some bands say together.

    Dates span all of them, products and masked classes are listed once each; what differs from file to file
    is unknown, and so is the unit unless all files of reflected light say the same.

    Raises:
        RasterError: A file cannot be opened.
    """
    found = {path: facts_of(path) for path in dict.fromkeys(band.path for band in bands)}
    names = {path: [band.name for band in bands if band.path == path] for path in found}
    return _together([(facts, names[path]) for path, facts in found.items()])


def ranges_of(bands: Sequence[Band]) -> dict[str, tuple[float, float]] | None:
    """Returns the ranges by which bands were normalized, by name; None where no file says so.

    Raises:
        RasterError: A file cannot be read.
    """
    found: dict[str, tuple[float, float]] = {}
    for path in dict.fromkeys(band.path for band in bands):
        with open_raster(path) as dataset:
            stored = dataset.tags().get(RANGES_TAG, "")
        with suppress(ValueError, TypeError, AttributeError):
            found |= {name: (float(low), float(high)) for name, (low, high) in json.loads(stored).items()}
    return {band.name: found[band.name] for band in bands if band.name in found} or None


def _facts_shown(mosaic: Path) -> SceneFacts:
    """Returns what the files that a VRT shows say together; their unit only where it shows their values."""
    members, as_stored = [], True
    for path in files_shown([mosaic]):
        if path.suffix.lower() == ".vrt":
            as_stored &= not _COMPUTES.search(path.read_text(encoding="utf-8", errors="replace"))
        elif path.suffix.lower() not in _BESIDE:
            members.append(_member(path))
    found = _together(members)
    return found if as_stored else replace(found, unit="")


def _member(path: Path) -> tuple[SceneFacts, list[str]]:
    """Returns the facts of a file and the names of its bands; nothing of one that holds several rasters."""
    with suppress(RasterError), open_raster(path) as dataset:
        names = [band.name for band in bands_of(dataset, path, alpha_is_data=True)]
        return SceneFacts.from_tags(dataset.tags()), names
    return SceneFacts(), []


def _together(files: Sequence[tuple[SceneFacts, Sequence[str]]]) -> SceneFacts:
    """Returns what files say together, given the names of the bands of each."""
    light = [bool(reflected_bands(names)) for _, names in files]
    units = {facts.unit for (facts, _), counts in zip(files, light, strict=True) if counts or not any(light)}
    known = [facts for facts, _ in files]
    days = [day for facts in known for day in facts.dates]
    return SceneFacts(
        first_date=min(days, default=None),
        last_date=max(days, default=None),
        sensor=_common(facts.sensor for facts in known),
        products=tuple(dict.fromkeys(name for facts in known for name in facts.products)),
        baseline=_common(facts.baseline for facts in known),
        unit=units.pop() if len(units) == 1 else "",
        recipe=_common(facts.recipe for facts in known),
        masked=tuple(dict.fromkeys(name for facts in known for name in facts.masked)),
    )


def days_in_words(days: Sequence[date]) -> str:
    """Writes one day, or the first and the last of several; empty without any."""
    ends = dict.fromkeys((min(days), max(days))) if days else ()
    return " to ".join(day.isoformat() for day in ends)


def days_apart_in_year(one: date, other: date) -> int:
    """Returns how many days lie between two days of the year, whichever the years and across New Year."""
    apart = abs(one.timetuple().tm_yday - other.timetuple().tm_yday)
    return min(apart, 365 - apart)


def _common(texts: Iterable[str]) -> str:
    known = set(texts) - {""}
    return known.pop() if len(known) == 1 else ""


def _as_text(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat()
    return value if isinstance(value, str) else _SEPARATOR.join(value)


def _as_date(text: str) -> date | None:
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        return None


def _as_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MOST_LETTERS else f"{line[: _MOST_LETTERS - 3]}..."
