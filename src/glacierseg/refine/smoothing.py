"""Smoothing of outlines, and growing or shrinking them."""

from typing import Any, Literal, cast, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import RequestError, did_you_mean
from glacierseg.raster.truth import BACKGROUND
from glacierseg.refine import steps
from glacierseg.refine.packed import Smoothing as BasicSmoothing
from glacierseg.refine.steps import joined, split

Smoothing = Literal["majority", "closing", "opening", "dilation", "erosion"]
SMOOTHINGS: tuple[Smoothing, ...] = get_args(Smoothing)

_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def smooth_outline(mask: NDArray[Any], iterations: int, method: Smoothing = "majority") -> NDArray[np.uint8]:
    """Smooths, grows or shrinks glacier by morphology, counted in pixels.

    `majority`, `closing` and `opening` are those of `glacierseg.refine.steps.smooth`. `dilation` adds every
    pixel from which glacier is at most `iterations` steps away, a step going to one of the four neighbours;
    `erosion` takes every pixel from which *known background* is. So neither the scene border nor an ignored
    pixel ever takes glacier away: nobody knows that it ends there. Both work again on their own result, so
    they are not idempotent.

    Args:
        mask: `(H, W)` of 0, 1 and 255.
        iterations: 0 does nothing.
        method: One of `SMOOTHINGS`.

    Raises:
        RequestError: There is no such method.
    """
    refuse_unknown_smoothing(method)
    if method not in ("dilation", "erosion"):
        return steps.smooth(mask, iterations, cast("BasicSmoothing", method))
    glacier, ignore = split(mask)
    # Further than across the scene there is nothing to reach.
    passes = min(iterations, sum(mask.shape))
    if passes <= 0:
        return joined(glacier, ignore)
    if method == "dilation":
        return joined(_grow(glacier, passes), ignore)
    background = (np.asarray(mask) == BACKGROUND).astype(np.uint8)
    return joined(glacier & (1 - _grow(background, passes)), ignore)


def refuse_unknown_smoothing(method: str) -> None:
    """Raises RequestError when there is no such method of smoothing."""
    if method not in SMOOTHINGS:
        raise RequestError(
            f"no smoothing is called {method!r}{did_you_mean(method, SMOOTHINGS)}; "
            f"choose from {', '.join(SMOOTHINGS)}"
        )


def _grow(glacier: NDArray[np.uint8], passes: int) -> NDArray[np.uint8]:
    # OpenCV's dilation sees nothing beyond the border.
    return np.asarray(cv2.dilate(glacier, _CROSS, iterations=passes), np.uint8)
