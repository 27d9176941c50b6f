"""How far the reading of windows is: a bar that counts windows and bytes."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from glacierseg import log
from glacierseg.catalogues.windows import Window


class Tally:
    """Counts windows and bytes that were read; several threads may add to it.

    Attributes:
        progress: Is called with the share that is read.
    """

    def __init__(self, what: str, windows: Sequence[Window]) -> None:
        """Begins at zero; `what` names the work, such as `reading T45RVL`, on all `windows`."""
        self._what, self._windows = what, len(windows)
        self.progress: log.Progress = lambda _: None
        self._needed = sum(window.bytes_needed for window in windows)
        self._done, self._bytes, self._lock = 0, 0, threading.Lock()

    def add(self, count: int) -> None:
        """Adds bytes that arrived."""
        self._add(count, 0)

    def end_window(self) -> None:
        """Adds a finished window."""
        self._add(0, 1)

    def _add(self, count: int, windows: int) -> None:
        with self._lock:
            self._bytes += count
            self._done += windows
        # Files of this machine need no bytes from the network.
        share = self._bytes / self._needed if self._needed else self._done / max(self._windows, 1)
        # Bytes arrive before they are decoded, so only the last window completes the bar.
        self.progress(min(share, 0.99) if self._done < self._windows else 1.0)

    def __str__(self) -> str:
        read, needed = min(self._bytes, self._needed) / 1e6, self._needed / 1e6
        return f"{self._what}: {self._done} of {self._windows} windows, {read:.0f} of {needed:.0f} MB"


@contextmanager
def counting(what: str, windows: Sequence[Window]) -> Iterator[Tally]:
    """Shows a bar of windows and bytes, where bars are shown, while a block reads them."""
    tally = Tally(what, windows)
    with log.bar(tally.__str__) as progress:
        tally.progress = progress
        yield tally
