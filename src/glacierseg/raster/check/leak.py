"""Regions of different roles that share ground, so that a model is scored on pixels it was trained on."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from glacierseg.raster.bounds import area_on_grid, frame_polygon, may_meet
from glacierseg.raster.check.result import CheckResult
from glacierseg.raster.grid import Grid

Area = NDArray[np.bool_]
_TOUCHING = 1e-4
_LISTED = 4


def check_overlap(
    regions: Sequence[tuple[str, str, Grid]], areas: Sequence[Area] | None = None
) -> CheckResult:
    """Checks that regions of different roles share no ground.

    Parts of one region are not compared: their roles differ by pixel, and their frames may overlap.

    Args:
        regions: Name, role (``train``, ``validate`` or ``test``) and grid of each region.
        areas: The pixels `(H, W)` of each grid that have the role; all when None.

    Returns:
        A warning that names the pairs, train and test first.
    """
    found = []
    for one, another in combinations(range(len(regions)), 2):
        first, second = regions[one], regions[another]
        if first[0] != second[0] and first[1] != second[1]:
            share = shared_share(first[2], second[2])
            if share > _TOUCHING and areas is not None:
                share = _shared_area(first[2], second[2], (areas[one], areas[another]))
            if share > _TOUCHING:
                # What is tested on ground that trained weighs most, then what is chosen on it.
                severity = ("train" in {first[1], second[1]}) + ("test" in {first[1], second[1]})
                found.append((severity, share, first, second))
    if not found:
        return CheckResult("overlap", "passed", "regions of different roles share no ground")
    found.sort(key=lambda pair: (-pair[0], -pair[1]))
    pairs = [
        f"{name} ({role}) and {other} ({other_role}) share {100 * share:.3g} %"
        for _, share, (name, role, _), (other, other_role, _) in found[:_LISTED]
    ]
    more = f" and {len(found) - _LISTED} more pairs" if len(found) > _LISTED else ""
    return CheckResult(
        "overlap",
        "warning",
        f"{', '.join(pairs)}{more} of the smaller one's ground, so scores there flatter",
        "give both the same role, or cut one of them",
    )


def shared_share(first: Grid, second: Grid) -> float:
    """Returns how much of the smaller of two grids' ground lies in the other one, 0 to 1."""
    if not may_meet(first, second):
        return 0.0
    own, other = frame_polygon(first, first), frame_polygon(second, first)
    if other.is_empty:
        own, other = frame_polygon(first, second), frame_polygon(second, second)
    smaller = min(own.area, other.area)
    return float(own.intersection(other).area / smaller) if smaller else 0.0


def _shared_area(first: Grid, second: Grid, areas: tuple[Area, Area]) -> float:
    """Returns how much of the smaller of two areas lies in the other one, 0 to 1."""
    smaller, larger = (0, 1) if areas[0].sum() <= areas[1].sum() else (1, 0)
    grids = (first, second)
    common = area_on_grid(areas[larger], grids[larger], grids[smaller]) & areas[smaller]
    return float(common.sum() / areas[smaller].sum()) if areas[smaller].any() else 0.0
