"""What networks expect of a scene, and how one differs: in its values, its unit and its season."""

import math
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Annotated, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from glacierseg.errors import ValuesError
from glacierseg.raster.bounds import middle_of
from glacierseg.raster.facts import SEASON_DAYS, SceneFacts, days_apart_in_year, days_in_words
from glacierseg.raster.grid import Grid
from glacierseg.raster.scene import Scene
from glacierseg.raster.sensors import ROLES
from glacierseg.raster.units import (
    BRIGHTEST,
    LEVELS_UNIT,
    UNITS,
    Conversion,
    best_conversion,
    conversion_between,
    converted_unit,
    find_left_offset,
    is_made,
    is_reflected_light,
)
from glacierseg.raster.values import BandValues, short
from glacierseg.settings.scene import InputSettings

TROPICS_DEGREES = 15.0
"""Nearer to the equator seasons are wet or dry, by the place and not by the hemisphere."""
HALF_YEAR_DAYS = 182
_KNOWN = {unit.name: unit for unit in UNITS}


def _known_role(value: str) -> str:
    if value not in ROLES:
        raise ValueError(f"{value!r} is no role; choose one of {', '.join(sorted(ROLES))}")
    return value


BandRole = Annotated[str, AfterValidator(_known_role)]
Words = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """A part of a card: nothing in it may be changed or unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class WeightsBand(Section):
    """A band that the network reads.

    Attributes:
        name: Its name in the model card.
        role: Its part of the spectrum (`glacierseg.raster.sensors`), by which it is found under other names;
            None for an index or a terrain layer.
        unit: Of its values, in words: `reflectance x 10000`.
        values: What they were in training.
    """

    name: Words
    role: BandRole | None = None
    unit: Words
    values: BandValues

    @property
    def is_reflected_light(self) -> bool:
        """Whether it is in the unit of reflectance or digital numbers, unlike heat, indices and terrain."""
        return is_reflected_light(self.role)

    @property
    def in_words(self) -> str:
        """Its name, and its role where that says more."""
        return f"{self.name} ({self.role})" if self.role and self.role not in self.name.lower() else self.name


class Expectation(Protocol):
    """What networks expect of a scene, by the card of weights or of a network of one's own."""

    @property
    def name(self) -> str:
        """What users call them by."""

    @property
    def sensor(self) -> str | None:
        """The sensor of the training scenes, if it is known."""

    @property
    def bands(self) -> tuple[WeightsBand, ...]:
        """What they read, in their order."""

    @property
    def pixel_m(self) -> float | None:
        """Side of the training scenes' pixels on the ground."""

    @property
    def training_dates(self) -> tuple[date, ...]:
        """Days of the training scenes, as far as they are known."""

    @property
    def training_latitudes(self) -> tuple[float, ...]:
        """Of the southernmost and northernmost of the scenes whose days are known, in degrees."""


def strangeness(card: Expectation, found: Sequence[BandValues]) -> str | None:
    """Says in words how a scene's values are unlike those of the training, or None when they may be alike.

    Ground differs from scene to scene: forest is dark, firn is bright, basins lie higher or lower. So only
    what no ground explains counts: a band of light, or one of unknown kind, whose median is outside of nearly
    everything (0.1 to 99.9 %) that it was in training; any other band whose median is farther out than this
    range is wide, or heat that is less than half of it or more than twice; bands of reflected light that all
    have one value; or all of them darker (95 % of the scene below the darkest quarter of the training) or
    brighter (95 % of the scene above 95 % of the training: an ice cap may be firn all over).
    """
    pairs = list(zip(card.bands, found, strict=True))
    outside = [(band, own) for band, own in pairs if _distance(band, own) > _allowed(band, own)]
    if outside:
        # Faults that no scale of light repairs come first: their cure is another.
        return _of_band(*max(outside, key=lambda pair: (not _is_strict(pair[0]), _distance(*pair))))
    reflected = [(band, own) for band, own in pairs if band.is_reflected_light] or pairs
    if all(own.low == own.high and band.values.low < band.values.high for band, own in reflected):
        return f"every band has one value everywhere: {_of_band(*reflected[0])}"
    if all(own.p95 < band.values.p25 for band, own in reflected):
        return f"every band is darker: {_of_band(*reflected[0])}"
    if all(own.p5 > band.values.p95 for band, own in reflected):
        return f"every band is brighter: {_of_band(*reflected[0])}"
    return None


