"""The command that learns from corrections, as a user types it; the training itself is tested elsewhere."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from glacierseg.correct import learning
from glacierseg.correct.store import Store
from glacierseg.raster.write import write_raster
from tests.review.drawn import UTM, box, check, drawn, layer, save
from tests.weights.shelves import BANDS, MEDIANS, model_folder, packed

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def learned(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What `learn` was asked for, which here does nothing."""
    asked: list[tuple[Any, ...]] = []

    def learn(model: str, store: Store, out: Path, settings: Any, *, replay: Path | None) -> None:
        asked.append((model, len(store.corrections), out, settings.epochs, replay))

    monkeypatch.setattr(learning, "learn", learn)
    return asked


@pytest.fixture
def edited(tmp_path: Path) -> list[Path]:
    """A model, a scene, its mask, and its outlines, of which an analyst changed both."""
    values = np.random.default_rng(3).normal(1, 0.2, (4, *UTM.shape)) * np.array(MEDIANS)[:, None, None]
    write_raster(tmp_path / "basin.tif", values.astype(np.uint16), UTM, bands=list(BANDS), nodata=0)
    mask, outlines = drawn(tmp_path)
    table = layer(outlines)
    first = table.geometry[0].difference(box(2, 4, 0, 30)).union(box(9, 11, 2, 12))
    save(outlines, table[:1].set_geometry([first], crs=table.crs))
    check(outlines, [box(0, 24, 0, 28)], analyst=["anna"])
    return [model_folder(tmp_path / "model"), tmp_path / "basin.tif", mask, outlines]


def words(edited: list[Path], out: Path) -> list[object]:
    model, scene, mask, outlines = edited
    return ["correct", model, scene, "--mask", mask, "--outlines", outlines, "--out", out]


def test_changes_are_told_written_kept_and_learned_from(
    glacierseg: Command, edited: list[Path], learned: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run = tmp_path / "run"
    done = glacierseg(*words(edited, out), "--epochs", 2, "--replay", run)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "0.0672 km2 were checked by anna",
        "changes by glacier:",
        "glacier  change    gained km2  lost km2  analyst",
        "      2  removed            0   -0.0036  anna",
        "      1  reshaped     +0.0010   -0.0020  anna",
        f"+0.0010 km2 gained and -0.0056 km2 lost: {out / 'changes.csv'}",
        f"{out}: 1 correction of 0.0672 km2 so far",
    ]
    table = pd.read_csv(out / "changes.csv", dtype={"glacier_id": str})
    assert list(table.columns) == ["glacier_id", "change", "gained_km2", "lost_km2", "analyst"]
    np.testing.assert_allclose(table["lost_km2"], [0.0036, 0.0020])
    (kept,) = Store(out).corrections
    assert kept.facts["model"] == str(edited[0])
    assert kept.facts["mask"] == str(edited[2])
    assert learned == [(str(edited[0]), 1, out, 2, run)]


