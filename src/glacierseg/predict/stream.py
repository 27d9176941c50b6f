"""The strip loop: windows of a scene through a network, blended, row by row.

One strip of windows is read and predicted at a time. Its scores are added to a ring of rows, and rows that no
later window touches are handed out at once, so memory depends on the width of a scene but not on its height.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.raster.scene import Scene
from glacierseg.tiling import blend_weights, stride_of, total_weight, window_starts

Predictor = Callable[[NDArray[Any], NDArray[np.bool_]], NDArray[np.float32]]
"""Values `(B, C, H, W)` and valid `(B, H, W)` in, glacier probability `(B, H, W)` out."""


def blended_strips(
    scene: Scene,
    predictor: Predictor,
    *,
    window_px: int,
    overlap: float,
    batch_size: int,
    progress: Callable[[float], None] | None = None,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Predicts a scene and hands out finished rows from top to bottom.

    Args:
        scene: The bands that the network wants, in its order.
        predictor: The network with its scaling.
        window_px: Side of a window.
        overlap: Share of a window that the next one covers too, 0 <= overlap < 1.
        batch_size: Windows per call of the predictor; has no influence on the result but rounding.
        progress: Called with the share done.

    Yields:
        First row, and `(rows, W)` glacier probability, NaN where the scene has no data.

    Raises:
        RasterError: Pixels cannot be read.
    """
    height, width = scene.grid.shape
    stride = stride_of(window_px, overlap)
    row_starts = window_starts(height, window_px, stride)
    column_starts = window_starts(width, window_px, stride)
    line = blend_weights(window_px)
    weights = np.outer(line, line).astype(np.float32)
    row_total = total_weight(height, window_px, row_starts)
    column_total = total_weight(width, window_px, column_starts)
    strip_width = max(width, window_px)
    ring = np.zeros((window_px, strip_width), np.float32)
    with scene.open() as reader:
        for number, top in enumerate(row_starts):
            values, valid = reader.read(top, 0, window_px, strip_width)
            # A window without data adds nothing, so the network need not see it.
            wanted = [left for left in column_starts if valid[:, left : left + window_px].any()]
            for first in range(0, len(wanted), batch_size):
                lefts = wanted[first : first + batch_size]
                probability = predictor(
                    np.stack([values[:, :, left : left + window_px] for left in lefts]),
                    np.stack([valid[:, left : left + window_px] for left in lefts]),
                )
                for left, scores in zip(lefts, probability, strict=True):
                    ring[:, left : left + window_px] += scores * weights
                if progress:
                    progress((number + (first + len(lefts)) / len(wanted)) / len(row_starts))
            last = number == len(row_starts) - 1
            done = (height if last else row_starts[number + 1]) - top
            norm = np.outer(row_total[top : top + done], column_total).astype(np.float32)
            rows: NDArray[np.float32] = ring[:done, :width] / norm
            # Rounding of the weights may lead a hair beyond the range of a probability.
            np.clip(rows, 0, 1, out=rows)
            rows[~valid[:done, :width]] = np.nan
            yield top, rows
            ring[:-done] = ring[done:].copy()
            ring[-done:] = 0
            if progress:
                progress((number + 1) / len(row_starts))
