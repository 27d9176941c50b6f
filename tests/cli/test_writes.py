"""A walk through all commands: none of them writes over what it was given."""

import inspect
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import geopandas as gpd
import pyogrio
import pytest
import typer
from shapely.geometry import box

from glacierseg import cli
from glacierseg.models.card import ModelCard, save_model
from tests.helpers import blobs, easy_scene, write_mask, write_scene

OUTPUTS = {"out", "map_out", "plot", "project"}
# Outputs that are folders of the command's own, where nothing of the user's lies.
OWN_FOLDERS = {"demo", "run", "train"}
WORDS = {"bands": "red", "model": "m", "to": "onnx", "name": "x", "scenes": "{scene}"}
"""What else a command cannot do without, by parameter."""
KINDS = {
    "outlines": "outlines.gpkg", "existing": "outlines.gpkg", "centre_lines": "outlines.gpkg",
    "truth": "mask.tif",
    "mask": "mask.tif", "predicted": "mask.tif", "model_dir": "model", "model_dirs": "model",
}  # fmt: skip
"""What file an input is, by parameter; a scene does for all others."""


@dataclass(frozen=True)
class Typed:
    """A parameter of a command as it is typed."""

    name: str
    word: str | None
    required: bool
    is_file: bool


def commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[Typed]]]:
    """Gives the words of every command, and its parameters."""
    if hasattr(group, "commands"):
        for name, command in group.commands.items():
            yield from commands(command, (*words, name))
        return
    # Options made from settings stand beside those that the function declares.
    hints = get_type_hints(inspect.unwrap(group.callback)) | get_type_hints(group.callback)
    yield (
        words,
        [
            Typed(
                one.name,
                one.opts[0] if one.opts[0].startswith("-") else None,
                one.required or one.name == "model_dir",
                "Path" in str(hints.get(one.name)) or one.name == "zones",
            )
            for one in group.params
        ],
    )


def pairs() -> list[Any]:
    """Every output of every command with every input that it may be given."""
    return [
        pytest.param(words, typed, output, source, id=f"{'-'.join(words)}-{output.name}-{source.name}")
        for words, typed in commands(typer.main.get_command(cli.app))
        if words[0] not in OWN_FOLDERS
        for output in typed
        if output.is_file and output.name in OUTPUTS
        for source in typed
        if source.is_file and source.name not in OUTPUTS
    ]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ground")
    mask = blobs(32, 32, 4)
    write_scene(folder / "scene.tif", easy_scene(mask), ["red", "green", "blue", "nir"])
    write_mask(folder / "mask.tif", mask)
    gpd.GeoDataFrame({"a": [1]}, geometry=[box(700_050, 3_599_750, 700_250, 3_599_950)], crs=32643).to_file(
        folder / "outlines.gpkg"
    )
    card = ModelCard(
        architecture="m_landsnet",
        width=0.125,
        bands=("red", "nir"),
        band_mean=(100.0, 90.0),
        band_std=(40.0, 50.0),
        patch_px=32,
    )
    save_model(folder / "model", card.build(), card)
    return folder


def suffix_of(command: tuple[str, ...], output: Typed) -> str:
    if output.name == "plot":
        return ".png"
    if output.name == "project":
        return ".qgz"
    if output.name == "map_out" or command[0] in {"prepare", "refine"}:
        return ".tif"
    return {
        "bands": ".csv",
        "export": ".onnx",
        "vectorize": ".gpkg",
        "inventory": ".gpkg",
        "change": ".gpkg",
    }.get(command[0], ".json")


def type_in(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["glacierseg", *words])
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.mark.parametrize(("words", "parameters", "output", "source"), pairs())
def test_a_result_never_takes_the_place_of_an_input(
    words: tuple[str, ...], parameters: list[Typed], output: Typed, source: Typed,
    ground: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    # Under a name that the output may have; what the file holds decides how it is read.
    given = tmp_path / f"given{suffix_of(words, output)}"
    kind = ground / KINDS.get(source.name, "scene.tif")
    folder = kind.is_dir()
    if folder:
        shutil.copytree(kind, tmp_path / "model")
        given = tmp_path / "model" / "model.json"
        shutil.copy(tmp_path / "model" / "model.safetensors", given.with_suffix(suffix_of(words, output)))
    else:
        shutil.copy(kind, given)
    typed = list(words)
    for parameter in parameters:
        if parameter is not source and (parameter is output or not parameter.required):
            continue
        if parameter is source:
            value = str(tmp_path / "model" if folder else given) + "=name" * (source.name == "zones")
        elif parameter.is_file and parameter.name in OUTPUTS:
            value = str(tmp_path / f"other{suffix_of(words, parameter)}")
        elif parameter.is_file:
            value = str(ground / KINDS.get(parameter.name, "scene.tif"))
        else:
            value = WORDS[parameter.name].format(scene=ground / "scene.tif")
        typed += [parameter.word, value] if parameter.word else [value]
        if parameter.name == "paths":
            typed.insert(len(words), str(ground / "model"))
    typed += [str(output.word), str(given)]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert type_in(typed, monkeypatch) == 1
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert len(said.err.splitlines()) == 1, said.err
    assert str(given) in said.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    if (
        not folder
        and words[0] not in {"fetch", "predict", "map", "correct", "figures", "pack-weights"}
        and source.name != "config"
    ):
        assert "is an input of the same command" in said.err


def test_a_map_never_takes_the_place_of_another_scene(
    ground: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("scene.tif", "scene_mask.tif"):
        shutil.copy(ground / "scene.tif", tmp_path / name)
    before = (tmp_path / "scene_mask.tif").read_bytes()
    scenes = [str(tmp_path / name) for name in ("scene.tif", "scene_mask.tif")]
    assert type_in(["predict", str(ground / "model"), *scenes, "--out", str(tmp_path)], monkeypatch) == 1
    assert "scene_mask.tif: exists " in capsys.readouterr().err
    assert (tmp_path / "scene_mask.tif").read_bytes() == before
    assert not (tmp_path / "scene_probability.tif").exists()


@pytest.mark.parametrize(
    "command",
    [["vectorize", "{mask}"], ["inventory", "{mask}"], ["change", "{mask}", "{mask}"]],
    ids=lambda command: command[0],
)
def test_layers_of_others_stay_until_overwriting_is_asked_for(
    ground: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    command: list[str],
) -> None:  # fmt: skip
    out = tmp_path / "project.gpkg"
    typed = [word.format(mask=ground / "mask.tif") for word in command] + ["--out", str(out)]
    for _ in range(2):  # its own layers are replaced
        assert type_in(typed, monkeypatch) == 0
    own = {name for name, _ in pyogrio.list_layers(out)}
    gpd.read_file(ground / "outlines.gpkg").to_file(out, layer="by_hand")
    before = out.read_bytes()
    assert type_in(typed, monkeypatch) == 1
    assert "project.gpkg: holds layers that this command does not write (by_hand)" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert type_in([*typed, "--overwrite"], monkeypatch) == 0
    assert {name for name, _ in pyogrio.list_layers(out)} == own


def test_a_configuration_that_a_command_reads_is_kept(
    ground: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # An output of another suffix would be refused for that alone.
    file = tmp_path / "settings.gpkg"
    file.write_text("inventory: {min_area_km2: 0}")
    typed = ["inventory", str(ground / "mask.tif"), "--config", str(file), "--out", str(file)]
    assert type_in(typed, monkeypatch) == 1
    assert "settings.gpkg: is an input of the same command" in capsys.readouterr().err
    assert file.read_text() == "inventory: {min_area_km2: 0}"
