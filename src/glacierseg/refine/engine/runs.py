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
    bits = FULL
    if start > word * 64:
        bits <<= np.uint64(start - word * 64)
    if end < word * 64 + 64:
        bits &= FULL >> np.uint64(word * 64 + 64 - end)
    return bits


@compiled
def set_run(row: NDArray[np.uint64], start: int, end: int) -> None:
    """Sets the pixels of a run."""
    for w in range(start // 64, (end - 1) // 64 + 1):
        row[w] |= bits_between(start, end, w)


@compiled
def count_run(row: NDArray[np.uint64], start: int, end: int) -> int:
    """Returns how many pixels of a run are set in a row."""
    total = 0
    for w in range(start // 64, (end - 1) // 64 + 1):
        total += popcount(row[w] & bits_between(start, end, w))
    return total


@compiled
def count_runs(words: NDArray[np.uint64], flip: np.uint64, width: int) -> int:
    """Returns the number of runs, or of gaps, of all rows."""
    total = 0
    for y in range(words.shape[0]):
        carry = ZERO
        for w in range(words.shape[1]):
            word = words[y, w] ^ flip
            if flip and w == words.shape[1] - 1:
                word &= FULL >> np.uint64((64 - width % 64) % 64)
            total += popcount(word & ~((word << ONE) | carry))
            carry = word >> U63
    return total
