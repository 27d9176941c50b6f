"""Square blocks of ground: checkerboards, folds, and a gap between what trains and what is scored."""

from collections.abc import Sequence
from math import sqrt

import cv2
import numpy as np
from numpy.typing import NDArray

from glacierseg.choices import Role
from glacierseg.data.split import NO_ROLE, ROLE_CODES
from glacierseg.raster.truth import GLACIER


def number_blocks(shape: tuple[int, int], block_px: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Returns the row and the column of the block that each pixel lies in, `(H, 1)` and `(1, W)`."""
    rows, columns = (np.arange(size, dtype=np.int32) // block_px for size in shape)
    return rows[:, None], columns[None, :]


def checkerboard(
    shape: tuple[int, int], roles: Sequence[Role], block_px: int, holdout_share: float
) -> NDArray[np.uint8]:
    """Divides a scene into square blocks and gives them to the roles in a regular pattern.

    Each held-out role gets every so manieth block of a row, shifted from row to row, so that held-out blocks
    lie as far from each other as they can. With two roles and a share of a half it is a chessboard.

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
