import json
import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.transform import from_origin
from typer.testing import CliRunner

from glacierseg.change.common_ground import on_common_ground
from glacierseg.change.files import change_between_files, write_change
from glacierseg.change.measure import measure_change
from glacierseg.change.sources import Side
from glacierseg.cli import app
from glacierseg.errors import TruthError
from glacierseg.raster.grid import Grid
from glacierseg.raster.write import write_raster
from glacierseg.vectors.layers import polygons_only
from glacierseg.vectors.trace import trace_polygons
from tests.helpers import present, utm_grid, write_mask

LEFT, TOP = 700_000, 3_600_000


def write_boxes(
    path: Path, places: list[tuple[int, int]], width: int = 1000, height: int = 1000, crs: int = 4326
) -> Path:
    """Outlines in degrees, unless said otherwise, of boxes whose lower left corners are given."""
    shapes = [shapely.box(LEFT + x, TOP + y, LEFT + x + width, TOP + y + height) for x, y in places]
    table = gpd.GeoDataFrame({"rgi_id": [f"g{i}" for i in range(len(places))]}, geometry=shapes, crs=32643)
    table.to_crs(crs).to_file(path)
    return path


def row(number: int, step: int = 5000) -> list[tuple[int, int]]:
    return [(step * i, 0) for i in range(number)]


def block(number: int, step: int = 3000) -> list[tuple[int, int]]:
    return [(step * i, step * j) for i in range(number) for j in range(number)]


@pytest.mark.parametrize("step", [1000, 5000])
def test_a_region_and_a_valley_are_compared_where_both_have_glaciers(tmp_path: Path, step: int) -> None:
    region = write_boxes(tmp_path / "region.gpkg", row(20, step))
    valley = write_boxes(tmp_path / "valley.gpkg", [(0, 0)], height=950)
    found = change_between_files(region, valley)
    assert found.change.total.change_percent == pytest.approx(-5, abs=0.01)
    assert [one.glacier_id for one in found.change.glaciers] == ["g0"]
    assert found.left_out.old.not_covered == 19
    assert found.left_out.old.not_covered_km2 == pytest.approx(19, rel=0.01)
    assert "19 of 20 glaciers" in found.notes[0]
    back = change_between_files(valley, region, tmp_path / "out.gpkg")
    assert back.change.total.change_percent == pytest.approx(100 / 0.95 - 100, abs=0.01)
    assert back.left_out.new.not_covered == 19
    layer = gpd.read_file(tmp_path / "out.gpkg", layer="left_out")
    assert set(layer["date"]) == {"new"}
    assert set(layer["why"]) == {"not covered"}
    assert layer["area_km2"].sum() == pytest.approx(19, rel=0.01)
    stored = json.loads((tmp_path / "out.json").read_text())
    assert stored["left_out"]["new_glaciers_not_covered"] == 19
    assert stored["glaciers"][0]["observed_share"] is None


def test_a_glacier_that_vanished_among_the_others_counts(tmp_path: Path) -> None:
    old = write_boxes(tmp_path / "old.gpkg", row(5))
    new = write_boxes(tmp_path / "new.gpkg", [place for place in row(5) if place != (10_000, 0)])
    found = change_between_files(old, new)
    assert found.change.total.change_percent == pytest.approx(-20, abs=0.1)
    assert found.change.glaciers[2].new_km2 == 0
    assert any("1 of 5 glaciers" in note and "vanished" in note for note in found.notes)
    assert change_between_files(new, old).change.total.change_percent == pytest.approx(25, abs=0.1)


@pytest.mark.parametrize(("side", "vanished"), [(200, True), (500, False)])
def test_at_the_edge_only_a_small_glacier_is_taken_to_have_vanished(
    tmp_path: Path, side: int, vanished: bool
) -> None:
    old = write_boxes(tmp_path / "old.gpkg", row(8), side, side)
    new = write_boxes(tmp_path / "new.gpkg", row(7), side, side)
    found = change_between_files(old, new)
    assert found.change.total.change_percent == pytest.approx(-12.5 if vanished else 0, abs=0.01)
    assert found.left_out.old.not_covered == (0 if vanished else 1)


