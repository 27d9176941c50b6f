"""Which pixels train, validate and test: parts, blocks, folds and places that share out ground."""

from collections.abc import Mapping, Sequence
from math import cos, radians, sqrt

import cv2
import numpy as np
from numpy.typing import NDArray

from glacierseg.choices import Role
from glacierseg.errors import GridMismatchError, RequestError
from glacierseg.raster.bounds import footprint_on_grid, may_meet, move_points
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import name_of_crs
from glacierseg.raster.outlines import read_outlines
from glacierseg.raster.truth import GLACIER, rasterize_outlines
from glacierseg.settings.sections import PartConfig

ROLE_CODES: Mapping[Role, int] = {"train": 1, "validate": 2, "test": 3}
NO_ROLE = 0
ELSEWHERE = 4
"""Ground that another region validates or tests; unlike ground without a role it is hidden in training."""
# Centres nearer than this share of a region's side are the same ground at another date.
_SAME_GROUND = 0.1


def roles_by_part(grid: Grid, parts: Mapping[Role, PartConfig]) -> NDArray[np.uint8]:
    """Marks the role of each pixel from parts that are given.

    Args:
        grid: The scene's grid.
        parts: A part for each role. Where parts overlap, the strictest role wins: test over validate over
            train, so that no test pixel is ever trained on.

    Returns:
        `(H, W)` of `ROLE_CODES`, `NO_ROLE` elsewhere.

    Raises:
        RequestError: A part holds no pixel.
        TruthError: A polygon file cannot be used.
    """
    roles = np.zeros(grid.shape, np.uint8)
    for role in ("train", "validate", "test"):
        if role not in parts:
            continue
        part = parts[role]
        inside = np.zeros(grid.shape, bool)
        rows = slice(round(part.y[0] * grid.height), round(part.y[1] * grid.height))
        columns = slice(round(part.x[0] * grid.width), round(part.x[1] * grid.width))
        inside[rows, columns] = True
        if part.polygon is not None:
            outlines = read_outlines(
                part.polygon,
                grid,
                layer=part.polygon_layer,
                option="polygon_layer",
                prefer=(role,),
                shapes="polygons",
            )
            inside &= rasterize_outlines(outlines, grid) == GLACIER
        if not inside.any():
            raise RequestError(
                f"the {role} part of a scene of {grid.width} x {grid.height} px holds no pixel"
            )
        roles[inside] = ROLE_CODES[role]
    for role in parts:
        if not (roles == ROLE_CODES[role]).any():
            raise RequestError(
                f"the {role} part lies wholly inside stricter parts; give it ground of its own"
            )
    return roles


