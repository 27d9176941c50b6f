"""Of which days outlines are, by the columns in which inventories say it."""

import re
from datetime import date
from typing import Any

DATE_COLUMN = "src_date"
"""RGI 7, GLIMS and our inventories: day of the image."""
# Those of RGI 3 to 6 are written 20000721, with 99 for a month or a day that is not known.
_COLUMNS = (DATE_COLUMN, "bgndate", "enddate")
_DAY = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})")
_YEARS = range(1800, 2200)


def dates_of(table: Any) -> tuple[date, ...]:
    """Returns the days of the images that the outlines of a table are from, as many as the table tells.

    A day that is not known counts as the 15th of its month, and without the month as 1 July.

    Args:
        table: GeoDataFrame; capitals in the names of its columns do not matter.
    """
    names = {str(name).lower(): name for name in table.columns}
    texts = [str(value) for name in _COLUMNS if name in names for value in table[names[name]]]
    return tuple(day for text in texts if (day := _as_date(text)))


def mean_date(days: tuple[date, ...]) -> date | None:
    """Returns the day in the middle of some, weighed by how often each occurs; None without any."""
    return date.fromordinal(round(sum(day.toordinal() for day in days) / len(days))) if days else None


def _as_date(text: str) -> date | None:
    if not (found := _DAY.match(text)):
        return None
    year, month, day = map(int, found.groups())
    if year not in _YEARS:
        return None
    if month == 99:
        return date(year, 7, 1)
    try:
        return date(year, month, 15 if day == 99 else day)
    except ValueError:
        return None
