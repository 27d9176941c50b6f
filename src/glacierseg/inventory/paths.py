"""Shortest paths and flowing water on a raster, compiled."""

import heapq
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.refine.engine.jit import compiled

# To the eight neighbours and a knight's move away: a path in any direction is at most 2.8 % too long.
_STEPS = np.array([(i, j) for i in range(-2, 3) for j in range(-2, 3) if np.gcd(i, j) == 1], np.int64)


def walk(
    inside: NDArray[np.bool_], seeds: NDArray[np.int32], width_m: float, height_m: float
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Finds the shortest way inside a shape from the nearest seed to every pixel (Dijkstra 1959).

    Steps lead to the eight neighbours, or a knight's move away where a pixel in between is inside too.

    Args:
        inside: `(H, W)` where one may go.
        seeds: `(H, W)` numbers of the seeds, 0 where there is none; those outside are ignored.
        width_m: Width of a pixel.
        height_m: Height of a pixel.

    Returns:
        `(H, W)` metres from the centre of the nearest seed pixel, infinite where no way leads, and the number
        of that seed, 0 there.
    """
    lengths_m = np.hypot(_STEPS[:, 0] * height_m, _STEPS[:, 1] * width_m)
    distance_m, nearest = _walk(np.ascontiguousarray(inside), np.ascontiguousarray(seeds), _STEPS, lengths_m)
    return distance_m, nearest


def drain(
    level_m: NDArray[np.float64], domain: NDArray[np.bool_], width_m: float, height_m: float
) -> NDArray[np.int64]:
    """Finds where water leaves a domain from each of its pixels.

    Priority-flood (Barnes, Lehman and Mulla 2014, Computers & Geosciences 62, 117-127): pixels are visited
    from the rim inward, always the lowest first, and hollows fill up to their lowest way out. A pixel drains
    to the neighbour visited before it towards which the filled surface falls most steeply.

    Args:
        level_m: `(H, W)` elevation, finite in the domain.
        domain: `(H, W)` True where water flows. It leaves at pixels beside others or at the array's rim.
        width_m: Width of a pixel.
        height_m: Height of a pixel.

    Returns:
        `(H, W)` flat index of the pixel of the rim at which the water leaves, -1 outside the domain.
    """
    outlet: NDArray[np.int64] = _drain(
        np.ascontiguousarray(level_m, np.float64),
        np.ascontiguousarray(domain),
        float(width_m),
        float(height_m),
    )
    return outlet


@compiled
def _walk(inside: Any, seeds: Any, steps: Any, lengths_m: Any) -> Any:  # noqa: C901  (calls cost more)
    rows, columns = inside.shape
    distance_m = np.full((rows, columns), np.inf)
    nearest = np.zeros((rows, columns), np.int32)
    heap = [(0.0, np.int64(0))]
    heap.pop()
    for row in range(rows):
        for column in range(columns):
            if inside[row, column] and seeds[row, column] > 0:
                distance_m[row, column] = 0.0
                nearest[row, column] = seeds[row, column]
                heap.append((0.0, np.int64(row * columns + column)))
    heapq.heapify(heap)
    while len(heap) > 0:
        far, index = heapq.heappop(heap)
        row, column = index // columns, index % columns
        if far > distance_m[row, column]:
            continue
        for k in range(len(steps)):
            down, right = steps[k, 0], steps[k, 1]
            y, x = row + down, column + right
            if y < 0 or y >= rows or x < 0 or x >= columns or not inside[y, x]:
                continue
            if abs(down) == 2:
                if not (inside[row + down // 2, column] or inside[row + down // 2, x]):
                    continue
            elif abs(right) == 2 and not (inside[row, column + right // 2] or inside[y, column + right // 2]):
                continue
            total = far + lengths_m[k]
            if total < distance_m[y, x]:
                distance_m[y, x] = total
                nearest[y, x] = nearest[row, column]
                heapq.heappush(heap, (total, np.int64(y * columns + x)))
    return distance_m, nearest


@compiled
def _drain(level_m: Any, domain: Any, width_m: Any, height_m: Any) -> Any:  # noqa: C901, PLR0912
    rows, columns = domain.shape
    filled_m = np.full((rows, columns), np.inf)
    outlet = np.full((rows, columns), np.int64(-1))
    visited = np.zeros((rows, columns), np.bool_)
    heap = [(0.0, np.int64(0), np.int64(0))]
    heap.pop()
    turn = np.int64(0)
    for row in range(rows):
        for column in range(columns):
            if not domain[row, column]:
                continue
            rim = row == 0 or column == 0 or row == rows - 1 or column == columns - 1
            if not rim:
                rim = not (
                    domain[row - 1, column]
                    and domain[row + 1, column]
                    and domain[row, column - 1]
                    and domain[row, column + 1]
                )
            if rim:
                filled_m[row, column] = level_m[row, column]
                outlet[row, column] = row * columns + column
                heap.append((level_m[row, column], turn, np.int64(row * columns + column)))
                turn += 1
    heapq.heapify(heap)
    while len(heap) > 0:
        level, _, index = heapq.heappop(heap)
        row, column = index // columns, index % columns
        steepest = 0.0
        for down in range(-1, 2):
            for right in range(-1, 2):
                y, x = row + down, column + right
                if (down == 0 and right == 0) or y < 0 or y >= rows or x < 0 or x >= columns:
                    continue
                if not domain[y, x]:
                    continue
                if visited[y, x]:
                    # Rim pixels too pass water on along the rim, to where it leaves lowest.
                    fall = (level - filled_m[y, x]) / np.hypot(down * height_m, right * width_m)
                    if fall > steepest:
                        steepest = fall
                        outlet[row, column] = outlet[y, x]
                elif filled_m[y, x] == np.inf:
                    filled_m[y, x] = max(level, level_m[y, x])
                    outlet[y, x] = outlet[row, column]
                    heapq.heappush(heap, (filled_m[y, x], turn, np.int64(y * columns + x)))
                    turn += 1
        visited[row, column] = True
    return outlet
