"""Connected parts of a mask: fragments of glacier and the holes in them."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Components:
    """Connected parts, numbered from 1.

    Attributes:
        labels: `(H, W)` int32, 0 outside every part.
        areas_px: Pixels by label, `(parts + 1,)`; 0 for label 0 and for parts that do not count.
    """

    labels: NDArray[np.int32]
    areas_px: NDArray[np.int64]

    @property
    def number(self) -> int:
        """How many parts count."""
        return int(np.count_nonzero(self.areas_px))

    def where(self, chosen: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Returns `(H, W)`, 1 in the parts whose label is chosen, else 0."""
        return chosen.astype(np.uint8)[self.labels]


def label_fragments(glacier: NDArray[np.uint8], connectivity: int = 8) -> Components:
    """Labels the connected parts of glacier.

    Args:
        glacier: `(H, W)`, 1 glacier, else 0; at least one pixel.
        connectivity: 8 joins pixels that touch at a corner, 4 does not.
    """
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(glacier, connectivity=connectivity)
    areas_px = statistics[:, cv2.CC_STAT_AREA].astype(np.int64)
    areas_px[0] = 0
    return Components(np.asarray(labels, np.int32), areas_px)


def label_holes(glacier: NDArray[np.uint8], ignore: NDArray[np.bool_]) -> Components:
    """Labels the holes: parts of what is not glacier that are certainly enclosed by it.

    Parts are 4-connected, the counterpart of 8-connected fragments. A part that reaches the scene border or
    an ignored pixel does not count, since nobody knows how it goes on there.

    Args:
        glacier: `(H, W)`, 1 glacier, else 0; at least one pixel.
        ignore: `(H, W)`, True where nothing is known; no glacier there.
    """
    parts = label_fragments(1 - glacier, connectivity=4)
    labels = parts.labels
    parts.areas_px[labels[ignore]] = 0
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        parts.areas_px[side] = 0
    return parts
