"""Refinement of a whole mask: the steps in order, and what each of them changed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.choices import StepName
from glacierseg.raster.ground import width_and_height_m
from glacierseg.refine.engine.label import label, label_holes
from glacierseg.refine.steps import (
    PackedMask,
    fill_holes,
    merge_fragments,
    pack_checked,
    remove_fragments,
    smooth,
    unpack_mask,
)
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.refine import RefineSettings


@dataclass(frozen=True)
class StepChange:
    """What one step of refinement did, fragments being 8-connected; for holes see `label_holes`."""

    step: str
    fragments_before: int
    fragments_after: int
    holes_before: int
    holes_after: int
    area_before_km2: float
    area_after_km2: float
    changed_px: int


@fields_as_keywords(settings=RefineSettings)
def refine_mask(
    mask: NDArray[Any],
    pixel_size_m: float | tuple[float, float],
    settings: RefineSettings | None = None,
    *,
    slope_deg: NDArray[Any] | None = None,
) -> NDArray[np.uint8]:
    """Merges, smooths, fills and filters a mask.

    Args:
        mask: `(H, W)` of 0, 1 and 255; it is not changed.
        pixel_size_m: Width and height of a pixel, or one number for a square one.
        settings: What to do; the defaults when None. Its fields may also be given as keywords.
        slope_deg: `(H, W)` slope of the ground, NaN where unknown, for `max_hole_slope_deg`.

    Returns:
        `(H, W)` of 0, 1 and 255, the latter exactly where the mask had it.

    Raises:
        TruthError: The mask has other values.
        RequestError: A setting is out of its bounds, the slope is needed and missing, or the mask has no
            pixel.
        GridMismatchError: Slope and mask differ in shape.
    """
    settings = settings or RefineSettings()
    size_m = width_and_height_m(pixel_size_m)
    refined = pack_checked(mask, "mask")
    for step in settings.steps:
        refined = do_step(step, refined, size_m, settings, slope_deg)
    return unpack_mask(refined)


def refine_with_report(
    mask: NDArray[Any],
    pixel_size_m: float | tuple[float, float],
    settings: RefineSettings | None = None,
    *,
    slope_deg: NDArray[Any] | None = None,
) -> tuple[NDArray[np.uint8], tuple[StepChange, ...]]:
    """Refines a mask as `refine_mask` does and says what each step changed.

    Returns:
        The refined mask, and one entry per step in their order.
    """
    settings = settings or RefineSettings()
    size_m = width_and_height_m(pixel_size_m)
    made = pack_checked(mask, "mask")
    before = _facts(made, size_m)
    changes = []
    for step in settings.steps:
        refined = do_step(step, made, size_m, settings, slope_deg)
        after = before if refined is made else _facts(refined, size_m)
        changed_px = (refined.glacier ^ made.glacier).count()
        changes.append(
            StepChange(step, before[0], after[0], before[1], after[1], before[2], after[2], changed_px)
        )
        made, before = refined, after
    return unpack_mask(made), tuple(changes)


def refine_stepwise(
    mask: NDArray[Any],
    pixel_size_m: float | tuple[float, float],
    settings: RefineSettings | None = None,
    *,
    slope_deg: NDArray[Any] | None = None,
) -> Iterator[tuple[StepName, NDArray[np.uint8]]]:
    """Refines a mask as `refine_mask` does and yields the name of each step with the mask that it made."""
    settings = settings or RefineSettings()
    size_m = width_and_height_m(pixel_size_m)
    refined = pack_checked(mask, "mask")
    for step in settings.steps:
        refined = do_step(step, refined, size_m, settings, slope_deg)
        yield step, unpack_mask(refined)


def do_step(
    step: StepName,
    mask: PackedMask,
    size_m: tuple[float, float],
    settings: RefineSettings,
    slope_deg: NDArray[Any] | None = None,
) -> PackedMask:
    """Does one step; the arguments are those of `refine_stepwise`.

    By default merging comes first, so that the pieces of one glacier are judged by their common area and
    smoothing rounds off the bridges. Holes come after smoothing, which closes some and may open others.
    Removal comes last: whatever the steps before it split off or filled, nothing below the minimum remains.
    """
    if step == "merge":
        return merge_fragments(mask, size_m, settings.merge_distance_m)
    if step == "smooth":
        return smooth(mask, settings.iterations, settings.smoothing)
    if step == "fill":
        return fill_holes(mask, size_m, settings.max_hole_km2, slope_deg, settings.max_hole_slope_deg)
    keep_cut = settings.keep_cut_fragments
    return remove_fragments(mask, size_m, settings.min_area_km2, settings.connectivity, keep_cut=keep_cut)


def _facts(mask: PackedMask, size_m: tuple[float, float]) -> tuple[int, int, float]:
    """Returns the number of fragments, that of holes, and the area of glacier in km2."""
    fragments, holes = label(mask.glacier), label_holes(mask.glacier, mask.ignore)
    area_km2 = int(fragments.areas_px.sum()) * size_m[0] * size_m[1] / 1e6
    return len(fragments.areas_px) - 1, int(np.count_nonzero(holes.areas_px)), area_km2
