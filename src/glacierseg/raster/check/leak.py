"""Regions of different roles that share ground, so that a model is judged on pixels it has learned."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from rasterio.warp import transform

from glacierseg.raster.check.result import CheckResult
from glacierseg.raster.grid import Grid

# Frames are compared as polygons with so many points on each side, since a side bends in another projection.
_POINTS = 21
_TOUCHING = 1e-4
_LISTED = 4


def check_overlap(regions: Sequence[tuple[str, str, Grid]]) -> CheckResult:
    """Checks that regions of different roles share no ground.

    Parts of one region are not compared: they are told apart pixel by pixel, and their frames may overlap.

    Args:
        regions: Name, role (``train``, ``validate`` or ``test``) and grid of each region.

    Returns:
        A warning that names the pairs, train and test first.
    """
    found = []
    for first, second in combinations(regions, 2):
        if first[0] != second[0] and first[1] != second[1]:
            share = shared_share(first[2], second[2])
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
    import shapely  # noqa: PLC0415

    own = shapely.Polygon(_frame(first, first))
    other = shapely.Polygon(_frame(second, first))
    if not other.is_valid:
        return 0.0
    smaller = min(own.area, other.area)
    return float(own.intersection(other).area / smaller) if smaller else 0.0


def _frame(grid: Grid, target: Grid) -> Any:
    """Points along a grid's rim in the CRS of another one."""
    steps = np.linspace(0, 1, _POINTS)[:-1]
    zeros, ones = np.zeros_like(steps), np.ones_like(steps)
    columns = np.concatenate([steps, ones, 1 - steps, zeros]) * grid.width
    rows = np.concatenate([zeros, steps, ones, 1 - steps]) * grid.height
    a, b, c, d, e, f = grid.transform[:6]
    xs, ys = a * columns + b * rows + c, d * columns + e * rows + f
    if grid.crs != target.crs:
        xs, ys = transform(grid.crs, target.crs, xs, ys)
    points = np.column_stack([xs, ys])
    # A place too far away for the projection has no position there, and no ground in common.
    return points if np.isfinite(points).all() else np.zeros((4, 2))
