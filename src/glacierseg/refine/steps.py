"""The steps of refinement, each from a mask to a new mask.

Masks are `(H, W)` of 0 background, 1 glacier and 255 ignore. A step takes ignored pixels for background,
never turns one into glacier, and gives them back as 255. What lies beyond the scene border never adds glacier
to a mask nor takes any from it.
"""

from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import RequestError, did_you_mean
from glacierseg.raster.truth import GLACIER, IGNORE
from glacierseg.refine.components import label_fragments, label_holes
from glacierseg.refine.pixels import largest_count, smallest_count, whole_pixels

Smoothing = Literal["majority", "closing", "opening"]

_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def remove_fragments(
    mask: NDArray[Any],
    pixel_size_m: tuple[float, float],
    min_area_km2: float,
    connectivity: int = 8,
) -> NDArray[np.uint8]:
    """Removes connected parts of glacier that are smaller than an area.

    Args:
        mask: `(H, W)`.
        pixel_size_m: Width and height of a pixel.
        min_area_km2: The smallest area that stays.
        connectivity: 8 joins pixels that touch at a corner, 4 does not.
    """
    glacier, ignore = split(mask)
    fragments = label_fragments(glacier, connectivity)
    keep = fragments.areas_px >= max(smallest_count(min_area_km2, pixel_size_m), 1)
    return joined(fragments.where(keep), ignore)


def fill_holes(
    mask: NDArray[Any], pixel_size_m: tuple[float, float], max_area_km2: float | None = None
) -> NDArray[np.uint8]:
    """Fills holes in glacier, see `glacierseg.refine.components.label_holes` for what is one.

    Args:
        mask: `(H, W)`.
        pixel_size_m: Width and height of a pixel.
        max_area_km2: The largest hole that is filled; every hole when None. Fragments inside a hole do not
            count to its area.
    """
    glacier, ignore = split(mask)
    holes = label_holes(glacier, ignore)
    fill = holes.areas_px > 0
    if max_area_km2 is not None:
        fill &= holes.areas_px <= largest_count(max_area_km2, pixel_size_m)
    return joined(glacier | holes.where(fill), ignore)


def merge_fragments(
    mask: NDArray[Any], pixel_size_m: tuple[float, float], distance_m: float
) -> NDArray[np.uint8]:
    """Joins fragments that face each other over a gap of at most a distance.

    The gap is measured from edge to edge: at 10 m, two background pixels between two fragments are 20 m.
    Added are those parts of the closing by a disk of that diameter which touch at least two fragments (all
    8-connected), and nothing else: shores, bays and corners that merely come near each other stay as they
    are. Repeating the step changes nothing. A distance that is less than a pixel does nothing.

    Args:
        mask: `(H, W)`.
        pixel_size_m: Width and height of a pixel.
        distance_m: The widest gap that is bridged.
    """
    glacier, ignore = split(mask)
    columns, rows = (whole_pixels(distance_m, side_m) for side_m in pixel_size_m)
    if not (columns or rows):
        return joined(glacier, ignore)
    pad = max(columns, rows) + 1
    around = np.pad(glacier, pad)
    added = _close(around, _disk(columns + 1, rows + 1)) - around
    added[pad:-pad, pad:-pad][ignore] = 0
    bridges = _touching_two(added, around)
    return joined(glacier | bridges[pad:-pad, pad:-pad], ignore)


