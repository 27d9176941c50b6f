"""What messages tell users to type, looked up in the source: every command, option, key and extra is there.

Cures are typed, and looked at whether they help, beside the tests of the messages; here are those that a test
cannot type, and those of int8.
"""

import ast
import inspect
import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, get_args

import numpy as np
import pydantic
import pytest
import rasterio
import typer
from packaging.requirements import Requirement
from rasterio.rio.main import main_group

import glacierseg as package
from glacierseg.cli.app import app
from glacierseg.errors import RequestError
from glacierseg.models import create_model
from glacierseg.models.card import ModelCard, save_model
from glacierseg.settings import RunConfig
from glacierseg.training import fit
from glacierseg.weights.card import WeightsFacts
from tests.cli.test_writes import commands
from tests.helpers import blobs, easy_scene, present, write_mask, write_scene
from tests.weights.shelves import BANDS, model_folder, packed, reflectances

Run = Callable[..., CompletedProcess[str]]
SOURCE = Path(package.__file__).parent
EXTRAS = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text())["project"]
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")


def texts_in(tree: ast.AST) -> Iterator[str]:
    """Every string of a module but docstrings; what stands in braces is X.

    Those below the fields of a class are words too: settings print them.
    """
    for node in ast.iter_child_nodes(tree):
        below_field = isinstance(tree, ast.ClassDef) and node is not tree.body[0]
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and not below_field:
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(one.value) if isinstance(one, ast.Constant) else "X" for one in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        else:
            yield from texts_in(node)


@cache
def texts() -> tuple[tuple[str, str], ...]:
    """Every string of the package with its file."""
    found = [
        (str(path.relative_to(SOURCE)), text)
        for path in sorted(SOURCE.rglob("*.py"))
        for text in texts_in(ast.parse(path.read_text()))
    ]
    template = (SOURCE / "settings" / "template.yaml").read_text().split("\n")
    return (*found, *(("settings/template.yaml", line) for line in template))


@cache
def options_of() -> dict[tuple[str, ...], set[str]]:
    """The options of each command."""
    group = typer.main.get_command(app)
    found = {}
    for words, _ in commands(group):
        one: Any = group
        for word in words:
            one = one.commands[word]
        found[words] = {name for param in one.params for name in (*param.opts, *param.secondary_opts)}
    return found


QUOTED = sorted(
    {(path, found) for path, text in texts() for found in re.findall(r"`(glacierseg [^`]+)`", text)}
)


@pytest.mark.parametrize(("path", "line"), QUOTED)
def test_a_command_that_is_named_exists_with_its_options(path: str, line: str) -> None:
    words = line.split()[1:]
    command = next((words[:length] for length in (2, 1) if tuple(words[:length]) in options_of()), words[:1])
    assert tuple(command) in options_of()
    assert set(OPTION.findall(line)) <= options_of()[tuple(command)]


def test_the_search_for_commands_finds_them() -> None:
    assert len(QUOTED) > 15
    assert ("weights/shelf.py", "glacierseg models") in QUOTED


def test_an_option_that_is_named_exists() -> None:
    others: list[Any] = [typer.main.get_command(app), *main_group.commands.values()]
    params = [param for command in others for param in command.params]
    known = {name for param in params for name in (*param.opts, *param.secondary_opts)}
    # Of pip, of git, which `run` asks for the revision, of every command, and of settings with rare fields.
    known |= {
        "--index-url",
        "--force-reinstall",
        "--always",
        "--dirty",
        "--abbrev",
        "--help",
        "--config",
        "--no-X",
    }
    known |= set[str]().union(*options_of().values())
    found = {(path, name) for path, text in texts() for name in OPTION.findall(text)}
    assert {(path, name) for path, name in found if name not in known} == set()
    assert ("weights/fitting.py", "--nodata") in found


KEYS = sorted(
    {(path, found) for path, text in texts() for found in re.findall(r"`(\w+:(?: \w+:)*)(?: \w+)?`", text)}
)


def inside(field: Any) -> type[pydantic.BaseModel] | None:
    """The model that a field holds, or a list of it."""
    if inspect.isclass(field) and issubclass(field, pydantic.BaseModel):
        return field
    return next((found for part in get_args(field) if (found := inside(part))), None)


@pytest.mark.parametrize(("path", "keys"), KEYS)
def test_a_key_that_is_named_exists(path: str, keys: str) -> None:
    region = inside(RunConfig.model_fields["regions"].annotation)
    found: list[type[pydantic.BaseModel] | None] = [RunConfig, region, WeightsFacts]
    for key in keys.replace(":", "").split():
        fields = [model.model_fields[key] for model in found if model and key in model.model_fields]
        assert fields, key
        found = [inside(field.annotation) for field in fields]