def test_a_neighbour_drawn_a_little_over_the_divide_is_no_counterpart(tmp_path: Path) -> None:
    old = write_boxes(tmp_path / "old.gpkg", [(0, 0), (1000, 0)])
    new = write_boxes(tmp_path / "new.gpkg", [(0, 0)], width=1020)
    found = change_between_files(old, new)
    assert found.left_out.old.not_covered == 1
    # The neighbour's ground is not compared, so the strip upon it is no advance.
    assert found.change.total.change_km2 == pytest.approx(0, abs=1e-6)


def test_a_selection_is_refused_and_the_cure_works(tmp_path: Path) -> None:
    old = write_boxes(tmp_path / "old.gpkg", block(4))
    corners = [(x, y) for x, y in block(4) if x in (0, 9000) and y in (0, 9000)]
    new = write_boxes(tmp_path / "new.gpkg", corners)
    with pytest.raises(TruthError, match=r"new\.gpkg: has no counterpart for 11\.99") as refusal:
        change_between_files(old, new)
    assert f"glacierseg prepare rasterize {new} --like SCENE --out MASK.tif" in str(refusal.value)
    scene = tmp_path / "scene.tif"
    grid = utm_grid(150, 150, 100).crop(-110, -10, 130, 130)
    write_raster(scene, np.zeros(grid.shape, np.uint8), grid, bands=["b"], nodata=None, cog=False)
    told = CliRunner().invoke(
        app, ["prepare", "rasterize", str(new), "--like", str(scene), "--out", str(tmp_path / "mask.tif")]
    )
    assert told.exit_code == 0, told.output
    found = change_between_files(old, tmp_path / "mask.tif")
    assert found.change.total.change_percent == pytest.approx(-75, abs=1)


@pytest.mark.parametrize(("mapped", "refused"), [((0, 1, 4), True), ((0, 1, 2, 4), False)])
def test_more_than_a_third_of_the_ice_does_not_vanish_unasked(
    tmp_path: Path, mapped: tuple[int, ...], refused: bool
) -> None:
    old = write_boxes(tmp_path / "old.gpkg", row(6))
    new = write_boxes(tmp_path / "new.gpkg", [row(6)[i] for i in mapped])
    if refused:
        with pytest.raises(TruthError, match="outlines do not say which ground they cover"):
            change_between_files(old, new)
    else:
        assert change_between_files(old, new).change.total.change_percent == pytest.approx(-20, abs=0.1)


def test_files_of_different_places_are_refused(tmp_path: Path) -> None:
    old = write_boxes(tmp_path / "old.gpkg", row(3))
    new = write_boxes(tmp_path / "new.gpkg", [(0, 50_000), (9000, 50_000)])
    with pytest.raises(TruthError, match="no glacier lies on the ground of both"):
        change_between_files(old, new)


def test_a_mask_is_compared_with_outlines_where_these_have_glaciers(tmp_path: Path) -> None:
    mask = np.zeros((60, 400), np.uint8)
    for column in range(10, 390, 60):
        mask[10:50, column : column + 40] = 1
    scene = write_mask(tmp_path / "mask.tif", mask)
    one = write_boxes(tmp_path / "one.gpkg", [(100, -500)], 400, 400, crs=32643)
    for found in (change_between_files(one, scene), change_between_files(scene, one)):
        assert found.change.total.change_km2 == pytest.approx(0, abs=1e-9)
    assert found.left_out.old.not_covered == 6


