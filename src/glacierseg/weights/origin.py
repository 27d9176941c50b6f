"""Whether what a scene's file says of itself fits a training: its unit and its season."""

import math
from collections.abc import Iterable, Sequence
from datetime import date

from glacierseg.errors import ValuesError
from glacierseg.raster.bounds import middle_of
from glacierseg.raster.facts import SEASON_DAYS, SceneFacts, days_apart_in_year, days_in_words
from glacierseg.raster.grid import Grid
from glacierseg.raster.scene import Scene
from glacierseg.raster.units import LEVELS_UNIT, UNITS, conversion_between, converted_unit
from glacierseg.settings.scene import InputSettings
from glacierseg.weights.values import Expectation

TROPICS_DEGREES = 15.0
"""Nearer to the equator seasons are wet or dry, by the place and not by the hemisphere."""
HALF_YEAR_DAYS = 182
_KNOWN = {unit.name: unit for unit in UNITS}


def ends_of(numbers: Iterable[float]) -> tuple[float, ...]:
    """Returns the least and the greatest of some numbers to two decimals; none without finite ones."""
    found = [round(number, 2) for number in numbers if math.isfinite(number)]
    return (min(found), max(found)) if found else ()


def look_at_facts(
    expected: Expectation, facts: SceneFacts, scene: Scene, settings: InputSettings
) -> tuple[str, ...]:
    """Looks whether the unit and the season that a scene's tags tell are those of a training.

    A unit is compared where both are ones that are known: what a file says is stronger than what its values
    look like.

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
