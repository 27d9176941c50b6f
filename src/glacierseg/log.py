"""What a run says while it works: lines, tables and a progress bar that is silent when nobody watches."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _PixelsPerSecond(ProgressColumn):
    """How fast a scene goes by."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self._pixels = pixels

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed * self._pixels / 1e6:.3g} Mpx/s" if task.speed else "")


class Talk:
    """Speaks to the user. Lines go to standard output, bars to standard error and only to a terminal."""

    def __init__(self, *, quiet: bool = False, about: str = "") -> None:
        """Sets up the two consoles.

        Args:
            quiet: Say nothing at all.
            about: What every line starts with.
        """
        self._quiet = quiet
        self._about = f"{about} " if about else ""
        self._out = Console(quiet=quiet, highlight=False, soft_wrap=True)
        self._err = Console(stderr=True, quiet=quiet)
        self.shows_bars = self._err.is_terminal and not quiet

    def about(self, subject: str) -> "Talk":
        """Returns the same talk with every line headed by what it is about."""
        return Talk(quiet=self._quiet, about=f"[{subject}]")

    def say(self, line: str) -> None:
        """Prints a line as it is."""
        self._out.print(self._about + line, markup=False)

    def warn(self, line: str) -> None:
        """Prints a warning to standard error."""
        self._err.print(f"{self._about}warning: {line}", markup=False, highlight=False, soft_wrap=True)

    def table(self, title: str | None, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Prints a table, never cut to the width of the window; numbers are aligned to the right."""
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
        self._out.print("\n".join(lines), markup=False)

    @contextmanager
    def bar(self, label: str, pixels: int | None = None) -> Iterator[Callable[[float], None]]:
        """Shows a progress bar while the block runs; gives a function to call with the share done.

        Args:
            label: What is done.
            pixels: How many pixels that takes, to show their number per second.
        """
        columns: list[ProgressColumn] = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()]
        if pixels:
            columns.append(_PixelsPerSecond(pixels))
        columns.append(TimeRemainingColumn())
        with Progress(*columns, console=self._err, transient=True, disable=not self.shows_bars) as progress:
            task = progress.add_task(self._about + label, total=1.0)
            yield lambda share: progress.update(task, completed=share)


def plain(value: object) -> str:
    """Returns a value for people: four decimals at most, a dash for None."""
    if value is None:
        return "-"
    return f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
