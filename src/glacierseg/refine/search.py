"""Search for the refinement that brings masks nearest to the truth."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import RequestError
from glacierseg.refine.packed import Smoothing
from glacierseg.refine.pipeline import RefineParameters
from glacierseg.refine.pixels import width_and_height_m
from glacierseg.refine.shared_counts import counts_of_all

PixelSize = float | tuple[float, float]
UNCHANGED = RefineParameters(min_area_km2=0, merge_distance_m=0, iterations=0, max_hole_km2=0)


@dataclass(frozen=True)
class TuneResult:
    """The outcome of a search.

    Attributes:
        best: The parameters of the highest IoU; of several, the gentlest.
        best_iou: Intersection over union of glacier that they reach, pixels of all masks pooled.
        raw_iou: The same of the masks as they came.
        table: One row per combination, the unchanged masks first: its parameters, `iou`, `tp`, `fp`, `fn`.
    """

    best: RefineParameters
    best_iou: float
    raw_iou: float
    table: list[dict[str, Any]]


@dataclass(frozen=True)
class _Choices:
    """Values to combine, each in rising order."""

    merge_distances_m: list[float]
    iterations: list[int]
    max_holes_km2: list[float | None]
    min_areas_km2: list[float]
    smoothing: Smoothing

    def combinations(self) -> list[RefineParameters]:
        return [
            RefineParameters(area, distance, passes, self.smoothing, hole)
            for distance, passes, hole, area in product(
                self.merge_distances_m, self.iterations, self.max_holes_km2, self.min_areas_km2
            )
        ]


def tune_refinement(
    mask: NDArray[Any] | Sequence[NDArray[Any]],
    truth: NDArray[Any] | Sequence[NDArray[Any]],
    pixel_size_m: PixelSize | list[PixelSize],
    *,
    merge_distances_m: Sequence[float] = (0, 10, 20, 30, 40),
    min_areas_km2: Sequence[float] = (0, 0.01, 0.03, 0.1),
    iterations: Sequence[int] = (0, 1, 3, 10),
    max_holes_km2: Sequence[float | None] = (0, 0.03, 0.1),
    smoothing: Smoothing = "majority",
) -> TuneResult:
    """Tries every combination of parameters and returns the one of the highest IoU.

    Doing nothing is always tried too, so the best is never worse than the masks as they came. Of equal
    results the gentlest wins: doing nothing, then the shortest merge distance, the fewest iterations, the
    smallest holes, the smallest area. Pixels where mask or truth is 255 are left out; those of all masks are
    pooled. Where neither has glacier, the IoU counts as 0.

    Args:
        mask: `(H, W)` of 0, 1 and 255, or several of them.
        truth: `(H, W)` of 0, 1 and 255, or as many.
        pixel_size_m: Width and height of a pixel, or one number; or a list of these, one per mask.
        merge_distances_m: Values tried for `merge_distance_m`.
        min_areas_km2: Values tried for `min_area_km2`.
        iterations: Values tried for `iterations`.
        max_holes_km2: Values tried for `max_hole_km2`; None fills all.
        smoothing: The method of smoothing.

    Raises:
        GridMismatchError: A mask and its truth are of different shape.
        TruthError: A mask or truth has other values.
        RequestError: Numbers of masks, truths and sizes differ, or a value is out of its range.
    """
    masks = [mask] if isinstance(mask, np.ndarray) else list(mask)
    truths = [truth] if isinstance(truth, np.ndarray) else list(truth)
    sizes = pixel_size_m if isinstance(pixel_size_m, list) else [pixel_size_m] * len(masks)
    if not masks or not len(masks) == len(truths) == len(sizes):
        raise RequestError(
            "tuning needs one truth and one pixel size for each mask, and at least one mask; it was given "
            f"{len(masks)} masks, {len(truths)} truths and {len(sizes)} sizes"
        )
    choices = _Choices(
        merge_distances_m=sorted(set(merge_distances_m)),
        iterations=sorted(set(iterations)),
        max_holes_km2=sorted(set(max_holes_km2), key=lambda hole: np.inf if hole is None else hole),
        min_areas_km2=sorted(set(min_areas_km2)),
        smoothing=smoothing,
    )
    candidates = [replace(UNCHANGED, smoothing=smoothing), *choices.combinations()]
    counts = sum(
        counts_of_all(
            one_mask,
            one_truth,
            width_and_height_m(size),
            merge_distances_m=choices.merge_distances_m,
            iterations=choices.iterations,
            max_holes_km2=choices.max_holes_km2,
            min_areas_km2=choices.min_areas_km2,
            smoothing=choices.smoothing,
        )
        for one_mask, one_truth, size in zip(masks, truths, sizes, strict=True)
    )
    # A dictionary keeps the unchanged masks first when the combinations hold them again.
    pooled = dict(zip(candidates, np.asarray(counts).tolist(), strict=True))
    ious = {parameters: _iou(*found) for parameters, found in pooled.items()}
    best = max(ious, key=lambda parameters: ious[parameters])  # the first of several
    table = [
        {**asdict(parameters), "iou": ious[parameters], "tp": tp, "fp": fp, "fn": fn}
        for parameters, (tp, fp, fn) in pooled.items()
    ]
    return TuneResult(best, ious[best], ious[candidates[0]], table)


def _iou(tp: int, fp: int, fn: int) -> float:
    return tp / (tp + fp + fn) if tp else 0.0
