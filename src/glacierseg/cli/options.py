"""Options of commands, made from the settings of their stage, and those by which commands take a model."""

import logging
from collections.abc import Callable, Sequence
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from glacierseg.errors import RequestError
from glacierseg.raster.outputs import keeping
from glacierseg.runs.layout import ModelFolder
from glacierseg.settings.base import Cli, Settings, fault_in_words

R = TypeVar("R")
_log = logging.getLogger(__name__)

WeightsName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Weights by name (`glacierseg models`)."),
]
Member = Annotated[
    int | None,
    typer.Option(min=1, help="Number of the network, where weights have several."),
]


def with_settings(function: Callable[..., R]) -> Callable[..., R]:
    """Replaces each parameter whose type is a settings class by one option for each of its fields.

    Tuples are options that may be given several times (words also separated by commas), or that take so many
    values where their length is fixed.
    Settings with rare fields also get `--config FILE`, a configuration whose section sets what is not given.

    Args:
        function: A command with a parameter such as `settings: PredictSettings`.

    Returns:
        The command with these options in its signature, for typer.
    """
    known = signature(function)
    hints = get_type_hints(function, include_extras=True)
    kinds: dict[str, type[Settings]] = {
        name: hints[name]
        for name in known.parameters
        if isinstance(hints[name], type) and issubclass(hints[name], Settings)
    }
    fields = {
        name: (owner, field)
        for owner, kind in kinds.items()
        for name, field in kind.model_fields.items()
        if not _cli_of(field).rare
    }
    plain = [
        parameter.replace(annotation=hints[name], kind=Parameter.KEYWORD_ONLY)
        for name, parameter in known.parameters.items()
        if name not in kinds
    ]
    options = [_option(name, field, kinds[owner]) for name, (owner, field) in fields.items()]
    in_file = {owner: kind for owner, kind in kinds.items() if _has_rare(kind)}
    if in_file:
        options.append(_config_option([kind.section for kind in in_file.values() if kind.section]))

    @wraps(function)
    def command(**values: Any) -> R:
        file: Path | None = values.pop("config", None) if in_file else None
        chosen: dict[str, dict[str, Any]] = {owner: {} for owner in kinds}
        for name, (owner, field) in fields.items():
            if (value := values.pop(name)) is not None:
                chosen[owner][name] = _as_field(value, field)
        # The file is read here, so the stage does not know it as an input that no result may replace.
        with keeping(file):
            return function(
                **values, **{owner: _settings(kind, chosen[owner], file) for owner, kind in kinds.items()}
            )

    parameters = [*plain, *options]
    command.__signature__ = known.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def _settings(kind: type[Settings], given: dict[str, Any], file: Path | None) -> Settings:
    """Returns the settings of some options and a file; what is wrong is named as the user wrote it."""
    in_file = _from_file(file, kind) if file else {}
    try:
        return kind(**{**in_file, **given})
    except RequestError as error:
        if not isinstance(error.__cause__, ValidationError):
            raise
        faults = []
        for problem in error.__cause__.errors():
            name, *more = problem["loc"] or ("",)
            if name in given:
                faults.append(fault_in_words(problem, kind, _flag(str(name), kind.model_fields[str(name)])))
            elif name in in_file:
                where = ".".join(map(str, (kind.section, name, *more)))
                faults.append(f"{file}: {fault_in_words(problem, kind, where)}")
            else:
                faults.append(fault_in_words(problem, kind))
        raise RequestError("; ".join(faults)) from error.__cause__


def _cli_of(field: FieldInfo) -> Cli:
    return next((note for note in field.metadata if isinstance(note, Cli)), Cli())


def _has_rare(kind: type[Settings]) -> bool:
    return kind.section is not None and any(_cli_of(field).rare for field in kind.model_fields.values())


def _option(name: str, field: FieldInfo, owner: type[Settings]) -> Parameter:
    """Returns the option of a field. Its own default is None, so that one sees whether it was given."""
    cli, kind = _cli_of(field), _without_none(field.annotation)
    flag = _flag(name, field)
    if kind is bool and field.default is not False and "/" not in flag:
        flag += f"/--no-{flag.removeprefix('--')}"
    declared: Any = kind
    if cli.one_word:
        declared = str
    elif get_origin(kind) is tuple:
        several: Any = list[str if _is_words(kind) else _element(kind)]  # type: ignore[misc]
        declared = several if Ellipsis in get_args(kind) else kind
    option = typer.Option(
        flag,
        help=_help(field),
        show_default=False,
        rich_help_panel=owner.panel,
        hidden=name in owner.unlisted,
        metavar=cli.metavar or _metavar(kind),
    )
    return Parameter(
        name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[declared | None, option]
    )