def test_the_search_for_keys_finds_them() -> None:
    assert ("bands/ranking.py", "bands: top_preset:") in KEYS
    assert ("weights/pack.py", "units:") in KEYS


def brought_by(extra: str) -> set[str]:
    """The packages that an extra brings, those of the extras in it too."""
    found = set()
    for requirement in map(Requirement, EXTRAS["optional-dependencies"][extra]):
        found |= {requirement.name}.union(*map(brought_by, requirement.extras))
    return found


def requirements(text: str) -> list[Requirement]:
    """What the `pip install` line in a text asks for."""
    (line,) = re.findall(r"pip install ([^`)]+)", text)
    # Windows' own shell knows no single quotes, and zsh takes brackets without quotes for a pattern.
    assert "'" not in line
    assert ("[" in line) == ('"' in line)
    words = shlex.split(line)
    return [
        Requirement(word)
        for number, word in enumerate(words)
        if not word.startswith("-") and words[max(number - 1, 0)] != "--index-url"
    ]


PIP = sorted({(path, text) for path, text in texts() if "pip install" in text})


@pytest.mark.parametrize(("path", "text"), PIP)
def test_what_pip_is_told_to_install_exists(path: str, text: str) -> None:
    known = {Requirement(line).name for line in EXTRAS["dependencies"]} | {"torchvision"}
    for requirement in requirements(text.replace("[X]", "[onnx]")):
        assert requirement.name in known | {"glacierseg"}
        assert requirement.extras <= set(EXTRAS["optional-dependencies"])
        assert bool(requirement.extras) == (requirement.name == "glacierseg")


