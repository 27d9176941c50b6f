"""Removal of small fragments that spares those of unknown size."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from glacierseg.refine.steps import joined, remove_fragments, split

_NEIGHBOURS = {8: cv2.MORPH_RECT, 4: cv2.MORPH_CROSS}


def remove_whole_fragments(
    mask: NDArray[Any],
    pixel_size_m: tuple[float, float],
    min_area_km2: float,
    connectivity: int = 8,
) -> NDArray[np.uint8]:
    """Removes small fragments as `glacierseg.refine.steps.remove_fragments` does, except those that are cut.

    A fragment is cut when it reaches the scene border or touches an ignored pixel: nobody knows how large it
    is beyond. On small chips many a glacier shows only a corner. Repeating the step changes nothing.

    Args:
        mask: `(H, W)` of 0, 1 and 255.
        pixel_size_m: Width and height of a pixel.
        min_area_km2: The smallest area that stays.
        connectivity: 8 joins pixels that touch at a corner, 4 does not.
    """
    glacier, ignore = split(mask)
    number, labels = cv2.connectedComponents(glacier, connectivity=connectivity)
    cross_or_square = cv2.getStructuringElement(_NEIGHBOURS[connectivity], (3, 3))
    beside = cv2.dilate(ignore.astype(np.uint8), cross_or_square) > 0
    cut = np.zeros(number, bool)
    for part in (labels[0], labels[-1], labels[:, 0], labels[:, -1], labels[beside]):
        cut[part] = True
    cut[0] = False
    kept = remove_fragments(mask, pixel_size_m, min_area_km2, connectivity)
    return joined((kept == 1).astype(np.uint8) | cut[labels].astype(np.uint8), ignore)
