"""Confusion counts of many combinations of refinement parameters, sharing what they have in common."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import GridMismatchError
from glacierseg.raster.truth import BACKGROUND, GLACIER, IGNORE, clean_mask
from glacierseg.refine.components import label_fragments
from glacierseg.refine.pixels import smallest_count
from glacierseg.refine.steps import Smoothing, fill_holes, merge_fragments, smooth, split


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

    The loops are nested in the order of the steps, so that each intermediate mask is made once; and removal
    by area needs no mask at all, only the labels of the fragments and how many pixels of each are right.

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
    mask, truth = clean_mask(mask, None, "mask"), clean_mask(truth, None, "truth")
    glacier_at = np.flatnonzero((truth == GLACIER) & (mask != IGNORE))
    background_at = np.flatnonzero((truth == BACKGROUND) & (mask != IGNORE))
    smallest = [0, *(smallest_count(area, size_m) for area in min_areas_km2)]

    def by_area(refined: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Returns tp, fp and fn `(1 + areas, 3)`, first without any removal."""
        fragments = label_fragments(split(refined)[0])
        labels, number = fragments.labels.ravel(), len(fragments.areas_px)
        right = np.bincount(labels[glacier_at], minlength=number)
        wrong = np.bincount(labels[background_at], minlength=number)
        keep = fragments.areas_px >= np.maximum(smallest, 1)[:, None]
        tp, fp = keep @ right, keep @ wrong
        return np.stack([tp, fp, len(glacier_at) - tp], axis=1)

    rows = [by_area(mask)[:1]]
    for distance_m in merge_distances_m:
        merged = merge_fragments(mask, size_m, distance_m)
        for passes in iterations:
            smoothed = smooth(merged, passes, smoothing)
            for hole_km2 in max_holes_km2:
                rows.append(by_area(fill_holes(smoothed, size_m, hole_km2))[1:])  # noqa: PERF401
    return np.concatenate(rows)
