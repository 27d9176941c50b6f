"""Holes: gaps that are certainly enclosed."""

import numpy as np

from glacierseg.refine.engine.bits import Bits
from glacierseg.refine.engine.label import Parts, label


def label_holes(glacier: Bits, ignore: Bits | None = None) -> Parts:
    """Labels the 4-connected gaps; those at the border or with an ignored pixel have area 0.

    Args:
        glacier: The set.
        ignore: Pixels of which nothing is known; none of them is in the set.
    """
    gaps = label(glacier, 4, gaps=True)
    open_ended = gaps.at_border()
    if ignore is not None:
        open_ended |= gaps.count_inside(ignore) > 0
    return Parts(gaps.bits, gaps.flip, gaps.labels, np.where(open_ended, 0, gaps.areas_px))
