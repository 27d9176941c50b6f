"""A bar shows how many windows and bytes are read."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest

from glacierseg import log
from glacierseg.catalogues.tally import counting
from glacierseg.catalogues.windows import Window


class OfBytes:
    """Stands in for a window of so many bytes."""

    def __init__(self, bytes_needed: int) -> None:
        self.bytes_needed = bytes_needed


def test_windows_and_bytes_are_counted_for_a_bar() -> None:
    seen: list[tuple[str, float]] = []

    @contextmanager
    def bars(label: log.Label, _: int | None) -> Iterator[log.Progress]:
        yield lambda share: seen.append((log.present(label), share))

    windows = [cast("Window", OfBytes(size)) for size in (30_000_000, 10_000_000)]
    with log.drawing(bars), counting("reading T45RVL", windows) as tally:
        tally.add(20_000_000)
        tally.add(12_000_000)
        tally.end_window()
        tally.add(9_000_000)
        tally.end_window()
    assert seen == [
        ("reading T45RVL: 0 of 2 windows, 20 of 40 MB", 0.5),
        ("reading T45RVL: 0 of 2 windows, 32 of 40 MB", 0.8),
        ("reading T45RVL: 1 of 2 windows, 32 of 40 MB", 0.8),
        ("reading T45RVL: 1 of 2 windows, 40 of 40 MB", 0.99),
        ("reading T45RVL: 2 of 2 windows, 40 of 40 MB", 1.0),
    ]


@pytest.mark.parametrize("sizes", [[], [0, 0]])
def test_without_bytes_to_read_windows_count(sizes: list[int]) -> None:
    with counting("reading", [cast("Window", OfBytes(size)) for size in sizes]) as tally:
        for _ in sizes:
            tally.end_window()
    assert str(tally) == f"reading: {len(sizes)} of {len(sizes)} windows, 0 of 0 MB"
