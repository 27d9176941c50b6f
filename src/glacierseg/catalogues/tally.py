"""How much of a reading is done, in windows and in bytes, for a bar."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from glacierseg import log
from glacierseg.catalogues.windows import Window


class Tally:
    """Counts windows and bytes; several threads may add to it.

    Attributes:
        windows: How many there are to read.
        bytes_needed: How many bytes these are.
        progress: Is called with the share that is done.
    """

    def __init__(self, what: str, windows: Sequence[Window]) -> None:
        """Begins at nothing.

        Args:
            what: What is done, such as `reading T45RVL`.
            windows: All that are to be read.
        """
        self.windows, self.bytes_needed = len(windows), sum(window.bytes_needed for window in windows)
        self._what, self._done, self._bytes = what, 0, 0
        self._lock = threading.Lock()
        self.progress: log.Progress = lambda _: None

    def add(self, count: int) -> None:
        """Adds bytes that came."""
        with self._lock:
            self._bytes += count
        self._show()

    def end_window(self) -> None:
        """Adds a window that is whole."""
        with self._lock:
            self._done += 1
        self._show()

    def _show(self) -> None:
        # Files of this machine count no bytes.
        by_windows = self._done / max(self.windows, 1)
        by_bytes = self._bytes / self.bytes_needed if self.bytes_needed else by_windows
        # Bytes come before they are decoded, so that only the last window ends it.
        self.progress(min(by_bytes, 0.99) if self._done < self.windows else 1.0)

    def __str__(self) -> str:
        read, needed = min(self._bytes, self.bytes_needed) / 1e6, self.bytes_needed / 1e6
        return f"{self._what}: {self._done} of {self.windows} windows, {read:.0f} of {needed:.0f} MB"


@contextmanager
def counting(what: str, windows: Sequence[Window]) -> Iterator[Tally]:
    """Draws a bar of windows and bytes while a block reads them, if anybody looks at it.

    Args:
        what: What is done, such as `reading T45RVL`.
        windows: All that are to be read.
    """
    tally = Tally(what, windows)
    with log.bar(tally.__str__) as progress:
        tally.progress = progress
        yield tally
