"""What all settings share: each option stands once, with its type, default, bounds and sentence.

The YAML file, the command line (`cli.options`), the template, `docs/settings.md` and Python build from them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from glacierseg.errors import RequestError, did_you_mean


@dataclass(frozen=True)
class Cli:
    """How an option appears on the command line, where its name and type do not say it.

    Attributes:
        name: Its name there, such as `--buffer-m` for a field `buffers_m` that is given several times.
        metavar: What stands for its value in the help text, where its sentence lists the choices.
        rare: It has no option of its own; `--config FILE` sets it.
        one_word: It is typed as one word, such as `86.5,27.7,87.1,28.2`, which the field's validator takes
            apart.
    """

    name: str | None = None
    metavar: str | None = None
    rare: bool = False
    one_word: bool = False


P = ParamSpec("P")
R = TypeVar("R")
RARE = Cli(rare=True)


class _OneLine(type(BaseModel)):  # type: ignore[misc]  # pydantic's metaclass has no public name
    """Turns what pydantic says of wrong values into the error that every stage raises.

    Sections inside a configuration are not made by this call, so there pydantic collects all faults.
    """

    def __call__(cls, *args: Any, **values: Any) -> Any:
        try:
            return super().__call__(*args, **values)
        except ValidationError as error:
            faults = [fault_in_words(problem, cls) for problem in error.errors()]
            raise RequestError("; ".join(faults)) from error


if TYPE_CHECKING:
    _Base = BaseModel
else:

    class _Base(BaseModel, metaclass=_OneLine):
        pass


class Settings(_Base):
    """How a stage works: immutable; the docstring below a field is its sentence for all who show it.

    Raises:
        RequestError: A name is unknown, or a value is out of its bounds.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        defer_build=True,
        use_attribute_docstrings=True,
    )
    section: ClassVar[str | None] = None
    """The section of a configuration that sets it."""
    panel: ClassVar[str | None] = None
    """The heading of its options in the help of a command; None for those of the command itself."""
    unlisted: ClassVar[frozenset[str]] = frozenset()
    """Options that help leaves out, since that of another command lists them."""

    def replaced(self, **fields: Any) -> Self:
        """Returns the same settings with other values, checked like new ones.

        Raises:
            RequestError: As above.
        """
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self)(**{**given, **fields})


def one_or_several(value: Any) -> Any:
    """Lets one path stand for a tuple of it, and None for none."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str | Path) else value


def model_or_weights(model: Path | None, weights: str | None, options: str) -> Path | None:
    """Returns what stages take for a model: its folder, or `weights:NAME`.

    Args:
        model: A model folder.
        weights: Weights by name instead.
        options: The two options, for the message.

    Raises:
        ValueError: Both are given.
    """
    if model is not None and weights is not None:
        raise ValueError(f"{options} exclude each other; give one of the two")
    return model if weights is None else Path(f"weights:{weights}")


def fields_as_keywords(**kinds: type[Settings]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Lets a stage be called with the fields of its settings as keywords, beside or instead of the object.

    For people at a notebook; our own code gives the object, which is all that the types show.

    Args:
        kinds: The settings class by name of the parameter, whose default may be None.
    """

    def decorate(stage: Callable[P, R]) -> Callable[P, R]:
        known = signature(stage)

        @wraps(stage)
        def called(*args: P.args, **given: P.kwargs) -> R:
            fields = {
                name: {key: given.pop(key) for key in kind.model_fields if key in given}
                for name, kind in kinds.items()
            }
            bound = known.bind(*args, **given)
            for name, kind in kinds.items():
                base = bound.arguments.get(name)
                if base is not None and not isinstance(base, kind):
                    raise RequestError(
                        f"{name} must be {kind.__name__} (got {_short(base)}); give its fields as keywords"
                    )
                if fields[name]:
                    bound.arguments[name] = (base or kind()).replaced(**fields[name])
            return stage(*bound.args, **bound.kwargs)

        return called

    return decorate


def fault_in_words(problem: ErrorDetails, kind: type[BaseModel] | None, where: str | None = None) -> str:
    """Returns a fault that pydantic found in words: what must hold, and what was found.

    Args:
        problem: One of its errors.
        kind: The settings that it concerns.
        where: The option as the user writes it; as the error has it when None.
    """
    where = ".".join(str(step) for step in problem["loc"]) if where is None else where
    if problem["type"] == "extra_forbidden":
        known = kind.model_fields if kind else {}
        hint = did_you_mean(str(problem["loc"][-1]), known)
        return f"unknown key {where!r}" + (hint or (f"; known keys are {', '.join(known)}" if known else ""))
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "tuple_type":  # in YAML a tuple is written as a list
        message = f"Input should be a list, such as [{problem['input']}]"
    if message.startswith("Input should be"):
        choices = re.findall("'([^']*)'", message) if isinstance(problem["input"], str) else []
        found = f"(got {_short(problem['input'])}){did_you_mean(str(problem['input']), choices)}"
        return f"{where} must be{message.removeprefix('Input should be')} {found}"
    message = message[0].lower() + message[1:]
    return f"{where}: {message}" if where else message


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
