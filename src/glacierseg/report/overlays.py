"""Where a mask and the truth agree and where they do not, as classes, colours and places."""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from glacierseg.raster.truth import GLACIER, IGNORE
from glacierseg.report.style import AGREED, FALSE_ALARM, MISSED

NEITHER, TP, FP, FN = 0, 1, 2, 3
# Colour and opacity of each class; agreement lets the image through.
OVERLAY_COLOURS: Mapping[int, tuple[str, float]] = {
    TP: (AGREED, 0.45),
    FP: (FALSE_ALARM, 0.85),
    FN: (MISSED, 0.85),
}


def error_classes(predicted: NDArray[np.uint8], truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Compares a mask with the truth.

    Args:
        predicted: `(H, W)` of 0, 1 and 255.
        truth: `(H, W)` of 0, 1 and 255.

    Returns:
        `(H, W)`: 1 where both are glacier (TP), 2 where only the prediction is (FP), 3 where only the truth
        is (FN), else 0; 0 also where either is to be ignored.
    """
    found, true = predicted == GLACIER, truth == GLACIER
    classes = np.select([found & true, found, true], [TP, FP, FN], NEITHER).astype(np.uint8)
    classes[(predicted == IGNORE) | (truth == IGNORE)] = NEITHER
    return classes


def paint(classes: NDArray[np.uint8], colours: Mapping[int, tuple[str, float]]) -> NDArray[np.uint8]:
    """Colours classes.

    Args:
        classes: `(H, W)`.
        colours: By class a colour and its opacity; others are transparent.

    Returns:
        `(H, W, 4)` red, green, blue and opacity.
    """
    table = np.zeros((256, 4), np.uint8)
    for value, (colour, opacity) in colours.items():
        table[value] = np.round(255 * np.array([*to_rgb(colour), opacity]))
    return table[classes]


@dataclass(frozen=True)
class Place:
    """A coherent patch of errors.

    Attributes:
        kind: `FP` or `FN`, the numbers above.
        row: First row of its box.
        column: First column of its box.
        height: Rows of its box.
        width: Columns of its box.
        pixels: How many pixels of the box belong to it.
    """

    kind: int
    row: int
    column: int
    height: int
    width: int
    pixels: int


def worst_places(classes: NDArray[np.uint8], count: int = 4) -> tuple[Place, ...]:
    """Finds the largest patches of errors.

    Rims of one or two pixels, where an outline merely lies a little aside, are opened away first: they would
    tie unrelated errors together.

    Args:
        classes: `(H, W)` as `error_classes` gives them.
        count: How many to return at most.

    Returns:
        The largest first; empty when nothing is wrong beyond thin rims.
    """
    places = []
    for kind in (FP, FN):
        wrong = (classes == kind).astype(np.uint8)
        opened = cv2.morphologyEx(wrong, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        _, _, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=4)
        for left, top, width, height, pixels in stats[1:].tolist():
            places.append(Place(kind, top, left, height, width, pixels))
    return tuple(sorted(places, key=lambda place: -place.pixels)[:count])
