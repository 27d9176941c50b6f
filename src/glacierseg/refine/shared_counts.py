"""Confusion counts of many combinations of refinement parameters, sharing what they have in common."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import GridMismatchError
from glacierseg.refine.engine.bits import Bits
from glacierseg.refine.engine.counts import right_and_wrong_by_area
from glacierseg.refine.engine.holes import label_holes
from glacierseg.refine.engine.label import label
from glacierseg.refine.packed import (
    PackedMask,
    Smoothing,
    fill_labelled,
    merge_fragments,
    pack_checked,
    smooth,
)
from glacierseg.refine.pixels import smallest_count


def counts_of_all(
    mask: NDArray[Any],
    truth: NDArray[Any],
    size_m: tuple[float, float],
    *,
    merge_distances_m: Sequence[float],
    iterations: Sequence[int],
    max_holes_km2: Sequence[float | None],
    min_areas_km2: Sequence[float],
    smoothing: Smoothing,
) -> NDArray[np.int64]:
    """Counts right and wrong pixels for every combination of parameters.

    The loops are nested in the order of the steps, so that each intermediate mask is made once, and masks
    stay packed throughout. Fragments of the mask are labelled once for all distances, holes once for all
    sizes; passes of the majority go on from those already done; and removal by area needs no mask at all,
    only how many pixels of each fragment are right and wrong.

    Args:
        mask: `(H, W)` of 0, 1 and 255.
        truth: `(H, W)` of 0, 1 and 255.
        size_m: Width and height of a pixel.
        merge_distances_m: Outermost loop of the combinations.
        iterations: The second.
        max_holes_km2: The third; None fills all holes.
        min_areas_km2: Innermost loop.
        smoothing: The method of smoothing.

    Returns:
        tp, fp and fn `(1 + combinations, 3)`, those of the mask itself first.

    Raises:
        GridMismatchError: Mask and truth are of different shape.
        TruthError: Mask or truth has other values.
        RequestError: The mask has no pixel.
    """
    if mask.shape != truth.shape:
        raise GridMismatchError(
            f"mask of shape {mask.shape} does not fit truth of shape {truth.shape}; "
            "bring both onto one grid with `glacierseg prepare align`"
        )
    packed, known = pack_checked(mask, "mask"), pack_checked(truth, "truth")
    right, wrong = right_and_wrong(packed, known)
    wanted = right.count()
    smallest_px = np.maximum([smallest_count(area, size_m) for area in min_areas_km2], 1)

    def by_area(glacier: Bits, smallest_px: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns tp, fp and fn `(areas, 3)`."""
        tp, fp = right_and_wrong_by_area(label(glacier), right, wrong, smallest_px).T
        return np.stack([tp, fp, wanted - tp], axis=1)

    fills = any(hole_km2 is None or hole_km2 > 0 for hole_km2 in max_holes_km2)
    fragments = label(packed.glacier)
    rows = [by_area(packed.glacier, np.ones(1, np.int64))]
    for distance_m in merge_distances_m:
        merged = merge_fragments(packed, size_m, distance_m, fragments)
        for smoothed in _smoothed(merged, iterations, smoothing):
            holes = label_holes(smoothed.glacier, smoothed.ignore) if fills else None
            before, found = None, rows[0]
            for hole_km2 in max_holes_km2:
                filled = fill_labelled(smoothed, holes, size_m, hole_km2) if holes else smoothed
                if filled is not before:  # it is the same when there was nothing to fill
                    before, found = filled, by_area(filled.glacier, smallest_px)
                rows.append(found)
    return np.concatenate(rows)


def right_and_wrong(mask: PackedMask, truth: PackedMask) -> tuple[Bits, Bits]:
    """Returns where glacier is right and where it is wrong; neither where mask or truth is ignored."""
    right, wrong = truth.glacier, truth.glacier.inverted()
    for ignore in (mask.ignore, truth.ignore):
        if ignore:
            right, wrong = right.without(ignore), wrong.without(ignore)
    return right, wrong


def _smoothed(mask: PackedMask, iterations: Sequence[int], method: Smoothing) -> Iterator[PackedMask]:
    """Yields the mask after each number of passes."""
    done, smoothed = 0, mask
    for passes in iterations:
        if method == "majority" and passes >= done:
            smoothed = smooth(smoothed, passes - done, method)
        else:
            smoothed = smooth(mask, passes, method)
        done = passes
        yield smoothed
