"""The strip loop: windows of a scene through networks, blended, row by row, each strip kept when finished.

One strip of windows is predicted at a time while the next one is read. Its scores are added to a ring of
rows, and rows that no later window touches are handed out at once, so memory depends on the width of a scene
but not on its height. Finished strips wait in a folder on disk, so that a kill costs no more than the strip
it hits.
"""

import json
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import OutputError
from glacierseg.log import Progress
from glacierseg.raster.blocks import BLOCK_HEIGHT_PX
from glacierseg.raster.environment import CACHE_MB, bounded_gdal
from glacierseg.raster.scene import Scene
from glacierseg.raster.tiling import Tiling
from glacierseg.raster.write import full_disk_refused

Predictor = Callable[[NDArray[Any], NDArray[np.bool_]], NDArray[np.float32]]
"""Values `(B, C, H, W)` and valid `(B, H, W)` in, glacier probability `(B, H, W)` out.

It must not write to its arguments, in which windows share memory, nor keep them: the next strip takes their
place. In memory the bands of a pixel lie side by side, as networks take them.
"""

Strip = tuple[int, int, NDArray[np.float32]]
_KEY = "key.json"


def blended_strips(
    scene: Scene,
    members: Sequence[Predictor],
    tiling: Tiling,
    *,
    batch_size: int,
    first: int = 0,
    last: int | None = None,
    progress: Progress | None = None,
) -> Generator[Strip, None, None]:
    """Predicts a scene, or some strips of it, and hands out finished rows from top to bottom.

    A strip comes out the same whichever strips are asked for: the windows above it that reach into it are
    predicted too.

    Args:
        scene: The bands that the networks want, in their order.
        members: The networks, each with its scaling. Each is blended on its own.
        tiling: Windows and their weights.
        batch_size: Windows per call of a network; has no influence on the result but rounding.
        first: Number of the first strip wanted.
        last: Number of the last strip wanted; the scene's last when None.
        progress: Called with the share done.

    Yields:
        Number of the strip, its first row, and `(members, rows, W)` glacier probability, NaN where the scene
        has no data.
    """
    height, width = scene.grid.shape
    side = tiling.window_px
    tops, column_starts = tiling.starts(height), tiling.starts(width)
    last = len(tops) - 1 if last is None else last
    # The first window that reaches into the first strip wanted.
    lead = next(number for number, top in enumerate(tops) if top + side > tops[first])
    weights = np.outer(tiling.weights, tiling.weights).astype(np.float32)
    row_total, column_total = tiling.total_weight(height), tiling.total_weight(width)
    ring = np.zeros((len(members), side, max(width, side)), np.float32)
    batch = _Batch(scene, side, batch_size)
    numbers = range(lead, last + 1)
    # Closed at once when a network fails: files left to the garbage collector are closed at a bad moment.
    with closing(_read_ahead(scene, tiling, [tops[n] for n in numbers])) as strips:
        for number, (values, valid) in zip(numbers, strips, strict=True):
            # A window without data adds nothing, so no network need see it.
            seen: NDArray[np.bool_] = np.any(valid, axis=0)
            wanted = [left for left in column_starts if seen[left : left + side].any()]
            for start in range(0, len(wanted), batch_size):
                lefts = wanted[start : start + batch_size]
                windows = batch.cut(values, valid, lefts)
                for member, predictor in enumerate(members):
                    for left, scores in zip(lefts, predictor(*windows), strict=True):
                        ring[member, :, left : left + side] += scores * weights
                if progress:
                    share = (start + len(lefts)) / len(wanted)
                    progress((number - lead + share) / len(numbers))
            top, bottom = tops[number], height if number == len(tops) - 1 else tops[number + 1]
            done = bottom - top
            if number >= first:
                norm = np.outer(row_total[top:bottom], column_total).astype(np.float32)
                rows: NDArray[np.float32] = ring[:, :done, :width] / norm
                # Rounding of the weights may lead a hair beyond the range of a probability.
                np.clip(rows, 0, 1, out=rows)
                rows[:, ~valid[:done, :width]] = np.nan
                yield number, top, rows
            ring[:, :-done] = ring[:, done:].copy()
            ring[:, -done:] = 0
            if progress:
                progress((number - lead + 1) / len(numbers))


