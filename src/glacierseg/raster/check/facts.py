"""Checks of what files say of themselves: dates, sensor, unit."""

from collections.abc import Sequence
from datetime import date

from glacierseg.raster.check.result import CheckResult
from glacierseg.raster.facts import SceneFacts, days_in_words, facts_of_bands
from glacierseg.raster.outlines.dates import mean_date
from glacierseg.raster.samples import measure_values, sample_values
from glacierseg.raster.scene import Scene
from glacierseg.raster.units import LEVELS_UNIT, UNITS, reflected_bands, unit_of

# A front that retreats by 10 m a year is a few pixels elsewhere by then.
_YEARS_APART = 5.0


def check_facts(scene: Scene) -> tuple[CheckResult, ...]:
    """What the file says of where the scene comes from; nothing where it says nothing.

    Raises:
        RasterError: Pixels cannot be read.
    """
    facts = facts_of_bands(scene.bands)
    if facts == SceneFacts():
        return ()
    if other := _other_unit(scene, facts.unit):
        return (
            CheckResult(
                "origin",
                "warning",
                f"{facts.in_words}; but values of reflected light look like {other}",
                "its values were changed and its tags were not: make the scene from its product again",
            ),
        )
    return (CheckResult("origin", "passed", facts.in_words),)


def _other_unit(scene: Scene, unit: str) -> str:
    """Names the unit that values of reflected light look like, where it is not that of the tags."""
    light = reflected_bands(scene.band_names)
    if not light or unit not in {LEVELS_UNIT, *(known.name for known in UNITS)}:
        return ""
    chosen = scene.select(light)
    if chosen.dtype == "uint8":
        found = LEVELS_UNIT
    else:
        found = unit_of(measure_values(sample_values(chosen, apart_from_zeros=True)) or ())
    return found if found != unit else ""


def check_truth_date(scene: Scene, days: Sequence[date]) -> tuple[CheckResult, ...]:
    """How many years lie between truth and scene; nothing where one of them has no date.

    Args:
        scene: The scene.
        days: Of the truth.
    """
    own, of_truth = mean_date(facts_of_bands(scene.bands).dates), mean_date(tuple(days))
    if own is None or of_truth is None:
        return ()
    years = (own - of_truth).days / 365.25
    message = (
        f"truth is of {days_in_words(days)}, {abs(years):.1f} years "
        f"{'before' if years >= 0 else 'after'} the scene"
    )
    if abs(years) <= _YEARS_APART:
        return (CheckResult("truth date", "passed", message),)
    fix = "fronts have moved since; take truth of a nearer date, or expect errors at the tongues"
    return (CheckResult("truth date", "warning", message, fix),)
