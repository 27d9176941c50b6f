"""Hypsometry, uncertainty, ids, links and days: arithmetic on numbers and polygons."""

from datetime import date
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from glacierseg.errors import RequestError
from glacierseg.inventory.attributes import buffer_uncertainty, inventory_ids, link_table, utm_zones
from glacierseg.inventory.files import make_inventory
from glacierseg.inventory.relief import elevation_bands
from glacierseg.raster.facts import SceneFacts
from glacierseg.raster.outlines import contradictions
from glacierseg.raster.write import write_raster
from glacierseg.settings.outlines import InventoryInputs
from tests.helpers import utm_grid


@given(
    arrays(float, st.integers(1, 60), elements=st.floats(-120, 900, allow_subnormal=False)),
    st.floats(0.01, 100),
)
def test_bands_hold_every_pixel_once(heights_m: NDArray[np.float64], area_km2: float) -> None:
    bands = elevation_bands(heights_m, area_km2)
    assert bands.permille.sum() == 1000
    assert (np.diff(bands.from_m) == 50).all()
    assert (bands.from_m % 50 == 0).all()
    np.testing.assert_allclose(bands.area_km2.sum(), area_km2)
    expected = [np.mean((heights_m >= low) & (heights_m < low + 50)) for low in bands.from_m]
    np.testing.assert_allclose(bands.area_km2 / area_km2, expected, atol=1e-12)
    assert np.abs(bands.permille - 1000 * np.array(expected)).max() < 1
    assert bands.permille[0] + bands.area_km2[0] > 0
    assert bands.area_km2[-1] > 0


def test_a_square_gains_and_loses_a_rim() -> None:
    side, buffer = 300.0, 15.0
    grown = side**2 + 4 * side * buffer + np.pi * buffer**2
    shrunk = (side - 2 * buffer) ** 2
    found = buffer_uncertainty(np.array([shapely.box(0, 0, side, side)]), buffer)
    assert found[0] == pytest.approx((grown - shrunk) / 2, rel=2e-3)


def test_holes_have_a_rim_too() -> None:
    outer, inner = shapely.box(0, 0, 400, 400), shapely.box(100, 100, 300, 300)
    ring = outer.difference(inner)
    expected = (ring.buffer(10).area - ring.buffer(-10).area) / 2
    assert buffer_uncertainty(np.array([ring]), 10)[0] == pytest.approx(expected, rel=1e-6)


def test_the_line_between_two_glaciers_is_certain() -> None:
    left, right = shapely.box(0, 0, 300, 300), shapely.box(300, 0, 600, 300)
    whole = buffer_uncertainty(np.array([left.union(right)]), 15)[0]
    halves = buffer_uncertainty(np.array([left, right]), 15)
    assert halves.sum() == pytest.approx(whole, rel=0.02)
    assert halves.sum() < 0.9 * 2 * buffer_uncertainty(np.array([left]), 15)[0]


def test_ids_follow_glims_and_are_unique() -> None:
    ids = inventory_ids(
        np.array([86.9321, -145.5, 86.9319, 359.9999]), np.array([27.925, -72.0014, 27.9251, 0.0]), "kh"
    )
    assert ids == ["kh-G086932E27925N", "kh-G214500E72001S", "kh-G086932E27925N-2", "kh-G000000E00000N"]
    assert inventory_ids(np.array([7.5]), np.array([46.0]), "") == ["G007500E46000N"]


def test_zones() -> None:
    assert utm_zones(np.array([86.9, -70.0, 180.0, -180.0]), np.array([27.9, -50.0, 1, 1])) == [
        "45N", "19S", "60N", "1N",
    ]  # fmt: skip


def test_links_tell_both_shares() -> None:
    ours = gpd.GeoDataFrame(
        {"inv_id": ["a", "b"], "area_km2": [0.04, 0.01]},
        geometry=[shapely.box(0, 0, 200, 200), shapely.box(500, 0, 600, 100)],
        crs=32645,
    )
    theirs = gpd.GeoDataFrame(
        {"RGIId": ["x", "y", "z"]},
        geometry=[
            shapely.box(150, 0, 350, 200),
            shapely.box(-100, 0, 150, 200),
            shapely.box(600, 0, 700, 100),
        ],
        crs=32645,
    )
    links = link_table(ours, theirs, "RGIId")
    assert links["existing_id"].tolist() == ["y", "x"]
    np.testing.assert_allclose(links["overlap_km2"], [0.03, 0.01])
    np.testing.assert_allclose(links["share_of_ours"], [0.75, 0.25])
    np.testing.assert_allclose(links["share_of_existing"], [0.6, 0.25])
    assert link_table(ours.iloc[:0], theirs, None).empty


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
