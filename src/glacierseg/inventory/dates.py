"""The day that glaciers are of: the one given, else the one in the file."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import geopandas as gpd

from glacierseg.raster.facts import days_in_words
from glacierseg.raster.outlines import DATE_COLUMN
from glacierseg.settings.outlines import as_date, is_year


def add_date(
    glaciers: gpd.GeoDataFrame, path: Path, days: Sequence[date], asked: str | None
) -> tuple[gpd.GeoDataFrame, list[str]]:
    """Adds the column `src_date` where the day is known: that of the earliest image, as RGI 7 writes it.

    Args:
        glaciers: A row for each glacier, with its id first.
        path: The mask or the outlines.
        days: Of their images, as far as the file tells.
        asked: What the user says instead.

    Returns:
        The table, and what a user should know.
    """
    if asked is not None:
        notes, day = contradictions(f"--src-date {asked}", asked, path, days), as_date(asked)
    elif not days:
        return glaciers, []
    else:
        notes, day = [], min(days)
        if max(days) != day:
            notes.append(f"{path}: is of {days_in_words(days)}; `{DATE_COLUMN}` is the first day")
    dated = glaciers.copy()
    dated.insert(1, DATE_COLUMN, f"{day.isoformat()}T00:00:00")
    return dated, notes


def contradictions(option: str, text: str, path: Path, days: Sequence[date]) -> list[str]:
    """Says that a day which the user gives is not one of a file's own.

    Args:
        option: The option as it was typed.
        text: The day, or the year alone.
        path: The file.
        days: Its own.
    """
    if not days:
        return []
    first, last, own = min(days), max(days), as_date(text)
    agrees = first.year <= own.year <= last.year if is_year(text) else first <= own <= last
    return [] if agrees else [f"{path}: says that it is of {days_in_words(days)}; {option} counts"]