def test_ground_where_nothing_was_changed_confirms_the_map(
    glacierseg: Command, edited: list[Path], learned: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    check(edited[3], [box(20, 24, 0, 10)])
    done = glacierseg(*words(edited, tmp_path / "out"), "--analyst", "ben")
    assert (
        "0.004 km2 were checked by ben\nnothing was changed there, so the map is confirmed\n" in done.stdout
    )
    assert done.stderr.startswith("warning: 0.0066 km2 of edits lie outside the checked ground")
    assert pd.read_csv(tmp_path / "out" / "changes.csv").empty
    assert len(learned) == 1


def test_the_same_call_again_keeps_nothing_twice_and_another_adds(
    glacierseg: Command, edited: list[Path], learned: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    glacierseg(*words(edited, out))
    again = glacierseg(*words(edited, out))
    assert "warning: the same edits are kept already, as" in again.stderr
    assert "1 correction of 0.0672 km2 so far" in again.stdout
    save(edited[3], layer(edited[3], "before"))
    other = glacierseg(*words(edited, out), "--analyst", "ben")
    assert "basin.tif: 0.0066 km2 on which anna and ben disagree are not used" in other.stderr
    assert [asked[1] for asked in learned] == [1, 1, 1]  # of the first one nothing is left


def test_one_member_of_weights_learns(
    glacierseg: Command, edited: list[Path], learned: list[tuple[Any, ...]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    packed(tmp_path, members=2)
    monkeypatch.setenv("GLACIERSEG_WEIGHTS_DIR", str(tmp_path / "shelf"))
    typed = [*words(edited, tmp_path / "out"), "--weights", "valley-s2"]
    typed.remove(edited[0])
    refused = glacierseg(*typed)
    assert refused.returncode == 1
    assert "give --member 1 to 2" in refused.stderr
    assert not (tmp_path / "out").exists()
    assert glacierseg(*typed, "--member", 2).returncode == 0
    assert learned[0][0] == "weights:valley-s2/2"


def test_places_to_look_at_next_keep_away_from_checked_ground(
    glacierseg: Command, edited: list[Path], learned: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    model, scene, mask, outlines = edited
    out = tmp_path / "out"
    check(outlines, [box(0, 24, 0, 15)])
    glacierseg(*words(edited, out))
    learned.clear()
    save(outlines, layer(outlines, "before"))
    done = glacierseg("correct", model, scene, "--mask", mask, "--suggest", 3, "--out", out)
    assert done.returncode == 0, done.stderr
    assert f"{out / 'places.gpkg'}: 3 places, " in done.stdout
    places = layer(out / "places.gpkg", "places")
    assert list(places["rank"]) == [1, 2, 3]
    assert (places.distance(box(0, 24, 0, 15)) > 0).all()
    assert (out / "basin_probability.tif").exists()
    assert not learned
    # A probability beside the mask is used as it is; what is checked in the file counts as well.
    unsure = np.full(UTM.shape, 0.01, np.float32)
    unsure[:, :12] = 0.5
    unsure[14:20, 18:24] = 0.99
    unsure[2:8, 20:26] = 0.4
    write_raster(tmp_path / "basin_probability.tif", unsure, UTM, bands=["p"], nodata=np.nan)
    check(outlines, [box(0, 24, 0, 12)])
    typed = ["--mask", mask, "--suggest", 1, "--outlines", outlines, "--out", tmp_path / "other"]
    assert glacierseg("correct", model, scene, *typed).returncode == 0
    (place,) = layer(tmp_path / "other" / "places.gpkg", "places").geometry
    assert place.within(box(2, 8, 20, 26))
    assert not (tmp_path / "other" / "basin_probability.tif").exists()


def test_wrong_calls_are_one_line(
    glacierseg: Command, edited: list[Path], learned: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    model, scene, mask, outlines = edited
    typed = words(edited, tmp_path / "out")
    several = glacierseg(*typed[:3], scene, *typed[3:])
    assert several.returncode == 2
    assert "corrections are of one scene (got 2)" in several.stderr
    nothing = glacierseg("correct", model, scene, "--mask", mask, "--out", tmp_path / "out")
    assert nothing.returncode == 1
    assert nothing.stderr == (
        "glacierseg: nothing to learn from: give --outlines corrections.gpkg, or --suggest 20\n"
    )
    swapped = glacierseg("correct", model, scene, "--mask", outlines, "--outlines", mask, "--out", "out")
    assert swapped.returncode == 1
    assert "other way round" in swapped.stderr
    check(outlines, [])
    unchecked = glacierseg(*typed)
    assert unchecked.returncode == 1
    assert "no ground is marked as checked; in QGIS draw polygons" in unchecked.stderr
    assert len(unchecked.stderr.splitlines()) == 1
    assert not learned
    assert not (tmp_path / "out").exists()


def test_json_lines_tell_the_same(
    glacierseg: Command, edited: list[Path], learned: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    done = glacierseg("--json", *words(edited, tmp_path / "out"))
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert any(line.get("message") == "0.0672 km2 were checked by anna" for line in lines)
