"""The day of the image in the inventory."""

from datetime import date
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely

from glacierseg.errors import RequestError
from glacierseg.inventory.dates import contradictions
from glacierseg.inventory.files import make_inventory
from glacierseg.raster.facts import SceneFacts
from glacierseg.raster.write import write_raster
from glacierseg.settings.outlines import InventoryInputs
from tests.helpers import utm_grid

GRID = utm_grid(60, 60)


def mask(folder: Path, *days: date, **facts: Any) -> Path:
    ice = np.zeros(GRID.shape, np.uint8)
    ice[5:25, 5:25] = ice[35:50, 35:50] = 1
    known = SceneFacts(first_date=min(days), last_date=max(days), **facts) if days else SceneFacts()
    path = folder / "mask.tif"
    write_raster(path, ice, GRID, bands=["glacier"], nodata=255, tags=known.tags)
    return path


def test_the_date_of_the_mask_is_that_of_its_glaciers(tmp_path: Path) -> None:
    source = mask(tmp_path, date(2020, 9, 12), sensor="sentinel2", products=("A", "B"))
    made = make_inventory(source, tmp_path / "out.gpkg")
    found = gpd.read_file(made.path, layer="glaciers")
    assert found["src_date"].tolist() == ["2020-09-12T00:00:00"] * 2
    assert list(found.columns[:2]) == ["inv_id", "src_date"]
    assert not [note for note in made.notes if "src_date" in note]
    told = pyogrio.read_info(made.path, layer="glaciers")["layer_metadata"]
    assert told["GLACIERSEG_PRODUCTS"] == "A;B"
    assert told["GLACIERSEG_SENSOR"] == "sentinel2"


def test_of_several_days_the_first_counts_and_it_is_said(tmp_path: Path) -> None:
    made = make_inventory(mask(tmp_path, date(2020, 9, 12), date(2020, 9, 17)), tmp_path / "out.gpkg")
    assert set(made.glaciers["src_date"]) == {"2020-09-12T00:00:00"}
    assert any("2020-09-12 to 2020-09-17; `src_date` is the first day" in note for note in made.notes)


def test_the_option_wins_and_a_contradiction_is_said(tmp_path: Path) -> None:
    plain = make_inventory(mask(tmp_path), tmp_path / "a.gpkg")
    assert "src_date" not in plain.glaciers
    given = make_inventory(mask(tmp_path), tmp_path / "a.gpkg", inputs=InventoryInputs(src_date="2019-08-03"))
    assert set(given.glaciers["src_date"]) == {"2019-08-03T00:00:00"}
    assert given.notes == plain.notes
    other = make_inventory(
        mask(tmp_path, date(2020, 9, 12)), tmp_path / "a.gpkg", inputs=InventoryInputs(src_date="2019")
    )
    assert set(other.glaciers["src_date"]) == {"2019-07-01T00:00:00"}
    assert any("is of 2020-09-12; --src-date 2019 counts" in note for note in other.notes)
    with pytest.raises(RequestError, match="is not a date; write 2000-10-30"):
        make_inventory(mask(tmp_path), tmp_path / "a.gpkg", inputs=InventoryInputs(src_date="12.9.2020"))


@pytest.mark.parametrize(
    ("text", "agrees"),
    [
        *(("2018", False), ("2019", True), ("2020", True), ("2021", True), ("2022", False)),
        *(("2019-08-02", False), ("2019-08-03", True), ("2021-09-12", True), ("2021-09-13", False)),
    ],
)
def test_a_day_agrees_with_the_days_around_it_and_a_year_with_theirs(text: str, agrees: bool) -> None:
    days = [date(2021, 9, 12), date(2019, 8, 3)]
    notes = contradictions("--src-date", text, Path("a.tif"), days)
    assert (notes == []) == agrees
    assert contradictions("--src-date", text, Path("a.tif"), []) == []


@pytest.mark.parametrize(
    ("days", "dated"), [(["20200912", "20200912"], True), (["20200912", "20190912"], False)]
)
def test_outlines_of_one_day_keep_it(tmp_path: Path, days: list[str], dated: bool) -> None:
    left, bottom, _, _ = GRID.bounds
    shapes = [shapely.box(left + x, bottom, left + x + 200, bottom + 200) for x in (0, 300)]
    source = tmp_path / "rgi.gpkg"
    gpd.GeoDataFrame({"BgnDate": days}, geometry=shapes, crs="EPSG:32643").to_file(source)
    found = make_inventory(source, tmp_path / "out.gpkg").glaciers
    assert ("src_date" in found) == dated
    if dated:
        assert set(found["src_date"]) == {"2020-09-12T00:00:00"}
