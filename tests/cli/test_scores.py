import json
from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio

from glacierseg.cli import main
from glacierseg.evaluate.counts import count, scores_of
from tests.helpers import blobs, write_mask, write_scene


def glacierseg(arguments: Sequence[object], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["glacierseg", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


@pytest.fixture
def masks(tmp_path: Path) -> dict[str, np.ndarray]:
    truth = blobs(120, 160, seed=3)
    rng = np.random.default_rng(0)
    made = {"truth": truth, "b": np.roll(truth, 2, axis=1), "a": np.roll(truth, 6, axis=1)}
    for name, mask in made.items():
        write_mask(tmp_path / f"{name}.tif", mask)
    probability = np.clip(made["b"] * 0.8 + rng.uniform(0, 0.2, truth.shape), 0, 1).astype(np.float32)
    write_scene(tmp_path / "probability.tif", probability[None], ["probability"])
    elevation = np.repeat(np.linspace(4000, 4990, 120)[:, None], 160, axis=1).astype(np.float32)
    write_scene(tmp_path / "dem.tif", elevation[None], ["elevation"])
    write_mask(tmp_path / "debris.tif", (elevation < 4300).astype(np.uint8))
    return made


def test_evaluate_says_everything_that_is_asked_for(
    tmp_path: Path, masks: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "scores.json"
    command = [
        "evaluate", tmp_path / "b.tif", tmp_path / "truth.tif", "--out", out, "--buffer-m", 20,
        "--zones", f"{tmp_path / 'debris.tif'}=debris-covered", "--dem", tmp_path / "dem.tif",
        "--elevation-band-m", 500, "--probability", tmp_path / "probability.tif", "--draws", 200,
    ]  # fmt: skip
    assert glacierseg(command, monkeypatch) == 0
    record = json.loads(out.read_text())
    counts = count(masks["b"], masks["truth"])
    assert record["iou"] == scores_of(counts).iou
    low, high = record["intervals"]["scores"]["iou"]
    assert low < record["iou"] < high
    assert record["iou_shrunk_20m"] < record["iou_buffer_20m"] > record["iou_grown_20m"]
    zones = {(zone["kind"], zone["zone"]): zone for zone in record["zones"]}
    assert {kind for kind, _ in zones} == {"layer", "size_km2", "elevation_m"}
    debris = np.s_[: np.flatnonzero(np.linspace(4000, 4990, 120) < 4300)[-1] + 1]
    expected = count(masks["b"][debris], masks["truth"][debris])
    assert zones["layer", "debris-covered"]["tp"] == expected.tp
    bands = [zone for (kind, _), zone in zones.items() if kind == "elevation_m"]
    assert [zone["zone"] for zone in bands] == ["4000-4500", "4500-5000"]
    assert sum(zone["fp"] for zone in bands) == counts.fp
    assert 0 < record["outline_distances"]["polis_m"] <= 20
    assert record["outline_distances"]["hausdorff_m"] >= 20
    assert record["glaciers"]["truth_km2"] == pytest.approx(record["truth_km2"])
    assert record["probability"]["pixels"] == counts.total
    assert 0 < record["probability"]["ece"] < 0.3


def test_evaluate_scores_debris_where_a_scene_shows_it(
    tmp_path: Path,
    masks: dict[str, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    icy = np.arange(160)[None].repeat(120, axis=0) < 80
    light = np.stack([np.where(icy, 0.5, 0.1), np.where(icy, 0.05, 0.15)]).astype(np.float32)
    write_scene(tmp_path / "red.tif", light[:1])
    write_scene(tmp_path / "swir.tif", light[1:])
    undefined = masks["b"].copy()
    undefined[:7] = 255
    write_mask(tmp_path / "b.tif", undefined)
    out, name = tmp_path / "scores.json", ["--band-names", "red,swir1"]
    command = ["evaluate", tmp_path / "b.tif", tmp_path / "truth.tif", "--out", out, "--draws", 0]
    files = ["--scene", tmp_path / "red.tif", "--scene", tmp_path / "swir.tif"]
    assert glacierseg([*command, *files, *name], monkeypatch) == 0
    assert "red / swir1 > 2 (fixed, of reflectance)" in capsys.readouterr().out
    record = json.loads(out.read_text())
    truth, stones = masks["truth"][7:], ~icy[7:]
    expected = count(masks["b"][7:][stones][None], truth[stones][None])
    assert record["surfaces"]["threshold"] == 2
    assert record["surfaces"]["debris_precision"] == scores_of(expected).precision
    assert record["surfaces"]["debris_recall"] == scores_of(expected).recall
    assert record["surfaces"]["clean_ice_px"] == (truth[:, :80] == 1).sum()
    filled = scores_of(count(np.where(undefined == 255, 0, undefined), masks["truth"]))
    assert record["undefined_px"] == 7 * 160
    assert record["mcc_undefined_as_background"] == filled.mcc
    assert glacierseg([*command, *name], monkeypatch) == 1
    assert "give --scene too" in capsys.readouterr().err
    write_scene(tmp_path / "red.tif", light[:1, 1:])
    assert glacierseg([*command, *files[:2]], monkeypatch) == 1
    assert "lies on another grid" in capsys.readouterr().err


def test_compare_finds_the_better_mask_and_draws_the_map(
    tmp_path: Path,
    masks: dict[str, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, drawn = tmp_path / "c.json", tmp_path / "map.tif"
    command = [
        "compare", tmp_path / "a.tif", tmp_path / "b.tif", "--truth", tmp_path / "truth.tif",
        "--out", out, "--map", drawn,
    ]  # fmt: skip
    assert glacierseg(command, monkeypatch) == 0
    said = capsys.readouterr().out
    assert "assumes independent pixels" in said
    record = json.loads(out.read_text())
    assert record["scores"]["iou"]["more_than_noise"]
    assert record["scores"]["iou"]["low"] > 0
    with rasterio.open(drawn) as dataset:
        values = dataset.read(1)
    assert np.isin(values, (4, 5)).sum() == record["fixed"]


def test_change_writes_layers_and_numbers(
    tmp_path: Path,
    masks: dict[str, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = [
        "change", tmp_path / "a.tif", tmp_path / "b.tif", "--out", tmp_path / "change.gpkg",
        "--old-date", "2000", "--new-date", "2020-07-01",
    ]  # fmt: skip
    assert glacierseg(command, monkeypatch) == 0
    record = json.loads((tmp_path / "change.json").read_text())
    assert record["total"]["years"] == pytest.approx(20, abs=0.01)
    assert (tmp_path / "change.gpkg").exists()
    assert "5 m (old)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "b.tif", "two.gpkg", "--out", "s.json"],
        ["compare", "a.tif", "b.tif", "--truth", "two.gpkg", "--out", "s.json"],
        ["tune", "b.tif", "--truth", "two.gpkg", "--out", "s.json", "--iterations", "0"],
        ["check", "dem.tif", "--truth", "two.gpkg", "--band-names", "elevation"],
        ["prepare", "rasterize", "two.gpkg", "--like", "a.tif", "--out", "s.tif"],
    ],
)
def test_a_layer_of_truth_can_be_named_and_must_be(
    tmp_path: Path,
    masks: dict[str, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert glacierseg(["vectorize", "truth.tif", "--out", "own.gpkg"], monkeypatch) == 0
    for layer, name in (("raw", "first"), ("smooth", "second")):
        gpd.read_file("own.gpkg", layer=layer).to_file("two.gpkg", layer=name)
    capsys.readouterr()
    option = "--layer" if command[0] == "prepare" else "--truth-layer"
    assert glacierseg(command, monkeypatch) == 1
    told = "".join(capsys.readouterr())
    assert "has the layers first, second" in told
    assert f"say which with {option}" in told
    assert not list(Path().glob("s.*"))
    assert glacierseg([*command, option, "first"], monkeypatch) == 0
    own_file = [word.replace("two.gpkg", "own.gpkg") for word in command]
    assert glacierseg(own_file, monkeypatch) == 0, "of the package's own layers the pixel-exact one is taken"
    if command[0] == "prepare":
        with rasterio.open("s.tif") as file:
            assert (file.read(1) == masks["truth"]).all()
    if command[0] == "evaluate":
        own = json.loads(Path("s.json").read_text())
        assert own["iou"] == scores_of(count(masks["b"], masks["truth"])).iou
        monkeypatch.setattr("sys.argv", ["glacierseg"])
        assert (
            glacierseg(["evaluate", "b.tif", "truth.tif", "--out", "o.json", option, "raw"], monkeypatch) == 1
        )
        assert "truth.tif: is a raster and has no layers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["evaluate", "a.tif", "truth.tif", "--out", "s.json", "--zones", "debris.tif"],
            "be a file and a name",
        ),
        (
            ["evaluate", "a.tif", "truth.tif", "--out", "s.json", "--zones", "a.tif=z", "--zones", "b.tif=z"],
            "two --zones are called z",
        ),
        (["evaluate", "a.tif", "truth.tif", "--out", "s.json", "--model", "m"], "give --probability too"),
        (
            ["evaluate", "a.tif", "truth.tif", "--out", "s.json", "--confidence", "95"],
            "confidence must be less than 1 (got 95.0)",
        ),
        (["compare", "a.tif", "no.tif", "--truth", "truth.tif"], "no.tif"),
        (["change", "a.tif", "b.tif", "--out", "o", "--old-date", "2000"], "needs both dates"),
        (["benchmark", ".", "."], "is not a run folder"),
        (
            ["change", "a.tif", "b.tif", "--out", "o", "--old-probability", "p.tif"],
            "give --old-probability, --new",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    tmp_path: Path,
    masks: dict[str, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert glacierseg(arguments, monkeypatch) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "s.json").exists()
