"""The steps of refinement, each from a mask to a new mask.

Masks are `(H, W)` of 0 background, 1 glacier and 255 ignore. A step takes ignored pixels for background,
never turns one into glacier, and gives them back as 255. What lies beyond the scene border never adds glacier
to a mask nor takes any from it.
"""

from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import RequestError, did_you_mean
from glacierseg.raster.truth import GLACIER, IGNORE
from glacierseg.refine import packed
from glacierseg.refine.packed import Smoothing, pack_mask, unpack_mask


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
    return unpack_mask(packed.remove_fragments(pack_mask(mask), pixel_size_m, min_area_km2, connectivity))


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
    return unpack_mask(packed.fill_holes(pack_mask(mask), pixel_size_m, max_area_km2))


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
    return unpack_mask(packed.merge_fragments(pack_mask(mask), pixel_size_m, distance_m))


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
    return unpack_mask(packed.smooth(pack_mask(mask), iterations, method))


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
