import json
import logging
import re
import sys
import warnings
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import typer

from glacierseg import log
from glacierseg.cli import app
from glacierseg.cli.app import _GLOBAL, _OWN_JSON, _options_first
from glacierseg.cli.output import fail, show, shown
from glacierseg.errors import GlaciersegWarning
from tests.helpers import blobs, write_mask

_log = logging.getLogger("glacierseg.some.stage")
LONG = "[bold]no markup[/bold] :snowflake: 100 % " + "x" * 300


def say_everything() -> None:
    with log.about("glavitu all"):
        _log.debug("a detail")
        _log.info(LONG)
        _log.warning("look out")
        warnings.warn("thin ice", GlaciersegWarning, stacklevel=1)
    show("the table")


def test_lines_go_to_standard_output_and_warnings_to_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with shown():
        say_everything()
    said = capsys.readouterr()
    assert said.out == f"[glavitu all] {LONG}\nthe table\n"
    assert said.err == "[glavitu all] warning: look out\n[glavitu all] warning: thin ice\n"


def test_each_line_of_a_text_says_what_it_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(), log.about("T45"):
        logging.getLogger("glacierseg.x").info("a  b\n1  2")
    assert capsys.readouterr().out == "[T45] a  b\n[T45] 1  2\n"


def test_quiet_leaves_warnings_and_what_a_command_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(quiet=True):
        say_everything()
    said = capsys.readouterr()
    assert said.out == "the table\n"
    assert said.err.count("\n") == 2


def test_verbose_adds_details_with_their_module_and_the_places_of_warnings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with shown(verbose=True):
        say_everything()
    said = capsys.readouterr()
    assert said.out == f"[glavitu all] {LONG}\nthe table\n"
    assert "[glavitu all] debug: glacierseg.some.stage: a detail\n" in said.err
    assert re.search(r"warning: thin ice \(\S+test_output\.py:\d+\)\n", said.err)


def test_json_has_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(as_json=True):
        say_everything()
    said = capsys.readouterr()
    entries = [json.loads(line) for line in said.out.splitlines()]
    assert said.err == ""
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT.*\+00:00", entry.pop("time")) for entry in entries)
    assert entries == [
        {"level": "info", "about": "glavitu all", "message": LONG},
        {"level": "warning", "about": "glavitu all", "message": "look out"},
        {"level": "warning", "about": "glavitu all", "message": "thin ice"},
        {"level": "info", "about": "", "message": "the table"},
    ]


