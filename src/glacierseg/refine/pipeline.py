"""Refinement of a whole mask: the steps in order, and what each of them changed."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import RequestError
from glacierseg.raster.truth import clean_mask
from glacierseg.refine.components import label_fragments, label_holes
from glacierseg.refine.packed import Smoothing
from glacierseg.refine.pixels import width_and_height_m
from glacierseg.refine.steps import (
    fill_holes,
    merge_fragments,
    refuse_unknown_smoothing,
    remove_fragments,
    smooth,
    split,
)

Step = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


@dataclass(frozen=True)
class RefineParameters:
    """Parameters of the refinement steps; with all numbers 0 a mask stays as it is.

    Attributes:
        min_area_km2: Smaller fragments are removed. Glacier inventories of the region start at 0.02-0.03 km2.
        merge_distance_m: Fragments that face each other over a gap of at most this are joined.
        iterations: Passes of smoothing.
        smoothing: `majority`, `closing` or `opening`, see `glacierseg.refine.steps.smooth`.
        max_hole_km2: Holes up to this size are filled, every hole when None. The default fills what is too
            small to be a glacier's size too, and leaves larger ones, which may well be nunataks.

    Raises:
        RequestError: A number is negative, or there is no such smoothing.
    """

    min_area_km2: float = 0.03
    merge_distance_m: float = 20.0
    iterations: int = 10
    smoothing: Smoothing = "majority"
    max_hole_km2: float | None = 0.03

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and not (math.isfinite(value) and value >= 0):
                raise RequestError(f"refinement: {field.name} must be a number from 0 on, not {value}")
        refuse_unknown_smoothing(self.smoothing)


@dataclass(frozen=True)
class StepChange:
    """What one step of refinement did.

    Attributes:
        step: `merge`, `smooth`, `fill` or `remove`.
        fragments_before: Connected parts of glacier (8-connected) in the mask that it was given.
        fragments_after: The same in the mask that it made.
        holes_before: Holes in glacier, see `glacierseg.refine.components.label_holes`.
        holes_after: The same.
        area_before_km2: Area of glacier.
        area_after_km2: The same.
        changed_px: Pixels that are glacier in only one of the two masks.
    """

    step: str
    fragments_before: int
    fragments_after: int
    holes_before: int
    holes_after: int
    area_before_km2: float
    area_after_km2: float
    changed_px: int


def refine_mask(
    mask: NDArray[Any],
    pixel_size_m: float | tuple[float, float],
    min_area_km2: float = 0.03,
    merge_distance_m: float = 20.0,
    iterations: int = 10,
    *,
    smoothing: Smoothing = "majority",
    max_hole_km2: float | None = 0.03,
) -> NDArray[np.uint8]:
    """Merges, smooths, fills and filters a mask; see `RefineParameters` for the arguments.

    Args:
        mask: `(H, W)` of 0, 1 and 255; it is not changed.
        pixel_size_m: Width and height of a pixel, or one number for a square one.
        min_area_km2: Smaller fragments are removed.
        merge_distance_m: Fragments that face each other over a gap of at most this are joined.
        iterations: Passes of smoothing.
        smoothing: `majority`, `closing` or `opening`.
        max_hole_km2: Holes up to this size are filled, every hole when None.

    Returns:
        `(H, W)` of 0, 1 and 255, the latter exactly where the mask had it.

    Raises:
        TruthError: The mask has other values.
        RequestError: A parameter is out of its range, or the mask has no pixel.
    """
    parameters = RefineParameters(min_area_km2, merge_distance_m, iterations, smoothing, max_hole_km2)
    mask = clean_mask(mask, None, "mask")
    for _, step in _steps(width_and_height_m(pixel_size_m), parameters):
        mask = step(mask)
    return mask


def refine_with_report(
    mask: NDArray[Any],
    pixel_size_m: float | tuple[float, float],
    parameters: RefineParameters | None = None,
) -> tuple[NDArray[np.uint8], tuple[StepChange, ...]]:
    """Refines a mask as `refine_mask` does and says what each step changed.

    Args:
        mask: `(H, W)` of 0, 1 and 255; it is not changed.
        pixel_size_m: Width and height of a pixel, or one number for a square one.
        parameters: What to do; the defaults when None.

    Returns:
        The refined mask, and one entry per step in their order.

    Raises:
        TruthError: The mask has other values.
        RequestError: The mask has no pixel.
    """
    size_m = width_and_height_m(pixel_size_m)
    mask = clean_mask(mask, None, "mask")
    before = _facts(mask, size_m)
    changes = []
    for name, step in _steps(size_m, parameters or RefineParameters()):
        refined = step(mask)
        after = _facts(refined, size_m)
        changed_px = int(np.count_nonzero(refined != mask))
        changes.append(
            StepChange(name, before[0], after[0], before[1], after[1], before[2], after[2], changed_px)
        )
        mask, before = refined, after
    return mask, tuple(changes)


def _facts(mask: NDArray[np.uint8], size_m: tuple[float, float]) -> tuple[int, int, float]:
    """Returns the number of fragments, that of holes, and the area of glacier in km2."""
    glacier, ignore = split(mask)
    fragments = label_fragments(glacier)
    area_km2 = int(fragments.areas_px.sum()) * size_m[0] * size_m[1] / 1e6
    return fragments.number, label_holes(glacier, ignore).number, area_km2


def _steps(size_m: tuple[float, float], parameters: RefineParameters) -> Iterator[tuple[str, Step]]:
    # Merging comes first, so that the pieces of one glacier are judged by their common area and smoothing
    # rounds off the bridges. Holes come after smoothing, which closes some and may open others. Removal comes
    # last: whatever the steps before it split off or filled, nothing below the minimum remains.
    yield "merge", lambda mask: merge_fragments(mask, size_m, parameters.merge_distance_m)
    yield "smooth", lambda mask: smooth(mask, parameters.iterations, parameters.smoothing)
    yield "fill", lambda mask: fill_holes(mask, size_m, parameters.max_hole_km2)
    yield "remove", lambda mask: remove_fragments(mask, size_m, parameters.min_area_km2)
