"""The steps as OpenCV does them: an independent reference, pixel by pixel, for masks of any size."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def label(pixels: NDArray[np.uint8], connectivity: int = 8) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Labels and areas, 0 for what is outside."""
    _, labels, facts, _ = cv2.connectedComponentsWithStats(pixels, connectivity=connectivity)
    areas_px = facts[:, cv2.CC_STAT_AREA].astype(np.int64)
    areas_px[0] = 0
    return np.asarray(labels, np.int32), areas_px


def holes(mask: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Labels and areas of what is not glacier, 0 for what reaches the border or an ignored pixel."""
    labels, areas_px = label((mask != 1).astype(np.uint8), 4)
    areas_px[labels[mask == 255]] = 0
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        areas_px[side] = 0
    return labels, areas_px


def remove(mask: NDArray[np.uint8], smallest_px: float, connectivity: int = 8) -> NDArray[np.uint8]:
    labels, areas_px = label((mask == 1).astype(np.uint8), connectivity)
    return joined((areas_px >= max(smallest_px, 1))[labels], mask)


def fill(mask: NDArray[np.uint8], largest_px: float) -> NDArray[np.uint8]:
    labels, areas_px = holes(mask)
    return joined((mask == 1) | ((areas_px > 0) & (areas_px <= largest_px))[labels], mask)


def disk(columns: int, rows: int) -> NDArray[np.uint8]:
    y, x = np.ogrid[:rows, :columns]
    inside = ((2 * x - columns + 1) / columns) ** 2 + ((2 * y - rows + 1) / rows) ** 2 <= 1
    return inside.astype(np.uint8)


def merge(mask: NDArray[np.uint8], columns: int, rows: int) -> NDArray[np.uint8]:
    """Adds parts of the closing that touch two fragments; `columns` and `rows` of the widest gap."""
    if not (columns or rows):
        return mask
    pad = max(columns, rows) + 1
    element = disk(columns + 1, rows + 1)
    x, y = (columns + 1) // 2, (rows + 1) // 2
    glacier = np.pad((mask == 1).astype(np.uint8), pad)
    closed = cv2.erode(cv2.dilate(glacier, element, anchor=(x, y)), element, anchor=(columns - x, rows - y))
    added = closed & (1 - glacier) & np.pad((mask != 255).astype(np.uint8), pad)
    fragments, _ = label(glacier)
    pieces, areas_px = label(added)
    # The highest and the lowest label within reach of a pixel are its dilation and its erosion.
    highest = cv2.dilate(fragments.astype(np.float32), np.ones((3, 3)))
    lowest = -cv2.dilate(-np.where(fragments, fragments, 2.0**23).astype(np.float32), np.ones((3, 3)))
    low, high = np.full(len(areas_px), 2.0**23), np.zeros(len(areas_px))
    np.minimum.at(low, pieces.ravel(), lowest.ravel())
    np.maximum.at(high, pieces.ravel(), highest.ravel())
    bridge = low < high
    bridge[0] = False
    return joined((glacier.astype(bool) | bridge[pieces])[pad:-pad, pad:-pad], mask)


def majority(mask: NDArray[np.uint8], iterations: int) -> NDArray[np.uint8]:
    glacier = (mask == 1).astype(np.uint8)
    for _ in range(iterations):
        glacier = cv2.medianBlur(glacier, 3)
        glacier[mask == 255] = 0
    return joined(glacier, mask)


def close_or_open(mask: NDArray[np.uint8], iterations: int, method: str) -> NDArray[np.uint8]:
    if not iterations:
        return mask
    pad = iterations + 1
    around = np.pad((mask == 1).astype(np.uint8), pad, constant_values=int(method == "opening"))
    first, second = (cv2.dilate, cv2.erode) if method == "closing" else (cv2.erode, cv2.dilate)
    around = second(first(around, CROSS, iterations=iterations), CROSS, iterations=iterations)
    return joined(around[pad:-pad, pad:-pad], mask)


def joined(glacier: NDArray[Any], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.where(mask == 255, np.uint8(255), glacier.astype(np.uint8))
