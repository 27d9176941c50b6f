"""Corrections that are kept, and what counts where they meet."""

import os
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
from numpy.typing import NDArray

from glacierseg.correct import store as module
from glacierseg.correct.store import Store
from glacierseg.errors import DataError
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.raster.truth import read_mask
from glacierseg.review.edits import CHANGES, Edits
from tests.helpers import utm_grid, write_scene
from tests.review.drawn import box

GRID = utm_grid(12, 10)
PIXEL_KM2 = 1e-4


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return open_scene(write_scene(tmp_path / "basin.tif", np.ones((2, 12, 10), np.uint8)))


def said(truth: NDArray[np.uint8], analyst: str = "anna") -> Edits:
    known = truth != 255
    table = gpd.GeoDataFrame(geometry=[box(0, 2, 0, 2, GRID)], crs=GRID.crs.to_wkt())
    rows = [("1", "reshaped", 0.02, 0.01, analyst)]
    km2 = float(known.sum()) * PIXEL_KM2
    return Edits(GRID, truth, known, pd.DataFrame(rows, columns=CHANGES), km2, analyst, table, table)


def rows_as(value: int, *rows: int) -> NDArray[np.uint8]:
    truth = np.full(GRID.shape, 255, np.uint8)
    truth[list(rows)] = value
    return truth


def counted(store: Store) -> dict[str, NDArray[np.uint8]]:
    return {one.name: read_mask(one.truth, GRID) for one in store.corrections}


def test_a_correction_is_kept_with_all_that_is_known_of_it(tmp_path: Path, scene: Scene) -> None:
    store = Store(tmp_path / "out")
    assert list(store.corrections) == []
    assert store.add(said(rows_as(1, 3)), scene, {"model": "weights:alps"}) == ()
    (kept,) = store.corrections
    assert kept.name == "0001_basin"
    assert kept.scene == scene.paths
    facts = kept.facts
    assert (facts["analyst"], facts["model"]) == ("anna", "weights:alps")
    assert facts["checked_km2"] == facts["used_km2"] == pytest.approx(10 * PIXEL_KM2)
    assert (facts["gained_km2"], facts["lost_km2"]) == (0.02, 0.01)
    folder = kept.truth.parent
    assert {str(one[0]) for one in pyogrio.list_layers(folder / "outlines.gpkg")} == {"outlines", "checked"}
    assert list(pd.read_csv(folder / "changes.csv")["change"]) == ["reshaped"]
    np.testing.assert_array_equal(read_mask(kept.truth, GRID), rows_as(1, 3))


def test_the_same_edits_are_kept_once(tmp_path: Path, scene: Scene) -> None:
    store = Store(tmp_path)
    store.add(said(rows_as(1, 3)), scene)
    (line,) = store.add(said(rows_as(1, 3)), scene)
    assert "kept already, as" in line
    assert "0001_basin" in line
    assert len(store.corrections) == 1
    store.add(said(rows_as(1, 3), "ben"), scene)
    assert len(list((tmp_path / "corrections").iterdir())) == 2


def test_the_later_word_of_one_analyst_counts(tmp_path: Path, scene: Scene) -> None:
    store = Store(tmp_path)
    store.add(said(rows_as(1, 3, 4)), scene)
    assert store.add(said(rows_as(0, 4, 5)), scene) == ()
    found = counted(store)
    np.testing.assert_array_equal(found["0001_basin"], rows_as(1, 3))
    np.testing.assert_array_equal(found["0002_basin"], rows_as(0, 4, 5))
    assert [one.facts["used_km2"] for one in store.corrections] == pytest.approx([10e-4, 20e-4])


def test_what_a_later_correction_covers_whole_is_no_correction_any_more(tmp_path: Path, scene: Scene) -> None:
    store = Store(tmp_path)
    store.add(said(rows_as(1, 3)), scene)
    store.add(said(rows_as(1, 3, 4)), scene)
    assert list(counted(store)) == ["0002_basin"]


def test_ground_on_which_two_analysts_disagree_is_unknown(tmp_path: Path, scene: Scene) -> None:
    store = Store(tmp_path)
    store.add(said(rows_as(1, 1, 2)), scene)
    both = rows_as(1, 2)
    both[3] = 0
    assert store.add(said(both, "ben"), scene) == ()  # they agree
    last = rows_as(0, 1)
    last[5] = 1
    (line,) = store.add(said(last, "carla"), scene)
    assert line == "basin.tif: 0.001 km2 on which anna and carla disagree are not used"
    found = counted(store)
    together = np.minimum.reduce(list(found.values()))
    expected = rows_as(1, 2, 5)
    expected[3] = 0
    np.testing.assert_array_equal(together, expected)
    # Each pixel counts once.
    assert (np.sum([one != 255 for one in found.values()], axis=0) <= 1).all()
    # Anna looks again, and sees it as Carla does.
    again = said(rows_as(0, 1))
    assert store.add(again, scene) == ()
    np.testing.assert_array_equal(np.minimum.reduce(list(counted(store).values()))[1], 0)


def test_corrections_of_other_scenes_do_not_meet(tmp_path: Path, scene: Scene) -> None:
    store = Store(tmp_path)
    other = open_scene(write_scene(tmp_path / "later.tif", np.full((2, 12, 10), 9, np.uint8)))
    store.add(said(rows_as(1, 3)), scene)
    assert store.add(said(rows_as(0, 3), "ben"), other) == ()
    found = counted(store)
    np.testing.assert_array_equal(found["0001_basin"], rows_as(1, 3))
    np.testing.assert_array_equal(found["0002_later"], rows_as(0, 3))


def test_a_correction_whose_folder_is_removed_is_forgotten(tmp_path: Path, scene: Scene) -> None:
    store = Store(tmp_path)
    store.add(said(rows_as(1, 3, 4)), scene)
    store.add(said(rows_as(0, 3), "ben"), scene)
    np.testing.assert_array_equal(counted(store)["0001_basin"], rows_as(1, 4))
    shutil.rmtree(tmp_path / "corrections" / "0002_basin")
    other = open_scene(write_scene(tmp_path / "later.tif", np.full((2, 12, 10), 9, np.uint8)))
    assert store.add(said(rows_as(0, 3), "ben"), other) == ()
    np.testing.assert_array_equal(counted(store)["0001_basin"], rows_as(1, 3, 4))


def test_what_is_not_whole_is_not_there(
    tmp_path: Path, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        store.add(said(rows_as(1, 3)), scene)
    assert list((tmp_path / "corrections").iterdir()) == []
    monkeypatch.undo()
    store.add(said(rows_as(1, 3)), scene)
    # Killed while it settled: the next call settles.
    store.add(said(rows_as(1, 4)), scene)
    os.replace(store.corrections[0].truth.with_name("checked.tif"), store.corrections[1].truth)  # noqa: PTH105
    (tmp_path / "corrections" / "0001_basin" / "checked.tif").write_bytes(
        (tmp_path / "corrections" / "0001_basin" / "truth.tif").read_bytes()
    )
    store.add(said(rows_as(1, 4)), scene)
    np.testing.assert_array_equal(counted(store)["0002_basin"], rows_as(1, 4))


def test_a_damaged_entry_is_one_line(tmp_path: Path, scene: Scene) -> None:
    store = Store(tmp_path)
    store.add(said(rows_as(1, 3)), scene)
    (tmp_path / "corrections" / "0001_basin" / "facts.json").write_text("{")
    with pytest.raises(DataError, match=r"facts.json: is damaged"):
        store.add(said(rows_as(1, 4)), scene)
