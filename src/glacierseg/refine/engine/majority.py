"""The 3 x 3 majority, 64 pixels at a time.

Numbers are bit-sliced: one word holds the ones of 64 sums, another their twos. The nine neighbours are then
added by full adders made of logical operations, as in bit-parallel programs for Conway's Game of Life and in
counting bits by carry-save adders (Warren, Hacker's Delight, 5-1). The sum of a row is made once and serves
three rows.
"""

import numpy as np
from numpy.typing import NDArray

from glacierseg.refine.engine.bits import Bits
from glacierseg.refine.engine.jit import ONE, U63, compiled


def majority(bits: Bits, iterations: int, forced_empty: Bits | None = None) -> Bits:
    """Gives every pixel the value of most of its 3 x 3 neighbourhood, until nothing changes.

    Beyond the border the mask continues with its border pixels. `forced_empty` are emptied after every pass.
    """
    before, after = bits.words.copy(), bits.words.copy()
    empty = bits.words[:0] if forced_empty is None else forced_empty.words
    # Only rows next to one that changed can change in the next pass.
    changed, next_changed = np.ones(len(before), np.bool_), np.zeros(len(before), np.bool_)
    for _ in range(iterations):
        if not _pass(before, bits.width, empty, changed, next_changed, after):
            break
        before, after = after, before
        changed, next_changed = next_changed, changed
    return Bits(before, bits.width)


@compiled
def _add_across(
    row: NDArray[np.uint64], width: int, ones: NDArray[np.uint64], twos: NDArray[np.uint64]
) -> None:
    """Writes the sum of each pixel and its two neighbours in the row, as two bits."""
    size = row.size
    for w in range(size):
        here = row[w]
        left = (here << ONE) | (row[w - 1] >> U63 if w else here & ONE)
        right = here >> ONE
        if w + 1 < size:
            right |= row[w + 1] << U63
        else:
            last = np.uint64((width - 1) % 64)
            right |= here & (ONE << last)
        ones[w] = left ^ here ^ right
        twos[w] = (left & here) | (right & (left ^ here))


@compiled
def _pass(
    before: NDArray[np.uint64],
    width: int,
    empty: NDArray[np.uint64],
    changed: NDArray[np.bool_],
    next_changed: NDArray[np.bool_],
    after: NDArray[np.uint64],
) -> bool:
    """Writes the majority of `before`; rows of `after` that cannot have changed hold it already."""
    height, size = before.shape
    ones = np.empty((3, size), np.uint64)
    twos = np.empty((3, size), np.uint64)
    added = np.full(3, -1, np.int64)
    within = ~np.uint64(0) >> np.uint64((64 - width % 64) % 64)
    any_changed = False
    for y in range(height):
        above, below = max(y - 1, 0), min(y + 1, height - 1)
        next_changed[y] = False
        if not (changed[above] or changed[y] or changed[below]):
            for w in range(size):
                after[y, w] = before[y, w]
            continue
        for source in (above, y, below):
            if added[source % 3] != source:
                _add_across(before[source], width, ones[source % 3], twos[source % 3])
                added[source % 3] = source
        difference = _decide(
            ones[above % 3], ones[y % 3], ones[below % 3], twos[above % 3], twos[y % 3], twos[below % 3],
            before[y], empty[y] if empty.shape[0] else empty.reshape(-1), within, after[y],
        )  # fmt: skip
        next_changed[y] = difference
        any_changed |= difference
    return any_changed


@compiled
def _decide(  # noqa: PLR0913  (compiled code takes arrays, no objects)
    a1: NDArray[np.uint64],
    b1: NDArray[np.uint64],
    c1: NDArray[np.uint64],
    a2: NDArray[np.uint64],
    b2: NDArray[np.uint64],
    c2: NDArray[np.uint64],
    before: NDArray[np.uint64],
    empty: NDArray[np.uint64],
    within: np.uint64,
    after: NDArray[np.uint64],
) -> bool:
    """Writes where three sums of three are 5 or more, and returns whether that is new anywhere."""
    size = after.size
    for w in range(size):
        # A full adder of the three ones: odd is their last bit and that of the whole sum, d2 what they carry,
        # which makes a fourth two. The sum is 2 (a2 + b2 + c2 + d2) + odd, so it is at least 5 with three
        # twos, or with two and a one. It need not be written out: how many twos there are at least is enough.
        odd = a1[w] ^ b1[w] ^ c1[w]
        d2 = (a1[w] & b1[w]) | (c1[w] & (a1[w] ^ b1[w]))
        both_ab, any_ab = a2[w] & b2[w], a2[w] | b2[w]
        both_cd, any_cd = c2[w] & d2, c2[w] | d2
        two_twos = both_ab | both_cd | (any_ab & any_cd)
        three_twos = (both_ab & any_cd) | (both_cd & any_ab)
        after[w] = three_twos | (two_twos & odd)
    after[size - 1] &= within
    for w in range(empty.size):
        after[w] &= ~empty[w]
    difference = np.uint64(0)
    for w in range(size):
        difference |= after[w] ^ before[w]
    return bool(difference)
