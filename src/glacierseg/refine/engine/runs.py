"""Runs: the stretches of set pixels in a row.

The edges of a row are the columns where it changes, in rising order: run r goes from `edges[2 r]` up to, and
not including, `edges[2 r + 1]`.
"""

import numpy as np
from numpy.typing import NDArray

from glacierseg.refine.engine.jit import FULL, ONE, U63, ZERO, compiled, popcount, trailing_zeros


@compiled
def room_for_edges(width: int) -> int:
    """Returns how long an array must be to hold the edges of any row."""
    return 64 * (width // 64 + 1) + 2


@compiled
def read_edges(row: NDArray[np.uint64], flip: np.uint64, width: int, edges: NDArray[np.int32]) -> int:
    """Writes the edges of a row and returns the number of its runs; with `flip` all ones, of its gaps."""
    found = 0
    carry = ZERO
    for w in range(row.size):
        word = row[w] ^ flip
        # A bit is set where a pixel differs from its left neighbour, whatever word that is in. The loop then
        # goes from edge to edge, not from pixel to pixel: the lowest bit is found by one instruction and
        # cleared by `x & (x - 1)` (Wegner 1960).
        changes = word ^ ((word << ONE) | carry)
        carry = word >> U63
        while changes:
            edges[found] = w * 64 + trailing_zeros(changes)
            found += 1
            changes &= changes - ONE
    if found % 2:
        edges[found] = width
        found += 1
    # Of a flipped row the bits beyond the width are set.
    if found and edges[found - 2] >= width:
        found -= 2
    elif found:
        edges[found - 1] = min(edges[found - 1], np.int32(width))
    return found // 2


@compiled
def bits_between(start: int, end: int, word: int) -> np.uint64:
    """Returns the bits of a word that lie in a run which meets it."""
    first = max(start - word * 64, 0)
    last = min(end - word * 64, 64) - 1
    return (FULL >> np.uint64(63 - last + first)) << np.uint64(first)


@compiled
def set_run(row: NDArray[np.uint64], start: int, end: int) -> None:
    """Sets the pixels of a run."""
    for w in range(start >> 6, ((end - 1) >> 6) + 1):
        row[w] |= bits_between(start, end, w)


@compiled
def count_run(row: NDArray[np.uint64], start: int, end: int) -> int:
    """Returns how many pixels of a run are set in a row."""
    total = 0
    for w in range(start >> 6, ((end - 1) >> 6) + 1):
        total += popcount(row[w] & bits_between(start, end, w))
    return total


@compiled
def count_runs(row: NDArray[np.uint64], flip: np.uint64, width: int) -> int:
    """Returns the number of runs of a row, or of its gaps, without looking for their edges."""
    total, carry = 0, ZERO
    for w in range(row.size):
        word = row[w] ^ flip
        total += popcount(word & ~((word << ONE) | carry))
        carry = word >> U63
    # Of a flipped row the bits beyond the width are set: a run of its own unless the last pixel is a gap too.
    if flip and width % 64 and not in_run(row, flip, width - 1):
        total -= 1
    return total


@compiled
def in_run(row: NDArray[np.uint64], flip: np.uint64, column: int) -> bool:
    """Returns whether a pixel of a row is set, or is a gap."""
    return bool(((row[column >> 6] ^ flip) >> np.uint64(column & 63)) & ONE)
