"""Counts of many combinations of parameters, for any order of the steps."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.refine.packed import PackedMask, pack_checked
from glacierseg.refine.parameters import RefineParameters, StepName
from glacierseg.refine.pipeline import do_step
from glacierseg.refine.shared_counts import right_and_wrong

_OWN: dict[StepName, tuple[str, ...]] = {
    "merge": ("merge_distance_m",),
    "smooth": ("smoothing", "iterations"),
    "fill": ("max_hole_km2", "max_hole_slope_deg"),
    "remove": ("min_area_km2", "connectivity", "keep_cut_fragments"),
}


def counts_of_each(
    mask: NDArray[Any],
    truth: NDArray[Any],
    size_m: tuple[float, float],
    candidates: Sequence[RefineParameters],
    slope_deg: NDArray[Any] | None = None,
) -> NDArray[np.int64]:
    """Returns tp, fp and fn `(candidates, 3)`.

    Candidates that agree in the first steps share the masks that these make, so each mask is made once.

    Args:
        mask: `(H, W)` of 0, 1 and 255.
        truth: `(H, W)` of 0, 1 and 255.
        size_m: Width and height of a pixel.
        candidates: The same steps in the same order.
        slope_deg: `(H, W)` slope of the ground, where the candidates ask for it.
    """
    packed, known = pack_checked(mask, "mask"), pack_checked(truth, "truth")
    right, wrong = right_and_wrong(packed, known)
    whole = right.count()
    counts = np.zeros((len(candidates), 3), np.int64)

    def descend(made: PackedMask, depth: int, alike: list[int]) -> None:
        steps = candidates[alike[0]].steps
        if depth == len(steps):
            tp = (made.glacier & right).count()
            counts[alike] = tp, (made.glacier & wrong).count(), whole - tp
            return
        step = steps[depth]
        groups: dict[tuple[Any, ...], list[int]] = {}
        for index in alike:
            own = tuple(getattr(candidates[index], name) for name in _OWN[step])
            groups.setdefault(own, []).append(index)
        for group in groups.values():
            descend(do_step(step, made, size_m, candidates[group[0]], slope_deg), depth + 1, group)

    descend(packed, 0, list(range(len(candidates))))
    return counts
