"""How the command line shows what stages log: text for people, or JSON for other programs."""

import json
import logging
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from glacierseg import log
from glacierseg._version import __version__
from glacierseg.errors import GlaciersegWarning

if TYPE_CHECKING:
    from glacierseg.evaluate.area_bounds import AreaBounds

_RESULT = logging.INFO + 5
"""Level of text that is all a command is for, which --quiet leaves."""
_log = logging.getLogger(__name__)
_above_bar: ContextVar[Callable[[str], None] | None] = ContextVar("above_bar", default=None)


def show(text: str) -> None:
    """Prints text that is all a command is for, also under --quiet."""
    _log.log(_RESULT, text)


def say_area(bounds: "AreaBounds") -> None:
    """Says how large the glacier area of a map is, with its bounds."""
    _log.info(
        f"glacier area {bounds.expected_km2:.4g} km2, {bounds.lower_km2:.4g} to {bounds.upper_km2:.4g} "
        f"km2 with {bounds.confidence:.0%} confidence on ground like that of its calibration "
        "(docs/uncertainty.md)"
    )


def count_and_area(glaciers: Any) -> tuple[str, str]:
    """Returns the number of glaciers in a table, and their area with its uncertainty, in words."""
    area = f"{glaciers['area_km2'].sum():.3f}"
    if "uncertainty_km2" in glaciers:
        area += f" +- {glaciers['uncertainty_km2'].sum():.3f}"
    return "1 glacier" if len(glaciers) == 1 else f"{len(glaciers)} glaciers", f"{area} km2"


def fail(message: str, *, as_json: bool) -> None:
    """Prints the error that ends a command."""
    one_line = " ".join(message.split())
    if as_json:
        _write_json({**_now(), "level": "error", "about": "", "message": one_line})
    else:
        sys.stderr.write(f"glacierseg: {one_line}\n")


@contextmanager
def shown(*, verbose: bool = False, quiet: bool = False, as_json: bool = False) -> Iterator[None]:
    """Shows lines, warnings and progress of a block.

    Args:
        verbose: Show debug lines with their module, and the places of warnings.
        quiet: Show warnings, errors and `show` only.
        as_json: Print a JSON object for every line, and for progress.
    """
    ours = logging.getLogger("glacierseg")
    handler = _JsonLines() if as_json else _Lines()
    handler.addFilter(log.Subject())
    before = ours.level, ours.propagate
    ours.addHandler(handler)
    ours.setLevel(logging.DEBUG if verbose else _RESULT if quiet else logging.INFO)
    # Packages that set up the root logger would have every line twice.
    ours.propagate = False
    watched = not quiet and (as_json or sys.stderr.isatty())
    bars = (_json_bar if as_json else _terminal_bar) if watched else None
    show_elsewhere = warnings.showwarning

    def show_warning(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, GlaciersegWarning):
            _log.warning(f"{message} ({filename}:{lineno})" if verbose else str(message))
        else:
            show_elsewhere(message, category, filename, lineno, file, line)

    with warnings.catch_warnings(), log.drawing(bars, on_terminal=bars is _terminal_bar):
        warnings.showwarning = show_warning
        # The same may happen again, to another scene or later; what the user asked of Python goes before.
        warnings.filterwarnings("always", category=GlaciersegWarning, append=True)
        started = time.monotonic()
        _log.debug(f"glacierseg {__version__}, Python {platform.python_version()}, {platform.platform()}")
        try:
            yield
            _log.debug(f"done in {time.monotonic() - started:.1f} s")
        finally:
            ours.removeHandler(handler)
            ours.setLevel(before[0])
            ours.propagate = before[1]


class _Lines(logging.Handler):
    """Lines for people: debug, warnings and errors to standard error, the rest to standard output.

    A stream that cannot be written to ends the command, so errors are not kept from it.
    """

    def emit(self, record: logging.LogRecord) -> None:
        level, prefix = record.levelno, vars(record)["prefix"]
        kind = "" if logging.DEBUG < level < logging.WARNING else f"{record.levelname.lower()}: "
        place = f"{record.name}: " if level <= logging.DEBUG else ""
        text = record.getMessage().replace("\n", f"\n{prefix}")
        _write(f"{prefix}{kind}{place}{text}", sys.stderr if kind else sys.stdout)


class _JsonLines(logging.Handler):
    """JSON objects, one a line, on standard output."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "info" if record.levelno == _RESULT else record.levelname.lower()
        entry = {**_now(), "level": level, "about": vars(record)["about"], "message": record.getMessage()}
        if record.levelno <= logging.DEBUG:
            entry["module"] = record.name
        _write_json(entry)


def _now() -> dict[str, Any]:
    return {"time": datetime.now(UTC).isoformat(timespec="milliseconds")}


def _write_json(entry: dict[str, Any]) -> None:
    _write(json.dumps(entry), sys.stdout)


def _write(line: str, stream: TextIO) -> None:
    if (above := _above_bar.get()) and stream.isatty():
        above(line)
        return
    # rich replaces the streams while a bar is shown, and would break lines at the width of the window.
    stream = getattr(stream, "rich_proxied_file", stream)
    stream.write(line + "\n")
    stream.flush()


@contextmanager
def _terminal_bar(label: log.Label, pixels: int | None) -> Iterator[log.Progress]:
    from glacierseg.cli.bars import rich_bar

    with rich_bar(label, pixels) as (progress, above):
        token = _above_bar.set(above)
        try:
            yield progress
        finally:
            _above_bar.reset(token)


@contextmanager
def _json_bar(label: log.Label, _: int | None) -> Iterator[log.Progress]:
    """Prints progress whenever another hundredth is done or another second has passed."""
    subject, last_share, last_time = log.subject(), -1.0, 0.0

    def progress(share: float) -> None:
        nonlocal last_share, last_time
        now = time.monotonic()
        if share - last_share >= 0.01 or now - last_time >= 1:
            last_share, last_time = share, now
            entry = {"progress": round(share, 4), "label": log.present(label), "about": subject}
            _write_json({**_now(), **entry})

    progress(0.0)
    yield progress
    if last_share < 1:
        last_time = 0.0
        progress(1.0)
