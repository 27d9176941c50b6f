"""Progress bars of the terminal, with rich, which is imported only when the first one is drawn."""

import sys
from collections.abc import Callable, Iterator
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

from glacierseg import log


class _PixelsPerSecond(ProgressColumn):
    """How fast a scene goes by."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self._pixels = pixels

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed * self._pixels / 1e6:.3g} Mpx/s" if task.speed else "")


@contextmanager
def rich_bar(label: log.Label, pixels: int | None) -> Iterator[tuple[log.Progress, Callable[[str], None]]]:
    """Draws a bar on standard error; gives its progress, and what prints lines above it."""
    # Markup would take a subject in brackets for a style.
    columns: list[ProgressColumn] = [
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
    ]
    if pixels:
        columns.append(_PixelsPerSecond(pixels))
    columns.append(TimeRemainingColumn())
    console = Console(stderr=True)

    def above(line: str) -> None:
        console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)

    # What goes to a file must not come out on the terminal instead.
    with Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as drawn:
        head = log.prefix()
        task = drawn.add_task(head + log.present(label), total=1.0)

        def progress(share: float) -> None:
            drawn.update(task, completed=share, description=head + log.present(label))

        yield progress, above
