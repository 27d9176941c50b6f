"""Packs the QGIS plug-in: `make qgis-plugin`.

What the plug-in knows of the command line is asked of the command line here, so the two cannot differ.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import typer

from glacierseg._version import __version__
from glacierseg.cli.app import app
from glacierseg.cli.groups import GROUPS
from glacierseg.settings.base import Settings
from glacierseg.vectors.layers import qml
from glacierseg.weights import list_weights
from glacierseg_qgis import algorithms as kinds
from glacierseg_qgis.algorithms import Algorithm, Contents, Parameter
from packing.table import TABLE, Entry, Row

_ROOT = Path(__file__).parents[2]
NAME = "glacierseg_qgis"
"""The top folder in the zip, by which QGIS knows the plug-in."""
_TYPES = {bool: kinds.FLAG, int: kinds.INTEGER, float: kinds.NUMBER}


def contents() -> Contents:
    """Returns what the plug-in is to know of this version."""
    return Contents(
        __version__,
        tuple(weights.name for weights in list_weights()),
        tuple(_algorithm(entry) for entry in TABLE),
    )


def command_of(words: str) -> Any:
    """Returns a command of the command line."""
    found: Any = typer.main.get_command(app)
    for word in words.split():
        found = found.commands[word]
    return found


def _algorithm(entry: Entry) -> Algorithm:
    command = command_of(entry.words)
    known = {one.name: one for one in command.params}
    rows = [(row, rows is entry.rare) for rows in (entry.rows, entry.rare) for row in rows]
    parameters = [
        _parameter(Row(row) if isinstance(row, str) else row, known, command, advanced=advanced)
        for row, advanced in rows
    ]
    last = entry.words.split()[-1]
    return Algorithm(
        entry.name or entry.words.replace(" ", "_"),
        entry.title,
        next(panel for panel, own in GROUPS.items() if last in own),
        tuple(entry.words.split()),
        " ".join(command.help.split()),
        tuple(parameters),
        entry.results,
    )


def _parameter(row: Row, known: dict[str, Any], command: Any, *, advanced: bool) -> Parameter:
    one, kind = known[row.name], row.kind
    type_ = _type_of(command.callback, row.name)
    choices: tuple[str, ...] = ()
    default: bool | int | None = row.default
    if not kind and get_origin(type_) is Literal:
        kind, choices = kinds.CHOICE, tuple(str(choice) for choice in get_args(type_) if choice != "auto")
    elif not kind:
        kind = kinds.WEIGHTS if row.name.endswith("weights") else _TYPES.get(type_, kinds.TEXT)
    if kind == kinds.FLAG:
        default = _default_of(command.callback, row.name)
        if one.secondary_opts and default is None:
            choices = (kinds.YES, kinds.NO)
        else:
            default = bool(default)
    # One sentence for an argument that stands for several things would explain none of them.
    text = "" if row.qgis else " ".join((one.help or "").split())
    is_option = one.opts[0].startswith("-")
    return Parameter(
        "OUTPUT" if kind in kinds.OUTPUTS else (row.qgis or row.name).upper(),
        kind,
        row.label or _label(text),
        text,
        flag=one.opts[0] if is_option else "",
        off=one.secondary_opts[0] if is_option and one.secondary_opts else "",
        layer=known[row.layer].opts[0] if row.layer else "",
        beside=row.beside.upper(),
        choices=choices,
        default=default,
        required=row.required or (one.required and not row.qgis),
        advanced=advanced,
    )


def _label(sentence: str) -> str:
    """Returns the phrase that a sentence begins with, and the default that it ends with."""
    phrase = re.split(r"[;:] |\. |\.$| \(`", sentence)[0]
    default = re.search(r"Default: (.*?)\.$", sentence)
    return f"{phrase} (default: {default[1]})" if default else phrase


def _plain(hint: Any) -> Any:
    """Returns a type without None and without what surrounds it."""
    kept = [kind for kind in get_args(hint) if kind is not NoneType]
    return kept[0] if get_origin(hint) is not Literal and NoneType in get_args(hint) else hint


def _type_of(callback: Any, name: str) -> Any:
    hints = get_type_hints(inspect.unwrap(callback)) | get_type_hints(callback)
    return _plain(hints[name])


def _default_of(callback: Any, name: str) -> Any:
    """Returns what a command does without an option: the default of its field, else that of the function."""
    plain = inspect.unwrap(callback)
    for kind in get_type_hints(plain).values():
        if isinstance(kind, type) and issubclass(kind, Settings) and name in kind.model_fields:
            return kind.model_fields[name].default
    return inspect.signature(plain).parameters[name].default


def files(found: Contents) -> Iterator[tuple[str, bytes]]:
    """Gives the path of each file in the zip, and what is in it."""
    for path in sorted((_ROOT / "qgis" / NAME).glob("*")):
        if path.suffix in {".py", ".svg", ".qml"}:
            yield path.name, path.read_bytes()
    for layer in sorted({layer for one in found.algorithms for each in one.results for layer in each.layers}):
        yield f"{layer}.qml", qml(layer, None).encode()
    metadata = (_ROOT / "qgis" / NAME / "metadata.txt").read_text(encoding="utf-8")
    yield "metadata.txt", metadata.replace("VERSION", found.version).encode()
    yield "algorithms.json", found.to_json().encode()
    yield "LICENSE", (_ROOT / "LICENSE").read_bytes()


def build(out: Path) -> Path:
    """Writes the zip, the same bytes from the same files; returns its path."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f"{out.name}.part")
    with ZipFile(part, "w", ZIP_DEFLATED) as packed:
        for name, content in files(contents()):
            entry = ZipInfo(f"{NAME}/{name}", (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.compress_type = ZIP_DEFLATED
            packed.writestr(entry, content)
    return part.replace(out)


if __name__ == "__main__":
    sys.stdout.write(f"{build(Path(sys.argv[1]))}\n")
