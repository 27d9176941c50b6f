"""The zip of the plug-in: its table against the command line, and what is in it."""

import ast
import configparser
import hashlib
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

import glacierseg
from glacierseg.weights import list_weights
from glacierseg_qgis import algorithms as kinds
from glacierseg_qgis.algorithms import Algorithm, Parameter, read_contents
from packing.build import NAME, build, command_of, contents

CONTENTS = contents()
ALGORITHMS = {one.name: one for one in CONTENTS.algorithms}
SAMPLES: dict[str, Any] = {
    kinds.RASTER: "/x y/é.tif",
    kinds.RASTERS: ["/a.tif", "/b.tif"],
    kinds.OUTLINES: ("/o.gpkg", "glaciers"),
    kinds.EITHER: ("/o.gpkg", "glaciers"),
    kinds.FILE: "/f",
    kinds.FILES: ["/p.zip", "/q.tar"],
    kinds.FOLDER: "/m",
    kinds.EXTENT: "-5.5,45.0,8.2,46.0",
    kinds.INTEGER: 7,
    kinds.NUMBER: -0.5,
    kinds.TEXT: "red,nir",
    kinds.LINES: " a=/a.tif\n\nb=/b c.tif ",
    kinds.TO_RASTER: "/out.tif",
    kinds.TO_OUTLINES: "/out.gpkg",
    kinds.TO_FOLDER: "/out",
}


def sample(one: Parameter) -> Any:
    if one.choices:
        return one.choices[-1]
    if one.kind == kinds.FLAG:
        return not one.default
    return CONTENTS.weights[0] if one.kind == kinds.WEIGHTS else SAMPLES[one.kind]


def wanted(one: Parameter) -> list[str]:
    """What the command shall have of a sample, as texts."""
    value = sample(one)
    if one.kind == kinds.FLAG:
        value = value == kinds.YES if one.choices else value
    elif one.kind == kinds.LINES:
        value = ["a=/a.tif", "b=/b c.tif"]
    elif one.kind in {kinds.OUTLINES, kinds.EITHER}:
        value = value[1 if one.beside else 0]
    return as_texts(value)


def as_texts(value: Any) -> list[str]:
    return list(map(str, value)) if isinstance(value, list | tuple) else [str(value)]


def test_the_table_has_the_commands_of_the_work() -> None:
    assert set(ALGORITHMS) >= {
        "check",
        "prepare_scene",
        "map",
        "predict",
        "refine",
        "inventory",
        "change",
        "correct",
    }
    assert {one.group for one in CONTENTS.algorithms} <= {"Prepare", "Map"}
    assert CONTENTS.weights == tuple(weights.name for weights in list_weights())


@pytest.mark.parametrize("algorithm", CONTENTS.algorithms, ids=lambda one: one.name)
def test_each_parameter_reaches_the_command_as_it_is_given(algorithm: Algorithm) -> None:
    words = algorithm.command_words({one.name: sample(one) for one in algorithm.parameters})
    assert words[: len(algorithm.words)] == list(algorithm.words)
    command = command_of(" ".join(algorithm.words))
    taken = command.make_context("x", words[len(algorithm.words) :]).params
    by_flag = {flag: one.name for one in command.params for flag in (*one.opts, *one.secondary_opts)}
    arguments: list[str] = []
    for one in algorithm.parameters:
        if one.flag:
            assert as_texts(taken[by_flag[one.flag]]) == wanted(one), one.name
        else:
            arguments += wanted(one)
        if one.layer:
            assert taken[by_flag[one.layer]] == "glaciers"
    positional = [one.name for one in command.params if not one.opts[0].startswith("-")]
    assert [text for name in positional for text in as_texts(taken[name])] == arguments


