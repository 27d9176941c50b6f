"""The commented configuration to start from, and the page of the docs: both made from the settings."""

import textwrap
from importlib.resources import files
from typing import Any, get_args

import yaml
from pydantic.fields import FieldInfo

from glacierseg.settings.bands import ImportanceSettings
from glacierseg.settings.base import Settings
from glacierseg.settings.correct import CorrectSettings
from glacierseg.settings.fetch import FetchedSceneSettings, FetchSettings, PlaceSettings
from glacierseg.settings.outlines import ChangeSettings, VectorizeSettings
from glacierseg.settings.predict import ClusterSettings, ExportSettings, Int8Inputs
from glacierseg.settings.prepare import (
    NormalizeSettings,
    ProductInputs,
    ProductSettings,
    RasterizeSettings,
    StackSettings,
)
from glacierseg.settings.refine import RefineSettings
from glacierseg.settings.scene import SourceSettings
from glacierseg.settings.score import BootstrapSettings, ScoreSettings
from glacierseg.settings.sections import RunConfig

_COMMENT_AT, _WIDTH = 36, 110
_PAGE = """# Settings

Every stage takes one frozen object of settings. A configuration (`glacierseg template`) has a section for
each. The options of a command are the same, with dashes for underscores (`--window-px`); with
`--config FILE` it takes those of a section. From Python, give the object,
`settings=PredictSettings(overlap=0.75)`, or its fields as keywords, `overlap=0.75`.

This page is written by `python -m glacierseg.settings.template > docs/settings.md`."""

_OF_COMMANDS: dict[str, tuple[type[Settings], ...]] = {
    "fetch and map": (PlaceSettings, FetchSettings),
    "fetch": (FetchedSceneSettings,),
    "predict and map": (SourceSettings,),
    "predict, fetch and map": (ClusterSettings,),
    "prepare scene": (ProductSettings, ProductInputs),
    "prepare stack": (StackSettings,),
    "prepare normalize": (NormalizeSettings,),
    "prepare rasterize": (RasterizeSettings,),
    "refine": (RefineSettings,),
    "vectorize": (VectorizeSettings,),
    "evaluate": (ScoreSettings,),
    "compare, benchmark": (BootstrapSettings,),
    "change": (ChangeSettings,),
    "correct": (CorrectSettings,),
    "bands": (ImportanceSettings,),
    "export": (ExportSettings, Int8Inputs),
}


def template() -> str:
    """Returns a configuration with every default and its sentence; its regions are to be replaced."""
    # Regions and models are lists, which an example shows better than a list of defaults.
    parts = [(files("glacierseg.settings") / "template.yaml").read_text(encoding="utf-8")]
    for name, kind in sections().items():
        heading = textwrap.wrap(summary_of(kind), _WIDTH - 2)
        lines = [*(f"# {line}" for line in heading), f"{name}:"]
        for key, field in kind.model_fields.items():
            lines += _with_comment(
                f"  {key}: {_in_yaml(field.get_default(call_default_factory=True))}", field
            )
        parts.append("\n".join(lines) + "\n")
    notices = RunConfig.model_fields["notices"]
    parts.append("\n".join(_with_comment("notices: []", notices)) + "\n")
    return "\n".join(parts)


def sections() -> dict[str, type[Settings]]:
    """Returns the sections of a configuration that have defaults throughout, by their name in it."""
    return {
        name: field.annotation
        for name, field in RunConfig.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings)
    }


def settings_page() -> str:
    """Returns `docs/settings.md`: a table for each section, then for single commands."""
    parts = [_PAGE]
    for name, kind in sections().items():
        parts += [f"## {name}: `{kind.__name__}`", summary_of(kind), _table(kind)]
    parts.append("# Of single commands")
    for command, kinds in _OF_COMMANDS.items():
        for kind in kinds:
            parts += [f"## {command}: `{kind.__name__}`", summary_of(kind), _table(kind)]
    return "\n\n".join(parts) + "\n"


def _table(kind: type[Settings]) -> str:
    rows = [
        f"| `{key}` | `{_in_yaml(field.get_default(call_default_factory=True))}` | {_bounds(field)} "
        f"| {sentence_of(field)} |"
        for key, field in kind.model_fields.items()
    ]
    return "\n".join(["| option | default | bounds | what it is |", "|---|---|---|---|", *rows])


def sentence_of(field: FieldInfo) -> str:
    """Returns the sentence of an option on one line."""
    return " ".join((field.description or "").split())


def summary_of(kind: type[Settings]) -> str:
    """Returns the first paragraph of a class's docstring on one line."""
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split())


def _with_comment(line: str, field: FieldInfo) -> list[str]:
    comment = textwrap.wrap(sentence_of(field).rstrip("."), _WIDTH - _COMMENT_AT - 2)
    first = line if len(line) < _COMMENT_AT else f"{line}  "
    return [
        f"{first:{_COMMENT_AT}}# {comment[0]}",
        *(" " * _COMMENT_AT + f"# {more}" for more in comment[1:]),
    ]


def _in_yaml(value: Any) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, allow_unicode=True, width=1000)
    return text.removesuffix("\n").removesuffix("\n...")


_SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def _bounds(field: FieldInfo) -> str:
    notes = [field, *(note for kind in get_args(field.annotation) for note in get_args(kind)[1:])]
    found = [
        f"{sign} {getattr(each, key):g}"
        for note in notes
        for each in (note.metadata if isinstance(note, FieldInfo) else [note])
        for key, sign in _SIGNS.items()
        if getattr(each, key, None) is not None
    ]
    return ", ".join(found)


if __name__ == "__main__":
    print(settings_page(), end="")  # noqa: T201
