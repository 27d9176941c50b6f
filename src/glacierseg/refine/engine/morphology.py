"""Dilation, erosion, closing and opening by any structuring element, whose rows are horizontal spans.

A row is first widened by each span of the kernel, by doubling shifts, then the widened rows are joined: the
work grows with the number of kernel rows and hardly with their length (van den Boomgaard and van Balen 1992,
Methods for fast morphological image transforms using bitmapped binary images, CVGIP 54). Rows stay in the
processor's cache from reading to writing. An erosion is a dilation of what is not set.

What lies beyond the border is said by each function; nothing wraps around.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from glacierseg.refine.engine.bits import Bits, last_word
from glacierseg.refine.engine.jit import FULL, ONE, U63, ZERO, compiled


@dataclass(frozen=True)
class Kernel:
    """Offsets of pixels from a pixel, those of a row as spans.

    Dilation sets a pixel when any pixel at these offsets from it is set, erosion when all are: as OpenCV has
    it, which does not mirror the element.

    Attributes:
        spans: `(spans, 2)` int64, each different pair of first and last column offset once.
        rows: `(parts, 2)` int64, row offset and number of the span, in rising order.
    """

    spans: NDArray[np.int64]
    rows: NDArray[np.int64]

    @property
    def reach(self) -> int:
        """The largest offset in columns, either way."""
        return int(np.abs(self.spans).max(initial=0))

    def mirrored(self) -> "Kernel":
        """Returns the kernel turned by 180 degrees about its anchor."""
        rows = self.rows[::-1] * (-1, 1)
        return Kernel(-self.spans[:, ::-1], np.ascontiguousarray(rows))


def kernel_of(element: NDArray[np.generic], anchor: tuple[int, int]) -> Kernel:
    """Returns the kernel of a structuring element.

    Args:
        element: `(h, w)`, 0 outside.
        anchor: Column and row of the pixel that offsets are measured from; as in OpenCV, x comes first.
    """
    inside = np.pad(np.asarray(element) != 0, ((0, 0), (1, 1))).astype(np.int8)
    spans: dict[tuple[int, int], int] = {}
    rows = []
    for y, changes in enumerate(np.diff(inside, axis=1)):
        firsts, ends = np.flatnonzero(changes == 1), np.flatnonzero(changes == -1)
        for first, end in zip(firsts.tolist(), ends.tolist(), strict=True):
            span = (first - anchor[0], end - 1 - anchor[0])
            rows.append((y - anchor[1], spans.setdefault(span, len(spans))))
    return Kernel(np.array(list(spans), np.int64).reshape(-1, 2), np.array(rows, np.int64).reshape(-1, 2))


@lru_cache(maxsize=64)
def ellipse(columns: int, rows: int) -> Kernel:
    """Returns the pixels whose centres lie in the ellipse that fits into `rows` x `columns` pixels.

    The anchor is the middle pixel, or the one right of and below the middle where there is none.
    """
    x = (np.arange(columns) - (columns - 1) / 2) / (columns / 2)
    y = (np.arange(rows) - (rows - 1) / 2) / (rows / 2)
    return kernel_of(x[None] ** 2 + y[:, None] ** 2 <= 1, (columns // 2, rows // 2))


@lru_cache(maxsize=64)
def diamond(radius: int) -> Kernel:
    """Returns what `radius` dilations by a 3 x 3 cross make of a pixel."""
    offsets = range(-radius, radius + 1)
    widths = sorted({radius - abs(y) for y in offsets})
    spans = [(-width, width) for width in widths]
    rows = [(y, widths.index(radius - abs(y))) for y in offsets]
    return Kernel(np.array(spans, np.int64), np.array(rows, np.int64))


def dilate(bits: Bits, kernel: Kernel) -> Bits:
    """Sets every pixel from which the kernel reaches a set one; beyond the border nothing is set."""
    return Bits(_dilated(bits, kernel, ZERO), bits.width)


def erode(bits: Bits, kernel: Kernel) -> Bits:
    """Keeps every pixel from which the kernel reaches set ones only; beyond the border all are set."""
    return Bits(_dilated(bits, kernel, FULL), bits.width)


def close(bits: Bits, kernel: Kernel) -> Bits:
    """Dilates, then erodes by the mirrored kernel, on a plane where nothing is set beyond the border."""
    return Bits(_closed(bits, kernel, ZERO), bits.width)


def open_(bits: Bits, kernel: Kernel) -> Bits:
    """Erodes, then dilates by the mirrored kernel, on a plane where all is set beyond the border."""
    return Bits(_closed(bits, kernel, FULL), bits.width)


def _margin(kernel: Kernel) -> int:
    """Returns how many words the kernel reaches to either side at most."""
    return kernel.reach // 64 + 1


def _levels(kernel: Kernel) -> int:
    """Returns how many doublings the longest span needs, the single pixel included."""
    longest = int((kernel.spans[:, 1] - kernel.spans[:, 0]).max(initial=0)) + 1
    return longest.bit_length()


def _dilated(bits: Bits, kernel: Kernel, flip: np.uint64) -> NDArray[np.uint64]:
    out = np.empty_like(bits.words)
    margin, levels = _margin(kernel), _levels(kernel)
    _dilate(bits.words, bits.width, flip, kernel.spans, kernel.rows, margin, levels, out)
    return out


def _closed(bits: Bits, kernel: Kernel, flip: np.uint64) -> NDArray[np.uint64]:
    out = np.empty_like(bits.words)
    back = kernel.mirrored()
    _close(
        bits.words,
        bits.width,
        flip,
        kernel.spans,
        kernel.rows,
        back.spans,
        back.rows,
        _margin(kernel),
        _levels(kernel),
        out,
    )
    return out


@compiled
def _widen(
    chain: NDArray[np.uint64],
    spans: NDArray[np.int64],
    margin: int,
    first: int,
    widened: NDArray[np.uint64],
    slot: int,
) -> None:
    """Writes a row widened by each span.

    Args:
        chain: `(levels, words)`. The row stands in level 0, with `margin` words of nothing on either side of
            what is written, and as many and two more behind; level k becomes the row widened by 2^k pixels.
        spans: First and last offset of each.
        margin: How many words a span reaches at most.
        first: Word of the chain that becomes the first word written.
        widened: `(spans, slots, words)`.
        slot: Which row of it to write.
    """
    computed = chain.shape[1] - margin - 2
    for level in range(1, chain.shape[0]):
        _join(chain[level - 1], 0, 1 << (level - 1), chain[level, :computed])
    # A span of any length is the union of two that are as long as the largest power of two in it, one from
    # its first pixel and one up to its last. They may overlap: setting a pixel twice is setting it once.
    for span in range(spans.shape[0]):
        low, high = spans[span, 0], spans[span, 1]
        level = 0
        while 2 << level <= high - low + 1:
            level += 1
        start = first * 64 + low
        _join(chain[level], start, start + high - low + 1 - (1 << level), widened[span, slot])


@compiled
def _join(row: NDArray[np.uint64], one: int, other: int, out: NDArray[np.uint64]) -> None:
    """Writes the row from bit `one` on, joined with the row from bit `other` on."""
    a, b = row[one // 64 :], row[other // 64 :]
    right_a, right_b = np.uint64(one % 64), np.uint64(other % 64)
    # Shifting left in two goes: a shift by 64 has no defined result.
    left_a, left_b = U63 - right_a, U63 - right_b
    for w in range(out.size):
        out[w] = (
            (a[w] >> right_a)
            | ((a[w + 1] << ONE) << left_a)
            | (b[w] >> right_b)
            | ((b[w + 1] << ONE) << left_b)
        )


@compiled
def _or_into(out: NDArray[np.uint64], row: NDArray[np.uint64]) -> None:
    for w in range(out.size):
        out[w] |= row[w]


@compiled
def _dilate(
    words: NDArray[np.uint64],
    width: int,
    flip: np.uint64,
    spans: NDArray[np.int64],
    rows: NDArray[np.int64],
    margin: int,
    levels: int,
    out: NDArray[np.uint64],
) -> None:
    height, size = words.shape
    out[:] = flip
    if rows.shape[0] == 0:
        out[:, size - 1] &= last_word(width)
        return
    # Only as many widened rows as the kernel is high are kept; row y stands in place y % slots.
    top, bottom = rows[0, 0], rows[-1, 0]
    slots = bottom - top + 1
    chain = np.zeros((levels, size + 2 * margin + 2), np.uint64)
    widened = np.empty((spans.shape[0], slots, size), np.uint64)
    joined = np.empty(size, np.uint64)
    read = max(0, top)
    for y in range(height):
        while read <= min(y + bottom, height - 1):
            for w in range(size):
                chain[0, margin + w] = words[read, w] ^ flip
            chain[0, margin + size - 1] &= last_word(width)
            _widen(chain, spans, margin, margin, widened, read % slots)
            read += 1
        joined[:] = ZERO
        for part in range(rows.shape[0]):
            source = y + rows[part, 0]
            if 0 <= source < height:
                _or_into(joined, widened[rows[part, 1], source % slots])
        for w in range(size):
            out[y, w] = joined[w] ^ flip
        out[y, size - 1] &= last_word(width)


@compiled
def _close(  # noqa: PLR0913  (compiled code takes arrays, no objects)
    words: NDArray[np.uint64],
    width: int,
    flip: np.uint64,
    spans: NDArray[np.int64],
    rows: NDArray[np.int64],
    back_spans: NDArray[np.int64],
    back_rows: NDArray[np.int64],
    margin: int,
    levels: int,
    out: NDArray[np.uint64],
) -> None:
    """Dilates onto rows that are longer by `margin` words on either side, and erodes those at once.

    The longer rows are the plane beyond the border: a closing that forgot what it set there would eat the rim
    of the image. The erosion is the dilation of the complement, by the mirrored kernel; it follows the
    dilation by as many rows as the kernel is high, so that no dilated image is ever stored.
    """
    height, size = words.shape
    long = size + 2 * margin
    top, bottom = rows[0, 0], rows[-1, 0]
    slots = bottom - top + 1
    chain = np.zeros((levels, long + 2 * margin + 2), np.uint64)
    widened = np.empty((spans.shape[0], slots, long), np.uint64)
    dilated = np.empty(long, np.uint64)
    back_widened = np.empty((spans.shape[0], slots, size), np.uint64)
    back_chain = np.zeros((levels, long + 2 * margin + 2), np.uint64)
    joined = np.empty(size, np.uint64)
    read, made = 0, -bottom
    for y in range(height):
        # The erosion of row y looks at the dilated rows y - bottom to y - top, also those beyond the border.
        while made <= y - top:
            while read <= min(made + bottom, height - 1):
                for w in range(size):
                    chain[0, 2 * margin + w] = words[read, w] ^ flip
                chain[0, 2 * margin + size - 1] &= last_word(width)
                _widen(chain, spans, margin, margin, widened, read % slots)
                read += 1
            dilated[:] = ZERO
            for part in range(rows.shape[0]):
                source = made + rows[part, 0]
                if 0 <= source < height:
                    _or_into(dilated, widened[rows[part, 1], source % slots])
            for w in range(long):
                back_chain[0, margin + w] = ~dilated[w]
            _widen(back_chain, back_spans, margin, 2 * margin, back_widened, (made + bottom) % slots)
            made += 1
        joined[:] = ZERO
        for part in range(back_rows.shape[0]):
            _or_into(joined, back_widened[back_rows[part, 1], (y + back_rows[part, 0] + bottom) % slots])
        for w in range(size):
            out[y, w] = ~joined[w] ^ flip
        out[y, size - 1] &= last_word(width)


def boundary_rim(
    glacier: Bits, pixel_size_m: tuple[float, float], buffer_m: float, ignore: Bits | None = None
) -> Bits:
    """Returns the pixels whose centre is at most a distance from an edge between glacier and background.

    The distance is Euclidean, to the nearest point of a pixel edge. Neither the border nor an edge to an
    ignored pixel is one.
    """
    width_m, height_m = pixel_size_m
    hidden = glacier.words[:0] if ignore is None else ignore.words
    # Edge row r is the upper side of pixel row r, edge column c the left side of pixel column c. The first
    # and the last are the border and empty, so that as many edges as pixels are enough.
    level, upright = np.zeros_like(glacier.words), np.zeros_like(glacier.words)
    _edges(glacier.words, hidden, level, upright)
    across_rows = near_edges(buffer_m, along_m=width_m, across_m=height_m)
    across_columns = near_edges(buffer_m, along_m=height_m, across_m=width_m)
    rim = Bits(np.zeros_like(level), glacier.width)
    if across_rows is not None:
        rim = dilate(Bits(level, glacier.width), kernel_of(*across_rows))
    if across_columns is not None:
        element, (x, y) = across_columns
        rim |= dilate(Bits(upright, glacier.width), kernel_of(element.T, (y, x)))
    return rim


def near_edges(
    buffer_m: float, *, along_m: float, across_m: float
) -> tuple[NDArray[np.bool_], tuple[int, int]] | None:
    """Returns which level edges are near a pixel as element and anchor, None when none is.

    An edge j rows further lies (j - 1/2) pixels below the pixel's centre; and it spans a whole pixel, so its
    nearest point is half a pixel nearer than its middle.
    """
    reach = buffer_m * (1 + 1e-9)  # so that 15 m takes a centre at 15 m although 1.5 * 10.000000001 is more
    rows = int(reach / across_m + 0.5)
    if rows == 0:
        return None
    columns = math.ceil(reach / along_m)
    across = (np.arange(1 - rows, rows + 1) - 0.5)[:, None] * across_m
    along = np.maximum(np.abs(np.arange(-columns, columns + 1)) - 0.5, 0)[None] * along_m
    return np.hypot(across, along) <= reach, (columns, rows - 1)


@compiled
def _edges(
    glacier: NDArray[np.uint64],
    ignore: NDArray[np.uint64],
    level: NDArray[np.uint64],
    upright: NDArray[np.uint64],
) -> None:
    height, size = glacier.shape
    for y in range(height):
        for w in range(size):
            here = glacier[y, w]
            # Column 0 is taken for its own left neighbour.
            left = (here << ONE) | (glacier[y, w - 1] >> U63 if w else here & ONE)
            upright[y, w] = here ^ left
            if y:
                level[y, w] = here ^ glacier[y - 1, w]
            if ignore.shape[0]:
                hidden = ignore[y, w]
                hidden_left = (hidden << ONE) | (ignore[y, w - 1] >> U63 if w else np.uint64(0))
                upright[y, w] &= ~(hidden | hidden_left)
                if y:
                    level[y, w] &= ~(hidden | ignore[y - 1, w])