@pytest.mark.parametrize("algorithm", CONTENTS.algorithms, ids=lambda one: one.name)
def test_defaults_of_the_dialog_are_those_of_the_command(algorithm: Algorithm) -> None:
    """What the dialog shows and nobody touches adds no word, so the command does as it does by itself."""
    flags = [one for one in algorithm.parameters if one.kind == kinds.FLAG and not one.choices]
    assert algorithm.command_words({one.name: one.default for one in flags}) == list(algorithm.words)
    # And what it shows is what the sentence of the command says.
    assert all(one.default == one.help.endswith("Default: yes.") for one in flags)


@pytest.mark.parametrize("algorithm", CONTENTS.algorithms, ids=lambda one: one.name)
def test_a_dialog_can_be_read(algorithm: Algorithm) -> None:
    names = [one.name for one in algorithm.parameters]
    assert len(set(names)) == len(names)
    labels = [one.label for one in algorithm.parameters]
    assert len(set(labels)) == len(labels)
    for one in algorithm.parameters:
        assert 3 < len(one.label) <= 110
        assert one.label[0].isupper()
        assert not (one.required and one.advanced)
    output = algorithm.output
    if output is not None and output.kind == kinds.TO_FOLDER:
        assert all(result.suffix for result in algorithm.results)


def test_the_order_of_arguments_is_the_command_s() -> None:
    words = ALGORITHMS["map"].command_words(
        {"SCENE": ["/s.tif"], "MODEL": "/m", "OUTPUT": "/o", "PRODUCTS": ["/p"], "MASK": None}
    )
    assert words == ["map", "--out", "/o", "/m", "/s.tif", "/p"]
    change = ALGORITHMS["change"].command_words(
        {"NEW": ("/new.tif", ""), "OLD": ("/o.gpkg", "a"), "OUTPUT": "/c"}
    )
    assert change == ["change", "--old-layer", "a", "--out", "/c", "/o.gpkg", "/new.tif"]


def test_the_plug_in_reads_what_was_packed(tmp_path: Path) -> None:
    (tmp_path / "algorithms.json").write_text(CONTENTS.to_json())
    assert read_contents(tmp_path / "algorithms.json") == CONTENTS


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("dist") / "new" / "glacierseg-qgis.zip")


def test_the_zip_is_what_qgis_installs(packed: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(packed) as file:
        names = file.namelist()
        metadata = configparser.ConfigParser()
        metadata.read_string(file.read(f"{NAME}/metadata.txt").decode())
    with zipfile.ZipFile(packed) as file:
        assert file.read(f"{NAME}/icon.svg").startswith(b"<svg")
    assert {name.split("/")[0] for name in names} == {NAME}
    assert {"__init__.py", "metadata.txt", "icon.svg", "LICENSE", "algorithms.json"} <= {
        name.split("/")[1] for name in names
    }
    assert not [name for name in names if "test" in name or "cache" in name or "packing" in name]
    general = metadata["general"]
    assert general["version"] == glacierseg.__version__
    assert general["qgisMinimumVersion"] == "3.22"
    assert general["hasProcessingProvider"] == "yes"
    for needed in ("name", "description", "about", "author", "email", "repository", "tracker"):
        assert general[needed]
    again = build(tmp_path / "again.zip")
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(packed.read_bytes()).digest()


def test_the_plug_in_needs_nothing_but_qgis_and_python_3_9(packed: Path) -> None:
    with zipfile.ZipFile(packed) as file:
        sources = {name: file.read(name).decode() for name in file.namelist() if name.endswith(".py")}
    assert len(sources) >= 5
    without_qgis = {f"{NAME}/{name}.py" for name in ("__init__", "algorithms", "command")}
    for name, text in sources.items():
        tree = ast.parse(text, feature_version=(3, 9))
        assert "from __future__ import annotations" in text
        imported = {
            (node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
        } | {
            alias.name.split(".")[0]
            for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
        }  # fmt: skip
        others = imported - set(sys.stdlib_module_names) - {NAME}
        assert others <= (set() if name in without_qgis else {"qgis", "processing"}), name
