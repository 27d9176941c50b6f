"""Refinement of a mask: the steps, in their usual order, and a whole mask through them.

Each step makes a new mask. Masks are packed to one bit a pixel. A step takes ignored pixels for background
and never turns one into glacier. What lies beyond the scene border never adds glacier to a mask nor takes any
from it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from glacierseg.choices import Smoothing, StepName, require_choice
from glacierseg.errors import RequestError
from glacierseg.raster.grid import require_one_shape
from glacierseg.raster.ground import width_and_height_m
from glacierseg.raster.truth import BACKGROUND, GLACIER, IGNORE, clean_mask
from glacierseg.refine.engine import bits, morphology
from glacierseg.refine.engine.bits import Bits
from glacierseg.refine.engine.label import Parts, bridges, label, label_holes
from glacierseg.refine.engine.majority import majority
from glacierseg.refine.engine.morphology import diamond, ellipse, kernel_of
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.refine import RefineSettings

_NEIGHBOURS = {4: diamond(1), 8: kernel_of(np.ones((3, 3)), (1, 1))}
_PASSES_AT_ONCE = 16  # the kernel of many passes takes memory that grows with their square


@dataclass(frozen=True)
class PackedMask:
    """A mask as one bit per pixel.

    Attributes:
        glacier: Where it is 1.
        ignore: Where it is 255; None where it never is, which saves work.
    """

    glacier: Bits
    ignore: Bits | None

    def with_glacier(self, glacier: Bits) -> "PackedMask":
        """Returns a mask of other glacier, none of it on ignored pixels."""
        return PackedMask(glacier if self.ignore is None else glacier.without(self.ignore), self.ignore)


def pack_mask(mask: NDArray[Any]) -> PackedMask:
    """Packs a `(H, W)` mask; values other than 1 and 255 count as background."""
    if mask.ndim != 2 or not mask.size:
        raise RequestError(f"a mask must have rows and columns, but its shape is {mask.shape}")
    if mask.dtype != np.uint8:
        mask = np.where(mask == IGNORE, np.uint8(IGNORE), (mask == GLACIER).astype(np.uint8))
    ignore = bits.pack(mask, IGNORE)
    return PackedMask(bits.pack(mask, GLACIER), ignore if ignore.any() else None)


def pack_checked(mask: NDArray[Any], name: str) -> PackedMask:
    """Packs a `(H, W)` mask that may hold nothing but 0, 1 and 255; an error calls it by `name`.

    Bytes are checked as they are packed, in little memory; of floats, NaN counts as 255.
    """
    packed = pack_mask(mask)
    if mask.dtype == np.uint8:
        ignored_px = packed.ignore.count() if packed.ignore else 0
        if packed.glacier.count() + ignored_px + bits.pack(mask, BACKGROUND).count() == mask.size:
            return packed
    return pack_mask(clean_mask(mask, name))


def unpack_mask(mask: PackedMask) -> NDArray[np.uint8]:
    """Returns a `(H, W)` mask of 0, 1 and 255; the inverse of `pack_mask`."""
    return bits.unpack(mask.glacier, mask.ignore)


def merge_fragments(mask: PackedMask, pixel_size_m: tuple[float, float], distance_m: float) -> PackedMask:
    """Joins fragments that face each other over a gap of at most a distance.

    The gap is measured from edge to edge: at 10 m, two background pixels between two fragments are 20 m.
    Added are those parts of the closing by a disk of that diameter which touch at least two fragments (all
    8-connected), and nothing else: shores, bays and corners that merely come near each other stay as they
    are. Repeating the step changes nothing. A distance that is less than a pixel does nothing.
    """
    columns, rows = (whole_pixels(distance_m, side_m) for side_m in pixel_size_m)
    if not (columns or rows):
        return mask
    # n + 1 pixels close a gap of n: the distance between the centres of the pixels on its two sides.
    kernel = ellipse(columns + 1, rows + 1)
    added = bridges(label(mask.glacier), kernel, mask.ignore)
    return PackedMask(mask.glacier | added, mask.ignore)


def smooth(mask: PackedMask, iterations: int, method: Smoothing = "majority") -> PackedMask:
    """Smooths, grows or shrinks glacier by morphology, counted in pixels.

    `majority` gives every pixel the value of most of its 3 x 3 neighbourhood, again and again until nothing
    changes or `iterations` are done; beyond the scene border a mask continues with its border pixels.
    `closing` dilates `iterations` times with a 3 x 3 cross and erodes as often, which fills narrow bays;
    beyond the border it sees background. `opening` erodes first, which removes narrow spurs; beyond the
    border it sees glacier, so that a glacier that leaves the scene is not eaten from there.

    `dilation` adds every pixel from which glacier is at most `iterations` steps away, a step going to one of
    the four neighbours; `erosion` takes every pixel from which *known background* is. So neither the scene
    border nor an ignored pixel ever takes glacier away: nobody knows that it ends there. Both work again on
    their own result, so they are not idempotent.
    """
    require_choice("smoothing", method, get_args(Smoothing))
    if iterations <= 0:
        return mask
    if method == "majority":
        return PackedMask(majority(mask.glacier, iterations, mask.ignore), mask.ignore)
    # Further than across the scene there is nothing to reach.
    passes = min(iterations, sum(mask.glacier.shape))
    if method == "dilation":
        return mask.with_glacier(_grown(mask.glacier, passes))
    if method == "erosion":
        background = mask.with_glacier(mask.glacier.inverted()).glacier
        return PackedMask(mask.glacier.without(_grown(background, passes)), mask.ignore)
    operation = morphology.close if method == "closing" else morphology.open_
    return mask.with_glacier(operation(mask.glacier, diamond(passes)))


def fill_holes(
    mask: PackedMask,
    pixel_size_m: tuple[float, float],
    max_area_km2: float | None = None,
    slope_deg: NDArray[Any] | None = None,
    max_slope_deg: float | None = None,
) -> PackedMask:
    """Fills holes in glacier, see `glacierseg.refine.engine.label.label_holes` for what is one.

    With `max_slope_deg` steep holes stay. A hole is steep when the mean slope of its pixels exceeds it: ice
    does not stay on such ground, so the hole is a nunatak and no gap in the mask. Pixels without a slope do
    not count; a hole that has none at all is judged by its area alone. Repeating the step changes nothing.

    Args:
        mask: The mask.
        pixel_size_m: Width and height of a pixel.
        max_area_km2: The largest hole that is filled; every hole when None. Fragments inside a hole do not
            count to its area.
        slope_deg: `(H, W)`, 0 flat to 90 vertical, NaN where unknown.
        max_slope_deg: The steepest mean slope that is filled; any when None.
    """
    found = label_holes(mask.glacier, mask.ignore)
    fill = found.areas_px > 0
    if max_area_km2 is not None:
        fill &= found.areas_px <= largest_count(max_area_km2, pixel_size_m)
    if max_slope_deg is not None:
        if slope_deg is None:
            raise RequestError("max_hole_slope_deg needs the slope of the ground; give an elevation model")
        require_one_shape({"slope": slope_deg.shape, "mask": mask.glacier.shape})
        fill &= _gentle(found, np.asarray(slope_deg), max_slope_deg)
    return PackedMask(mask.glacier | found.where(fill), mask.ignore) if fill.any() else mask


def remove_fragments(
    mask: PackedMask,
    pixel_size_m: tuple[float, float],
    min_area_km2: float,
    connectivity: int = 8,
    *,
    keep_cut: bool = False,
) -> PackedMask:
    """Removes connected parts of glacier that are smaller than an area.

    Args:
        mask: The mask.
        pixel_size_m: Width and height of a pixel.
        min_area_km2: The smallest area that stays.
        connectivity: 8 joins pixels that touch at a corner, 4 does not.
        keep_cut: Whether fragments that reach the scene border or touch an ignored pixel stay: nobody knows
            how large they are beyond. On small chips many a glacier shows only a corner.
    """
    smallest_px = smallest_count(min_area_km2, pixel_size_m)
    if smallest_px <= 1:
        return mask
    fragments = label(mask.glacier, connectivity)
    stays = fragments.areas_px >= smallest_px
    if keep_cut:
        stays |= fragments.at_border()
        if mask.ignore:
            beside = morphology.dilate(mask.ignore, _NEIGHBOURS[connectivity])
            stays |= fragments.count_inside(beside) > 0
    return PackedMask(fragments.where(stays), mask.ignore)


def smallest_count(area_km2: float, pixel_size_m: tuple[float, float]) -> int:
    """Returns the least number of pixels that cover at least an area.

    Rounding of the pixel size must not decide, so a billionth less than the area is taken for the area.
    """
    return math.ceil(area_km2 * 1e6 / (pixel_size_m[0] * pixel_size_m[1]) * (1 - 1e-9))


def largest_count(area_km2: float, pixel_size_m: tuple[float, float]) -> float:
    """Returns the largest number of pixels that cover at most an area, by the same tolerance.

    Infinity gives infinity.
    """
    pixels = area_km2 * 1e6 / (pixel_size_m[0] * pixel_size_m[1]) * (1 + 1e-9)
    return math.floor(pixels) if math.isfinite(pixels) else pixels


def whole_pixels(distance_m: float, side_m: float) -> int:
    """Returns how many whole pixels fit into a distance, by the same tolerance."""
    return math.floor(distance_m / side_m * (1 + 1e-9))


def _gentle(found: Parts, slope_deg: NDArray[Any], max_slope_deg: float) -> NDArray[np.bool_]:
    """Returns which holes have a mean slope up to a limit, or no slope at all."""
    inside = bits.unpack(found.where(found.areas_px > 0)) > 0
    part, slope = found.image()[inside], slope_deg[inside].astype(np.float64)
    known = np.isfinite(slope)
    pixels = np.bincount(part[known], minlength=len(found.areas_px))
    total = np.bincount(part[known], weights=slope[known], minlength=len(found.areas_px))
    # A billionth for rounding: a hole of exactly the limit is filled.
    gentle: NDArray[np.bool_] = total <= max_slope_deg * pixels * (1 + 1e-9)
    return gentle


def _grown(area: Bits, passes: int) -> Bits:
    while passes > 0:
        area = morphology.dilate(area, diamond(min(passes, _PASSES_AT_ONCE)))
        passes -= _PASSES_AT_ONCE
    return area


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
