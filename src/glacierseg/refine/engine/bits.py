"""Masks as one bit per pixel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glacierseg.refine.engine.jit import FULL, ZERO, compiled, popcount

WORD = 64
_LOW_BITS = np.uint64(0x0101010101010101)
_LOW_SEVEN = np.uint64(0x7F7F7F7F7F7F7F7F)
_GATHER = np.uint64(0x0102040810204080)
_SPREAD = np.uint64(0x8040201008040201)
_BYTE, _FIFTY_SIX, _SEVEN, _EIGHT = np.uint64(255), np.uint64(56), np.uint64(7), np.uint64(8)


@dataclass(frozen=True)
class Bits:
    """A set of pixels.

    Attributes:
        words: `(H, ceil(W / 64))` uint64. Column x is bit `x % 64` of word `x // 64`, the lowest bit being 0;
            the bits of the last word that lie beyond the width are never set.
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
    row = np.zeros(words.shape[1] * WORD, np.uint8)
    row[:] = ~np.uint8(eight_values & _BYTE)  # what fills the last word is not of the value
    eights = row.view(np.uint64)
    for y in range(height):
        row[:width] = mask[y]
        for w in range(words.shape[1]):
            word = ZERO
            for part in range(8):
                # A byte is 0 after this exactly where the mask has the value; then bit 7 marks those bytes.
                other = eights[w * 8 + part] ^ eight_values
                equal = ~(((other & _LOW_SEVEN) + _LOW_SEVEN) | other) >> _SEVEN & _LOW_BITS
                word |= ((equal * _GATHER) >> _FIFTY_SIX) << np.uint64(part * 8)
            words[y, w] = word


@compiled
def _unpack(glacier: NDArray[np.uint64], ignore: NDArray[np.uint64], mask: NDArray[np.uint8]) -> None:
    row = np.zeros(glacier.shape[1] * WORD, np.uint8)
    eights = row.view(np.uint64)
    for y in range(glacier.shape[0]):
        for w in range(glacier.shape[1]):
            word = glacier[y, w]
            hidden = ignore[y, w] if ignore.shape[0] else ZERO
            for part in range(8):
                shift = np.uint64(part * 8)
                ones = _one_byte_each((word >> shift) & _BYTE)
                if hidden:
                    ones |= _one_byte_each((hidden >> shift) & _BYTE) * _BYTE
                eights[w * 8 + part] = ones
        mask[y] = row[: mask.shape[1]]


@compiled
def _one_byte_each(byte: np.uint64) -> np.uint64:
    """Returns eight bytes of 0 or 1, one for each bit."""
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
