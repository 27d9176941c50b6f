"""Connected parts by union-find over runs; holes, and bridges between parts.

A run of set pixels in a row is always one part, so runs are labelled in place of pixels: there are far fewer
of them, and bits give their ends quickly. One scan links each run to those above that it touches, a
second turns links into labels, as in the two-scan method of He, Chao and Suzuki (2008, IEEE Trans. Image
Process. 17).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glacierseg.refine.engine.bits import (
    Bits,
    count_run,
    count_runs,
    in_run,
    read_edges,
    room_for_edges,
    set_run,
)
from glacierseg.refine.engine.jit import FULL, ZERO, compiled
from glacierseg.refine.engine.morphology import Kernel, close


@dataclass(frozen=True)
class Parts:
    """Connected parts of a set of pixels or of its gaps, numbered from 1 in the order of their first runs.

    Attributes:
        bits: The set.
        flip: All ones when the parts are those of its gaps, else 0.
        labels: `(runs,)` int32, the part of each run, row by row and from left to right.
        areas_px: Pixels by label, `(parts + 1,)`; 0 for label 0.
    """

    bits: Bits
    flip: np.uint64
    labels: NDArray[np.int32]
    areas_px: NDArray[np.int64]

    def where(self, chosen: NDArray[np.bool_]) -> Bits:
        """Returns the pixels of the parts whose label is chosen."""
        words = np.zeros_like(self.bits.words)
        _paint(self.bits.words, self.flip, self.bits.width, self.labels, chosen, words)
        return Bits(words, self.bits.width)

    def image(self) -> NDArray[np.int32]:
        """Returns the labels as `(H, W)`, 0 outside every part."""
        image = np.zeros(self.bits.shape, np.int32)
        _draw(self.bits.words, self.flip, self.bits.width, self.labels, image)
        return image

    def count_inside(self, other: Bits) -> NDArray[np.int64]:
        """Returns how many pixels of another set lie in each part, `(parts + 1,)`."""
        counts = np.zeros(len(self.areas_px), np.int64)
        _count_inside(self.bits.words, self.flip, self.bits.width, self.labels, other.words, counts)
        return counts

    def at_border(self) -> NDArray[np.bool_]:
        """Returns which parts reach the first or last row or column, `(parts + 1,)`."""
        reached = np.zeros(len(self.areas_px), np.bool_)
        _at_border(self.bits.words, self.flip, self.bits.width, self.labels, reached)
        return reached


def label(bits: Bits, connectivity: int = 8, *, gaps: bool = False) -> Parts:
    """Labels the connected parts of a set of pixels, or of the gaps in it.

    Args:
        bits: The set.
        connectivity: 8 joins pixels that touch at a corner, 4 does not.
        gaps: Label the pixels that are not in the set instead.
    """
    flip = FULL if gaps else ZERO
    labels = np.empty(_count_runs(bits.words, flip, bits.width), np.int32)
    areas_px = _label(bits.words, flip, bits.width, int(connectivity == 8), labels)
    return Parts(bits, flip, labels, areas_px)


@compiled
def _count_runs(words: NDArray[np.uint64], flip: np.uint64, width: int) -> int:
    total = 0
    for y in range(words.shape[0]):
        total += count_runs(words[y], flip, width)
    return total


@compiled
def _label(
    words: NDArray[np.uint64], flip: np.uint64, width: int, reach: int, parent: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Writes the label of each run and returns the areas; `reach` is 1 when corners join, else 0.

    While rows are read, `parent` links a run to an earlier one of its part, the first of all to itself.
    """
    lengths = np.empty(parent.size, np.int32)
    above = np.empty(room_for_edges(width), np.int32)
    here = np.empty(room_for_edges(width), np.int32)
    runs_above, first_above, run = 0, 0, 0
    for y in range(words.shape[0]):
        runs_here = read_edges(words[y], flip, width, here)
        first_here = run
        passed = 0
        for r in range(runs_here):
            start, end = here[2 * r], here[2 * r + 1]
            lengths[run] = end - start
            parent[run] = run
            # Both rows are sorted, so a run above that ends before this one is never looked at again, and the
            # walk is linear in the number of runs.
            while passed < runs_above and above[2 * passed + 1] + reach <= start:
                passed += 1
            other = passed
            while other < runs_above and above[2 * other] < end + reach:
                _unite(parent, first_above + other, run)
                other += 1
            run += 1
        above, here = here, above
        runs_above, first_above = runs_here, first_here
    return _number(parent, lengths)