def smooth(mask: NDArray[Any], iterations: int, method: Smoothing = "majority") -> NDArray[np.uint8]:
    """Smooths the outline by morphology.

    `majority` gives every pixel the value of most of its 3 x 3 neighbourhood, again and again until nothing
    changes or `iterations` are done; beyond the scene border a mask continues with its border pixels.
    `closing` dilates `iterations` times with a 3 x 3 cross and erodes as often, which fills narrow bays;
    beyond the border it sees background. `opening` erodes first, which removes narrow spurs; beyond the
    border it sees glacier, so that a glacier that leaves the scene is not eaten from there.

    Args:
        mask: `(H, W)`.
        iterations: 0 does nothing.
        method: `majority`, `closing` or `opening`.

    Raises:
        RequestError: There is no such method.
    """
    refuse_unknown_smoothing(method)
    glacier, ignore = split(mask)
    if iterations <= 0:
        return joined(glacier, ignore)
    if method == "majority":
        return joined(_majority(glacier, ignore, iterations), ignore)
    beyond = 0 if method == "closing" else 1
    first, second = (cv2.dilate, cv2.erode) if method == "closing" else (cv2.erode, cv2.dilate)
    pad = iterations + 1
    around = np.pad(glacier, pad, constant_values=beyond)
    smoothed = second(first(around, _CROSS, iterations=iterations), _CROSS, iterations=iterations)
    return joined(np.asarray(smoothed[pad:-pad, pad:-pad], np.uint8), ignore)


def refuse_unknown_smoothing(method: str) -> None:
    """Raises RequestError when there is no such method of smoothing."""
    known = get_args(Smoothing)
    if method not in known:
        raise RequestError(
            f"no smoothing is called {method!r}{did_you_mean(method, known)}; choose from {', '.join(known)}"
        )


def split(mask: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Returns `(H, W)` glacier as 0 and 1, and where the mask is ignored.

    Raises:
        RequestError: The mask is not two-dimensional or has no pixel.
    """
    if mask.ndim != 2 or not mask.size:
        raise RequestError(f"a mask must have rows and columns, but its shape is {mask.shape}")
    return (mask == GLACIER).astype(np.uint8), mask == IGNORE


def joined(glacier: NDArray[np.uint8], ignore: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Returns a mask from glacier as 0 and 1, and where to ignore it; the inverse of `split`."""
    return np.where(ignore, np.uint8(IGNORE), glacier)


def _majority(glacier: NDArray[np.uint8], ignore: NDArray[np.bool_], iterations: int) -> NDArray[np.uint8]:
    for _ in range(iterations):
        # The median of nine zeros and ones is what most of them are.
        smoothed = np.asarray(cv2.medianBlur(glacier, 3), np.uint8)
        smoothed[ignore] = 0
        if np.array_equal(smoothed, glacier):
            break
        glacier = smoothed
    return glacier


def _disk(columns: int, rows: int) -> NDArray[np.uint8]:
    """Returns the pixels whose centres lie in the ellipse that fits into `rows` x `columns` pixels.

    Of equal diameter in metres on both axes, that is a disk on the ground. n + 1 pixels close a gap of n: the
    distance between the centres of the pixels on its two sides.
    """
    x = (np.arange(columns) - (columns - 1) / 2) / (columns / 2)
    y = (np.arange(rows) - (rows - 1) / 2) / (rows / 2)
    return (x[None] ** 2 + y[:, None] ** 2 <= 1).astype(np.uint8)


def _close(glacier: NDArray[np.uint8], disk: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # A disk of even size has no middle pixel. Eroding from the opposite anchor undoes the shift of dilating.
    height, width = disk.shape
    x, y = width // 2, height // 2
    dilated = cv2.dilate(glacier, disk, anchor=(x, y))
    return np.asarray(cv2.erode(dilated, disk, anchor=(width - 1 - x, height - 1 - y)), np.uint8)


def _touching_two(added: NDArray[np.uint8], glacier: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Keeps the 8-connected parts of `added` that touch two fragments; the outermost pixels are empty."""
    parts = label_fragments(added)
    fragments = label_fragments(glacier).labels
    rows, columns = np.nonzero(added)
    part = parts.labels[rows, columns]
    number = len(parts.areas_px)
    lowest = np.full(number, np.iinfo(np.int32).max, np.int32)
    highest = np.zeros(number, np.int32)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            touched = fragments[rows + down, columns + right]
            np.maximum.at(highest, part, touched)
            np.minimum.at(lowest, part[touched > 0], touched[touched > 0])
    return parts.where(lowest < highest)
