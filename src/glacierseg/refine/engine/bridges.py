"""Bridges: what a closing adds between two fragments."""

import numpy as np
from numpy.typing import NDArray

from glacierseg.refine.engine.bits import Bits
from glacierseg.refine.engine.jit import ZERO, compiled
from glacierseg.refine.engine.kernel import Kernel
from glacierseg.refine.engine.label import Parts, label
from glacierseg.refine.engine.morphology import close
from glacierseg.refine.engine.runs import read_edges, room_for_edges


def bridges(fragments: Parts, kernel: Kernel, ignore: Bits | None = None) -> Bits:
    """Returns the 8-connected parts of what a closing adds that touch at least two fragments.

    Args:
        fragments: The 8-connected parts of a set of pixels.
        kernel: What to close by.
        ignore: Pixels that are never added.
    """
    added = close(fragments.bits, kernel).without(fragments.bits)
    if ignore is not None:
        added = added.without(ignore)
    parts = label(added)
    # A part touches at least two fragments exactly when the lowest and the highest label that it touches
    # differ: two numbers for each part, however many fragments there are around it.
    lowest = np.full(len(parts.areas_px), np.iinfo(np.int32).max, np.int32)
    highest = np.zeros(len(parts.areas_px), np.int32)
    _touch(added.words, parts.labels, fragments.bits.words, fragments.labels, added.width, lowest, highest)
    return parts.where(lowest < highest)


@compiled
def _touch(
    added: NDArray[np.uint64],
    parts: NDArray[np.int32],
    words: NDArray[np.uint64],
    fragments: NDArray[np.int32],
    width: int,
    lowest: NDArray[np.int32],
    highest: NDArray[np.int32],
) -> None:
    """Writes the lowest and the highest label of the fragments that each part touches."""
    height = added.shape[0]
    room = room_for_edges(width)
    here = np.empty(room, np.int32)
    # Rows y - 1, y and y + 1 of the fragments stand in turn in three places.
    edges = np.empty((3, room), np.int32)
    runs = np.zeros(3, np.int64)
    first = np.zeros(3, np.int64)
    part_run, next_first, read = 0, 0, 0
    for y in range(height):
        while read <= min(y + 1, height - 1):
            place = read % 3
            runs[place] = read_edges(words[read], ZERO, width, edges[place])
            first[place] = next_first
            next_first += runs[place]
            read += 1
        runs_here = read_edges(added[y], ZERO, width, here)
        if not runs_here:
            continue
        for near in range(max(y - 1, 0), min(y + 2, height)):
            place = near % 3
            row, passed = edges[place], 0
            for r in range(runs_here):
                start, end = here[2 * r], here[2 * r + 1]
                part = parts[part_run + r]
                while passed < runs[place] and row[2 * passed + 1] < start:
                    passed += 1
                other = passed
                while other < runs[place] and row[2 * other] <= end:
                    fragment = fragments[first[place] + other]
                    lowest[part] = min(lowest[part], fragment)
                    highest[part] = max(highest[part], fragment)
                    other += 1
        part_run += runs_here