def test_ground_without_data_at_either_date_is_told(tmp_path: Path) -> None:
    old = np.zeros((50, 60), np.uint8)
    old[10:30, 10:30] = old[10:30, 40:50] = old[40:45, 5:10] = 1
    new = old.copy()
    new[30:33, 10:30] = 1  # an advance up to the end of the data
    new[33:35, 10:30] = 255
    new[:, 45:] = 255
    old[40:, :20] = 255
    found = change_between_files(write_mask(tmp_path / "a.tif", old), write_mask(tmp_path / "b.tif", new))
    assert found.left_out.ground_km2 == pytest.approx(1e-4 * (40 + 15 * 50 + 200), rel=2e-3)
    assert found.left_out.old.no_data_km2 == pytest.approx(0.01, rel=2e-3)
    assert found.left_out.new.no_data_km2 == pytest.approx(0.0025, rel=2e-3)
    assert found.left_out.new.no_data == 1
    assert found.observed_share == pytest.approx([1 - 20 / 86, 1 - 20 / 50], abs=2e-3)
    assert any("km2 of ground" in note for note in found.notes)
    assert any("2 glaciers are partly without data" in note for note in found.notes)
    layers = {name: gpd.read_file(write_change(found, tmp_path / "c.gpkg"), layer=name)
              for name in ("left_out", "glaciers")}  # fmt: skip
    assert layers["glaciers"]["observed_share"].tolist() == pytest.approx(list(found.observed_share))
    assert set(zip(layers["left_out"]["date"], layers["left_out"]["why"], strict=True)) == {
        ("old", "no data"),
        ("new", "no data"),
    }


def test_masks_in_degrees_end_where_their_data_end(tmp_path: Path) -> None:
    grid = Grid(rasterio.CRS.from_epsg(4326), from_origin(76, 36, 0.01, 0.01), 60, 200)
    mask = np.zeros((60, 200), np.uint8)
    mask[:40, 50:120] = 1
    mask[:, 120:] = 255
    write_raster(tmp_path / "a.tif", mask, grid, bands=["glacier"], nodata=255, cog=False)
    found = change_between_files(tmp_path / "a.tif", tmp_path / "a.tif")
    assert found.change.total.change_percent == pytest.approx(0, abs=1e-6)
    pixel_km2 = found.change.total.old_km2 / (40 * 70)
    assert found.left_out.ground_km2 == pytest.approx(60 * 80 * pixel_km2, rel=0.01)
    assert found.left_out.old.no_data_km2 < 0.01 * pixel_km2
    width, height = grid.pixel_size_m
    expected = (70 * width + 40 * height) / (2 * (70 * width + 40 * height))
    assert found.observed_share[0] == pytest.approx(expected, abs=0.01)


def test_nothing_is_left_out_of_whole_masks(tmp_path: Path) -> None:
    mask = np.zeros((30, 30), np.uint8)
    mask[10:20, 10:20] = 1
    path = write_mask(tmp_path / "a.tif", mask)
    found = change_between_files(path, path)
    assert found.notes == ()
    assert found.observed_share.tolist() == [1]
    assert present(found.left_out.table).empty
    assert set(found.left_out.to_dict().values()) == {0}


def test_a_mask_of_single_pixels_is_to_be_refined_first(tmp_path: Path) -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[::4, ::4] = 1
    mask[10:30, 10:30] = 1
    speckled = write_mask(tmp_path / "speckled.tif", mask)
    notes = change_between_files(speckled, speckled).notes
    hint = next(note for note in notes if "pixels or fewer" in note)
    command = hint.split("`")[1].replace("REFINED.tif", str(tmp_path / "refined.tif"))
    told = CliRunner().invoke(app, command.split()[1:])
    assert told.exit_code == 0, told.output
    refined = tmp_path / "refined.tif"
    assert not any("fewer" in note for note in change_between_files(refined, refined).notes)


def test_only_polygons_are_kept_of_what_overlays_leave() -> None:
    square, line = shapely.box(0, 0, 1, 1), shapely.LineString([(0, 0), (5, 5)])
    two = shapely.MultiPolygon([square, shapely.box(2, 0, 2 + 1e-9, 1)])
    shapes = np.array([shapely.GeometryCollection([two, line, square]), line, shapely.Polygon()], object)
    found = polygons_only(shapes, 1e-3)
    assert shapely.area(found).tolist() == [2, 0, 0]
    assert set(shapely.get_type_id(found)) == {6}
    assert len(polygons_only(shapes[:0])) == 0


CORNERS = st.lists(st.tuples(*[st.integers(-2, 12)] * 2), min_size=3, max_size=6, unique=True)


