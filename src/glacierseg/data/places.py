"""Places: groups of neighbouring regions that are dealt to folds together, for regions that may overlap."""

from collections.abc import Sequence
from math import cos, radians

import numpy as np
from numpy.typing import NDArray

from glacierseg.choices import Role
from glacierseg.data.blocks import fold_role
from glacierseg.data.split import ELSEWHERE
from glacierseg.errors import GridMismatchError
from glacierseg.raster.bounds import may_meet, move_points
from glacierseg.raster.footprint import footprint_on_grid
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import name_of_crs

# Centres nearer than this share of a region's side are the same ground at another date.
_SAME_GROUND = 0.1


def find_places(grids: Sequence[Grid], most: int) -> list[list[int]]:
    """Groups regions into places by halving them again and again across their longer extent.

    Args:
        grids: Of the regions, in any CRS; positions are compared in that of the first.
        most: Largest number of regions of a place. Only regions on the same ground, such as one scene at
            several dates, may be more.

    Returns:
        Indices of the regions of each place; the same regions always make the same places.

    Raises:
        GridMismatchError: A region has no position in the first one's CRS.
    """
    centres, least_gap = _centres(grids)
    waiting, places = [list(range(len(grids)))], []
    while waiting:
        group = waiting.pop(0)
        halves = _halve(group, centres, least_gap) if len(group) > most else None
        if halves is None:
            places.append(group)
        else:
            waiting += halves
    return sorted(sorted(place) for place in places)


def roles_by_places(
    places: Sequence[Sequence[int]],
    glacier_areas: Sequence[float],
    folds: int,
    tested_fold: int,
    holdout_share: float,
) -> list[Role]:
    """Deals places to folds and says what each region is for.

    Places go to the folds richest in glacier first, each to the fold that has least so far. The tested fold
    tests. Of the one after it as many places validate as hold `holdout_share` of the glacier that is not
    tested, at least one; all others train.

    Args:
        places: Indices of the regions of each, at least as many as folds.
        glacier_areas: Of each region, by its index.
        folds: How many.
        tested_fold: 1-based.
        holdout_share: Of validation.

    Returns:
        The role of each region. Over all folds each region tests once.
    """
    areas = [sum(glacier_areas[region] for region in place) for place in places]
    ranked = sorted(range(len(places)), key=lambda place: (-areas[place], place))
    dealt = _deal(ranked, areas, [len(place) for place in places], folds)
    left = sum(area for area, fold in zip(areas, dealt, strict=True) if fold != tested_fold)
    candidates = [place for place in ranked if fold_role(dealt[place], tested_fold, folds) == "validate"]
    validating = _fill(candidates, areas, holdout_share * left)
    roles: list[Role] = ["train"] * len(glacier_areas)
    for number, place in enumerate(places):
        own: Role = "train"
        if dealt[number] == tested_fold:
            own = "test"
        elif number in validating:
            own = "validate"
        for region in place:
            roles[region] = own
    return roles


def give_way(roles: Sequence[NDArray[np.uint8]], grids: Sequence[Grid]) -> None:
    """Takes the role from pixels on the ground of a region with a stricter role, in place.

    Training gives way to validation and test, validation to test. Such pixels become `ELSEWHERE`: they are
    neither trained on nor shown to a network in training.

    Args:
        roles: `(H, W)` of `ROLE_CODES` for each region, each with one role.
        grids: Of the regions.
    """
    codes = [int(own.max(initial=0)) for own in roles]
    for own, grid, code in zip(roles, grids, codes, strict=True):
        for rival_code, rival in zip(codes, grids, strict=True):
            if 0 < code < rival_code and may_meet(rival, grid):
                own[footprint_on_grid(rival, grid)] = ELSEWHERE


def _deal(ranked: Sequence[int], areas: Sequence[float], sizes: Sequence[int], folds: int) -> list[int]:
    """Returns the 1-based fold of each place."""
    dealt = [0] * len(ranked)
    # Of folds with equal area the one with fewest regions comes first, then the first one.
    held = [(0.0, 0, fold) for fold in range(1, folds + 1)]
    for place in ranked:
        area, regions, fold = least = min(held)
        held[held.index(least)] = (area + areas[place], regions + sizes[place], fold)
        dealt[place] = fold
    return dealt


def _fill(candidates: Sequence[int], areas: Sequence[float], wanted: float) -> set[int]:
    """Chooses places, in order, that together come near to an area; at least one."""
    chosen: set[int] = set()
    held = 0.0
    for place in candidates:
        if abs(held + areas[place] - wanted) < abs(held - wanted):
            chosen.add(place)
            held += areas[place]
    return chosen or {candidates[-1]}


def _halve(
    group: list[int], centres: NDArray[np.float64], least_gap: float
) -> tuple[list[int], list[int]] | None:
    """Cuts a group in two at the gap next to the middle; None where all lie on the same ground."""
    extents = np.ptp(centres[group], axis=0)
    for axis in np.argsort(-extents, kind="stable"):
        order = [group[i] for i in np.argsort(centres[group, axis], kind="stable")]
        gaps = np.diff(centres[order, axis])
        middle = len(order) // 2
        wide = np.flatnonzero(gaps > least_gap) + 1
        if wide.size:
            cut = int(wide[np.argmin(np.abs(wide - middle))])
            return order[:cut], order[cut:]
    return None


def _centres(grids: Sequence[Grid]) -> tuple[NDArray[np.float64], float]:
    """Returns the regions' centres `(N, 2)`, and the gap that tells two of them apart."""
    first = grids[0].crs
    centres, sides = np.empty((len(grids), 2)), np.empty((len(grids), 2))
    for number, grid in enumerate(grids):
        middle_row, middle_column = grid.height / 2, grid.width / 2
        corners = [
            grid.transform * (middle_column, middle_row),
            grid.transform * (0.0, middle_row),
            grid.transform * (middle_column, 0.0),
        ]
        points = move_points(np.array(corners), grid.crs, first)
        if not np.isfinite(points).all():
            raise GridMismatchError(
                f"a region in {name_of_crs(grid.crs)} has no position in {name_of_crs(first)}, so places "
                "cannot be told; bring all regions into one CRS, or set split.fold_over to regions"
            )
        centres[number] = points[0]
        sides[number] = 2 * np.linalg.norm(points[1:] - points[0], axis=1)
    if first.is_geographic:
        # Neighbours on both sides of 180 degrees are near.
        centres[:, 0] = centres[0, 0] + (centres[:, 0] - centres[0, 0] + 180) % 360 - 180
        centres[:, 0] *= cos(radians(float(centres[:, 1].mean())))
    return centres, _SAME_GROUND * float(sides.min())
