"""Dates of a change from options, tags and columns: the two sides that are compared."""

from datetime import date
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from glacierseg.change.files import FileChange, change_between_files
from glacierseg.errors import RequestError
from glacierseg.raster.facts import SceneFacts
from glacierseg.raster.outlines import dates_of, mean_date
from glacierseg.raster.write import write_raster
from glacierseg.settings.outlines import ChangeSettings
from tests.helpers import utm_grid

GRID = utm_grid(40, 40)


def mask(folder: Path, name: str, *days: date) -> Path:
    path = folder / f"{name}.tif"
    facts = SceneFacts(first_date=min(days), last_date=max(days)) if days else SceneFacts()
    ice = np.zeros(GRID.shape, np.uint8)
    ice[10:30, 10:30] = 1
    write_raster(path, ice, GRID, bands=["glacier"], nodata=255, tags=facts.tags, cog=False)
    return path


def outlines(folder: Path, name: str, **columns: list[str]) -> Path:
    left, bottom, _, _ = GRID.bounds
    shapes = [
        shapely.box(left + 90, bottom + 90, left + 190, bottom + 310),
        shapely.box(left + 200, bottom + 90, left + 290, bottom + 310),
    ]
    path = folder / f"{name}.gpkg"
    gpd.GeoDataFrame({"rgi_id": ["a", "b"], **columns}, geometry=shapes, crs="EPSG:32643").to_file(path)
    return path


def years(found: FileChange) -> float | None:
    return found.change.total.years


def test_rates_follow_from_the_dates_of_the_files(tmp_path: Path) -> None:
    old, new = mask(tmp_path, "old", date(2000, 8, 20)), mask(tmp_path, "new", date(2020, 8, 20))
    found = change_between_files(old, new)
    assert years(found) == pytest.approx(20, abs=0.01)
    assert found.notes == ()
    record = found.to_dict()
    assert (record["old_date"], record["new_date"]) == ("2000-08-20", "2020-08-20")
    assert record["total"]["km2_per_year"] == pytest.approx(record["total"]["change_km2"] / 20, abs=1e-9)


def test_without_dates_nothing_is_said_of_them(tmp_path: Path) -> None:
    found = change_between_files(mask(tmp_path, "old"), mask(tmp_path, "new"))
    assert (years(found), found.notes) == (None, ())
    assert "old_date" not in found.to_dict()


def test_options_win_and_contradictions_are_said(tmp_path: Path) -> None:
    old, new = mask(tmp_path, "old", date(2000, 8, 20)), mask(tmp_path, "new", date(2020, 8, 20))
    found = change_between_files(old, new, settings=ChangeSettings(old_date="2010-08-20"))
    assert years(found) == pytest.approx(10, abs=0.01)
    (note,) = found.notes
    assert note == f"{old}: says that it is of 2000-08-20; --old-date 2010-08-20 counts"
    assert (
        change_between_files(old, new, settings=ChangeSettings(old_date="2000", new_date="2020")).notes == ()
    )
    (note,) = change_between_files(old, new, settings=ChangeSettings(new_date="2021")).notes
    assert "--new-date 2021 counts" in note


def test_one_date_alone_gives_no_rate_and_says_why(tmp_path: Path) -> None:
    old, new = mask(tmp_path, "old"), mask(tmp_path, "new", date(2020, 8, 20))
    found = change_between_files(old, new)
    assert years(found) is None
    (note,) = found.notes
    assert note.startswith(f"{old}: has no date")
    assert years(change_between_files(old, new, settings=ChangeSettings(old_date="2010"))) == pytest.approx(
        10.1, abs=0.05
    )
    with pytest.raises(RequestError, match="a rate needs both dates") as refused:
        change_between_files(old, new, settings=ChangeSettings(new_date="2020-08-20"))
    assert str(old) in str(refused.value)


def test_dates_in_the_wrong_order_are_refused_and_equal_ones_give_no_rate(tmp_path: Path) -> None:
    old, new = mask(tmp_path, "old", date(2020, 8, 20)), mask(tmp_path, "new", date(2000, 8, 20))
    with pytest.raises(RequestError, match="the new date must be after the old one"):
        change_between_files(old, new)
    with pytest.raises(RequestError, match="the new date must be after the old one"):
        change_between_files(old, old, settings=ChangeSettings(old_date="2020-08-20"))
    found = change_between_files(old, old)
    assert (years(found), found.notes) == (
        None,
        ("both files are of 2020-08-20, so there are no rates per year",),
    )


