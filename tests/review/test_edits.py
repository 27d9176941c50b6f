"""What comes out of QGIS: whatever shapes, columns and places, read as truth or refused in one line."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from glacierseg.errors import GlaciersegError, GridMismatchError, RequestError, TruthError
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.raster.write import write_raster
from glacierseg.review.edits import Edits, read_edits
from tests.review.drawn import (
    KM2,
    UTM,
    box,
    check,
    check_all,
    drawn,
    layer,
    save,
    two_glaciers,
    with_rows,
    write_mask,
)


def changes(found: Edits) -> dict[str, tuple[str, float, float]]:
    """By glacier: the kind of change, and pixels gained and lost."""
    rows: Any = found.changes.itertuples()
    return {
        row.glacier_id: (row.change, round(row.gained_km2 / KM2, 3), round(row.lost_km2 / KM2, 3))
        for row in rows
    }


def scene_at(folder: Path, *, name: str = "basin", value: int = 7, missing: Any = ()) -> Scene:
    values = np.full((2, *UTM.shape), value, np.uint8)
    values[:, missing] = 0
    write_raster(folder / f"{name}.tif", values, UTM, bands=["red", "nir"], nodata=0)
    return open_scene(folder / f"{name}.tif")


def test_what_was_added_removed_and_reshaped_by_glacier(tmp_path: Path) -> None:
    file, path = drawn(tmp_path)
    table = layer(path)
    first = table.geometry[0].difference(box(2, 4, 0, 30)).union(box(9, 11, 2, 12))
    new = {"glacier_id": None, "analyst": "ben", "geometry": box(20, 22, 2, 5)}
    save(path, with_rows(table[:1].set_geometry([first], crs=table.crs), new))
    check(path, [box(0, 24, 0, 30)], analyst=["anna"])
    found = read_edits(file, path)
    assert changes(found) == {
        "1": ("reshaped", 10, 20),
        "2": ("removed", 0, 36),
        "new 1": ("added", 6, 0),
    }
    assert list(found.changes["glacier_id"]) == ["2", "1", "new 1"]
    assert found.changes.set_index("glacier_id")["analyst"].to_dict() == {
        "1": "anna",
        "2": "anna",
        "new 1": "ben",
    }
    assert found.analyst == "anna"
    assert read_edits(file, path, analyst="carla").analyst == "carla"
    assert found.checked_km2 == pytest.approx(24 * 28 * KM2)


def test_an_empty_edit_confirms_the_map(tmp_path: Path) -> None:
    file, path = drawn(tmp_path)
    check(path, [box(0, 12, 0, 14)])
    found = read_edits(file, path)
    expected = np.where(np.arange(24)[:, None] < 12, two_glaciers(), 255)
    expected[:, 14:] = 255
    np.testing.assert_array_equal(found.truth, expected)
    assert found.changes.empty
    assert found.gained_km2 == found.lost_km2 == 0
    assert found.warnings == ()


def test_unchecked_ground_stays_unknown_whatever_was_edited_there(tmp_path: Path) -> None:
    file, path = drawn(tmp_path)
    save(path, layer(path)[:1])
    check(path, [box(0, 12, 0, 14), box(14, 20, 18, 20)])
    found = read_edits(file, path)
    assert changes(found) == {"2": ("reshaped", 0, 12)}
    assert (found.truth[14:20, 20:24] == 255).all()
    (line,) = found.warnings
    assert line.startswith("0.0024 km2 of edits lie outside the checked ground and are not used")


@pytest.mark.parametrize("edited", [False, True])
def test_without_checked_ground_nothing_is_read(tmp_path: Path, edited: bool) -> None:
    file, path = drawn(tmp_path)
    if edited:
        save(path, layer(path)[:1])
    start = "no ground is marked as checked" if edited else "nothing was edited, and no ground is checked"
    with pytest.raises(TruthError, match=rf"corrections.gpkg: {start}; in QGIS draw polygons"):
        read_edits(file, path)


def test_all_outlines_may_be_removed(tmp_path: Path) -> None:
    file, path = drawn(tmp_path)
    save(path, layer(path)[:0])
    check_all(path)
    found = read_edits(file, path)
    assert changes(found) == {"1": ("removed", 0, 79), "2": ("removed", 0, 36)}
    assert set(np.unique(found.truth)) == {0, 255}


def test_undefined_ground_stays_undefined(tmp_path: Path) -> None:
    missing: NDArray[np.bool_] = np.zeros(UTM.shape, bool)
    missing[3, 3:6] = True
    scene = scene_at(tmp_path, missing=missing)
    file, path = drawn(tmp_path, scene=scene)
    save(path, with_rows(layer(path), {"glacier_id": None, "geometry": box(0, 5, 26, 30)}))
    check_all(path)
    found = read_edits(file, path, scene=scene)
    assert (found.truth[:, 28:] == 255).all()
    assert (found.truth[3, 3:6] == 255).all()
    assert (found.truth[:5, 26:28] == 1).all()
    assert found.warnings == (
        f"{(2 * 24 + 3) * KM2:.3g} km2 of the checked ground have no data in scene or mask: not used",
    )


# Names of columns and geometries that QGIS leaves behind.
def bow_tie() -> Any:
    """Two triangles that meet where the ring crosses itself, over rows 20-24 and columns 2-10."""
    corners = [(2, 20), (10, 24), (10, 20), (2, 24), (2, 20)]
    return shapely.Polygon([UTM.transform * corner for corner in corners])


def test_shapes_of_every_kind_are_read(tmp_path: Path) -> None:
    file, path = drawn(tmp_path)
    table = layer(path)
    sliver = box(21, 21.3, 12, 20)
    shapes = [
        {"glacier_id": None, "geometry": bow_tie()},
        {"glacier_id": "1", "geometry": shapely.force_3d(box(12, 13, 2, 4), 4100.0)},
        {"glacier_id": "", "geometry": shapely.MultiPolygon([box(0, 1, 0, 1), box(0, 1, 4, 5)])},
        {"glacier_id": None, "geometry": None},
        {"glacier_id": None, "geometry": shapely.MultiPolygon()},
        {"glacier_id": None, "geometry": sliver},
        {
            "glacier_id": None,
            "geometry": shapely.GeometryCollection([box(23, 24, 20, 22), shapely.Point(7e5, 36e5)]),
        },
    ]
    save(path, with_rows(table, *shapes), kind="Unknown")
    check_all(path)
    found = read_edits(file, path)
    mask = two_glaciers()
    expected = mask.copy()
    rows, columns = np.mgrid[20:24, 2:10] + 0.5
    expected[20:24, 2:10] = (np.abs(rows - 22) < 0.5 * np.abs(columns - 6)) & (mask[20:24, 2:10] != 255)
    expected[12, 2:4] = expected[0, 0] = expected[0, 4] = expected[23, 20:22] = 1
    expected[mask == 255] = 255
    np.testing.assert_array_equal(found.truth, expected)
    repaired = next(line for line in found.warnings if "invalid outline" in line)
    assert "2 rows without a shape left out" in repaired
    assert "1 invalid outline repaired" in repaired


def test_curves_are_straightened(tmp_path: Path) -> None:
    file, path = drawn(tmp_path)
    x, y = UTM.transform * (6, 16)
    arc = ", ".join(f"{x + 30 * a} {y + 30 * b}" for a, b in ((-1, 0), (0, 1), (1, 0), (0, -1), (-1, 0)))
    vrt = tmp_path / "curves.csv"
    vrt.write_text(f'WKT,glacier_id\n"CURVEPOLYGON (CIRCULARSTRING ({arc}))",\n')
    check(path, [box(12, 20, 0, 14)])
    (tmp_path / "curves.vrt").write_text(
        f'<OGRVRTDataSource><OGRVRTLayer name="outlines"><SrcDataSource>{vrt}</SrcDataSource>'
        "<SrcLayer>curves</SrcLayer><GeometryType>wkbUnknown</GeometryType><LayerSRS>EPSG:32643</LayerSRS>"
        '<GeometryField encoding="WKT" field="WKT"/></OGRVRTLayer></OGRVRTDataSource>'
    )
    # The arc lies within its square: the checked ground comes from the other file.
    ground = tmp_path / "ground.gpkg"
    save(ground, layer(path, "checked"), "checked")
    found = read_edits(file, tmp_path / "curves.vrt", ground)
    rows, columns = np.mgrid[12:20, 0:14] + 0.5
    np.testing.assert_array_equal(found.truth[12:20, :14], np.hypot(rows - 16, columns - 6) < 3)


def test_pieces_of_a_split_and_copies_belong_to_the_ground_that_they_cover(tmp_path: Path) -> None:
    file, path = drawn(tmp_path)
    table = layer(path)
    first = table.geometry[0]
    pieces = [first.difference(box(0, 24, 5, 30)), first.difference(box(0, 24, 0, 6))]
    copy = box(20, 22, 0, 2)  # of glacier 2, moved far away
    rows = [
        {"glacier_id": None, "geometry": pieces[0]},
        {"glacier_id": "1", "geometry": pieces[1].union(box(8, 10, 12, 13))},
        {"glacier_id": "2", "geometry": table.geometry[1]},
        {"glacier_id": "2", "geometry": copy},
        {"glacier_id": "G77", "geometry": box(22, 24, 10, 12)},
    ]
    save(path, with_rows(table[:0], *rows))
    check_all(path)
    assert changes(read_edits(file, path)) == {
        "1": ("reshaped", 2, 7),
        "new 1": ("added", 4, 0),
        "G77": ("added", 4, 0),
    }


def test_ground_in_two_outlines_counts_once_for_the_earlier(tmp_path: Path) -> None:
    file, path = drawn(tmp_path)
    table = layer(path)
    first, second = table.geometry[0].union(box(10, 14, 4, 20)), table.geometry[1].union(box(11, 14, 10, 24))
    save(path, table.set_geometry([first, second], crs=table.crs))
    check_all(path)
    found = read_edits(file, path)
    assert changes(found) == {"1": ("reshaped", 4 * 16, 0), "2": ("reshaped", 3 * 4, 0)}
    assert any(
        "1 pair of outlines overlaps count once, for the earlier row" in line for line in found.warnings
    )


@pytest.mark.parametrize("crs", [4326, 32644, 3857])
def test_edits_in_another_crs(tmp_path: Path, crs: int) -> None:
    file, path = drawn(tmp_path)
    table = layer(path)
    edited = table.set_geometry(
        [table.geometry[0].union(box(4, 6, 11, 16)), table.geometry[1]], crs=table.crs
    )
    check(path, [box(0, 24, 0, 28)])
    moved = tmp_path / "moved.gpkg"
    save(moved, edited.to_crs(crs))
    save(moved, layer(path, "checked").to_crs(crs), "checked")
    found = read_edits(file, moved)
    assert changes(found) == {"1": ("reshaped", 8, 0)}
    assert found.warnings == ()


def test_what_lies_outside_the_scene_is_not_used_and_said(tmp_path: Path) -> None:
    file, path = drawn(tmp_path)
    save(path, with_rows(layer(path), {"geometry": box(-4, 2, 0, 2)}, {"geometry": box(100, 104, 0, 5)}))
    check(path, [box(-2, 24, 0, 28)])
    found = read_edits(file, path)
    assert changes(found) == {"new 1": ("added", 4, 0)}
    said = [line.split(": ", 1)[1] for line in found.warnings]
    assert said == [
        "0.0028 km2 of layer 'outlines' lie outside the scene: not used",
        "0.0056 km2 of layer 'checked' lie outside the scene: not used",
    ]


def test_checked_ground_of_another_place_is_refused(tmp_path: Path) -> None:
    file, path = drawn(tmp_path)
    for ground in (box(400, 500, 0, 30), box(2, 4, 28.2, 29)):
        check(path, [ground])
        with pytest.raises(TruthError, match="no pixel with data lies in its checked ground"):
            read_edits(file, path)


def test_corrections_of_another_scene_grid_or_mask(tmp_path: Path) -> None:
    scene = scene_at(tmp_path)
    file, path = drawn(tmp_path, scene=scene)
    check_all(path)
    assert read_edits(file, path, scene=scene).warnings[1:] == ()
    with pytest.raises(TruthError, match="was drawn on another scene, basin, not on later; give that scene"):
        read_edits(file, path, scene=scene_at(tmp_path, name="later", value=9))
    # The same scene under another name is the same scene.
    os.rename(tmp_path / "basin.tif", tmp_path / "renamed.tif")  # noqa: PTH104
    assert read_edits(file, path, scene=open_scene(tmp_path / "renamed.tif")).warnings[1:] == ()
    changed = read_edits(file, path, scene=scene_at(tmp_path, value=8))
    assert "basin.tif: was changed since" in changed.warnings[0]

    other = UTM.crop(0, 0, 24, 29)
    write_raster(tmp_path / "cut.tif", two_glaciers()[:, :29], other, bands=["glacier"], nodata=255)
    with pytest.raises(TruthError, match=r"another grid than that of .*cut.tif .*on, .*mask.tif"):
        read_edits(tmp_path / "cut.tif", path)
    with pytest.raises(GridMismatchError, match="prepare align"):
        read_edits(tmp_path / "cut.tif", path, scene=scene)

    mask = two_glaciers()
    mask[14:20] = np.where(mask[14:20] == 1, 0, mask[14:20])
    found = read_edits(write_mask(tmp_path, mask), path)
    assert "mask.tif: differs in 0.0036 km2 from the mask that" in found.warnings[0]
    np.testing.assert_array_equal(found.truth, two_glaciers())
    assert changes(found) == {"new 1": ("added", 36, 0)}


def test_layers_and_files_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, path = drawn(tmp_path)
    check_all(path)
    (tmp_path / "checked").mkdir()
    monkeypatch.chdir(tmp_path)
    assert read_edits(file, path).changes.empty  # the layer, whatever lies in the working folder
    with pytest.raises(TruthError, match=r"has no layer 'cheked' \(did you mean 'checked'\?\)"):
        read_edits(file, path, "cheked")
    with pytest.raises(TruthError, match=r"ground.gpkg: no such file"):
        read_edits(file, path, str(tmp_path / "ground.gpkg"))
    several = tmp_path / "several.gpkg"
    save(several, layer(path), "a")
    save(several, layer(path), "b")
    with pytest.raises(TruthError, match=r"has the layers a, b; say which with --layer"):
        read_edits(file, several, path)
    assert read_edits(file, several, path, layer="a").changes.empty
    one = tmp_path / "one.gpkg"
    save(one, layer(path), "mine")
    with pytest.raises(RequestError, match="the outlines and the checked ground are the same polygons"):
        read_edits(file, one, one)
    # The file of the outlines may be given as that of the ground too.
    assert read_edits(file, path, path).changes.empty


def test_outlines_of_others_serve_too(tmp_path: Path) -> None:
    file = write_mask(tmp_path, two_glaciers())
    table = gpd.GeoDataFrame({"Name": ["x"]}, geometry=[box(2, 10, 2, 14)], crs=UTM.crs.to_wkt())
    table.to_file(tmp_path / "drawn.shp")
    gpd.GeoDataFrame(geometry=[box(0, 24, 0, 16)], crs=UTM.crs.to_wkt()).to_crs(4326).to_file(
        tmp_path / "ground.geojson"
    )
    found = read_edits(file, tmp_path / "drawn.shp", tmp_path / "ground.geojson")
    assert changes(found) == {"1": ("reshaped", 2 * 8 + 1, 0)}


def test_what_qgis_holds_open_is_read_and_left_alone(tmp_path: Path) -> None:
    file, path = drawn(tmp_path)
    check_all(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as qgis:
        qgis.execute("PRAGMA journal_mode=WAL")
        qgis.execute("PRAGMA wal_autocheckpoint=0")
        # Triggers of GDAL's index call functions that SQLite alone does not have.
        for (name,) in qgis.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            qgis.execute(f'DROP TRIGGER "{name}"')
        qgis.execute("DELETE FROM outlines WHERE glacier_id = '2'")
        names = {one.name for one in tmp_path.iterdir()}
        assert "corrections.gpkg-wal" in names
        before = {
            name: ((tmp_path / name).read_bytes(), (tmp_path / name).stat().st_mtime_ns) for name in names
        }
        found = read_edits(file, path)
        assert {one.name for one in tmp_path.iterdir()} == names
        after = {
            name: ((tmp_path / name).read_bytes(), (tmp_path / name).stat().st_mtime_ns) for name in names
        }
        assert after == before
        qgis.execute("UPDATE outlines SET note = 'goes on'")
    assert changes(found) == {"2": ("removed", 0, 36)}
    assert any("corrections.gpkg: is open in another program" in line for line in found.warnings)
    # What QGIS leaves when it was killed in this mode.
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert changes(read_edits(file, path)) == {"2": ("removed", 0, 36)}
    assert not list(tmp_path.glob("corrections.gpkg?*"))


def test_no_input_is_touched(tmp_path: Path) -> None:
    scene = scene_at(tmp_path)
    file, path = drawn(tmp_path, scene=scene)
    check_all(path)
    before = {one.name: (one.read_bytes(), one.stat().st_mtime_ns) for one in tmp_path.iterdir()}
    read_edits(file, path, scene=scene)
    assert {one.name: (one.read_bytes(), one.stat().st_mtime_ns) for one in tmp_path.iterdir()} == before


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + b"\2" * 200])
def test_damaged_files_are_one_line(tmp_path: Path, content: bytes) -> None:
    file = write_mask(tmp_path, two_glaciers())
    path = tmp_path / "corrections.gpkg"
    path.write_bytes(content)
    with pytest.raises(GlaciersegError, match=r"corrections.gpkg: .*give a vector file") as caught:
        read_edits(file, path)
    assert "\n" not in str(caught.value)
    assert "/glacierseg-" not in str(caught.value)  # the copy that was read
