"""Masks as one bit per pixel, and their rows as runs.

Bytes become bits, and bits bytes, eight at a time in one 64-bit register (SWAR: SIMD within a register):
marking the bytes that are zero is of Anderson's Bit Twiddling Hacks and Warren's Hacker's Delight (6-1), and
gathering their marks by one multiplication is known from the bitboards of chess programs.

Runs are the stretches of set pixels in a row. The edges of a row are the columns where it changes, in rising
order: run r goes from `edges[2 r]` up to, and not including, `edges[2 r + 1]`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glacierseg.refine.engine.jit import FULL, ONE, U63, ZERO, compiled, popcount, trailing_zeros

WORD = 64
_LOW_BITS = np.uint64(0x0101010101010101)
_LOW_SEVEN = np.uint64(0x7F7F7F7F7F7F7F7F)
_GATHER = np.uint64(0x0102040810204080)
_SPREAD = np.uint64(0x8040201008040201)
_BYTE, _FIFTY_SIX, _SEVEN = np.uint64(255), np.uint64(56), np.uint64(7)


@dataclass(frozen=True)
class Bits:
    """A set of pixels.

    Attributes:
        words: `(H, ceil(W / 64))` uint64. Column x is bit `x % 64` of word `x // 64`, the lowest bit being 0;
            the bits of the last word that lie beyond the width are never set. Bytes are little-endian.
        width: W.
    """

    words: NDArray[np.uint64]
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return len(self.words), self.width

    def __or__(self, other: "Bits") -> "Bits":
        return Bits(self.words | other.words, self.width)

    def __and__(self, other: "Bits") -> "Bits":
        return Bits(self.words & other.words, self.width)

    def __xor__(self, other: "Bits") -> "Bits":
        return Bits(self.words ^ other.words, self.width)

    def without(self, other: "Bits") -> "Bits":
        """Returns the pixels that are not in the other set."""
        return Bits(self.words & ~other.words, self.width)

    def inverted(self) -> "Bits":
        """Returns the pixels that are not in this set."""
        words = ~self.words
        words[:, -1:] &= last_word(self.width)
        return Bits(words, self.width)

    def count(self) -> int:
        """Returns how many pixels are in the set."""
        return int(_count(self.words))

    def any(self) -> bool:
        """Returns whether there is a pixel in the set."""
        return bool(self.words.any())


def pack(mask: NDArray[np.uint8], value: int = 1) -> Bits:
    """Returns the pixels of a `(H, W)` mask that have a value."""
    height, width = mask.shape
    words = np.empty((height, -(-width // WORD)), np.uint64)
    _pack(mask, np.uint64(value) * _LOW_BITS, words)
    return Bits(words, width)


def unpack(glacier: Bits, ignore: Bits | None = None) -> NDArray[np.uint8]:
    """Returns a `(H, W)` mask: 255 where it is ignored, else 1 in glacier and 0 outside."""
    mask = np.empty(glacier.shape, np.uint8)
    _unpack(glacier.words, glacier.words[:0] if ignore is None else ignore.words, mask)
    return mask


@compiled
def last_word(width: int) -> np.uint64:
    """Returns the bits of the last word that lie within a width."""
    return FULL >> np.uint64((64 - width % 64) % 64)


@compiled
def _pack(mask: NDArray[np.uint8], eight_values: np.uint64, words: NDArray[np.uint64]) -> None:
    height, width = mask.shape
    row = np.empty(words.shape[1] * WORD, np.uint8)
    row[width:] = ~np.uint8(eight_values & _BYTE)  # what fills the last word is not of the value
    eights, bytes_out = row.view(np.uint64), words.view(np.uint8)
    for y in range(height):
        _copy(mask[y], row[:width])
        out = bytes_out[y]
        for i in range(out.size):
            # A byte is 0 after this exactly where the mask has the value. Adding 127 to its low seven bits
            # sets bit 7 unless they are 0, and never carries into the next byte; bit 7 itself comes in by the
            # `or`.
            other = eights[i] ^ eight_values
            equal = (~(((other & _LOW_SEVEN) + _LOW_SEVEN) | other) >> _SEVEN) & _LOW_BITS
            # The factor shifts mark i, which is bit 8 i, to bit 56 + i. All other copies of the marks fall on
            # other bits, no two on the same one, so that nothing carries into the top byte.
            out[i] = np.uint8((equal * _GATHER) >> _FIFTY_SIX)


@compiled
def _unpack(glacier: NDArray[np.uint64], ignore: NDArray[np.uint64], mask: NDArray[np.uint8]) -> None:
    row = np.empty(glacier.shape[1] * WORD, np.uint8)
    eights, bytes_in, hidden_in = row.view(np.uint64), glacier.view(np.uint8), ignore.view(np.uint8)
    for y in range(glacier.shape[0]):
        bytes_here = bytes_in[y]
        for i in range(bytes_here.size):
            eights[i] = _one_byte_each(np.uint64(bytes_here[i]))
        if ignore.shape[0]:
            hidden = hidden_in[y]
            for i in range(hidden.size):
                eights[i] |= _one_byte_each(np.uint64(hidden[i])) * _BYTE
        _copy(row[: mask.shape[1]], mask[y])


@compiled
def _copy(source: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
    for x in range(target.size):  # twenty times faster than an assignment of the slice
        target[x] = source[x]


@compiled
def _one_byte_each(byte: np.uint64) -> np.uint64:
    """Returns eight bytes of 0 or 1, one for each bit."""
    # Eight copies of the byte, of which copy i keeps its bit i.
    alone = (byte * _LOW_BITS) & _SPREAD
    # Each byte holds its one bit or none, so adding 127 sets bit 7 just when there is one, and never carries.
    return ((alone + _LOW_SEVEN) >> _SEVEN) & _LOW_BITS


@compiled
def _count(words: NDArray[np.uint64]) -> int:
    total = 0
    for y in range(words.shape[0]):
        for w in range(words.shape[1]):
            total += popcount(words[y, w])
    return total


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
