import shlex
from typing import Any

import pytest
import typer.main

from glacierseg.cli import app
from glacierseg.cli.groups import GROUPS


def leaves(group: Any, *path: str) -> dict[tuple[str, ...], Any]:
    found: dict[tuple[str, ...], Any] = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= leaves(command, *path, name)
        else:
            found[*path, name] = command
    return found


COMMANDS = leaves(typer.main.get_command(app))


def test_each_command_has_a_heading() -> None:
    placed = {name for own in GROUPS.values() for name in own}
    assert placed == {path[-1] for path in COMMANDS} | {"prepare"}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_each_example_is_a_call_that_the_command_takes(path: tuple[str, ...]) -> None:
    example = COMMANDS[path].epilog.removeprefix("Example:  glacierseg ").split(" > ")[0]
    words = shlex.split(example)
    assert tuple(words[: len(path)]) == path
    COMMANDS[path].make_context(path[-1], words[len(path) :])  # SystemExit or a usage error if it does not
