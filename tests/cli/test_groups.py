import re
import shlex
from pathlib import Path
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
ROOT = Path(__file__).parents[2]
PAGES = (
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "src/glacierseg/settings/template.yaml",
)


def test_each_command_has_a_heading() -> None:
    placed = {name for own in GROUPS.values() for name in own}
    assert placed == {path[-1] for path in COMMANDS} | {"prepare"}


def test_commands_stand_in_their_order_below_their_heading() -> None:
    headings = {name: heading for heading, own in GROUPS.items() for name in own}
    order = [name for name in headings if (name,) in COMMANDS]
    assert [path[0] for path in COMMANDS if len(path) == 1] == order
    assert {path[0]: command.rich_help_panel for path, command in COMMANDS.items() if len(path) == 1} == {
        name: headings[name] for name in order
    }
    assert [path[1] for path in COMMANDS if len(path) == 2] == [
        name for name in headings if ("prepare", name) in COMMANDS
    ]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_each_example_is_a_call_that_the_command_takes(path: tuple[str, ...]) -> None:
    example = COMMANDS[path].epilog.removeprefix("Example:  glacierseg ").split(" > ")[0]
    words = shlex.split(example)
    assert tuple(words[: len(path)]) == path
    COMMANDS[path].make_context(path[-1], words[len(path) :])  # SystemExit or a usage error if it does not


def test_options_of_commands_in_the_documentation_exist() -> None:
    known = {
        " ".join(path): {word for option in command.params for word in (*option.opts, *option.secondary_opts)}
        for path, command in COMMANDS.items()
    }
    seen, unknown = set(), []
    for page in PAGES:
        text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
        for line, own in re.findall(r"glacierseg ((prepare )?[a-z][^`\n#|>]*)", text):
            command = " ".join(line.split()[: 2 if own else 1])
            if command not in known:
                continue
            options = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", line)) - {"--json", "--help"}
            seen |= options
            unknown += [f"{page.name}: {command} {option}" for option in options - known[command]]
    assert not unknown
    assert len(seen) > 10
