import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

import pytest

from glacierseg import log

_log = logging.getLogger("glacierseg.some.stage")


@pytest.fixture
def routed() -> Iterator[StringIO]:
    """What a program gets that routes the lines of the package as the README says."""
    told = StringIO()
    handler = logging.StreamHandler(told)
    handler.addFilter(log.Subject())
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(prefix)s%(message)s"))
    ours = logging.getLogger("glacierseg")
    ours.addHandler(handler)
    ours.setLevel("INFO")
    yield told
    ours.removeHandler(handler)
    ours.setLevel(logging.NOTSET)


def test_lines_are_headed_by_what_the_innermost_block_is_about(routed: StringIO) -> None:
    with log.about("glavitu all"):
        _log.info("trained already")
        with log.about("check basin"):
            _log.warning("100 % ice")
        _log.info("predicted")
    with pytest.raises(RuntimeError), log.about("glavitu top6"):
        raise RuntimeError
    _log.info("done")
    _log.debug("not asked for")
    assert routed.getvalue().splitlines() == [
        "INFO glacierseg.some.stage: [glavitu all] trained already",
        "WARNING glacierseg.some.stage: [check basin] 100 % ice",
        "INFO glacierseg.some.stage: [glavitu all] predicted",
        "INFO glacierseg.some.stage: done",
    ]


def test_without_a_handler_all_is_silent() -> None:
    # In a process of its own: here pytest has handlers.
    program = """
import logging
import glacierseg
from glacierseg import log
logging.getLogger("glacierseg.some.stage").error("hear me")
with log.bar("predicting", 100) as progress:
    progress(0.5)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_table_aligns_numbers_to_the_right_and_words_to_the_left() -> None:
    rows = [("iou", "0.5", "-"), ("precision", "+12.25", "better")]
    assert log.table("scores", ("name", "value", "B is"), rows).splitlines() == [
        "scores:",
        "name        value  B is",
        "iou           0.5  -",
        "precision  +12.25  better",
    ]
    assert log.table(None, ("what", "found"), []) == "what  found"


def test_progress_goes_to_what_draws_it_and_to_nobody_else() -> None:
    seen: list[object] = []

    @contextmanager
    def bars(label: log.Label, pixels: int | None) -> Iterator[log.Progress]:
        seen.append((label, pixels))
        yield seen.append
        seen.append("end")

    with log.drawing(bars):
        assert not log.shows_bars()
        with log.bar("predicting", 100) as progress:
            progress(0.5)
        with log.muted(), log.bar("hidden") as progress:
            progress(0.7)
    with log.bar("later") as progress:
        progress(0.9)
    assert seen == [("predicting", 100), 0.5, "end"]
    with log.drawing(bars, on_terminal=True):
        assert log.shows_bars()


def test_labels_may_say_something_new_with_each_share() -> None:
    read = [0]
    assert log.present("reading") == "reading"
    label = lambda: f"reading, {read[0]} MB"  # noqa: E731
    assert log.present(label) == "reading, 0 MB"
    read[0] = 5
    assert log.present(label) == "reading, 5 MB"


def test_muted_lines_are_dropped(routed: StringIO) -> None:
    with log.muted():
        _log.error("of the second process")
    _log.info("of the first one")
    assert routed.getvalue() == "INFO glacierseg.some.stage: of the first one\n"