def test_the_extra_that_is_named_brings_what_is_required() -> None:
    asked = [
        [str(argument.value) for argument in node.args if isinstance(argument, ast.Constant)]
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "require"
    ]
    assert ["nncf", "int8"] in asked
    for name, extra in asked:
        assert name in brought_by(extra)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scene, its truth and two networks, in the current folder."""
    monkeypatch.chdir(tmp_path)
    mask = blobs(64, 64, 4)
    write_scene(Path("scene.tif"), easy_scene(mask), ["red", "green", "blue", "nir"])
    write_mask(Path("mask.tif"), mask)
    for name, architecture, options in (
        ("model", "m_landsnet", {}),
        ("deep", "unetplusplus", {"deep_supervision": True}),
    ):
        card = ModelCard(
            architecture=architecture, width=0.125, bands=("red", "nir"), band_mean=(100.0, 90.0),
            band_std=(40.0, 50.0), patch_px=32, options=options,
        )  # fmt: skip
        save_model(Path(name), card.build(), card)
    return tmp_path


MISSING = {
    "pyarrow": "vectorize mask.tif --out o.parquet",
    "distributed": "predict model scene.tif --out o --workers 2",
    "onnx": "export model --to onnx",
    "onnxruntime": "predict model scene.tif --out o --engine onnx",
    "openvino": "predict model scene.tif --out o --engine openvino",
    "nncf": "export model --to openvino --int8-with scene.tif",
}
"""Packages of extras, and a command that cannot do without."""


@pytest.mark.parametrize("name", [*MISSING, "pyarrow to read", "tensorboard", "segmentation-models-pytorch"])
def test_the_line_for_pip_brings_the_package_that_is_missing(
    glacierseg: Run, files: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    missing = name.removesuffix(" to read")
    if missing != name:
        assert glacierseg("vectorize", "mask.tif", "--out", "o.parquet").returncode == 0
    monkeypatch.setitem(sys.modules, missing.replace("-", "_"), None)
    if name == "tensorboard":
        monkeypatch.setattr("pytorch_lightning.loggers.tensorboard._TENSORBOARD_AVAILABLE", False)
        monkeypatch.setattr("lightning_fabric.loggers.tensorboard._TENSORBOARD_AVAILABLE", False)
        monkeypatch.setattr("lightning_fabric.loggers.tensorboard._TENSORBOARDX_AVAILABLE", False)
        with pytest.raises(RequestError) as refused:
            fit._tensorboard(files)
        told = str(refused.value)
    elif name == "segmentation-models-pytorch":
        with pytest.raises(RequestError) as refused:
            create_model("smp:Unet/resnet34", 2)
        told = str(refused.value)
    else:
        line = MISSING.get(name, "prepare rasterize o.parquet --like scene.tif --out r.tif")
        done = glacierseg(*line.split())
        assert done.returncode == 1
        told = done.stderr
        assert told.count("\n") == 1
    (requirement,) = requirements(told)
    assert missing in set().union(*map(brought_by, requirement.extras))


@pytest.mark.parametrize(
    ("line", "steps"),
    [
        (
            "export model --to onnx --truth mask.tif --window-px 64",
            {
                "give --int8-with SCENE too": "--int8-with scene.tif",
                "give --to openvino": "--to openvino",
                "or a smaller --window-px": "--window-px 48",
            },
        ),
        (
            "export model --to openvino --cost-on scene.tif",
            {
                "goes with --int8-with SCENE": "--int8-with scene.tif",
                "give the --truth": "--truth mask.tif",
            },
        ),
    ],
)
def test_what_an_export_in_int8_asks_for_is_enough(
    glacierseg: Run, files: Path, line: str, steps: dict[str, str]
) -> None:
    for words, more in steps.items():
        done = glacierseg(*line.split())
        assert words in done.stderr + done.stdout
        line += f" {more}"
    done = glacierseg(*line.split())
    assert done.returncode == 0
    assert re.search(r"int8 +0\.\d+", done.stdout)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("model", ""),
        ("model", "--config 'own file.yaml'"),
        ("deep", "--config pruned.yaml"),
        ("--weights valley-s2", "--window-px 48"),
    ],
)
def test_the_command_that_quantises_is_printed_as_it_has_to_be(
    glacierseg: Run, files: Path, monkeypatch: pytest.MonkeyPatch, model: str, options: str
) -> None:
    if model.startswith("--weights"):
        monkeypatch.setenv("GLACIERSEG_WEIGHTS_DIR", str(files / "shelf"))
        packed(files)
        write_scene(Path("scene.tif"), reflectances(64, 64, 4), BANDS, nodata=0)
    Path("own file.yaml").write_text("prediction: {int8_model: my own.xml}")
    Path("pruned.yaml").write_text("prediction: {prune_level: 2}")
    line = f"predict {model} scene.tif --out maps --precision int8 {options}"
    assert "give --engine openvino" in glacierseg(*shlex.split(line)).stderr
    line += " --engine openvino"

    def refused(words: str) -> str:
        done = glacierseg(*shlex.split(line))
        assert done.returncode == 1
        # OpenVINO may complain of a damaged file before that.
        told = done.stderr.splitlines()[-1]
        assert words in told
        return present(re.search("`glacierseg ([^`]*)`", told))[1]

    def quantise(words: str) -> str:
        printed = typed = refused(words)
        for name, file in (("MODEL_DIR", model), ("SCENE", "scene.tif"), ("TRUTH", "mask.tif")):
            typed = typed.replace(name, file)
        done = glacierseg(*shlex.split(typed))
        assert done.returncode == 0, done.stderr
        assert re.search(r"int8 +0\.\d+", done.stdout)
        done = glacierseg(*shlex.split(line))
        assert done.returncode == 0, done.stderr
        return printed

    quantise("there is no quantised network")
    with rasterio.open("maps/scene_mask.tif") as mask:
        assert set(np.unique(mask.read())) <= {0, 1, 255}
        assert "int8" in mask.tags()
    if options == "":
        line += " --window-px 48"
        printed = quantise("takes windows of 32 px, not 48")
        # The same command helps here too.
        save_model(Path("model"), *other_network())
        assert refused("was made of another network") == printed
        Path("model/model_int8.xml").write_text("<net")
        assert refused("is damaged") == printed


def other_network() -> tuple[Any, ModelCard]:
    card = ModelCard(
        architecture="m_landsnet", width=0.25, bands=("red", "nir"), band_mean=(100.0, 90.0),
        band_std=(40.0, 50.0), patch_px=32,
    )  # fmt: skip
    return card.build(), card


@pytest.mark.parametrize(
    ("line", "words", "cure"),
    [
        ("{} --precision int8 --with again", "is for a single network, and these are 2", "{} --with again"),
    ],
)  # fmt: skip
def test_int8_left_out_is_enough(glacierseg: Run, files: Path, line: str, words: str, cure: str) -> None:
    model_folder(Path("again"), 5, bands=("red", "nir"), band_mean=(9.0,) * 2, band_std=(9.0,) * 2)
    start = "predict model scene.tif --out maps --engine openvino"
    done = glacierseg(*line.format(start).split())
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert words in done.stderr
    assert glacierseg(*cure.format(start).split()).returncode == 0
