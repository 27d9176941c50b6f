"""What the algorithms are, and how what is typed in QGIS becomes words of the command line.

Nothing of QGIS or of glacierseg is imported here. `qgis/build.py` writes the descriptions when it packs the
plug-in, from its own small table and from the command line itself; the plug-in reads them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RASTER, RASTERS, OUTLINES, EITHER = "raster", "rasters", "outlines", "raster or outlines"
FILE, FILES, FOLDER, EXTENT = "file", "files", "folder", "extent"
TO_RASTER, TO_OUTLINES, TO_FOLDER = "raster to write", "outlines to write", "folder to write"
FLAG, INTEGER, NUMBER, TEXT, LINES, CHOICE, WEIGHTS = (
    "flag", "integer", "number", "text", "lines", "choice", "weights",
)  # fmt: skip
OUTPUTS = (TO_RASTER, TO_OUTLINES, TO_FOLDER)
YES, NO = "yes", "no"


@dataclass(frozen=True)
class Parameter:
    """One thing to give to an algorithm.

    Attributes:
        name: Its name in QGIS, in capitals.
        kind: One of the kinds above.
        label: A phrase for it.
        help: The whole sentence of the command line.
        flag: The option that it becomes; empty for an argument.
        off: The option that says no, where one is needed.
        layer: The option that takes the layer's name of a file with several.
        beside: Name of the parameter in whose file a layer is named, instead of by a path; empty for none.
        choices: What it may be.
        default: What the dialog begins with, which for a flag is what the command does without it.
        required: Whether it must be given.
        advanced: Whether it is shown among the advanced parameters.
    """

    name: str
    kind: str
    label: str
    help: str = ""
    flag: str = ""
    off: str = ""
    layer: str = ""
    beside: str = ""
    choices: tuple[str, ...] = ()
    default: bool | int | None = None
    required: bool = False
    advanced: bool = False


@dataclass(frozen=True)
class Result:
    """A file that an algorithm makes.

    Attributes:
        name: Its name in QGIS, in capitals.
        label: A phrase for it.
        suffix: How its file ends, after the name of the scene.
        layers: Layers to load, of a file with several.
        style: Name of the style of a raster.
    """

    name: str
    label: str
    suffix: str = ""
    layers: tuple[str, ...] = ()
    style: str = ""


@dataclass(frozen=True)
class Algorithm:
    """A command as an algorithm.

    Attributes:
        name: Its name in the provider.
        title: What people read in the toolbox.
        group: The heading there.
        words: The command.
        help: What it does.
        parameters: In the order of the dialog; arguments of the command are in their order.
        results: The files to load. With a folder as output they are found in it; a single output has one.
    """

    name: str
    title: str
    group: str
    words: tuple[str, ...]
    help: str
    parameters: tuple[Parameter, ...]
    results: tuple[Result, ...] = ()

    @property
    def output(self) -> Parameter | None:
        """The parameter that takes the file or folder to write."""
        return next((one for one in self.parameters if one.kind in OUTPUTS), None)

    def command_words(self, values: Mapping[str, Any]) -> list[str]:
        """Returns the words of the command line.

        Args:
            values: By name of the parameter: texts, numbers, booleans, lists of texts, or a path with the
                name of a layer; None or nothing for what is not given.
        """
        options: list[str] = []
        arguments: list[str] = []
        for one in self.parameters:
            value = values.get(one.name)
            if value is None or value in ("", [], ()):
                continue
            if one.kind == FLAG:
                options += _said(one, value)
            elif one.flag:
                for word, layer in _words(one, value):
                    options += [one.flag, word, *([one.layer, layer] if layer else [])]
            else:
                for word, layer in _words(one, value):
                    arguments.append(word)
                    options += [one.layer, layer] if layer else []
        return [*self.words, *options, *arguments]


def _said(one: Parameter, value: Any) -> list[str]:
    yes = value == YES if isinstance(value, str) else bool(value)
    if one.default is not None and yes == one.default:
        return []
    return [one.flag] if yes else [one.off]


def _words(one: Parameter, value: Any) -> list[tuple[str, str]]:
    """Returns each word that a value becomes, with the name of its layer."""
    if one.kind in {OUTLINES, EITHER} and not isinstance(value, str):
        path, layer = value
        if one.beside and layer:
            return [(layer, "")]
        return [(path, layer if one.layer else "")]
    if one.kind == LINES:
        value = [line.strip() for line in value.splitlines() if line.strip()]
    if one.kind in {INTEGER, NUMBER}:
        value = repr(int(value) if one.kind == INTEGER else float(value))
    return [(word, "") for word in ([value] if isinstance(value, str) else value)]


@dataclass(frozen=True)
class Contents:
    """What the plug-in knows of the command line that it was made with.

    Attributes:
        version: Version of the package.
        weights: Names of the weights that come with it.
        algorithms: The algorithms.
    """

    version: str
    weights: tuple[str, ...]
    algorithms: tuple[Algorithm, ...]

    def to_json(self) -> str:
        """Returns it as text, the same in every run."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=True) + "\n"


def read_contents(path: Path) -> Contents:
    """Returns what `Contents.to_json` wrote to a file."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return Contents(found["version"], tuple(found["weights"]), tuple(map(_algorithm, found["algorithms"])))


def _algorithm(entry: dict[str, Any]) -> Algorithm:
    parameters = tuple(
        Parameter(**{**one, "choices": tuple(one["choices"])}) for one in entry.pop("parameters")
    )
    results = tuple(Result(**{**one, "layers": tuple(one["layers"])}) for one in entry.pop("results"))
    return Algorithm(**{**entry, "words": tuple(entry["words"])}, parameters=parameters, results=results)
