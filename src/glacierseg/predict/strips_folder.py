"""Finished strips of a prediction on disk, so that a kill costs no more than the strip it hits."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import OutputError
from glacierseg.raster.write import full_disk_refused

_KEY = "key.json"


class StripsFolder:
    """A hidden folder beside the results with a file for every finished strip.

    Several processes may write to one folder, also the same strip: whoever is last writes the same bytes.
    """

    def __init__(self, path: Path, key: Mapping[str, object]) -> None:
        """Opens the folder; strips of another scene, network or setting are removed.

        Args:
            path: The folder, made when missing.
            key: All that the strips depend on, as JSON can hold it.

        Raises:
            OutputError: The folder cannot be made.
        """
        self.path = path
        text = json.dumps(key, sort_keys=True)
        # Part of every name: a worker that was given up may still write strips of what it was asked for.
        self._word = sha256(text.encode()).hexdigest()[:8]
        try:
            known = path / _KEY
            if not known.exists() or known.read_text(encoding="utf-8") != text:
                shutil.rmtree(path, ignore_errors=True)
                path.mkdir(parents=True)
                _write(known, text.encode())
        except OSError as error:
            raise OutputError(
                f"{path.parent}: cannot write there ({error.strerror}); choose a folder that you may write to"
            ) from error

    def strip(self, number: int) -> Path:
        """Where a strip lies or will lie."""
        return self.path / f"strip-{self._word}-{number:06d}.npy"

    def missing(self, count: int) -> list[int]:
        """Numbers of the strips that are not finished, of so many.

        A strip that a power cut left empty or cut short is not.
        """
        return [number for number in range(count) if not self._is_whole(number)]

    def _is_whole(self, number: int) -> bool:
        try:
            np.lib.format.open_memmap(self.strip(number), mode="r")
        except Exception:  # noqa: BLE001  (a damaged header has many names)
            return False
        return True

    def write(self, number: int, rows: NDArray[np.float32]) -> None:
        """Keeps a finished strip `(layers, rows, W)`.

        Raises:
            OutputError: The disk is full.
        """
        final = self.strip(number)
        with full_disk_refused(self.path):
            part = final.with_suffix(f".{os.getpid()}")
            with part.open("wb") as file:
                np.save(file, rows)
            part.replace(final)

    def read(self, number: int) -> NDArray[np.float32]:
        """Reads a finished strip."""
        rows: NDArray[np.float32] = np.load(self.strip(number))
        return rows

    def remove(self) -> None:
        """Removes the folder once the results are written."""
        shutil.rmtree(self.path, ignore_errors=True)

    def remove_if_empty(self) -> None:
        """Removes the folder when no strip was finished."""
        if not any(self.path.glob(f"strip-{self._word}-*.npy")):
            self.remove()


def runs_of(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Groups rising numbers into runs without gaps, each given by its first and last."""
    start = 0
    for end in range(1, len(numbers) + 1):
        if end == len(numbers) or numbers[end] != numbers[end - 1] + 1:
            yield numbers[start], numbers[end - 1]
            start = end


def _write(path: Path, data: bytes) -> None:
    part = path.with_suffix(f".{os.getpid()}")
    part.write_bytes(data)
    part.replace(path)
