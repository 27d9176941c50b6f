"""Search for the refinement that brings masks nearest to the truth, and whether it helps other masks too."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from glacierseg.choices import Objective, StepName
from glacierseg.errors import RequestError, TruthError
from glacierseg.raster.grid import require_one_shape
from glacierseg.raster.ground import width_and_height_m
from glacierseg.raster.truth import BACKGROUND, GLACIER
from glacierseg.refine.steps import PackedMask, do_step, pack_checked
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.refine import PRESETS_KM2, RefineSettings, TuneSettings

PixelSize = float | tuple[float, float]
UNCHANGED = RefineSettings(min_area_km2=0, merge_distance_m=0, iterations=0, max_hole_km2=0)
# The parameters that each step looks at.
_OWN: dict[StepName, tuple[str, ...]] = {
    "merge": ("merge_distance_m",),
    "smooth": ("smoothing", "iterations"),
    "fill": ("max_hole_km2", "max_hole_slope_deg"),
    "remove": ("min_area_km2", "connectivity", "keep_cut_fragments"),
}


@dataclass(frozen=True)
class PooledScores:
    """How well masks agree with the truth, pixels of all of them pooled.

    Attributes:
        iou: Intersection over union of glacier; 0 where neither has any.
        f1: Harmonic mean of precision and recall; it ranks masks exactly as the IoU does.
        area_error: Predicted minus true area of glacier, as a share of the true one, pixels weighed by their
            size. Without true glacier, 0 when none was predicted, else infinite.
    """

    iou: float
    f1: float
    area_error: float

    def score(self, objective: Objective) -> float:
        """Returns what is to be as high as possible; for `area` the error without its sign, negative."""
        return {"iou": self.iou, "f1": self.f1, "area": -abs(self.area_error)}[objective]


def pooled_scores(tp: int, fp: int, fn: int, excess_km2: float, true_km2: float) -> PooledScores:
    """Returns the scores of counts, the excess being the predicted minus the true area."""
    without_truth = math.inf if excess_km2 > 0 else 0.0
    return PooledScores(
        iou=tp / (tp + fp + fn) if tp else 0.0,
        f1=2 * tp / (2 * tp + fp + fn) if tp else 0.0,
        area_error=excess_km2 / true_km2 if true_km2 > 0 else without_truth,
    )


@dataclass(frozen=True)
class TuneResult:
    """The outcome of a search.

    Attributes:
        best: The parameters of the best score; of several, the gentlest.
        best_iou: Intersection over union of glacier that they reach, pixels of all masks pooled.
        raw_iou: The same of the masks as they came.
        table: One row per combination, the unchanged masks first: its parameters, `iou`, `f1`, `area_error`,
            `tp`, `fp`, `fn`.
        objective: What was searched for: `iou`, `f1` or `area`.
    """

    best: RefineSettings
    best_iou: float
    raw_iou: float
    table: list[dict[str, Any]]
    objective: Objective = "iou"

    def ranked(self) -> list[dict[str, Any]]:
        """Returns the rows of the table, the best first and the gentlest first among equals."""
        return sorted(self.table, key=lambda row: -_scores_of(row).score(self.objective))


@fields_as_keywords(settings=TuneSettings)
def tune_refinement(
    mask: NDArray[Any] | Sequence[NDArray[Any]],
    truth: NDArray[Any] | Sequence[NDArray[Any]],
    pixel_size_m: PixelSize | list[PixelSize],
    settings: TuneSettings | None = None,
    *,
    slope_deg: NDArray[Any] | Sequence[NDArray[Any]] | None = None,
) -> TuneResult:
    """Tries every combination of parameters and returns the one that agrees best with the truth.

    Doing nothing is always tried too, so the best is never worse than the masks as they came. With a preset
    it is only scored: unchanged masks would not meet the smallest fragment that the preset asks for. Of equal
    results the gentlest wins: doing nothing, then the method of smoothing named first, the shortest merge
    distance, the fewest iterations, the smallest holes, the smallest area. Pixels where mask or truth is 255
    are left out; those of all masks are pooled. Where neither has glacier, the IoU counts as 0.

    Args:
        mask: `(H, W)` of 0, 1 and 255, or several of them.
        truth: `(H, W)` of 0, 1 and 255, or as many.
        pixel_size_m: Width and height of a pixel, or one number; or a list of these, one per mask.
        settings: What to try; the defaults when None. Its fields may also be given as keywords.
        slope_deg: `(H, W)` slope of the ground, NaN where unknown, or as many as masks, for
            `max_hole_slope_deg`.

    Raises:
        RequestError: Masks, truths, slopes and sizes do not go together, the slope is needed and missing, or
            a setting is out of its bounds.
        GridMismatchError: A mask and its truth or slope differ in shape.
        TruthError: A mask or truth has values other than 0, 1 and 255.
    """
    settings = settings or TuneSettings()
    masks, truths = _listed(mask), _listed(truth)
    sizes = pixel_size_m if isinstance(pixel_size_m, list) else [pixel_size_m] * len(masks)
    if not len(masks) == len(truths) == len(sizes) or not masks:
        raise RequestError(
            "tuning needs one truth and one pixel size for each mask, and at least one mask; it was given "
            f"{len(masks)} masks, {len(truths)} truths and {len(sizes)} sizes"
        )
    slopes = [None] * len(masks) if slope_deg is None else _listed(slope_deg)
    if len(slopes) != len(masks):
        raise RequestError(f"tuning needs one slope for each mask: {len(masks)} masks, {len(slopes)} slopes")
    candidates = _candidates(settings)
    counts, areas_km2 = [], []
    for one_mask, one_truth, size, slope in zip(masks, truths, sizes, slopes, strict=True):
        size_m = width_and_height_m(size)
        require_one_shape({"mask": one_mask.shape, "truth": one_truth.shape})
        counts.append(counts_of_each(one_mask, one_truth, size_m, candidates, slope))
        areas_km2.append(size_m[0] * size_m[1] / 1e6)
    # A dictionary keeps the unchanged masks first when the combinations hold them again.
    pooled = dict(zip(candidates, np.asarray(sum(counts)).tolist(), strict=True))
    # The rows of every mask, as areas; pixels of different masks differ in size.
    areas = sum(own * area for own, area in zip(counts, areas_km2, strict=True))
    in_km2 = dict(zip(candidates, np.asarray(areas).tolist(), strict=True))
    scores = {}
    for one, (tp, fp, fn) in pooled.items():
        tp_km2, fp_km2, fn_km2 = in_km2[one]
        scores[one] = pooled_scores(tp, fp, fn, fp_km2 - fn_km2, tp_km2 + fn_km2)
    eligible = candidates if settings.preset is None else candidates[1:]
    best = max(eligible, key=lambda one: scores[one].score(settings.objective))  # the first of several
    table = [
        {**one.model_dump(), **asdict(scores[one]), "tp": tp, "fp": fp, "fn": fn}
        for one, (tp, fp, fn) in pooled.items()
    ]
    return TuneResult(best, scores[best].iou, scores[candidates[0]].iou, table, settings.objective)


def counts_of_each(
    mask: NDArray[Any],
    truth: NDArray[Any],
    size_m: tuple[float, float],
    candidates: Sequence[RefineSettings],
    slope_deg: NDArray[Any] | None = None,
) -> NDArray[np.int64]:
    """Returns tp, fp and fn `(candidates, 3)` of candidates with the same steps in the same order.

    Those that agree in the first steps share the masks that these make, so each mask is made once.
    """
    packed, known = pack_checked(mask, "mask"), pack_checked(truth, "truth")
    right, wrong = known.glacier, known.glacier.inverted()
    for ignore in (packed.ignore, known.ignore):
        if ignore:
            right, wrong = right.without(ignore), wrong.without(ignore)
    true_px = right.count()
    counts = np.zeros((len(candidates), 3), np.int64)

    def descend(made: PackedMask, depth: int, alike: list[int]) -> None:
        steps = candidates[alike[0]].steps
        if depth == len(steps):
            tp = (made.glacier & right).count()
            counts[alike] = tp, (made.glacier & wrong).count(), true_px - tp
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


def _candidates(settings: TuneSettings) -> list[RefineSettings]:
    """Returns every combination, the gentlest first, and before them what changes nothing."""
    common = ("max_hole_slope_deg", "connectivity", "keep_cut_fragments", "steps")
    methods = list(dict.fromkeys(settings.smoothing))
    areas_km2 = settings.min_areas_km2 if settings.preset is None else (PRESETS_KM2[settings.preset],)
    unchanged = UNCHANGED.replaced(smoothing=methods[0], **{name: getattr(settings, name) for name in common})
    return [
        unchanged,
        *(
            unchanged.replaced(
                smoothing=method,
                merge_distance_m=distance_m,
                iterations=passes,
                max_hole_km2=hole_km2,
                min_area_km2=area_km2,
            )
            for method, distance_m, passes, hole_km2, area_km2 in product(
                methods,
                sorted(set(settings.merge_distances_m)),
                sorted(set(settings.iterations)),
                sorted(set(settings.max_holes_km2), key=lambda hole: np.inf if hole is None else hole),
                sorted(set(areas_km2)),
            )
            # Without a pass all methods are one, so only the first is tried with none.
            if passes or method == methods[0]
        ),
    ]


def _listed(arrays: NDArray[Any] | Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    return [arrays] if isinstance(arrays, np.ndarray) else list(arrays)


def _scores_of(row: dict[str, Any]) -> PooledScores:
    # JSON, which knows no infinity, has null for the error where there is no true glacier.
    error = math.inf if row["area_error"] is None else row["area_error"]
    return PooledScores(row["iou"], row["f1"], error)


Use = Literal["tuned", "test"]
# Comparing whole masks at once would take eight times their memory.
_STRIP_ROWS = 512
# Of more regions than this only those with the largest changes are named.
_NAMED = 12


@dataclass(frozen=True)
class RegionGain:
    """What refinement does to the agreement with the truth in one region, where both are known."""

    region: str
    use: Use
    raw: PooledScores
    refined: PooledScores
    known_px: int

    def gain(self, objective: Objective) -> float:
        """Returns the score refined minus raw; above 0 is better."""
        before, after = self.raw.score(objective), self.refined.score(objective)
        return 0.0 if before == after else after - before

    def to_dict(self) -> dict[str, Any]:
        """Returns it as a plain dictionary."""
        return asdict(self)


def region_gain(
    region: str,
    use: Use,
    raw: NDArray[np.uint8],
    refined: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    pixel_size_m: float | tuple[float, float],
) -> RegionGain:
    """Compares a mask `(H, W)` and what refinement made of it with the truth, all of 0, 1 and 255."""
    require_one_shape({f"{region}: mask": raw.shape, "truth": truth.shape})
    width_m, height_m = width_and_height_m(pixel_size_m)
    area_km2 = width_m * height_m / 1e6
    known_px = true_px = 0
    counts = np.zeros((2, 2), np.int64)
    for top in range(0, len(truth), _STRIP_ROWS):
        rows = slice(top, top + _STRIP_ROWS)
        known = ((raw[rows] == GLACIER) | (raw[rows] == BACKGROUND)) & (
            (truth[rows] == GLACIER) | (truth[rows] == BACKGROUND)
        )
        true = (truth[rows] == GLACIER) & known
        known_px += int(np.count_nonzero(known))
        true_px += int(np.count_nonzero(true))
        for number, mask in enumerate((raw, refined)):
            found = (mask[rows] == GLACIER) & known
            counts[number] += np.count_nonzero(found & true), np.count_nonzero(found)

    def scores(tp: int, found_px: int) -> PooledScores:
        fp, fn = found_px - tp, true_px - tp
        return pooled_scores(tp, fp, fn, (fp - fn) * area_km2, (tp + fn) * area_km2)

    before, after = (scores(*row) for row in counts.tolist())
    return RegionGain(region, use, before, after, known_px)


def require_comparable(gains: Sequence[RegionGain]) -> None:
    """Raises TruthError when a region has no pixel that is known in both its mask and its truth."""
    for gain in gains:
        if not gain.known_px:
            raise TruthError(
                f"{gain.region}: no pixel is known in both the mask and the truth (all are 255 in one of "
                "them), so there is nothing to compare; check that they cover the same ground"
            )


def verdict(gains: Sequence[RegionGain], objective: Objective) -> list[str]:
    """Says in plain words whether what was chosen on some regions holds on the test regions."""
    name = {"iou": "IoU", "f1": "F1", "area": "area error"}[objective]

    def shown(found: PooledScores) -> str:
        return f"{found.area_error:+.1%}" if objective == "area" else f"{found.score(objective):.4f}"

    def gain_of(gain: RegionGain) -> float:
        # What does not show in the digits is no change worth a warning.
        return gain.gain(objective) if shown(gain.raw) != shown(gain.refined) else 0.0

    def change(gain: RegionGain) -> str:
        return f"{gain.region} ({name} {shown(gain.raw)} -> {shown(gain.refined)})"

    def changes(gains: Sequence[RegionGain]) -> str:
        ranked = sorted(gains, key=lambda gain: -abs(gain.gain(objective)))[:_NAMED]
        named = [change(gain) for gain in gains if gain in ranked]
        return ", ".join(named) + (f" and {len(gains) - _NAMED} more" if len(gains) > _NAMED else "")

    tuned = [gain for gain in gains if gain.use == "tuned"]
    tests = [gain for gain in gains if gain.use == "test"]
    better = [gain for gain in tests if gain_of(gain) > 0]
    worse = [gain for gain in tests if gain_of(gain) < 0]
    lines = []
    if worse:
        lines.append(
            f"the refinement made {len(worse)} of {len(tests)} test regions WORSE: "
            + changes(worse)
            + "; do not expect the gain of the tuning region elsewhere"
        )
    if better:
        lines.append(
            f"the refinement improved {len(better)} of {len(tests)} test regions: " + changes(better)
        )
    if same := len(tests) - len(better) - len(worse):
        lines.append(f"the refinement left the {name} of {same} of {len(tests)} test regions as it was")
    if harmed := [gain for gain in tuned if gain_of(gain) < 0]:
        lines.append(
            f"of the {len(tuned)} regions that were tuned on together, "
            f"{len(harmed)} got worse: {changes(harmed)}"
        )
    if tuned and not tests:
        lines.append("no test region was given, so nothing is known about how the choice works elsewhere")
    return lines