@pytest.mark.parametrize(
    ("new", "years"),
    [((2020, 12, 4), None), ((2021, 6, 30), None), ((2021, 7, 7), 0.88), ((2021, 8, 20), 1.0)],
)
def test_within_a_mass_balance_year_there_is_no_rate(
    tmp_path: Path, new: tuple[int, int, int], years: float | None
) -> None:
    paths = mask(tmp_path, "old", date(2020, 8, 20)), mask(tmp_path, "new", date(*new))
    for settings in (None, ChangeSettings(old_date="2020-08-20", new_date=date(*new).isoformat())):
        found = change_between_files(*paths, settings=settings)
        record = found.to_dict()
        assert (record["old_date"], record["new_date"]) == ("2020-08-20", date(*new).isoformat())
        assert ("km2_per_year" in record["total"]) == (years is not None)
        assert record["total"].get("years") == (years and pytest.approx(years, abs=0.005))
        assert sum("no rates per year" in note for note in found.notes) == (years is None)


@pytest.mark.parametrize(
    ("old", "new", "apart"),
    [
        ((2000, 12, 20), (2021, 1, 10), 0),
        ((2001, 8, 1), (2021, 9, 15), 0),
        ((2001, 8, 1), (2021, 9, 16), 46),
        ((2001, 8, 1), (2021, 9, 20), 50),
        ((2001, 2, 1), (2021, 11, 1), 92),
    ],
)
def test_another_season_is_warned_of_across_new_year(
    tmp_path: Path, old: tuple[int, int, int], new: tuple[int, int, int], apart: int
) -> None:
    paths = mask(tmp_path, "old", date(*old)), mask(tmp_path, "new", date(*new))
    notes = change_between_files(*paths).notes
    assert len(notes) == (apart > 0)
    if apart:
        assert f"are {apart} days of the year apart: snow makes glaciers look larger" in notes[0]
    assert (
        change_between_files(
            *paths, settings=ChangeSettings(old_date=str(old[0]), new_date=str(new[0]))
        ).notes
        == ()
    )


def test_outlines_tell_their_dates_by_their_columns(tmp_path: Path) -> None:
    old = outlines(tmp_path, "old", src_date=["1998-08-10T00:00:00", "2002-08-10T00:00:00"])
    new = mask(tmp_path, "new", date(2020, 8, 8), date(2020, 8, 12))
    found = change_between_files(old, new)
    assert years(found) == pytest.approx(20, abs=0.01)
    (note,) = found.notes
    assert "is of 1998-08-10 to 2002-08-10; rates count from the mean, 2000-08-10" in note


def test_days_of_one_year_are_one_date(tmp_path: Path) -> None:
    old = outlines(tmp_path, "old", src_date=["2000-03-05", "2000-12-20"])
    found = change_between_files(old, mask(tmp_path, "new", date(2020, 12, 20)))
    assert found.notes == ()  # December is a season of both
    assert years(found) == pytest.approx(20.4, abs=0.01)


@pytest.mark.parametrize("text", ["99999999", "00009999", "20000230", "-20000101", "2000", ""])
def test_what_is_no_day_is_unknown(text: str) -> None:
    assert dates_of(gpd.GeoDataFrame({"src_date": [text]}, geometry=[shapely.Point(0, 0)])) == ()


def test_columns_of_older_inventories_are_understood() -> None:
    table = gpd.GeoDataFrame(
        {"BgnDate": ["20001021", "20010899", "20029999", "-9999999", None], "EndDate": ["20011021", *"abcd"]},
        geometry=[shapely.Point(0, 0)] * 5,
    )
    expected = [date(2000, 10, 21), date(2001, 8, 15), date(2002, 7, 1), date(2001, 10, 21)]
    assert list(dates_of(table)) == expected
    ordinals = np.mean([day.toordinal() for day in expected])
    middle = mean_date(tuple(expected))
    assert middle is not None
    assert abs(middle.toordinal() - ordinals) <= 0.5
    assert mean_date(()) is None
