"""Counting where masks agree."""

import numpy as np
from numpy.typing import NDArray

from glacierseg.refine.engine.bits import Bits
from glacierseg.refine.engine.jit import ZERO, compiled, popcount
from glacierseg.refine.engine.label import Parts
from glacierseg.refine.engine.runs import count_run, read_edges, room_for_edges


def confusion(predicted: Bits, truth: Bits, ignore: Bits | None = None) -> tuple[int, int, int, int]:
    """Returns tp, fp, fn and tn of the pixels that are not ignored."""
    hidden = predicted.words[:0] if ignore is None else ignore.words
    tp, fp, fn, skipped = _confusion(predicted.words, truth.words, hidden)
    height, width = predicted.shape
    return tp, fp, fn, height * width - skipped - tp - fp - fn


def confusion_of_masks(predicted: NDArray[np.uint8], truth: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Returns tp, fp, fn and tn of two `(H, W)` masks of 0, 1 and 255, without packing them.

    Pixels where either is 255 are left out.
    """
    tp, found, wanted, known = _confusion_of_masks(predicted, truth)
    return tp, found - tp, wanted - tp, known - found - wanted + tp


def right_and_wrong_by_area(
    fragments: Parts, right: Bits, wrong: Bits, smallest_px: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Counts right and wrong pixels of the fragments that reach an area, for several areas at once.

    Args:
        fragments: Parts of a set of pixels.
        right: Pixels where the set is right to be.
        wrong: Pixels where it is wrong.
        smallest_px: `(areas,)`, the least number of pixels of a fragment that counts.

    Returns:
        `(areas, 2)`.
    """
    by_part = np.zeros((len(fragments.areas_px), 2), np.int64)
    _by_part(fragments.bits.words, fragments.bits.width, fragments.labels, right.words, wrong.words, by_part)
    counts = [by_part[fragments.areas_px >= smallest].sum(axis=0) for smallest in smallest_px]
    return np.array(counts, np.int64).reshape(-1, 2)


@compiled
def _confusion(
    predicted: NDArray[np.uint64], truth: NDArray[np.uint64], ignore: NDArray[np.uint64]
) -> tuple[int, int, int, int]:
    tp, fp, fn, skipped = 0, 0, 0, 0
    for y in range(predicted.shape[0]):
        for w in range(predicted.shape[1]):
            found, wanted = predicted[y, w], truth[y, w]
            if ignore.shape[0]:
                hidden = ignore[y, w]
                skipped += popcount(hidden)
                found &= ~hidden
                wanted &= ~hidden
            tp += popcount(found & wanted)
            fp += popcount(found & ~wanted)
            fn += popcount(wanted & ~found)
    return tp, fp, fn, skipped


@compiled
def _confusion_of_masks(predicted: NDArray[np.uint8], truth: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    tp, found, wanted, known = 0, 0, 0, 0
    for y in range(predicted.shape[0]):
        row_tp = row_found = row_wanted = row_known = np.uint32(0)
        for x in range(predicted.shape[1]):
            p, t = predicted[y, x], truth[y, x]
            # 0, 1 and 255: the lowest bit without the highest is glacier, the highest is ignored.
            both_known = np.uint32(((p | t) >> np.uint8(7)) ^ np.uint8(1))
            row_known += both_known
            row_found += both_known & np.uint32(p)
            row_wanted += both_known & np.uint32(t)
            row_tp += both_known & np.uint32(p & t)
        tp += int(row_tp)
        found += int(row_found)
        wanted += int(row_wanted)
        known += int(row_known)
    return tp, found, wanted, known


@compiled
def _by_part(
    words: NDArray[np.uint64],
    width: int,
    labels: NDArray[np.int32],
    right: NDArray[np.uint64],
    wrong: NDArray[np.uint64],
    by_part: NDArray[np.int64],
) -> None:
    edges = np.empty(room_for_edges(width), np.int32)
    run = 0
    for y in range(words.shape[0]):
        right_here, wrong_here = right[y], wrong[y]
        for r in range(read_edges(words[y], ZERO, width, edges)):
            start, end, part = edges[2 * r], edges[2 * r + 1], labels[run]
            by_part[part, 0] += count_run(right_here, start, end)
            by_part[part, 1] += count_run(wrong_here, start, end)
            run += 1