def bounded_cache(scene: Scene) -> AbstractContextManager[None]:
    """Gives an environment in which GDAL keeps no more of a scene than a row of tiles, which strips share.

    Not entered by `blended_strips`: environments end in the order in which they began, generators do not.
    """
    tiles_mb = scene.grid.width * BLOCK_HEIGHT_PX * len(scene.bands) * scene.dtype.itemsize >> 20
    return bounded_gdal(max(CACHE_MB, tiles_mb + tiles_mb // 4))


class _Batch:
    """Windows of a strip for one call of a network, copied only where they do not follow in even steps."""

    def __init__(self, scene: Scene, window_px: int, batch_size: int) -> None:
        shape = batch_size, window_px, window_px
        self._values = np.empty((*shape, len(scene.bands)), scene.dtype)
        self._valid = np.empty(shape, bool)

    def cut(
        self, values: NDArray[Any], valid: NDArray[np.bool_], lefts: Sequence[int]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Returns the windows that start at some columns of a strip `(rows, W, C)`, `(rows, W)`."""
        side = self._valid.shape[-1]
        steps = {after - before for before, after in pairwise(lefts)}
        if len(steps) <= 1:
            windows, windows_valid = (_in_steps(array, lefts, side) for array in (values, valid))
        else:
            # Always the same memory: to get it fresh costs more than the copy itself.
            windows, windows_valid = self._values[: len(lefts)], self._valid[: len(lefts)]
            for number, left in enumerate(lefts):
                windows[number] = values[:, left : left + side]
                windows_valid[number] = valid[:, left : left + side]
        return windows.transpose(0, 3, 1, 2), windows_valid


def _in_steps(strip: NDArray[Any], lefts: Sequence[int], side: int) -> NDArray[Any]:
    """Shows windows of a strip `(rows, W, ...)` as `(B, rows, side, ...)`, in the memory of the strip."""
    down, along, *within = strip.strides
    return np.lib.stride_tricks.as_strided(
        strip[:, lefts[0] :],
        (len(lefts), len(strip), side, *strip.shape[2:]),
        ((lefts[-1] - lefts[0]) // max(1, len(lefts) - 1) * along, down, along, *within),
    )


def _read_ahead(
    scene: Scene, tiling: Tiling, tops: Sequence[int]
) -> Generator[tuple[NDArray[Any], NDArray[np.bool_]], None, None]:
    """Reads strips of windows, each while the one before is worked on.

    Yields:
        Values `(window_px, W, C)` and where they are valid `(window_px, W)`, good until the next strip.
    """
    with scene.open() as reader, ThreadPoolExecutor(1) as pool:
        rows = _Rows(reader, scene, tiling.window_px)
        coming = [pool.submit(rows.read, tops[0])]
        for top in tops[1:]:
            coming.append(pool.submit(rows.read, top))
            yield coming.pop(0).result()
        yield coming.pop().result()


class _Rows:
    """Reads strips from top to bottom, each row once, and puts bands last.

    What is read ends where tiles do, unless strips are higher than these: then memory counts for more than a
    row of tiles that is asked for twice, which GDAL still has. Two pieces of memory take turns, so that one
    strip can be worked on while the next is read.
    """

    def __init__(self, reader: Any, scene: Scene, window_px: int) -> None:
        self._reader, self._window_px = reader, window_px
        self._height, width = scene.grid.shape
        self._width = max(width, window_px)
        self._step = BLOCK_HEIGHT_PX if self._window_px <= BLOCK_HEIGHT_PX else 1
        shape = self._window_px + self._step - 1, self._width
        self._kept, self._other = (
            (np.empty((*shape, len(scene.bands)), scene.dtype), np.empty(shape, bool)) for _ in range(2)
        )
        self._top = self._bottom = 0

    def read(self, top: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Returns a strip; it is good until the next but one is read."""
        bottom = top + self._window_px
        if bottom > self._height:
            # What lies beyond the rim is a mirror, and none of it a row for the next strip.
            self._kept, self._other = self._other, self._kept
            self._top = self._bottom = top
            self._fill(top, top, bottom)
            return self._part(top, bottom)
        if not self._top <= top <= self._bottom:
            self._top = self._bottom = top
        if bottom > self._bottom:
            self._add(top, min(-(-bottom // self._step) * self._step, self._height))
        return self._part(top, bottom)

    def _add(self, top: int, bottom: int) -> None:
        """Gives up the rows above `top` and reads on to `bottom`."""
        old, count = self._part(top, self._bottom), self._bottom - top
        self._kept, self._other = self._other, self._kept
        for kept, above in zip(self._kept, old, strict=True):
            kept[:count] = above
        self._fill(top, self._bottom, bottom)
        self._top, self._bottom = top, bottom

    def _fill(self, top: int, start: int, bottom: int) -> None:
        """Reads rows from `start` to `bottom` into the memory that begins with `top`.

        In pieces no higher than tiles, for what is read needs room too; but at once where a piece alone would
        not hold the rows that lie mirrored in it.
        """
        starts = range(start, bottom, BLOCK_HEIGHT_PX)
        pieces = [(first, min(first + BLOCK_HEIGHT_PX, bottom)) for first in starts]
        if any(2 * (min(last, self._height) - first) < last - first for first, last in pieces):
            pieces = [(start, bottom)]
        for first, last in pieces:
            values, valid = self._reader.read(first, 0, last - first, self._width)
            place = slice(first - top, last - top)
            self._kept[0][place], self._kept[1][place] = values.transpose(1, 2, 0), valid

    def _part(self, top: int, bottom: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        values, valid = self._kept
        rows = slice(top - self._top, bottom - self._top)
        return values[rows], valid[rows]


class StripsFolder:
    """A hidden folder beside the results with a file for every finished strip.

    Several processes may write to one folder, also the same strip: whoever is last writes the same bytes.
    """

    def __init__(self, path: Path, key: Mapping[str, object]) -> None:
        """Opens the folder; strips of another scene, network or setting are removed.

        Args:
            path: The folder, made when missing.
            key: All that the strips depend on, as JSON can hold it.
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
        """Keeps a finished strip `(layers, rows, W)`."""
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
