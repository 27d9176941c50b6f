"""What a scene's file says about where it comes from, in tags that follow it to its maps and inventory."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

from glacierseg.raster.open import open_raster

_PREFIX = "GLACIERSEG_"
_SEPARATOR = ";"


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
    def days(self) -> str:
        """Day, or first and last day, in words; empty where unknown."""
        days = dict.fromkeys(day.isoformat() for day in (self.first_date, self.last_date) if day)
        return " to ".join(days)

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> "SceneFacts":
        """Reads them from the tags of a raster; a date that is none counts as unknown."""
        found: dict[str, Any] = {}
        for field in fields(cls):
            text = tags.get(_PREFIX + field.name.upper(), "")
            if not text:
                continue
            if field.name.endswith("_date"):
                found[field.name] = _as_date(text)
            else:
                found[field.name] = tuple(text.split(_SEPARATOR)) if field.type is not str else text
        return cls(**found)


def facts_of(path: Path | str) -> SceneFacts:
    """Reads what a raster says about where it comes from.

    Raises:
        RasterError: It cannot be opened.
    """
    with open_raster(path) as dataset:
        return SceneFacts.from_tags(dataset.tags())


def _as_text(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat()
    return value if isinstance(value, str) else _SEPARATOR.join(value)


def _as_date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