def test_json_tells_progress_at_each_hundredth_or_second(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("glacierseg.cli.output.time.monotonic", lambda: now)
    with shown(as_json=True), log.about("glavitu all"), log.bar("predicting") as progress:
        for step in range(500):
            progress(step / 1000)
        now = 0.9
        progress(0.5)
        now = 2.0
        progress(0.501)
        progress(0.502)
    entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    shares = [entry["progress"] for entry in entries]
    assert {(entry["label"], entry["about"]) for entry in entries} == {("predicting", "glavitu all")}
    assert shares[0] == 0
    assert 45 <= len(shares) <= 54
    assert shares == sorted(set(shares))
    assert shares[-2:] == [0.501, 1]

    def stop() -> None:
        with shown(as_json=True), log.bar("failing") as progress:
            progress(0.5)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stop()
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["progress"] == 0.5


@pytest.mark.parametrize("as_json", [True, False])
def test_labels_may_say_something_new_with_each_share(
    as_json: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal, read = terminal_for(monkeypatch), [0]
    with shown(as_json=as_json), log.about("T45"), log.bar(lambda: f"{read[0]} MB") as progress:
        for share in (0.3, 0.7):
            read[0] += 5
            progress(share)
    if as_json:
        told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        labels = [(one["label"], one["progress"]) for one in told]
        assert labels == [("0 MB", 0), ("5 MB", 0.3), ("10 MB", 0.7), ("10 MB", 1)]
    else:
        assert "[T45] 10 MB" in terminal.getvalue()


def test_progress_that_is_done_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(as_json=True), log.bar("predicting") as progress:
        progress(1.0)
    shares = [json.loads(line)["progress"] for line in capsys.readouterr().out.splitlines()]
    assert shares == [0, 1]


def test_details_have_their_module_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(as_json=True, verbose=True):
        _log.debug("a detail")
    entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (module,) = [entry["module"] for entry in entries if entry["message"] == "a detail"]
    assert module == "glacierseg.some.stage"


def test_the_root_logger_has_no_line_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[logging.LogRecord] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", seen.append)
    monkeypatch.setattr(logging.getLogger("glacierseg"), "propagate", True)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with shown():
            _log.warning("look out")
    finally:
        root.removeHandler(handler)
    assert not seen


def test_warnings_come_each_time_unless_python_was_told_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    def warn_twice() -> str:
        with shown():
            for _ in range(2):
                warnings.warn("thin ice", GlaciersegWarning, stacklevel=1)
        return capsys.readouterr().err

    with warnings.catch_warnings():
        warnings.resetwarnings()
        assert warn_twice() == "warning: thin ice\n" * 2
        warnings.simplefilter("ignore", GlaciersegWarning)
        assert warn_twice() == ""


def test_warnings_of_others_are_shown_as_python_does(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(record=True) as caught, shown():
        warnings.warn("not ours", UserWarning, stacklevel=1)
    assert [str(each.message) for each in caught] == ["not ours"]
    assert capsys.readouterr().err == ""


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    fail("a file\n  is gone", as_json=False)
    assert capsys.readouterr().err == "glacierseg: a file is gone\n"


def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = logging.getLogger("glacierseg")
    monkeypatch.setattr(ours, "propagate", True)

    def state() -> tuple[Any, ...]:
        return ours.level, ours.propagate, [*ours.handlers], warnings.showwarning, [*warnings.filters]

    before = state()
    with shown(verbose=True):
        assert state() != before
    assert state() == before


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def terminal_for(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Makes standard error a terminal of 60 columns."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_bars_are_drawn_on_a_terminal_and_lines_are_kept_apart_from_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = terminal_for(monkeypatch)
    monkeypatch.setattr(sys, "stdout", StringIO())
    with shown(), log.about("glavitu all"):
        assert log.shows_bars()
        with log.bar("predicting basin", 1_000_000) as progress:
            progress(0.42)
            _log.info("to a file")
            _log.warning(LONG)
    assert sys.stdout.getvalue() == "[glavitu all] to a file\n"  # type: ignore[union-attr]
    told = terminal.getvalue()
    assert "[glavitu all] predicting basin" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\s*\n\s*", " ", told)
    assert "42%" in told
    assert f"[glavitu all] warning: {LONG}\n" in told
    assert "to a file" not in told


@pytest.mark.parametrize("options", [{"quiet": True}, {"as_json": True}], ids=str)
def test_no_bars_are_drawn_when_quiet_or_for_programs(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, bool]
) -> None:
    terminal = terminal_for(monkeypatch)
    with shown(**options):
        assert not log.shows_bars()
        with log.bar("predicting") as progress:
            progress(0.42)
    assert terminal.getvalue() == ""


@pytest.mark.parametrize(
    ("typed", "first", "rest"),
    [
        ("refine m.tif --out x.tif -q", "-q", "refine m.tif --out x.tif"),
        ("--json refine -v m.tif", "--json -v", "refine m.tif"),
        ("vectorize --verbose -- -q", "--verbose", "vectorize -- -q"),
        ("check s.tif --json -q", "-q", "check s.tif --json"),
        ("--json check s.tif", "--json", "check s.tif"),
        ("prepare select check --json", "--json", "prepare select check"),
        ("-q models --json", "-q", "models --json"),
        ("", "", ""),
    ],
)
def test_options_of_all_commands_may_stand_anywhere(typed: str, first: str, rest: str) -> None:
    assert _options_first(typed.split()) == (first.split(), rest.split())


def test_no_command_has_an_option_of_these_names() -> None:
    found: set[tuple[str, str]] = set()

    def look(command: Any, name: str) -> None:
        for sub, own in getattr(command, "commands", {}).items():
            look(own, sub)
        if command is not whole:
            found.update((name, word) for given in command.params for word in given.opts if word in _GLOBAL)

    whole = typer.main.get_command(app)
    look(whole, "")
    assert found == {(name, "--json") for name in _OWN_JSON}


def test_commands_print_what_was_asked_for(
    tmp_path: Path, glacierseg: Callable[..., CompletedProcess[str]]
) -> None:
    mask = write_mask(tmp_path / "mask.tif", blobs(64, 64, 4))
    align = ("prepare", "align", mask, "--like", mask, "--out", tmp_path / "out.tif")
    assert glacierseg(*align).stdout == f"{tmp_path / 'out.tif'}\n"
    done = glacierseg(*align, "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert glacierseg("-q", "template").stdout == glacierseg("template").stdout != ""
    entries = [json.loads(line) for line in glacierseg(*align, "--json").stdout.splitlines()]
    assert entries[-1]["message"] == str(tmp_path / "out.tif")
    assert [entry["progress"] for entry in entries if "progress" in entry][-1] == 1


def test_errors_are_json_too_with_their_exit_status(
    tmp_path: Path, glacierseg: Callable[..., CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    def ending(*words: object) -> tuple[int, str]:
        done = glacierseg(*words, "--json")
        assert done.stderr == ""
        last = json.loads(done.stdout.splitlines()[-1])
        assert last["level"] == "error"
        return done.returncode, last["message"]

    gone = tmp_path / "gone.tif"
    assert ending("refine", gone, "--out", tmp_path / "x.tif") == (
        1,
        glacierseg("refine", gone, "--out", tmp_path / "x.tif").stderr.removeprefix("glacierseg: ").strip(),
    )
    assert ending("refine", gone)[0] == 2
    assert ending("refinery")[0] == 2
    monkeypatch.setattr("glacierseg.cli.info.machine_facts", interrupt)
    assert ending("info") == (130, "interrupted; run the same command again, finished work is kept")


def test_verbose_shows_where_an_error_comes_from(
    tmp_path: Path, glacierseg: Callable[..., CompletedProcess[str]]
) -> None:
    words = ("refine", tmp_path / "gone.tif", "--out", tmp_path / "x.tif")
    plain, verbose = glacierseg(*words), glacierseg(*words, "-v")
    assert plain.stderr.count("\n") == 1
    assert "Traceback" in verbose.stderr
    assert verbose.stderr.endswith(plain.stderr)
    assert glacierseg(*words, "-v", "-q").returncode == 2
