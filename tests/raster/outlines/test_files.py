import json
import shutil
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from shapely.geometry import box

from glacierseg.errors import TruthError
from glacierseg.raster.outlines import files, is_open_elsewhere, own_layers, read_own, read_shapes
from glacierseg.raster.outlines.files import is_vector

TABLE = gpd.GeoDataFrame(
    {"k": ["a", "b"]},
    geometry=[box(481000, 3097000, 482000, 3098000), box(483000, 3097000, 484000, 3098000)],
    crs="EPSG:32645",
)


def area_km2(path: Path) -> float:
    return float(read_shapes(path).to_crs("EPSG:32645").area.sum()) / 1e6


@pytest.fixture
def shapefile(tmp_path: Path) -> Path:
    TABLE.to_file(tmp_path / "a.shp")
    return tmp_path / "a.shp"


def zipped(path: Path, *members: tuple[Path, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for source, name in members:
            archive.write(source, name)
    return path


def of_shapefile(shapefile: Path, prefix: str) -> list[tuple[Path, str]]:
    return [(shapefile.with_suffix(f".{e}"), f"{prefix}.{e}") for e in ("shp", "shx", "dbf", "prj")]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.tab", {"driver": "MapInfo File"}),
        ("a.kml", {"driver": "KML"}),
        ("a.kmz", {"driver": "LIBKML"}),
        ("a.geojsonl", {"driver": "GeoJSONSeq"}),
        ("a.gdb", {"driver": "OpenFileGDB"}),
        ("a.gml", {"driver": "GML"}),
        ("a.sqlite", {"driver": "SQLite"}),
        ("a.gpkg.zip", {"driver": "GPKG"}),
        ("A.GEOJSON", {"driver": "GeoJSON"}),
    ],
)
def test_every_format_is_a_vector_and_read(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    (TABLE.to_crs(4326) if name[2:] in ("kml", "kmz", "geojsonl") else TABLE).to_file(
        tmp_path / name, **options
    )
    assert is_vector(tmp_path / name)
    assert area_km2(tmp_path / name) == pytest.approx(2, rel=1e-5)


def test_geoparquet(tmp_path: Path) -> None:
    TABLE.to_parquet(tmp_path / "a.geoparquet")
    assert is_vector(tmp_path / "a.geoparquet")
    assert area_km2(tmp_path / "a.geoparquet") == 2


@pytest.mark.parametrize("prefix", ["a", "deep/in/folders/a"])
def test_archives_with_one_vector_file(tmp_path: Path, shapefile: Path, prefix: str) -> None:
    path = zipped(tmp_path / "a.zip", *of_shapefile(shapefile, prefix))
    assert is_vector(path)
    assert area_km2(path) == 2
    TABLE.to_file(tmp_path / "a.gdb", driver="OpenFileGDB")
    inside = [(one, f"{prefix}.gdb/{one.name}") for one in (tmp_path / "a.gdb").iterdir()]
    assert area_km2(zipped(tmp_path / "gdb.zip", *inside)) == 2
    assert area_km2(Path(f"/vsizip/{path}/{prefix}.shp")) == 2


def test_archives_that_do_not_say_which(tmp_path: Path, shapefile: Path) -> None:
    TABLE.to_file(tmp_path / "b.gpkg")
    two = zipped(tmp_path / "two.zip", *of_shapefile(shapefile, "a"), (tmp_path / "b.gpkg", "b.gpkg"))
    with pytest.raises(TruthError, match=r"two\.zip: holds several vector files \(a\.shp, b\.gpkg\); unpack"):
        read_shapes(two)
    several = zipped(tmp_path / "c.zip", *of_shapefile(shapefile, "x/a"), *of_shapefile(shapefile, "x/b"))
    with pytest.raises(TruthError, match=r"c\.zip: has the layers a, b; say which with --layer"):
        read_shapes(several)
    assert len(read_shapes(several, layer="b")) == 2


def test_folders(tmp_path: Path, shapefile: Path) -> None:
    folder = tmp_path / "UPPER"
    folder.mkdir()
    assert not is_vector(folder)
    with pytest.raises(TruthError, match=r"UPPER: is a folder without Shapefiles; give a vector file$"):
        read_shapes(folder)
    TABLE.to_file(folder / "b.gpkg")
    with pytest.raises(TruthError, match=r"give a vector file, such as .*UPPER/b\.gpkg$"):
        read_shapes(folder)
    for source, name in of_shapefile(shapefile, "A"):
        shutil.copy(source, folder / name.upper())
    assert is_vector(folder)
    assert area_km2(folder) == area_km2(folder / "A.SHP") == 2


def test_what_holds_pixels_is_no_vector(tmp_path: Path, make_raster: Callable[..., Path]) -> None:
    pixels = make_raster("a.tif", np.zeros((3, 40, 40), np.uint8))
    with rasterio.open(pixels) as source:
        profile = source.profile | {"driver": "GPKG"}
        with rasterio.open(tmp_path / "tiles.gpkg", "w", **profile) as target:
            target.write(source.read())
    (tmp_path / "a.vrt").write_text('<VRTDataset rasterXSize="1" rasterYSize="1"></VRTDataset>')
    (tmp_path / "MTL.json").write_text("{}")
    zipped(tmp_path / "scene.zip", (pixels, "B4.tif"), (tmp_path / "MTL.json", "MTL.json"))
    shutil.copy(pixels, tmp_path / "a.shp")
    shutil.copy(pixels, tmp_path / "a.shx")
    for name in ("a.tif", "tiles.gpkg", "a.vrt"):
        assert not is_vector(tmp_path / name)
        with pytest.raises(TruthError, match=f"{name}: is a raster and holds no polygons"):
            read_shapes(tmp_path / name)
    with pytest.raises(TruthError, match=r"a\.shp: is a raster"):
        read_shapes(tmp_path / "a.shp")
    assert not is_vector(tmp_path / "scene.zip")
    with pytest.raises(TruthError, match=r"scene\.zip: is an archive without a vector file"):
        read_shapes(tmp_path / "scene.zip")
    TABLE.to_file(tmp_path / "tiles.gpkg", layer="glaciers", mode="a")
    assert is_vector(tmp_path / "tiles.gpkg")
    assert area_km2(tmp_path / "tiles.gpkg") == 2


def test_a_virtual_table_is_a_vector_and_its_curves_are_straightened(tmp_path: Path) -> None:
    corners = "482000 3098000, 483000 3099000, 484000 3098000, 483000 3097000, 482000 3098000"
    circle = f"CURVEPOLYGON(CIRCULARSTRING({corners}))"
    (tmp_path / "c.csv").write_text(f'id,WKT\n1,"{circle}"\n2,"TIN(((0 0 0,1 0 0,1 1 0,0 0 0)))"\n')
    (tmp_path / "c.vrt").write_text(
        '<OGRVRTDataSource><OGRVRTLayer name="c"><SrcDataSource relativeToVRT="1">c.csv</SrcDataSource>'
        '<LayerSRS>EPSG:32645</LayerSRS><GeometryField encoding="WKT" field="WKT"/></OGRVRTLayer>'
        "</OGRVRTDataSource>"
    )
    assert is_vector(tmp_path / "c.vrt")
    with pytest.warns(match=r"c\.vrt: 1 row without a shape left out$"):
        assert area_km2(tmp_path / "c.vrt") == pytest.approx(np.pi, rel=1e-3)
    assert is_vector(tmp_path / "c.csv")
    with pytest.raises(TruthError, match=r"c\.csv: has no CRS"):
        read_shapes(tmp_path / "c.csv")


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.fgb", "a.parquet", "a.zip", "a.shp"])
@pytest.mark.parametrize("share", [0, 0.3, 0.7])
def test_what_is_cut_short_is_refused_in_one_line(
    tmp_path: Path, shapefile: Path, name: str, share: float
) -> None:
    path = tmp_path / name
    if name == "a.zip":
        zipped(path, *of_shapefile(shapefile, "a"))
    elif name == "a.parquet":
        TABLE.to_parquet(path)
    else:
        TABLE.to_file(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(TruthError) as refused:
        read_shapes(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)


def test_a_shapefile_without_its_index(shapefile: Path) -> None:
    shapefile.with_suffix(".shx").unlink()
    with pytest.raises(TruthError, match=r"a\.shp: its \.shx is missing; copy all files of the Shapefile"):
        read_shapes(shapefile)


def test_rings_that_are_open_are_closed(tmp_path: Path) -> None:
    ring = [[86.8, 28.0], [86.81, 28.0], [86.81, 28.01], [86.8, 28.01]]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    path = tmp_path / "open.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    with pytest.warns(match=r"open\.geojson: 1 open ring closed$"):
        (found,) = read_shapes(path).geometry
    assert found.equals(box(86.8, 28.0, 86.81, 28.01))


def save(path: Path, *names: str) -> None:
    """Writes glaciers without an index, whose triggers call functions that SQLite alone does not have."""
    shapes = [box(2 * number, 0, 2 * number + 1, 1) for number in range(len(names))]
    table = gpd.GeoDataFrame({"name": names}, geometry=shapes, crs=32643)
    table.to_file(path, layer="glaciers", SPATIAL_INDEX="NO")


def test_a_file_that_another_program_works_in_is_read_as_it_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "open.gpkg"
    save(path, "a", "b")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("UPDATE glaciers SET name = 'c' WHERE name = 'b'")
        assert is_open_elsewhere(path)
        before = {one.name: (one.read_bytes(), one.stat().st_mtime_ns) for one in tmp_path.iterdir()}
        assert set(before) == {"open.gpkg", "open.gpkg-shm", "open.gpkg-wal"}
        assert list(read_shapes(path)["name"]) == ["a", "c"]
        assert list(read_own(path, "glaciers")["name"]) == ["a", "c"]
        assert own_layers(path) == ("glaciers",)
        assert {one.name: (one.read_bytes(), one.stat().st_mtime_ns) for one in tmp_path.iterdir()} == before
        other.execute("BEGIN")
        other.execute("DELETE FROM glaciers WHERE name = 'a'")
        assert len(read_shapes(path)) == 2  # not saved yet
        other.execute("ROLLBACK")
    assert not is_open_elsewhere(path)
    # Still in the mode in which even a reader makes files beside it.
    assert list(read_shapes(path)["name"]) == ["a", "c"]
    assert [one.name for one in tmp_path.iterdir()] == ["open.gpkg"]


def test_a_journal_that_a_crash_left_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "crashed.gpkg"
    save(path, "a")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA cache_size=1")  # so that the change goes to the file before it is saved
        other.execute("PRAGMA cache_spill=1")
        other.execute("BEGIN")
        other.execute("CREATE TABLE many (text)")
        other.executemany("INSERT INTO many VALUES (?)", [("x" * 3000,)] * 50)
        other.execute("UPDATE glaciers SET name = 'half done'")
        for name in ("crashed.gpkg", "crashed.gpkg-journal"):
            shutil.copy(tmp_path / name, tmp_path / f"copy_of_{name}")
        other.execute("ROLLBACK")
    copy = tmp_path / "copy_of_crashed.gpkg"
    assert copy.stat().st_size > path.stat().st_size
    before = copy.read_bytes()
    assert list(read_shapes(copy)["name"]) == ["a"]
    assert copy.read_bytes() == before


def test_a_file_that_is_written_to_all_the_time_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "busy.gpkg"
    save(path, "a")
    (tmp_path / "busy.gpkg-wal").write_bytes(b"")
    copied = shutil.copyfile

    def growing(source: Path, target: Path) -> None:
        copied(source, target)
        with (tmp_path / "busy.gpkg-wal").open("ab") as file:
            file.write(b"more")

    monkeypatch.setattr(files, "_PAUSE_S", 0)
    monkeypatch.setattr(shutil, "copyfile", growing)
    with pytest.raises(TruthError, match=r"busy.gpkg: another program is writing to it; run again when"):
        read_shapes(path)


def test_of_edits_none_may_be_left(tmp_path: Path) -> None:
    path = tmp_path / "none.gpkg"
    table = gpd.GeoDataFrame({"name": ["a"]}, geometry=[box(0, 0, 1, 1)], crs=32643)
    table[:0].to_file(path, layer="outlines")
    with pytest.raises(TruthError, match="holds no polygons"):
        read_shapes(path)
    found = read_shapes(path, shapes="edits")
    assert len(found) == 0
    assert found.crs == table.crs