def doubts(card: Expectation, found: Sequence[BandValues]) -> list[str]:
    """Says which heat, indices and terrain lie outside of the training, though in no other unit."""
    pairs = zip(card.bands, found, strict=True)
    return [_of_band(band, own) for band, own in pairs if 0 < _distance(band, own) <= _allowed(band, own)]


def likely_unit(card: Expectation, found: Sequence[BandValues], dtypes: Sequence[str]) -> str:
    """Guesses what to do about strange values, as the end of a sentence; empty without a guess.

    Only a scale and offset that make the whole scene alike are named: they are for reflected light alone, and
    leave heat, indices and terrain as they are.
    """
    if set(dtypes) == {"uint8"} and max(band.values.high for band in card.bands) > BRIGHTEST:
        return "; they look like 8-bit levels"
    if strangeness(card, found) is None:
        return ""
    if any(band.unit == LEVELS_UNIT for band in card.bands):
        # Any unit could be stretched to levels: only the ranges of the training show which stretch is right.
        return "; normalize it as its training scenes were, with their --ranges"
    light = [band.is_reflected_light for band in card.bands]

    def misfit(conversion: Conversion) -> float:
        after = [
            own.rescaled(conversion.scale, conversion.offset) if scaled else own
            for own, scaled in zip(found, light, strict=True)
        ]
        if strangeness(card, after) is not None:
            return math.inf
        return sum(_misfit(band.values, own) for band, own in zip(card.bands, after, strict=True))

    best = best_conversion(misfit) if any(light) else None
    return f"; {best.options} would make them alike" if best else ""


def offset_warning(card: Expectation, found: Sequence[BandValues]) -> str | None:
    """Warns of an offset in reflected light that the training scenes lack."""
    spectral = [(band, own) for band, own in zip(card.bands, found, strict=True) if band.is_reflected_light]
    left = find_left_offset([own for _, own in spectral])
    if left is None or card.sensor not in {None, "sentinel2"}:
        return None
    if find_left_offset([band.values for band, _ in spectral]):
        return None
    return f"{left.in_words}, which the training scenes lack; take it off with --offset={-left.unit.zero:g}"


def _is_strict(band: WeightsBand) -> bool:
    """Whether only another unit brings a band's median outside of its training: basins differ in the rest."""
    return band.is_reflected_light or (band.role is None and not is_made(band.name))


def _allowed(band: WeightsBand, own: BandValues) -> float:
    """How far a median may lie outside of the training, in widths of that."""
    if _is_strict(band):
        return 0.0
    # Kelvin, degrees Celsius and digital numbers differ by more than seasons do.
    return 1.0 if band.role is None or 0.5 * band.values.median < own.median < 2 * band.values.median else 0.0


def _of_band(band: WeightsBand, own: BandValues) -> str:
    known = band.values
    return (
        f"{band.in_words} has a median of {short(own.median)}, and {short(known.median)} in training "
        f"(nearly all from {short(known.low)} to {short(known.high)}, {band.unit})"
    )


def _misfit(known: BandValues, own: BandValues) -> float:
    """How far a band is from the training in its median, in widths of that, and in its width, as a logarithm.

    Without the width, an offset alone would bring values of any unit near the median.
    """
    widths = [max(values.p95 - values.p5, math.ulp(1.0)) for values in (known, own)]
    return abs(own.median - known.median) / widths[0] + abs(math.log(widths[1] / widths[0]))


def _distance(band: WeightsBand, own: BandValues) -> float:
    """How far a median lies outside of the training, in widths of that; 0 inside."""
    known = band.values
    beyond = max(known.low - own.median, own.median - known.high, 0.0)
    return beyond / max(known.high - known.low, math.ulp(1.0))


