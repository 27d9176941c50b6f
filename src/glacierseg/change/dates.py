"""Of which days two files are: as the user says, else by the tags of masks and the columns of outlines."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from glacierseg.change.sources import Side
from glacierseg.errors import RequestError
from glacierseg.inventory.dates import contradictions
from glacierseg.raster.facts import SEASON_DAYS, days_apart_in_year, days_in_words
from glacierseg.raster.outlines import mean_date
from glacierseg.settings.outlines import ChangeSettings, as_date, is_year

LEAST_DAYS = 365 - SEASON_DAYS
"""From which rates per year are given: a mass-balance year, from one end of summer to about the next."""
_SPREAD_DAYS = 366
_NAMES = ("old_date", "new_date")


def with_dates(
    settings: ChangeSettings, dates: Sequence[tuple[Path, Side]]
) -> tuple[ChangeSettings, list[str]]:
    """Fills in the dates that are not given, and says what is odd about them.

    Args:
        settings: As the user gave them; what they say wins.
        dates: The file and the glaciers of the old and the new date.

    Returns:
        Settings with both dates or none, and notes; also why there are no rates (`rate_years`).

    Raises:
        RequestError: One date is given and the other one is not known, or the new date is not after the old.
    """
    found: dict[str, str | None] = {}
    days: list[tuple[date, ...]] = []
    notes: list[str] = []
    for name, (path, side) in zip(_NAMES, dates, strict=True):
        option: str | None = getattr(settings, name)
        if option is None:
            middle = mean_date(side.days)
            found[name] = middle.isoformat() if middle else None
            days.append(side.days)
            notes += _about_spread(path, side.days)
        else:
            found[name] = option
            days.append(() if is_year(option) else (as_date(option),))
            notes += contradictions(f"--{name.replace('_', '-')} {option}", option, path, side.days)
    if all(days):
        notes += _about_season(days)
    given = settings.old_date is not None or settings.new_date is not None
    unknown = [path for text, (path, _) in zip(found.values(), dates, strict=True) if text is None]
    if unknown and given:
        raise RequestError(
            f"a rate needs both dates, and {unknown[0]} has none; give --old-date and --new-date"
        )
    if len(unknown) == 1:
        notes.append(f"{unknown[0]}: has no date; rates per year need --old-date and --new-date")
    if not unknown and not given and found["old_date"] == found["new_date"]:
        notes.append(f"both files are of {found['old_date']}, so there are no rates per year")
        return settings, notes
    if unknown:
        return settings, notes
    dated = settings.replaced(**found)
    if dated.years is not None and rate_years(dated) is None:
        notes.append(
            f"the two dates ({dated.old_date}, {dated.new_date}) are less than a mass-balance year apart, "
            f"{LEAST_DAYS} days at least, so there are no rates per year: what changed may be snow"
        )
    return dated, notes


def rate_years(settings: ChangeSettings) -> float | None:
    """Returns the years that a rate counts by; None without dates, and within one mass-balance year.

    Within a year snow comes and goes, and a few months times three are no year: of two masks 106 days apart
    the total was -242 % per year.
    """
    years = settings.years
    return years if years is not None and round(years * 365.25) >= LEAST_DAYS else None


def _about_spread(path: Path, days: tuple[date, ...]) -> list[str]:
    if not days or (max(days) - min(days)).days <= _SPREAD_DAYS:
        return []
    return [f"{path}: is of {days_in_words(days)}; rates count from the mean, {mean_date(days)}"]


def _about_season(days: Sequence[tuple[date, ...]]) -> list[str]:
    apart = min(days_apart_in_year(old, new) for old in set(days[0]) for new in set(days[1]))
    if apart <= SEASON_DAYS:
        return []
    line = (
        f"the two dates ({', '.join(map(days_in_words, days))}) are {apart} days of the year apart: snow "
        "makes glaciers look larger, so a part of the change may be the season"
    )
    return [line]
