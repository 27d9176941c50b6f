"""The strip loop: windows of a scene through networks, blended, row by row.

One strip of windows is predicted at a time while the next one is read. Its scores are added to a ring of
rows, and rows that no later window touches are handed out at once, so memory depends on the width of a scene
but not on its height.
"""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.raster.blocks import BLOCK_HEIGHT_PX
from glacierseg.raster.environment import CACHE_MB, bounded_gdal
from glacierseg.raster.scene import Scene
from glacierseg.tiling import Tiling

Predictor = Callable[[NDArray[Any], NDArray[np.bool_]], NDArray[np.float32]]
"""Values `(B, C, H, W)` and valid `(B, H, W)` in, glacier probability `(B, H, W)` out.

It must not write to its arguments, nor keep them: the next batch is written over them.
"""

Strip = tuple[int, int, NDArray[np.float32]]


def blended_strips(
    scene: Scene,
    members: Sequence[Predictor],
    tiling: Tiling,
    *,
    batch_size: int,
    first: int = 0,
    last: int | None = None,
    progress: Callable[[float], None] | None = None,
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

    Raises:
        RasterError: Pixels cannot be read.
    """
    height, width = scene.grid.shape
    core, halo = tiling.core_px, tiling.halo_px
    tops, column_starts = tiling.core_starts(height), tiling.core_starts(width)
    last = len(tops) - 1 if last is None else last
    # The first window whose core reaches into the first strip wanted.
    lead = next(number for number, top in enumerate(tops) if top + core > tops[first])
    weights = np.outer(tiling.weights, tiling.weights).astype(np.float32)
    row_total, column_total = tiling.total_weight(height), tiling.total_weight(width)
    ring = np.zeros((len(members), core, max(width, core)), np.float32)
    batch = _Batch(scene, tiling.window_px, batch_size)
    inner = np.s_[halo : halo + core, halo : halo + core]
    numbers = range(lead, last + 1)
    # Closed at once when a network fails: files left to the garbage collector are closed at a bad moment.
    with closing(_read_ahead(scene, tiling, [tops[n] for n in numbers])) as strips:
        for number, (values, valid) in zip(numbers, strips, strict=True):
            # A window whose core has no data adds nothing, so no network need see it.
            body = valid[halo : halo + core]
            wanted = [left for left in column_starts if body[:, left + halo : left + halo + core].any()]
            for start in range(0, len(wanted), batch_size):
                lefts = wanted[start : start + batch_size]
                windows = batch.cut(values, valid, lefts)
                for member, predictor in enumerate(members):
                    for left, scores in zip(lefts, predictor(*windows), strict=True):
                        ring[member, :, left : left + core] += scores[inner] * weights
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
                rows[:, ~body[:done, halo : halo + width]] = np.nan
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
    """Windows side by side, always in the same memory: fresh memory costs more than the copy itself."""

    def __init__(self, scene: Scene, window_px: int, batch_size: int) -> None:
        shape = batch_size, window_px, window_px
        self._values = np.empty((batch_size, len(scene.bands), *shape[1:]), scene.dtype)
        self._valid = np.empty(shape, bool)

    def cut(
        self, values: NDArray[Any], valid: NDArray[np.bool_], lefts: Sequence[int]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Copies the windows that start at some columns of a strip."""
        side = self._valid.shape[-1]
        for number, left in enumerate(lefts):
            self._values[number] = values[:, :, left : left + side]
            self._valid[number] = valid[:, left : left + side]
        return self._values[: len(lefts)], self._valid[: len(lefts)]


def _read_ahead(
    scene: Scene, tiling: Tiling, tops: Sequence[int]
) -> Generator[tuple[NDArray[Any], NDArray[np.bool_]], None, None]:
    """Reads strips of windows, each while the one before is worked on; their columns start `halo_px` left."""
    halo, width = tiling.halo_px, scene.grid.width
    whole = max(width, tiling.core_px) + 2 * halo
    with scene.open() as reader, ThreadPoolExecutor(1) as pool:
        rows = _Rows(reader, scene.grid.height, -halo, whole)
        coming = [pool.submit(rows.read, tops[0] - halo, tiling.window_px)]
        for top in tops[1:]:
            coming.append(pool.submit(rows.read, top - halo, tiling.window_px))
            yield coming.pop(0).result()
        yield coming.pop().result()


class _Rows:
    """Reads rows in the height of tiles, each once, whatever strips are asked for from top to bottom."""

    def __init__(self, reader: Any, scene_height: int, column: int, width: int) -> None:
        self._reader, self._height = reader, scene_height
        self._column, self._width = column, width
        self._top = self._bottom = 0
        self._kept: tuple[NDArray[Any], NDArray[np.bool_]] | None = None

    def read(self, top: int, height: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Reads like `SceneReader.read`; the result must not be written to."""
        bottom = top + height
        if top < 0 or bottom > self._height:
            # What lies beyond the rim is a mirror of what is read at once.
            values, valid = self._reader.read(top, self._column, height, self._width)
            return values, valid
        if self._kept is None or not self._top <= top <= self._bottom:
            self._kept, self._top, self._bottom = None, top, top
        if bottom > self._bottom:
            self._add(top, min(-(-bottom // BLOCK_HEIGHT_PX) * BLOCK_HEIGHT_PX, self._height))
        assert self._kept is not None  # noqa: S101  (`_add` gave one)
        values, valid = self._kept
        part = slice(top - self._top, bottom - self._top)
        return values[:, part], valid[part]

    def _add(self, top: int, bottom: int) -> None:
        """Gives up the rows above `top` and reads on to `bottom`."""
        values, valid = self._reader.read(self._bottom, self._column, bottom - self._bottom, self._width)
        if self._kept is not None and top < self._bottom:
            old_values, old_valid = (kept[..., top - self._top :, :] for kept in self._kept)
            values, valid = np.concatenate([old_values, values], axis=1), np.concatenate([old_valid, valid])
        self._kept, self._top, self._bottom = (values, valid), min(top, self._bottom), bottom