def roles_by_blocks(
    truth: NDArray[np.uint8], roles: Sequence[Role], block_px: int, holdout_share: float
) -> NDArray[np.uint8]:
    """Divides a scene into square blocks and gives whole blocks to the roles.

    Blocks are ranked by their glacier share and dealt in turn, so that every role gets glacier-rich and
    glacier-free ground, and the same scene is always divided in the same way.

    Args:
        truth: `(H, W)` of 0, 1 and 255.
        roles: Two or three roles.
        block_px: Side of a block; made smaller when the scene has too few blocks to share out.
        holdout_share: Share of the blocks for each role but the first of train, validate, test.

    Returns:
        `(H, W)` of `ROLE_CODES`.
    """
    height, width = truth.shape
    ordered: list[Role] = [role for role in ROLE_CODES if role in roles]
    every = max(round(1 / holdout_share), len(ordered))
    while block_px > 1 and -(-height // block_px) * -(-width // block_px) < 2 * every:
        block_px = max(block_px * 3 // 4, 1)
    blocks = [(r, c) for r in range(0, height, block_px) for c in range(0, width, block_px)]
    shares = [float((truth[r : r + block_px, c : c + block_px] == GLACIER).mean()) for r, c in blocks]
    ranked = sorted(range(len(blocks)), key=lambda i: (-shares[i], i))
    marked = np.empty(truth.shape, np.uint8)
    for rank, index in enumerate(ranked):
        turn = rank % every
        # The held-out roles sit in the middle of each deal: neither always the richest nor the poorest block.
        middle = (every - len(ordered) + 1) // 2
        place = turn - middle + 1
        role = ordered[place] if 1 <= place < len(ordered) else ordered[0]
        row, column = blocks[index]
        marked[row : row + block_px, column : column + block_px] = ROLE_CODES[role]
    return marked


def random_holdout(count: int, holdout_share: float, seed: int) -> NDArray[np.bool_]:
    """Draws which patches are held out in the original protocol.

    Patches overlap, so a held-out patch shares pixels with its neighbours: the score on it flatters.

    Args:
        count: Number of patches.
        holdout_share: Share held out, 0.2 in the original.
        seed: Seed, 100 in the original.

    Returns:
        `(count,)`, True where held out.
    """
    held = np.zeros(count, bool)
    order = np.random.default_rng(seed).permutation(count)
    held[order[: max(1, round(count * holdout_share))]] = True
    return held


def number_blocks(shape: tuple[int, int], block_px: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Returns the row and the column of the block that each pixel lies in, `(H, 1)` and `(1, W)`."""
    rows, columns = (np.arange(size, dtype=np.int32) // block_px for size in shape)
    return rows[:, None], columns[None, :]


def checkerboard(
    shape: tuple[int, int], roles: Sequence[Role], block_px: int, holdout_share: float
) -> NDArray[np.uint8]:
    """Divides a scene into square blocks and gives them to the roles in a regular pattern.

    Each held-out role gets every n-th block of a row, shifted from row to row, so that held-out blocks lie as
    far from each other as they can. With two roles and a share of a half it is a chessboard.

    Args:
        shape: Height and width in pixels.
        roles: Two or three roles.
        block_px: Side of a block.
        holdout_share: Share of the blocks for each role but the first of train, validate, test.

    Returns:
        `(H, W)` of `ROLE_CODES`.
    """
    ordered: list[Role] = [role for role in ROLE_CODES if role in roles]
    every = max(round(1 / holdout_share), len(ordered))
    rows, columns = number_blocks(shape, block_px)
    turn = (columns + round(sqrt(every)) * rows) % every
    marked = np.full(shape, ROLE_CODES[ordered[0]], np.uint8)
    for place, role in enumerate(ordered[1:]):
        # Two held-out roles take turns half a period apart.
        marked[turn == (every // 2 + place * (every + 1) // 2) % every] = ROLE_CODES[role]
    return marked


def leave_gap(roles: NDArray[np.uint8], gap_px: int) -> None:
    """Takes the role from ground that lies too near to ground of a stricter role, in place.

    Training gives way to validation and test, validation to test: scored pixels all stay.

    Args:
        roles: `(H, W)` of `ROLE_CODES`.
        gap_px: Pixels of different roles are further apart than this, along rows, columns and diagonals.
    """
    train, validate, test = (roles == ROLE_CODES[role] for role in ("train", "validate", "test"))
    roles[validate & _near(test, gap_px)] = NO_ROLE
    roles[train & _near(validate | test, gap_px)] = NO_ROLE


def deal_folds(glacier_areas: Sequence[float], folds: int) -> list[int]:
    """Deals units of ground to folds, the richest in glacier first, back and forth.

    Args:
        glacier_areas: Of each unit.
        folds: How many.

    Returns:
        The 1-based fold of each unit; the same areas are always dealt in the same way.
    """
    ranked = sorted(range(len(glacier_areas)), key=lambda unit: (-glacier_areas[unit], unit))
    dealt = [0] * len(ranked)
    for rank, unit in enumerate(ranked):
        round_, place = divmod(rank, folds)
        dealt[unit] = (place if round_ % 2 == 0 else folds - 1 - place) + 1
    return dealt


def fold_role(own_fold: int, tested_fold: int, folds: int) -> Role:
    """Returns what ground of a fold is for: the tested fold tests, the one after it validates."""
    if own_fold == tested_fold:
        return "test"
    return "validate" if own_fold == tested_fold % folds + 1 else "train"


def roles_by_folds(
    truths: Sequence[NDArray[np.uint8]], block_px: int, folds: int, tested_fold: int
) -> list[NDArray[np.uint8]]:
    """Deals the blocks of several scenes to folds and says which role each pixel has.

    Args:
        truths: `(H, W)` of 0, 1 and 255 for each scene.
        block_px: Side of a block.
        folds: How many.
        tested_fold: 1-based.

    Returns:
        `(H, W)` of `ROLE_CODES` for each scene.
    """
    areas, blocks = [], []
    for scene, truth in enumerate(truths):
        for row in range(0, truth.shape[0], block_px):
            for column in range(0, truth.shape[1], block_px):
                block = np.s_[row : row + block_px, column : column + block_px]
                areas.append(float((truth[block] == GLACIER).sum()))
                blocks.append((scene, block))
    marked = [np.zeros(truth.shape, np.uint8) for truth in truths]
    for (scene, block), fold in zip(blocks, deal_folds(areas, folds), strict=True):
        marked[scene][block] = ROLE_CODES[fold_role(fold, tested_fold, folds)]
    return marked


def _near(marked: NDArray[np.bool_], distance_px: int) -> NDArray[np.bool_]:
    side = 2 * distance_px + 1
    grown = cv2.dilate(
        marked.astype(np.uint8),
        np.ones((side, side), np.uint8),
        borderType=cv2.BORDER_CONSTANT,
        borderValue=(0.0,),
    )
    return grown.astype(bool)


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
                f"a region in {name_of_crs(grid.crs)} has no position in {name_of_crs(first)}, so its place "
                "is unknown; bring all regions into one CRS, or set split.fold_over to regions"
            )
        centres[number] = points[0]
        sides[number] = 2 * np.linalg.norm(points[1:] - points[0], axis=1)
    if first.is_geographic:
        # Neighbours on both sides of 180 degrees are near.
        centres[:, 0] = centres[0, 0] + (centres[:, 0] - centres[0, 0] + 180) % 360 - 180
        centres[:, 0] *= cos(radians(float(centres[:, 1].mean())))
    return centres, _SAME_GROUND * float(sides.min())
