import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

from glacierseg.errors import OutputError
from glacierseg.raster.grid import Grid
from glacierseg.raster.write import _HOST, atomic_path, remove_leftovers, write_json, write_raster, write_text


def test_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    final = tmp_path / "new" / "a.txt"
    with atomic_path(final) as part:
        part.write_text("whole")
        assert not final.exists()
    assert final.read_text() == "whole"
    assert list(final.parent.iterdir()) == [final]


def test_failure_leaves_the_old_file_and_no_part(tmp_path: Path) -> None:
    final = tmp_path / "a.txt"
    final.write_text("old")

    def fail(part: Path) -> None:
        part.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError), atomic_path(final) as part:
        fail(part)
    assert final.read_text() == "old"
    assert list(tmp_path.iterdir()) == [final]


def test_files_of_one_format_move_together(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.shp") as part:
        for suffix in (".shp", ".dbf", ".shx"):
            part.with_suffix(suffix).write_text(suffix)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.dbf", "a.shp", "a.shx"]


def test_leftovers_of_killed_processes_go(tmp_path: Path) -> None:
    hidden = tmp_path / "runs" / ".a.tif.part-123"
    hidden.mkdir(parents=True)
    (hidden / "a.tif").write_text("half")
    remove_leftovers(tmp_path)
    assert list((tmp_path / "runs").iterdir()) == []


def test_what_a_killed_process_left_of_a_file_goes_when_the_file_is_written(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    mark = f".part-{_HOST}-"
    left, own = tmp_path / f".a.tif{mark}{dead.pid}", tmp_path / f".a.tif{mark}{os.getpid()}"
    alive, other = tmp_path / f".a.tif{mark}{os.getppid()}", tmp_path / f".b.tif{mark}{dead.pid}"
    elsewhere = tmp_path / f".a.tif.part-elsewhere-{dead.pid}"
    for folder in (left, own, alive, other, elsewhere):
        folder.mkdir()
        (folder / "a.tif").write_text("half")
    with atomic_path(tmp_path / "a.tif") as part:
        assert not part.exists()
        part.write_text("whole")
    assert sorted(tmp_path.iterdir()) == sorted([alive, other, elsewhere, tmp_path / "a.tif"])


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write there"), atomic_path(tmp_path / "file" / "a.txt"):
        pass


def test_a_folder_of_that_name_is_refused_by_its_own_name(tmp_path: Path) -> None:
    folder = tmp_path / "mask.tif"
    folder.mkdir()
    with pytest.raises(OutputError, match=r"mask\.tif: is a folder") as error, atomic_path(folder):
        pass
    assert ".part-" not in str(error.value)
    assert list(tmp_path.iterdir()) == [folder]


def test_text_and_json_keep_their_signs(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "±30 m")
    write_json(tmp_path / "a.json", {"name": "Khumbu ±"})
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "±30 m"
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"name": "Khumbu ±"}


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_raster_is_a_valid_cog_with_names_nodata_and_tags(
    tmp_path: Path, make_grid: Callable[..., Grid], dtype: str
) -> None:
    values = np.random.default_rng(0).integers(0, 200, (2, 600, 700)).astype(dtype)
    path = tmp_path / "a.tif"
    grid = make_grid(600, 700)
    write_raster(path, values, grid, bands=["p", "q"], nodata=255, tags={"MODEL": "x"}, resampling="average")
    valid, errors, _ = cog_validate(str(path))
    assert valid, errors
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(), values)
        assert dataset.descriptions == ("p", "q")
        assert dataset.nodata == 255
        assert dataset.tags()["MODEL"] == "x"
        assert dataset.transform == grid.transform
        assert dataset.overviews(1)


@pytest.mark.parametrize("count", [3, 4])
def test_eight_bit_bands_are_no_colour_picture(
    tmp_path: Path, make_grid: Callable[..., Grid], count: int
) -> None:
    path = tmp_path / "a.tif"
    values = np.zeros((count, 8, 8), np.uint8)
    write_raster(path, values, make_grid(8, 8), bands=list("abcd")[:count], nodata=None, cog=False)
    with rasterio.open(path) as dataset:
        assert dataset.dataset_mask().all()
        assert "alpha" not in [interpretation.name for interpretation in dataset.colorinterp]


def test_single_band_array(tmp_path: Path, make_grid: Callable[..., Grid]) -> None:
    path = tmp_path / "a.tif"
    write_raster(path, np.eye(8, dtype=np.uint8), make_grid(8, 8), bands=["mask"], nodata=None, cog=False)
    with rasterio.open(path) as dataset:
        assert dataset.count == 1


def full(_folder: Path) -> type:
    return type("Usage", (), {"free": 1000})


def test_a_full_disk_is_one_line_whatever_failed_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", full)

    def write(failure: RuntimeError | None) -> None:
        with atomic_path(tmp_path / "a.txt") as part:
            part.write_text("some")
            if failure:
                raise failure

    for failure in (RuntimeError("database or disk is full"), None):
        with pytest.raises(OutputError, match="the disk is full") as caught:
            write(failure)
        assert "\n" not in str(caught.value)
        assert list(tmp_path.iterdir()) == []