@compiled
def _unite(parent: NDArray[np.int32], earlier: int, run: int) -> None:
    """Links the part of a run and that of an earlier one; `run` is its own parent or linked to its root."""
    # The earlier root stays root. So a parent always has a smaller number than its child, which lets
    # `_number` do with one pass, and parts are numbered in the order of their first runs.
    root, found = parent[run], _root(parent, earlier)
    if found < root:
        parent[root] = found
        parent[run] = found
    else:
        parent[found] = root


@compiled
def _number(parent: NDArray[np.int32], lengths: NDArray[np.int32]) -> NDArray[np.int64]:
    """Turns parents into labels and returns the areas."""
    parts = 0
    # Parents come first, so their label is known already when a run asks for it.
    for run in range(parent.size):
        if parent[run] == run:
            parts += 1
            parent[run] = parts
        else:
            parent[run] = parent[parent[run]]
    areas_px = np.zeros(parts + 1, np.int64)
    for run in range(parent.size):
        areas_px[parent[run]] += lengths[run]
    return areas_px


@compiled
def _root(parent: NDArray[np.int32], run: int) -> np.int32:
    # Each step also links the run to its grandparent: path halving (Tarjan and van Leeuwen 1984, J. ACM 31)
    # keeps the trees flat without a second walk or a stack.
    while parent[run] != run:
        parent[run] = parent[parent[run]]
        run = parent[run]
    return np.int32(run)


@compiled
def _paint(
    words: NDArray[np.uint64],
    flip: np.uint64,
    width: int,
    labels: NDArray[np.int32],
    chosen: NDArray[np.bool_],
    out: NDArray[np.uint64],
) -> None:
    edges = np.empty(room_for_edges(width), np.int32)
    run = 0
    for y in range(words.shape[0]):
        row = out[y]
        for r in range(read_edges(words[y], flip, width, edges)):
            if chosen[labels[run]]:
                set_run(row, edges[2 * r], edges[2 * r + 1])
            run += 1


@compiled
def _draw(
    words: NDArray[np.uint64],
    flip: np.uint64,
    width: int,
    labels: NDArray[np.int32],
    image: NDArray[np.int32],
) -> None:
    edges = np.empty(room_for_edges(width), np.int32)
    run = 0
    for y in range(words.shape[0]):
        for r in range(read_edges(words[y], flip, width, edges)):
            for x in range(edges[2 * r], edges[2 * r + 1]):
                image[y, x] = labels[run]
            run += 1


@compiled
def _count_inside(
    words: NDArray[np.uint64],
    flip: np.uint64,
    width: int,
    labels: NDArray[np.int32],
    other: NDArray[np.uint64],
    counts: NDArray[np.int64],
) -> None:
    edges = np.empty(room_for_edges(width), np.int32)
    run = 0
    for y in range(words.shape[0]):
        row = other[y]
        for r in range(read_edges(words[y], flip, width, edges)):
            counts[labels[run]] += count_run(row, edges[2 * r], edges[2 * r + 1])
            run += 1


@compiled
def _at_border(
    words: NDArray[np.uint64],
    flip: np.uint64,
    width: int,
    labels: NDArray[np.int32],
    reached: NDArray[np.bool_],
) -> None:
    first = 0
    for y in range(words.shape[0]):
        row = words[y]
        end = first + count_runs(row, flip, width)
        if y == 0 or y == words.shape[0] - 1:
            for run in range(first, end):
                reached[labels[run]] = True
        if in_run(row, flip, 0):
            reached[labels[first]] = True
        if in_run(row, flip, width - 1):
            reached[labels[end - 1]] = True
        first = end


def label_holes(glacier: Bits, ignore: Bits | None = None) -> Parts:
    """Labels the 4-connected gaps; those at the border or with an ignored pixel have area 0."""
    gaps = label(glacier, 4, gaps=True)
    open_ended = gaps.at_border()
    if ignore is not None:
        open_ended |= gaps.count_inside(ignore) > 0
    return Parts(gaps.bits, gaps.flip, gaps.labels, np.where(open_ended, 0, gaps.areas_px))


def bridges(fragments: Parts, kernel: Kernel, ignore: Bits | None = None) -> Bits:
    """Returns the 8-connected parts of what a closing adds that touch two or more fragments."""
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
