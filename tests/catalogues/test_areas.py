"""Many areas: each in its folder, none stopped by another, and a table of how it went."""

import logging
import os
import warnings
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from shapely.geometry import box

from glacierseg.catalogues.areas import each_area, require_all_done
from glacierseg.catalogues.place import Place
from glacierseg.errors import DownloadError, GlaciersegWarning, RequestError
from glacierseg.predict.cluster import connected
from glacierseg.settings.predict import ClusterSettings

PLACES = [Place(box(i, 0, i + 1, 1), name, is_area=True) for i, name in enumerate(("a", "b", "c", "d"))]


def work(_: None, place: Place, folder: Path) -> str:
    if place.name == "b":
        raise DownloadError("https://x:\n  is down")
    if place.name == "c":
        raise PermissionError(13, "Permission denied", "c/x.tif")
    folder.mkdir(parents=True)
    (folder / "worker.txt").write_text(str(os.getpid()))
    return f"{place.outline.bounds[0]:g} degrees east"


def test_a_failed_area_stops_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="glacierseg")
    results = each_area(PLACES, tmp_path, partial(work, None))
    assert [(one.area, one.status) for one in results] == [
        ("a", "done"), ("b", "failed"), ("c", "failed"), ("d", "done"),
    ]  # fmt: skip
    table = pd.read_csv(tmp_path / "areas.csv")
    assert table["result"].tolist() == [
        "0 degrees east", "https://x: is down", "c/x.tif: Permission denied", "3 degrees east",
    ]  # fmt: skip
    assert [record.levelname for record in caplog.records] == ["INFO", "ERROR", "ERROR", "INFO"]
    with pytest.raises(RequestError, match=r"areas\.csv: 2 of 4 areas failed \(b, c\)"):
        require_all_done(results, tmp_path)
    require_all_done([one for one in results if one.status == "done"], tmp_path)


def test_a_table_of_others_stays(tmp_path: Path) -> None:
    table = tmp_path / "areas.csv"
    table.write_text("mine")
    with pytest.raises(RequestError, match=r"areas\.csv: exists already and is not from this command"):
        each_area(PLACES, tmp_path, partial(work, None))
    assert [path.name for path in tmp_path.iterdir()] == ["areas.csv"]
    table.unlink()
    for _ in range(2):
        assert len(each_area(PLACES[1:3], tmp_path, partial(work, None))) == 2


def test_a_bug_is_no_failed_area(tmp_path: Path) -> None:
    def broken(place: Place, folder: Path) -> str:
        raise KeyError(place.name)

    with pytest.raises(KeyError):
        each_area(PLACES, tmp_path, broken)


def warn(place: Place, folder: Path) -> str:
    warnings.warn(f"{folder.name} has no elevation", GlaciersegWarning, stacklevel=2)
    logging.getLogger("glacierseg.x").warning("no pixel has data")
    return "made"


def test_warnings_of_workers_are_said_with_their_area(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with connected(ClusterSettings(workers=1)) as client:
        each_area(PLACES[:1], tmp_path, warn, client=client)
    # On a busy machine Dask warns of its own pauses, too.
    ours = [record for record in caplog.records if record.name.startswith("glacierseg")]
    said = [record.getMessage() for record in ours if record.levelname == "WARNING"]
    assert said == ["a: a has no elevation", "a: no pixel has data"]


def test_workers_take_the_areas_and_the_table_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = each_area(PLACES, tmp_path / "alone", partial(work, None))
    monkeypatch.chdir(tmp_path)
    with connected(ClusterSettings(workers=2)) as client:
        shared = each_area(PLACES, Path("shared"), partial(work, None), client=client)
    assert shared == alone
    assert (tmp_path / "shared/areas.csv").read_bytes() == (tmp_path / "alone/areas.csv").read_bytes()
    workers = {int((tmp_path / "shared" / name / "worker.txt").read_text()) for name in ("a", "d")}
    assert os.getpid() not in workers
