"""What a stage says while it works: lines through `logging`, tables, and the share that is done.

Stages log to the logger of their module, `glacierseg.<part>.<module>`, and call what `bar` gives. Who shows
that, and how, is decided elsewhere: by `cli.output` on the command line, by handlers of programs that use the
package; without any, all is silent.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

Progress = Callable[[float], None]
"""Is called with the share done, 0-1."""
Label = str | Callable[[], str]
"""What is done, or what says it anew whenever the share changes, such as `reading, 84 of 251 MB`."""
Bars = Callable[[Label, int | None], AbstractContextManager[Progress]]
"""Shows progress while a block runs; called with the label and the number of pixels."""

_subject: ContextVar[str] = ContextVar("subject", default="")
_bars: ContextVar[Bars | None] = ContextVar("bars", default=None)
_shows_bars: ContextVar[bool] = ContextVar("shows_bars", default=False)


@contextmanager
def about(subject: str) -> Iterator[None]:
    """Heads every line of a block with what it is about; a subject inside another one replaces it."""
    token = _subject.set(subject)
    try:
        yield
    finally:
        _subject.reset(token)


def subject() -> str:
    """Returns what the present block is about; empty outside of any."""
    return _subject.get()


def prefix() -> str:
    """Returns the head of lines of the present block, such as `[glavitu all] `."""
    return f"[{subject()}] " if subject() else ""


class Subject(logging.Filter):
    """Gives records the attributes `about`, such as `glavitu all`, and `prefix`, such as `[glavitu all] `.

    Add it to a handler, whose format may then be `%(prefix)s%(message)s`.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record pass, with the subject of the block that it was logged in."""
        record.about, record.prefix = subject(), prefix()
        return True


def bar(label: Label, pixels: int | None = None) -> AbstractContextManager[Progress]:
    """Shows progress while a block runs, if anybody draws it; gives a function to call with the share done.

    Args:
        label: What is done, which may change.
        pixels: How many pixels that takes, to show their number per second.
    """
    draw = _bars.get()
    return nullcontext(lambda _: None) if draw is None else draw(label, pixels)


def present(label: Label) -> str:
    """Returns what a label says now."""
    return label() if callable(label) else label


def shows_bars() -> bool:
    """Returns whether bars that others draw, such as Lightning, are welcome on the terminal."""
    return _shows_bars.get()


@contextmanager
def drawing(bars: Bars | None, *, on_terminal: bool = False) -> Iterator[None]:
    """Lets `bars` draw the progress of a block; None for nobody.

    Args:
        bars: What `bar` calls.
        on_terminal: Whether others may draw bars too.
    """
    tokens = _bars.set(bars), _shows_bars.set(on_terminal)
    try:
        yield
    finally:
        _bars.reset(tokens[0])
        _shows_bars.reset(tokens[1])


@contextmanager
def muted() -> Iterator[None]:
    """Drops lines and progress of a block, as in all processes but the first one."""
    ours = logging.getLogger("glacierseg")
    before = ours.level
    ours.setLevel(logging.CRITICAL + 1)
    try:
        with drawing(None):
            yield
    finally:
        ours.setLevel(before)


def table(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table as text, never cut to the width of a window; numbers are aligned to the right."""
    lines = [f"{title}:"] if title else []
    cells = [columns, *rows]
    widths = [max(len(row[number]) for row in cells) for number in range(len(columns))]
    numeric = [all(row[number][:1] in "0123456789+-" for row in rows) for number in range(len(columns))]
    for row in cells:
        padded = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def plain(value: object) -> str:
    """Returns a value for people: four decimals at most, a dash for None."""
    if value is None:
        return "-"
    return f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