def _flag(name: str, field: FieldInfo) -> str:
    return _cli_of(field).name or f"--{name.replace('_', '-')}"


def _metavar(kind: Any) -> str:
    """Returns a short word for a value: what it may be stands in the sentence, which needs the width."""
    if get_origin(kind) is tuple:
        return "NAMES" if _is_words(kind) else _metavar(_element(kind))
    return {bool: "", int: "N", float: "N", Path: "PATH"}.get(kind, "NAME")


def _help(field: FieldInfo) -> str:
    text = f"{' '.join((field.description or '').split()).rstrip('.')}."
    # On the command line these are what happens when the option is left out.
    for word, default in (("null", None), ("auto", "auto")):
        if field.default == default and f"; {word} for " in text:
            return text.replace(f"; {word} for ", ". Default: ")
    if field.default is None or field.default is False or field.is_required():
        return text
    value = field.default
    if value is True:
        value = "yes"
    elif isinstance(value, float):
        value = f"{value:g}"
    elif isinstance(value, tuple):
        value = (",".join if _is_words(_without_none(field.annotation)) else " ".join)(map(str, value))
    return f"{text} Default: {value}." if value != "" else text


def _without_none(annotation: Any) -> Any:
    kept = [kind for kind in get_args(annotation) if kind is not NoneType]
    if get_origin(annotation) is not None and NoneType in get_args(annotation):
        annotation = kept[0] if len(kept) == 1 else Union[tuple(kept)]  # noqa: UP007
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _element(kind: Any) -> Any:
    """Returns the type of the elements of a tuple: float of `tuple[Annotated[float, ...] | None, ...]`."""
    return _without_none(_without_none(get_args(kind)[0]))


def _is_words(kind: Any) -> bool:
    return get_origin(kind) is tuple and _element(kind) not in (int, float, Path)


def _as_field(value: Any, field: FieldInfo) -> Any:
    kind = _without_none(field.annotation)
    if _cli_of(field).one_word:
        return value
    if not _is_words(kind):
        return tuple(value) if get_origin(kind) is tuple else value
    return tuple(word.strip() for words in value for word in words.split(","))


def _config_option(sections: list[str]) -> Parameter:
    names = " and ".join(f"`{section}`" for section in sections)
    what = f"section {names} sets" if len(sections) == 1 else f"sections {names} set"
    text = f"Configuration (YAML) whose {what} what is not given here, and rarer options."
    return Parameter(
        "config",
        Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[Path | None, typer.Option("--config", metavar="PATH", help=text)],
    )


def _from_file(path: Path, kind: type[Settings]) -> dict[str, Any]:
    from glacierseg.settings.load import read_section  # brings YAML

    if kind.section is None:
        return {}
    found = read_section(path, kind.section)
    for name, value in found.items():
        field = kind.model_fields.get(name)
        if field and isinstance(value, str) and _without_none(field.annotation) is Path:
            found[name] = path.parent / Path(value).expanduser()  # as all paths in a configuration
    if not found:
        _log.warning(f"{path}: sets nothing in a section `{kind.section}`, so --config changes nothing here")
    return found


def split_model(paths: Sequence[Path], weights: str | None) -> tuple[Path | None, list[Path]]:
    """Tells the model folder from the scenes after it; there is none where weights are named.

    Raises:
        typer.BadParameter: The model folder or every scene is missing, or there are both weights and folder.
    """
    if weights is None:
        if len(paths) < 2:
            missing = "a SCENE after it" if ModelFolder(paths[0]).card.exists() else "a MODEL_DIR before it"
            raise typer.BadParameter(f"{paths[0]} is there, but {missing} is missing; or give --weights NAME")
        return paths[0], list(paths[1:])
    if ModelFolder(paths[0]).card.exists():
        raise typer.BadParameter(f"{paths[0]} is a model folder; give it or --weights {weights}, not both")
    return None, list(paths)


def one_model(model_dir: Path | None, weights: str | None, member: int | None) -> Path:
    """Returns the folder of the one network that is asked for.

    Raises:
        typer.BadParameter: Neither or both are given.
        RequestError: There are no such weights, or no such member.
    """
    if (model_dir is None) == (weights is None):
        raise typer.BadParameter("give either a MODEL_DIR or --weights NAME")
    if model_dir is not None:
        if member is not None:
            raise typer.BadParameter("--member goes with --weights")
        return model_dir
    from glacierseg.weights import find_weights

    return find_weights(weights or "").member(member)
