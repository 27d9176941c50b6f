"""Connected parts of a mask: fragments of glacier and the holes in them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glacierseg.refine.engine import holes, label
from glacierseg.refine.engine.bits import pack, unpack


@dataclass(frozen=True)
class Components:
    """Connected parts, numbered from 1.

    Attributes:
        parts: The parts as runs of pixels.
        areas_px: Pixels by label, `(parts + 1,)`; 0 for label 0 and for parts that do not count.
    """

    parts: label.Parts
    areas_px: NDArray[np.int64]

    @property
    def number(self) -> int:
        """How many parts count."""
        return int(np.count_nonzero(self.areas_px))

    @property
    def labels(self) -> NDArray[np.int32]:
        """The labels as `(H, W)`, 0 outside every part; made anew at each call."""
        return self.parts.image()

    def where(self, chosen: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Returns `(H, W)`, 1 in the parts whose label is chosen, else 0."""
        return unpack(self.parts.where(chosen))


def label_fragments(glacier: NDArray[np.uint8], connectivity: int = 8) -> Components:
    """Labels the connected parts of glacier.

    Args:
        glacier: `(H, W)`, 1 glacier, else 0.
        connectivity: 8 joins pixels that touch at a corner, 4 does not.
    """
    parts = label.label(pack(glacier), connectivity)
    return Components(parts, parts.areas_px)


def label_holes(glacier: NDArray[np.uint8], ignore: NDArray[np.bool_]) -> Components:
    """Labels the holes: parts of what is not glacier that are certainly enclosed by it.

    Parts are 4-connected, the counterpart of 8-connected fragments. A part that reaches the scene border or
    an ignored pixel does not count, since nobody knows how it goes on there.

    Args:
        glacier: `(H, W)`, 1 glacier, else 0.
        ignore: `(H, W)`, True where nothing is known; no glacier there.
    """
    parts = holes.label_holes(pack(glacier), pack(ignore.view(np.uint8)))
    return Components(parts, parts.areas_px)
