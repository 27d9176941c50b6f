import json
import re
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import rasterio
import yaml

from glacierseg import cli
from glacierseg.predict.calibration import store_calibration
from glacierseg.settings import load_config
from glacierseg.weights.pack import pack_weights
from tests.helpers import blobs, write_mask, write_scene
from tests.weights.shelves import (
    BANDS,
    calibration,
    facts,
    model_folder,
    packed,
    reflectances,
    training_scene,
)


def glacierseg(*words: object) -> int:
    """Runs the command in this process and returns its exit status."""
    sys.argv = ["glacierseg", *map(str, words)]
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a shelf of its own and nothing from the package."""
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr("glacierseg.weights.shelf.SHIPPED", tmp_path / "none")
    monkeypatch.setenv("GLACIERSEG_WEIGHTS_DIR", str(tmp_path / "shelf"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shelf").mkdir()
    return tmp_path


@pytest.fixture
def scene(place: Path) -> Path:
    values = reflectances(70, 50, 4)
    return write_scene(place / "s.tif", values[::-1], ["nir", "red", "green", "blue"], nodata=0)


def test_models_are_listed_told_and_printed_as_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert glacierseg("models") == 0
    assert "no weights come with this version" in capsys.readouterr().out
    assert glacierseg("models", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []
    packed(place, members=2, expected=["0.6 in the next valley"])
    assert glacierseg("models") == 0
    head, row, *rest = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "network", "MB", "sensor", "pixel", "glacier", "IoU", "terms"]
    cells = ["valley-s2", "2 x m_landsnet", "0.6", "sentinel2", "10 m", "0.70", "free"]
    assert re.split(r"\s{2,}", row) == cells
    assert len(rest) == 2
    assert glacierseg("models", "valley-s2") == 0
    told = capsys.readouterr().out
    for fact in (
        "not measured: 0.6 in the next valley",
        "glacier IoU 0.700 (0.600-0.800) on another valley",
        "B2 (blue): reflectance",
        "0.27 M parameters",
        "terms of use: free for any use",
        "a made-up valley",
        "CC0",
        "nobody",
        "debris",
        "reflectance x 10000",
        "10 m",
    ):
        assert fact in " ".join(told.split())
    assert glacierseg("models", "valley-s2", "--json") == 0
    entry = json.loads(capsys.readouterr().out)
    assert (entry["name"], entry["window_px"], entry["terms"]) == ("valley-s2", 32, "free for any use")
    assert entry["members"] == [{"network": "m_landsnet", "width": 0.125, "patch_px": 32}] * 2
    assert glacierseg("info") == 0
    assert "valley-s2" in capsys.readouterr().out
    assert glacierseg("models", "valley") == 1
    assert "did you mean 'valley-s2'?" in capsys.readouterr().err


def test_the_table_of_weights_fits_a_window_and_a_file_has_a_row_each(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "late-summer-landsat-of-a-whole-mountain-range-1999-2024"
    kinds = ("m_landsnet", "glavitu")
    folders = [model_folder(place / kind, architecture=kind) for kind in kinds]
    other = [{"metric": "mean IoU", "value": 0.9, "ground": "another valley"}]
    asked = ([training_scene(place)], place / "shelf")
    pack_weights(folders, long, facts(terms="research, not for sale", scores=other), *asked)
    packed(place, members=3)
    monkeypatch.setenv("COLUMNS", "80")
    assert glacierseg("models") == 0
    whole = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in whole[1:3]] == [long, "valley-s2"]
    cells = re.split(r"\s{2,}", whole[1])
    assert (cells[1], cells[-2:]) == ("2 networks", ["-", "research"])  # its score is of no glacier IoU
    for columns, shown in (("120", whole), ("80", None)):
        monkeypatch.setenv("COLUMNS", columns)
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        assert glacierseg("models") == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= int(columns)
        if shown:
            assert lines == shown
        else:
            assert lines[1] == long
            assert lines[2].split() == whole[1].split()[1:]
            assert lines[3].split() == whole[2].split()


def test_the_table_of_shipped_weights_fits_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GLACIERSEG_WEIGHTS_DIR", raising=False)
    assert glacierseg("models") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 3
    assert max(map(len, lines)) <= 80


def test_windows_are_those_of_the_card_unless_the_user_says_otherwise(place: Path, scene: Path) -> None:
    packed(place, window_px=40)
    for asked, window_px in ((), "40"), (("--window-px", "48"), "48"):
        assert glacierseg("predict", "--weights", "valley-s2", scene, "--out", "out", *asked) == 0
        with rasterio.open("out/s_mask.tif") as file:
            assert file.tags()["window_px"] == window_px


def test_symmetries_are_those_of_the_card_unless_the_user_says_otherwise(
    place: Path, scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = calibration(symmetries=True).to_dict()
    packed(place, "turned", members=2, symmetries=True, calibration=own)
    packed(place, "plain", members=2)
    assert glacierseg("models", "turned") == 0
    assert "windows of 32 px, the mean over eight symmetries; glacier from" in capsys.readouterr().out
    for name, asked, looks in (
        ("turned", (), True),
        ("turned", ("--no-symmetries",), False),
        ("plain", (), False),
        ("plain", ("--symmetries",), True),
    ):
        assert glacierseg("predict", "--weights", name, scene, "--out", "out", *asked) == 0
        with rasterio.open("out/s_probability.tif") as file:
            assert ("symmetries" in file.tags()) is looks
        told = capsys.readouterr().out
        assert ("--no-symmetries is several times faster" in " ".join(told.split())) is (
            name == "turned" and not asked
        )
        # The calibration is of the mean over the symmetries.
        assert ("glacier area" in told) is (name == "turned" and looks)


def test_bounds_of_the_area_are_for_ground_like_that_of_the_calibration(
    place: Path, scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed(place, calibration=calibration().to_dict(), members=2)
    write_scene(place / "wide.tif", reflectances(70, 50, 4), BANDS, nodata=0, pixel_m=20.0)
    write_scene(place / "empty.tif", np.zeros((4, 70, 50), np.uint16), BANDS, nodata=0)
    scenes = (scene, "wide.tif", "empty.tif")
    assert glacierseg("predict", "--weights", "valley-s2", *scenes, "--out", "out") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert told.count("confidence on ground like that of its calibration") == 1
    assert told.count("no bounds of its glacier area: the scene is unlike the ground") == 1
    with rasterio.open("out/empty_mask.tif") as file:
        assert (file.read() == 255).all()


def test_weights_predict_a_scene_whose_bands_have_other_names_and_order(
    place: Path, scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed(place)
    assert glacierseg("predict", "--weights", "valley-s2", scene, "--out", "out") == 0
    done = capsys.readouterr()
    assert done.out.split() == [f"out/s_{kind}.tif" for kind in ("probability", "mask")]
    assert done.err == ""
    plain = write_scene(place / "plain.tif", reflectances(70, 50, 4), BANDS, nodata=0)
    assert glacierseg("predict", "shelf/valley-s2", plain, "--out", "out") == 0
    with rasterio.open("out/s_probability.tif") as one, rasterio.open("out/plain_probability.tif") as other:
        assert np.array_equal(one.read(), other.read())
        assert one.tags()["trained_weights"] == "valley-s2"
        assert one.tags()["attribution"] == "nobody"
    # Bands without names are named in file order.
    with rasterio.open(plain, "r+") as dataset:
        dataset.descriptions = (None,) * 4
    asked = ("predict", "--weights", "valley-s2", plain, "--out", "again")
    assert glacierseg(*asked) == 1
    assert "--band-names B2,B3,B4,B8" in capsys.readouterr().err
    assert not (place / "again").exists()
    assert glacierseg(*asked, "--band-names", "B2, B3, B4, B8") == 0
    with rasterio.open("out/s_mask.tif") as one, rasterio.open("again/plain_mask.tif") as other:
        assert np.array_equal(one.read(), other.read())


def test_another_unit_is_refused_scaled_or_forced(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed(place)
    values = reflectances(70, 50, 4)
    whole = write_scene(place / "whole.tif", values, BANDS)
    tenth = write_scene(place / "tenth.tif", (values / 1e4).astype(np.float32), BANDS)
    asked = ("predict", "--weights", "valley-s2", "--out", "out", "--precision", "float32", "--window-px", 64)
    # The second of two scenes is refused before the first is predicted.
    assert glacierseg(*asked, whole, tenth) == 1
    told = capsys.readouterr().err
    assert told.startswith("glacierseg: ")
    assert f"{tenth}: is unlike what valley-s2 was trained on" in told
    assert len(told.splitlines()) == 1
    assert not (place / "out").exists()
    assert glacierseg(*asked, tenth, "--force") == 0
    assert capsys.readouterr().err.startswith("warning: ")
    assert glacierseg(*asked, tenth, "--scale", 10000) == 0
    assert glacierseg(*asked, whole) == 0
    with (
        rasterio.open("out/tenth_probability.tif") as one,
        rasterio.open("out/whole_probability.tif") as other,
    ):
        assert np.abs(one.read() - other.read()).max() < 1e-4


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--weights", "valley-s2", "model", "s.tif"), "is a model folder"),
        (("model",), "a SCENE after it is missing"),
        (("s.tif",), "a MODEL_DIR before it is missing"),
        (("model", "s.tif", "--sensor", "landsat8"), "--sensor goes with --weights"),
        (("--weights", "valley-s2", "s.tif", "--with", "model"), "--with goes with a MODEL_DIR"),
    ],
)
def test_wrong_usage_is_status_2(
    place: Path, scene: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    packed(place)
    model_folder(place / "model")
    assert glacierseg("predict", *words, "--out", "out") == 2
    assert told in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (place / "out").exists()


def test_export_and_bands_take_weights(place: Path, scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed(place, members=2)
    assert glacierseg("export", "--weights", "valley-s2", "--to", "onnx") == 1
    assert "has 2 members, and one is needed" in capsys.readouterr().err
    assert glacierseg("export", "--weights", "valley-s2", "--member", 2, "--to", "onnx") == 0
    assert capsys.readouterr().out.split() == ["valley-s2-2.onnx"]
    assert (place / "valley-s2-2.onnx").is_file()
    assert glacierseg("export", "model", "--weights", "valley-s2", "--to", "onnx") == 2
    assert glacierseg("export", "--to", "onnx") == 2
    capsys.readouterr()
    for option in (("--cost-on", scene), ("--band-names", "a,b"), ("--nodata", 0)):
        assert glacierseg("export", "--weights", "valley-s2", "--member", 2, "--to", "onnx", *option) == 1
        assert f"{option[0]} goes with --int8-with SCENE" in capsys.readouterr().err
    mask = write_mask(place / "mask.tif", blobs(70, 50))
    asked = ("bands", "--weights", "valley-s2", scene, "--truth", mask, "--out", "bands.csv")
    assert glacierseg(*asked) == 1
    assert glacierseg(*asked, "--member", 1) == 0
    table = (place / "bands.csv").read_text().splitlines()
    assert {line.split(",")[0] for line in table[1:]} | {line.split(",")[1] for line in table[1:]} >= set(
        BANDS
    )


def test_int8_takes_the_band_names_that_a_scene_lacks(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed(place)
    nameless = write_scene(place / "nameless.tif", reflectances(64, 64, 4), nodata=0)
    asked = ("export", "--weights", "valley-s2", "--to", "openvino", "--int8-with", nameless)
    assert glacierseg(*asked) == 1
    assert "such as --band-names" in capsys.readouterr().err
    assert glacierseg(*asked, "--band-names", ",".join(BANDS)) == 0
    assert (place / "valley-s2_int8.xml").is_file()


def test_an_export_takes_the_windows_of_the_weights(place: Path) -> None:
    packed(place, window_px=48)
    for more, side in (((), 48), (("--window-px", "64"), 64)):
        asked = ("export", "--weights", "valley-s2", "--to", "onnx", "--out", "net.onnx", *more)
        assert glacierseg(*asked) == 0
        facts_of = {entry.key: entry.value for entry in onnx.load("net.onnx").metadata_props}
        assert facts_of["window_px"] == str(side)


def test_models_are_packed_from_the_command_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "facts.yaml").write_text(yaml.safe_dump(json.loads(facts().model_dump_json())))
    for number in (1, 2):
        model_folder(place / f"fold{number}", number)
        training_scene(place, number)
    asked = ("pack-weights", "fold1", "fold2", "--name", "both", "--facts", "facts.yaml", "--out", "shelf")
    for scenes in ("training*.tif", ".", "training1.tif"):
        assert glacierseg(*asked, "--scenes", scenes) == 0
        told = capsys.readouterr().out
        assert "shelf/both: 0." in told
        assert ("of 1 scenes" if scenes == "training1.tif" else "of 2 scenes") in told
    assert glacierseg(*asked, "--scenes", "no*.tif") == 1
    assert "give the training scenes" in capsys.readouterr().err
    assert glacierseg("models", "both") == 0


def test_a_training_may_start_from_weights_by_name(place: Path, scene: Path) -> None:
    write_mask(place / "mask.tif", blobs(70, 50))
    settings = {
        "name": "tiny",
        "regions": [{"name": "r", "scene": "s.tif", "truth": "mask.tif", "roles": ["train", "validate"]}],
        "models": [{"name": "m_landsnet", "start_from": "weights:valley-s2"}],
    }
    (place / "run.yaml").write_text(yaml.safe_dump(settings))
    assert str(load_config(place / "run.yaml").models[0].start_from) == "weights:valley-s2"


@pytest.mark.parametrize("members", [1, 2])
def test_maps_of_weights_are_scored_and_compared_with_their_calibration(
    place: Path, capsys: pytest.CaptureFixture[str], members: int
) -> None:
    own = calibration(symmetries=True)
    weights = packed(place, members=members, symmetries=True).weights
    if members == 1:
        store_calibration(weights.folder, own)
    else:
        card = json.loads((weights.folder / "card.json").read_text())
        (weights.folder / "card.json").write_text(json.dumps(card | {"calibration": own.to_dict()}))
    values = reflectances(70, 50, 4)
    for name, seen in (("old", values), ("new", values[:, ::-1])):
        write_scene(place / f"{name}.tif", seen, BANDS, nodata=0)
        assert glacierseg("predict", "--weights", "valley-s2", f"{name}.tif", "--out", "maps") == 0
    told = re.findall(r"glacier area (\S+) km2", capsys.readouterr().out)
    write_mask(place / "truth.tif", blobs(70, 50))
    scored = (
        "evaluate", "maps/old_mask.tif", "truth.tif", "--out", "s.json", "--probability",
        "maps/old_probability.tif", "--weights", "valley-s2",
    )  # fmt: skip
    assert glacierseg(*scored) == 0
    found = json.loads((place / "s.json").read_text())["probability"]
    # Truth is known all over, so the area is that of the whole scene.
    assert f"{found['area']['expected_km2']:.4g}" == told[0]
    assert found["calibrated"]["ece"] != found["ece"]
    changed = (
        "change", "maps/old_mask.tif", "maps/new_mask.tif", "--out", "c", "--old-weights", "valley-s2",
        "--old-probability", "maps/old_probability.tif", "--new-probability", "maps/new_probability.tif",
    )  # fmt: skip
    assert glacierseg(*changed) == 0
    total = json.loads((place / "c" / "change.json").read_text())["total"]
    assert [f"{total[f'{date}_expected_km2']:.4g}" for date in ("old", "new")] == told
    # What the calibration is not of is refused: no symmetries, other weights.
    again = ("predict", "--weights", "valley-s2", "old.tif", "--out", "maps", "--no-symmetries")
    assert glacierseg(*again) == 0
    capsys.readouterr()
    assert glacierseg(*scored) == 1
    assert "is for weights valley-s2 with symmetries" in " ".join(capsys.readouterr().err.split())
    packed(place, "others", members=3, symmetries=True)
    assert glacierseg("predict", "--weights", "others", "old.tif", "--out", "maps") == 0
    capsys.readouterr()
    assert glacierseg(*scored) == 1
    assert "predicted in another way" in " ".join(capsys.readouterr().err.split())
    # A map of another single network with the same kind of tags, and of the folder of one member.
    lone = model_folder(place / "lone", 7)
    assert glacierseg("predict", lone, "old.tif", "--out", "maps", "--symmetries") == 0
    capsys.readouterr()
    assert glacierseg(*scored) == 1
    assert "predicted in another way" in " ".join(capsys.readouterr().err.split())
    store_calibration(lone, own)
    assert glacierseg(*scored[:-2], "--model", lone) == 0
    other = model_folder(place / "other", 8)
    store_calibration(other, own)
    capsys.readouterr()
    assert glacierseg(*scored[:-2], "--model", other) == 1
    assert "is for the network alone with symmetries" in " ".join(capsys.readouterr().err.split())
    assert glacierseg(*scored[:-1], "vally-s2") == 1
    assert "did you mean 'valley-s2'?" in capsys.readouterr().err
    assert glacierseg(*scored, "--model", lone) == 1
    assert "model and weights exclude each other" in capsys.readouterr().err