def side_of(mask: NDArray[np.uint8], kind: str) -> Side:
    """A date of pixels of a metre, as `read_side` makes it of a mask or of outlines."""
    parts = trace_polygons(mask) if (mask == 1).any() else np.empty(0, object)
    ids, crs = tuple(str(i) for i in range(len(parts))), CRS.from_epsg(32643)
    known = trace_polygons((mask != 255).astype(np.uint8)) if (mask != 255).any() else np.empty(0, object)
    if kind == "outlines":
        return Side(parts, ids, crs, 1.0)
    return Side(parts, ids, crs, 0.5, utm_grid(1, 1), shapely.box(0, 0, 9, 9), shapely.union_all(known))


@settings(max_examples=25, deadline=None)
@given(
    arrays(np.uint8, (9, 9), elements=st.sampled_from([0, 1, 1, 255])),
    arrays(np.uint8, (9, 9), elements=st.sampled_from([0, 1, 1, 255])),
    st.lists(CORNERS, min_size=1, max_size=3),
    st.sampled_from(["masks", "old outlines", "new outlines"]),
)
def test_what_is_compared_and_what_is_left_out_are_polygons_and_together_all(
    old: NDArray[np.uint8], new: NDArray[np.uint8], rings: list[list[tuple[int, int]]], kind: str
) -> None:
    sides = [side_of(mask, "mask") for mask in (old, new)]
    if kind != "masks":
        shapes = shapely.make_valid(np.array([shapely.Polygon(ring) for ring in rings], object))
        sides[kind == "new outlines"] = Side(shapes, tuple("abc"[: len(shapes)]), CRS.from_epsg(32643), 0.1)
    try:
        before, after, left_out = on_common_ground(
            sides[0], sides[1], (Path("old"), Path("new")), CRS.from_epsg(32643)
        )
    except TruthError:
        return
    for date, side, shapes in zip(("old", "new"), sides, (before, after), strict=True):
        table = present(left_out.table)
        table = table[table["date"] == date]
        for found in (shapes, table.geometry.to_numpy()):
            assert set(shapely.get_type_id(found)) <= {6}
            assert shapely.is_valid(found).all()
        assert (table.area > 0).all()
        whole = shapely.area(polygons_only(side.shapes)).sum()
        assert shapely.area(shapes).sum() + table.area.sum() == pytest.approx(whole, abs=1e-2)
    names = [str(i) for i in range(len(before))]
    change = measure_change(before, after, names, old_error_m=0.1, new_error_m=0.1)
    for found in (change.advance, change.retreat):
        assert set(shapely.get_type_id(found)) <= {3}


def test_an_outline_that_touches_the_end_of_the_data_is_written_as_polygons(tmp_path: Path) -> None:
    """What is left of it is a polygon and a line, which the layer does not hold."""
    mask = np.zeros((10, 10), np.uint8)
    mask[2:8, 2:5] = 1
    mask[:, 5:] = 255
    ring = [(20, 20), (80, 20), (80, 80), (50, 80), (50, 60), (70, 60), (70, 40), (20, 40)]
    shape = shapely.Polygon([(LEFT + x, TOP - y) for x, y in ring])
    beside = shapely.Polygon(
        [(LEFT + 50, TOP - 100), (LEFT + 50, TOP - 50), (LEFT + 90, TOP - 50), (LEFT + 90, TOP - 100)]
    )
    frame = shapely.box(LEFT, TOP - 100, LEFT + 50, TOP)
    assert shapely.intersection(shape, frame).geom_type == "GeometryCollection"
    outlines = gpd.GeoDataFrame(geometry=[shape, beside], crs=32643)
    outlines.to_file(tmp_path / "old.gpkg")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        found = change_between_files(tmp_path / "old.gpkg", write_mask(tmp_path / "new.tif", mask))
        path = write_change(found, tmp_path / "out.gpkg")
    for name in ("advance", "retreat", "glaciers", "left_out"):
        assert pyogrio.read_info(path, layer=name)["geometry_type"] == "MultiPolygon"
        assert set(gpd.read_file(path, layer=name).geom_type) <= {"MultiPolygon"}
    assert found.left_out.old.no_data == 1
