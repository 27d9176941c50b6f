"""What results may be written over; the walk through all commands is in tests/cli/test_writes.py."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.shutil
from shapely.geometry import box

from glacierseg.errors import GlaciersegError, OutputError, RequestError
from glacierseg.raster.outputs import belongings, keeping, require_folder, require_output, writes
from glacierseg.raster.write import atomic_path, write_text


@writes(out=(".txt", ".tif"), plot=())
def stage(source: object, out: Path, plot: Path | None = None) -> str:
    for path in (out, plot):
        if path is not None:
            write_text(path, "new")
    return "done"


@dataclass(frozen=True)
class Holder:
    paths: dict[str, list[Path]]


def links(path: Path) -> dict[str, Path]:
    """Other names of a file."""
    soft, hard = path.with_name(f"soft{path.suffix}"), path.with_name(f"hard{path.suffix}")
    soft.symlink_to(path)
    os.link(path, hard)
    return {
        "itself": path,
        "soft": soft,
        "hard": hard,
        "roundabout": path.parent / "." / ".." / path.parent.name / path.name,
    }


@pytest.mark.parametrize("name", ["itself", "soft", "hard", "roundabout"])
@pytest.mark.parametrize(
    "wrapped",
    [str, Path, lambda path: [[path]], lambda path: Holder({"a": [path]}), lambda path: f"{path}=name"],
)
def test_no_name_of_an_input_is_written_to(
    tmp_path: Path, name: str, wrapped: Callable[[Path], object]
) -> None:
    source = tmp_path / "a.txt"
    source.write_text("input")
    out = links(source)[name]
    for outputs in ((out, None), (tmp_path / "b.txt", out)):
        with pytest.raises(
            RequestError, match=r"is an input of the same command; write the result to another"
        ):
            stage(wrapped(source), *outputs)
        assert source.read_text() == "input"
        assert not (tmp_path / "b.txt").exists()
    assert stage(wrapped(source), tmp_path / "b.txt") == "done"
    assert stage(source, tmp_path / "b.txt") == "done"  # a second time


def test_what_belongs_to_an_input_is_not_written_to(tmp_path: Path) -> None:
    gpd.GeoDataFrame({"a": [1]}, geometry=[box(0, 0, 1, 1)], crs=32643).to_file(tmp_path / "o.shp")
    profile = {
        "driver": "GTiff",
        "height": 4,
        "width": 4,
        "count": 1,
        "dtype": "uint8",
        "crs": "EPSG:32643",
        "transform": rasterio.Affine(10, 0, 0, 0, -10, 0),
    }
    for name in ("tile.tif", "r.tif"):
        with rasterio.open(tmp_path / name, "w", **profile) as dataset:
            dataset.write(np.ones((1, 4, 4), np.uint8))
    for name in ("inner", "outer"):
        rasterio.shutil.copy(
            tmp_path / ("tile.tif" if name == "inner" else "inner.vrt"),
            tmp_path / f"{name}.vrt",
            driver="VRT",
        )
    (tmp_path / "r.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    (tmp_path / "r.tif.ovr").write_bytes((tmp_path / "tile.tif").read_bytes())
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.json").write_text("{}")
    for source, member in (
        ("o.shp", "o.dbf"),
        ("r.tif", "r.tif.aux.xml"),
        ("r.tif", "r.tif.ovr"),
        ("outer.vrt", "tile.tif"),
        ("m", "m/model.json"),
    ):
        before = (tmp_path / member).read_bytes()
        with (
            keeping(tmp_path / source),
            pytest.raises(RequestError, match=rf"belongs to .*{source}, an input"),
        ):
            write_text(tmp_path / member, "new")
        assert (tmp_path / member).read_bytes() == before

    # Files that nobody declared come with the one that was asked for.
    def write_two() -> None:
        with atomic_path(tmp_path / "o.txt") as part:
            part.write_text("new")
            part.with_name("o.dbf").write_text("new")

    with keeping(tmp_path / "o.shp"), pytest.raises(RequestError, match=r"o\.dbf: belongs to"):
        write_two()
    assert not (tmp_path / "o.txt").exists()
    assert len(gpd.read_file(tmp_path / "o.shp")) == 1


def test_outputs_are_looked_at_before_the_work(tmp_path: Path) -> None:
    def never(*_: object) -> None:
        raise AssertionError("began")

    (tmp_path / "file").write_text("")
    (tmp_path / "folder.txt").mkdir()
    begun = writes(out=(".txt", ".tif"), plot=())(lambda out, plot=None: never(out, plot))
    for out, plot, message in (
        ("a.gpkg", None, r"a\.gpkg: is written in another format; end the name in \.txt or \.tif"),
        ("folder.txt", None, "is a folder; choose the name of a file"),
        ("file/a.txt", None, "cannot write there .*file is a file"),
        ("a.txt", "./a.txt", "two results cannot go to one file"),
    ):
        with pytest.raises(GlaciersegError, match=message):
            begun(tmp_path / out, plot and tmp_path / plot)
    with pytest.raises(OutputError, match="is a file; choose the name of a folder"):
        require_folder(tmp_path / "file")
    with pytest.raises(AssertionError, match="began"):
        begun(tmp_path / "new" / "a.TIF")


def test_a_place_without_the_right_to_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Asked by the function, since tests may run as a user who may write everywhere.
    (tmp_path / "mine.tif").touch()
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path / "mine.tif")
    with pytest.raises(OutputError, match=r"mine\.tif: is protected against writing; write .* another file"):
        require_output(tmp_path / "mine.tif")
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path)
    for require in (require_output, require_folder):
        with pytest.raises(OutputError, match=r"no right to write in .*; choose a folder"):
            require(tmp_path / "new" / "a.tif")


def geopackage(path: Path, *layers: str, rows: int = 1) -> Path:
    path.unlink(missing_ok=True)
    for layer in layers:
        shapes = [box(i, 0, i + 1, 1) for i in range(rows)]
        gpd.GeoDataFrame({"a": range(rows)}, geometry=shapes, crs=32643).to_file(path, layer=layer)
    return path


def replace(path: Path, rows: int, tables: tuple[str, ...] | None = ("ours",)) -> None:
    with atomic_path(path, tables=tables) as part:
        geopackage(part, "ours", rows=rows)


def test_layers_of_others_stay(tmp_path: Path) -> None:
    path = geopackage(tmp_path / "project ä.gpkg", "ours", "hand_digitised", "gps_points")
    before = path.read_bytes()
    with pytest.raises(RequestError, match=r"does not write \(hand_digitised, gps_points\); .*--overwrite"):
        replace(path, 2)
    assert path.read_bytes() == before
    with pytest.raises(RequestError, match="hand_digitised"):
        write_text(path, "whoever does not say what it may replace replaces nothing")
    replace(path, 2, None)
    replace(path, 3)
    assert [len(gpd.read_file(path, layer=name)) for name, _ in pyogrio.list_layers(path)] == [3]


@pytest.mark.parametrize("state", ["reading", "writing", "journal"])
def test_a_geopackage_that_is_open_elsewhere_stays(tmp_path: Path, state: str) -> None:
    path = geopackage(tmp_path / "out.gpkg", "ours")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(f"PRAGMA journal_mode={'delete' if state == 'journal' else 'wal'}").fetchall()
        if state == "reading":
            other.execute("SELECT a FROM ours").fetchone()
        else:
            other.execute("BEGIN IMMEDIATE")
            other.execute("UPDATE gpkg_contents SET description = 'mine'")
        names = {file.name for file in tmp_path.iterdir()}
        assert names > {"out.gpkg"}
        with pytest.raises(OutputError, match=r"out\.gpkg: is open in another program; close it there"):
            replace(path, 2)
        assert {file.name for file in tmp_path.iterdir()} == names
        if state != "reading":
            other.execute("COMMIT")
    # The cure: closed there.
    replace(path, 2)
    assert len(gpd.read_file(path)) == 2


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_journal_that_a_crash_left_does_not_reach_the_new_file(tmp_path: Path, mode: str) -> None:
    live = geopackage(tmp_path / "live.gpkg", "ours", rows=50)
    out = tmp_path / "out.gpkg"
    with closing(sqlite3.connect(live, isolation_level=None)) as other:
        other.execute(f"PRAGMA journal_mode={mode}").fetchall()
        other.execute("PRAGMA cache_size=1")
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE gpkg_contents SET description = 'mine'")
        if mode == "wal":
            other.execute("COMMIT")
        for file in list(tmp_path.glob("live.gpkg*")):
            out.with_name(file.name.replace("live", "out")).write_bytes(file.read_bytes())
    assert len(belongings(out)) >= 1
    replace(out, 3)
    assert belongings(out) == []
    assert len(gpd.read_file(out)) == 3


def test_indices_and_statistics_of_the_old_file_go_with_it(tmp_path: Path) -> None:
    for name in ("a.tif", "a.tif.aux.xml", "a.tif.ovr", "a.tif.msk", "a.TFW", "b.tif.ovr", "a.txt"):
        (tmp_path / name).write_text("old")
    write_text(tmp_path / "a.tif", "new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "a.tif": "new", "b.tif.ovr": "old", "a.txt": "old",
    }  # fmt: skip
    stale = ("a.shp", "a.shx", "a.dbf", "a.prj", "a.cpg", "a.qix", "a.sbn", "a.sbx", "a.qmd", "a.shp.xml")
    for name in (*stale, "a_b.shp", "a_b.qix"):
        (tmp_path / name).write_text("old")
    with atomic_path(tmp_path / "a.shp") as part:
        for name in ("a.shp", "a.shx", "a.dbf", "a.prj", "a_b.shp", "a_b.shx"):
            part.with_name(name).write_text("new")
    found = {path.name: path.read_text() for path in tmp_path.glob("a*.*") if ".tif" not in path.name}
    assert found == dict.fromkeys(["a.shp", "a.shx", "a.dbf", "a.prj", "a_b.shp", "a_b.shx"], "new") | {
        "a.txt": "old"
    }


@pytest.mark.parametrize("stop_at", range(4))
def test_no_old_file_stands_among_new_ones_when_the_move_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    for name in ("a.shp", "a.shx", "a.dbf", "a.qix"):
        (tmp_path / name).write_text("old")
    moved: list[str] = []
    real = Path.replace

    def stopping(self: Path, target: Path) -> Path:
        if len(moved) == stop_at:
            raise KeyboardInterrupt
        moved.append(target.name)
        return real(self, target)

    monkeypatch.setattr(Path, "replace", stopping)
    try:
        with atomic_path(tmp_path / "a.shp") as part:
            for name in ("a.dbf", "a.shp", "a.shx"):
                part.with_name(name).write_text("new")
    except KeyboardInterrupt:
        assert not (tmp_path / "a.shp").exists()
    assert not any(path.read_text() == "old" for path in tmp_path.glob("a.*"))
    assert (tmp_path / "a.shp").exists() == (stop_at == 3)
