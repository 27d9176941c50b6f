"""Which pixels train, validate and test: the split of a region into roles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glacierseg.choices import Role
from glacierseg.errors import RequestError
from glacierseg.raster.grid import Grid
from glacierseg.raster.outlines import read_outlines
from glacierseg.raster.truth import GLACIER, rasterize_outlines

ROLE_CODES: Mapping[Role, int] = {"train": 1, "validate": 2, "test": 3}
NO_ROLE = 0
ELSEWHERE = 4
"""Ground that another region validates or tests; unlike ground without a role it is hidden in training."""


@dataclass(frozen=True)
class Part:
    """A part of a scene, by fractions of it or by a polygon.

    Attributes:
        x: From and to, as fractions of the width from the left edge.
        y: From and to, as fractions of the height from the upper edge.
        polygon: Vector file whose polygons bound the part further.
        polygon_layer: Its layer; of several the one with the role's name when None.
    """

    x: tuple[float, float] = (0.0, 1.0)
    y: tuple[float, float] = (0.0, 1.0)
    polygon: Path | None = None
    polygon_layer: str | None = None


def roles_by_part(grid: Grid, parts: Mapping[Role, Part]) -> NDArray[np.uint8]:
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
