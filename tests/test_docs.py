"""Commands in the README and the docs exist, and take what is typed there."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

import glacierseg as package
from glacierseg.cli.app import app
from tests.cli.test_writes import commands

ROOT = Path(package.__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
GROUP: Any = typer.main.get_command(app)
COMMANDS = {words for words, _ in commands(GROUP)}


def commands_in(page: Path) -> list[str]:
    """Lines of code blocks that begin with the program's name, continued ones as one, without comments."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    return [
        " ".join(shlex.split(line, comments=True))
        for line in re.findall(r"^ {4,}(glacierseg [^>\n]*)", text, re.MULTILINE)
    ]


LINES = sorted({(page.relative_to(ROOT).as_posix(), line) for page in PAGES for line in commands_in(page)})


def parsed(line: str) -> Any:
    """The command of a line, with what is typed after it; nothing is run."""
    words = line.split()[1:]
    length = next(length for length in (2, 1) if tuple(words[:length]) in COMMANDS)
    command = GROUP
    for word in words[:length]:
        command = command.commands[word]
    return command.make_context(" ".join(words[:length]), words[length:])


@pytest.mark.parametrize(("page", "line"), LINES)
def test_a_command_in_the_docs_can_be_typed(page: str, line: str) -> None:
    parsed(line)


FETCHING = [line for _, line in LINES if re.match(r"glacierseg (fetch|map) .*--(bbox|area) ", line)]


@pytest.mark.parametrize("line", FETCHING)
def test_a_place_in_the_docs_is_one(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    for name in ("fetch", "map"):
        monkeypatch.setattr(f"glacierseg.cli.{name}.each_place", lambda place, *_: asked.append(place))
    context = parsed(line)
    with context:
        context.command.invoke(context)
    (place,) = asked
    assert place.has_place


def test_the_search_for_commands_finds_them() -> None:
    pages = {page for page, _ in LINES}
    assert {"README.md", "docs/fetch.md", "docs/map.md"} <= pages
    assert len(FETCHING) >= 8