def ends_of(numbers: Iterable[float]) -> tuple[float, ...]:
    """Returns the least and the greatest of some numbers to two decimals; none without finite ones."""
    found = [round(number, 2) for number in numbers if math.isfinite(number)]
    return (min(found), max(found)) if found else ()


def look_at_facts(
    expected: Expectation, facts: SceneFacts, scene: Scene, settings: InputSettings
) -> tuple[str, ...]:
    """Compares the unit and the season in a scene's tags with those of a training.

    Units are compared where both are known ones: tags count for more than what the values look like.

    Args:
        expected: Of the training.
        facts: Of the scene, as its file has them.
        scene: The scene.
        settings: How its values are brought to the training's unit, and whether to go on where they are not.

    Returns:
        What a user should know, a line each.

    Raises:
        ValuesError: The unit is another, and no conversion was given.
    """
    told, source = [], scene.paths[0]
    if other := _other_unit(expected, facts, settings):
        line = f"{source}: {other}"
        # Who gives a conversion has looked at the values; tags may have outlived a change of them.
        if not (settings.force or _converts(settings)):
            raise ValuesError(f"{line}; or go on all the same with --force")
        told.append(line)
    if out_of_season := _out_of_season(expected, facts.dates, scene.grid):
        told.append(f"{source}: {out_of_season}")
    return tuple(told)


def has_its_unit(expected: Expectation, facts: SceneFacts, settings: InputSettings) -> bool:
    """Whether a scene's tags say that its values are in the unit of a training, after any conversion."""
    light = [band.unit for band in expected.bands if band.is_reflected_light]
    return bool(light) and facts.unit in _KNOWN and _other_unit(expected, facts, settings) is None


def _other_unit(expected: Expectation, facts: SceneFacts, settings: InputSettings) -> str | None:
    light = [band.unit for band in expected.bands if band.is_reflected_light or band.unit == LEVELS_UNIT]
    known = {*_KNOWN, LEVELS_UNIT}
    if not light or light[0] not in known or facts.unit not in known:
        return None
    wanted, own = light[0], facts.unit
    if own in _KNOWN:
        own = converted_unit(own, settings.scale, settings.offset)
    if own == wanted:
        return None
    said = f"its tags say {facts.unit}"
    if _converts(settings):
        return f"{said}, which --scale and --offset do not bring to {wanted}, the unit of {expected.name}"
    return f"{said}, and {expected.name} was trained on {wanted}; {_cure(facts.unit, wanted)}"


def _converts(settings: InputSettings) -> bool:
    return (settings.scale, settings.offset) != (1.0, 0.0)


def _cure(own: str, wanted: str) -> str:
    if wanted == LEVELS_UNIT:
        return "normalize it with the --ranges of the training"
    if own == LEVELS_UNIT:
        return "give the scene as it was before it was normalized"
    conversion = conversion_between(own, wanted)
    assert conversion is not None  # noqa: S101  (both units are known)
    return f"give {conversion.options}"


def _out_of_season(expected: Expectation, days: Sequence[date], grid: Grid) -> str | None:
    trained = expected.training_dates
    if not trained or not days:
        return None
    hemispheres = _hemisphere(expected.training_latitudes), _hemisphere((middle_of(grid)[1],))
    if None in hemispheres:
        return None
    apart, other, of = (
        (days_apart_in_year(own, day) for own in days for day in trained),
        "",
        "days of the year",
    )
    if hemispheres[0] != hemispheres[1]:
        apart, other = (HALF_YEAR_DAYS - found for found in apart), " of the other hemisphere"
        of = "days by season"
    if (least := min(apart)) <= SEASON_DAYS:
        return None
    return (
        f"is of {days_in_words(days)}, {least} {of} away from the images{other} that {expected.name} "
        f"was trained on ({days_in_words(trained)}): snow and light may be others"
    )


def _hemisphere(latitudes: Sequence[float]) -> int | None:
    """Returns -1 for south and 1 for north; None where it is not known, or both, or the tropics."""
    if not latitudes or not min(map(abs, latitudes)) > TROPICS_DEGREES:
        return None
    found = {1 if latitude > 0 else -1 for latitude in latitudes}
    return found.pop() if len(found) == 1 else None
