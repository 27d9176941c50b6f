"""Intervals of scores by resampling blocks of ground.

Errors of neighbouring pixels are correlated, so an interval from single pixels would be far too narrow.
Blocks are drawn instead, with replacement, as many as there are (Efron 1979; blocks as in Hall 1985), and an
interval runs between two percentiles of the scores of the draws. The block must be larger than the patches of
error. Its side is doubled from 16 px on for as long as at least 24 blocks remain, and the side is kept that
makes the IoU least certain: while blocks are smaller than the patches, their errors seem independent and the
uncertainty grows with the side. Blocks without a pixel to compare do not count. Blocks lie on the ground, so
regions that overlap, as chips do, have them in common.

An interval shows how much the score would vary over other ground of the same kind, with the same network. It
says nothing about another training, nor about regions unlike these.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glacierseg.evaluate.counts import SCORE_NAMES, count_blocks, score_formulas
from glacierseg.raster.grid import Grid
from glacierseg.raster.truth import IGNORE
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.score import BootstrapSettings

UNIT_PX = 16
ENOUGH_BLOCKS = 24
# More blocks than this change nothing but the time that a draw takes.
_MOST_BLOCKS = 16384
_AT_ONCE = 2**22


@dataclass(frozen=True, eq=False)
class BlockTable:
    """Counts by block.

    Attributes:
        counts: `(N, 4)` tp, fp, fn and tn of the blocks that hold pixels; `(N, 8)` of two masks side by side.
        block_px: Side of a block.
    """

    counts: NDArray[np.int64]
    block_px: int

    @property
    def blocks(self) -> int:
        """How many blocks hold pixels."""
        return len(self.counts)


@dataclass(frozen=True)
class Interval:
    """Bounds of a score; both NaN with fewer than two blocks."""

    low: float
    high: float


@dataclass(frozen=True)
class Intervals:
    """Intervals by name of the score, and how often they were drawn from how many blocks."""

    scores: dict[str, Interval]
    confidence: float
    block_px: int
    blocks: int
    draws: int

    def to_dict(self) -> dict[str, Any]:
        """Returns it for JSON, the bounds of each score as a list."""
        facts = {key: value for key, value in vars(self).items() if key != "scores"}
        return {**facts, "scores": {name: [each.low, each.high] for name, each in self.scores.items()}}


def table_by_block(
    pairs: Iterable[tuple[NDArray[np.uint8], ...]],
    block_px: int | None = None,
    *,
    grids: Sequence[Grid] | None = None,
) -> BlockTable:
    """Counts by block of a side that fits the patches of error.

    Args:
        pairs: For each region one or two predicted masks and the truth, `(H, W)` each of 0, 1 and 255; each
            is asked for once, so that with grids a generator can read them one after the other.
        block_px: The side; None to choose it as the module says.
        grids: Where the regions lie. Those with pixels of one size and CRS are cut into the same blocks of
            ground, so that what overlaps or lies side by side is no more than one block. Without grids blocks
            of different regions are never joined.
    """
    first_px = block_px or UNIT_PX
    if grids is None:
        pairs = list(pairs)
        pixels = sum(pair[-1].size for pair in pairs)
    else:
        pixels = sum(grid.height * grid.width for grid in grids)
    while block_px is None and pixels / first_px**2 > _MOST_BLOCKS:
        first_px *= 2
    places = [(number, 0, 0) for number, _ in enumerate(pairs)] if grids is None else _on_lattices(grids)
    keys, counts = _merged(*_blocks_of(pairs, places, first_px))
    best, side_px = BlockTable(counts, first_px), first_px
    if block_px is not None:
        return best
    worst = _iou_variance(best.counts)
    # Once each lattice is a single block, nothing is left to join.
    while len(keys) > len(np.unique(keys[:, 0])):
        (keys, counts), side_px = _merged(keys // (1, 2, 2), counts), 2 * side_px
        larger = BlockTable(counts, side_px)
        if larger.blocks < ENOUGH_BLOCKS:
            break
        if (variance := _iou_variance(larger.counts)) > worst:
            best, worst = larger, variance
    return best


def score_arrays(counts: NDArray[np.integer | np.floating]) -> dict[str, NDArray[np.float64]]:
    """Returns the scores `(...)` by name of many counts `(..., 4)`, by the formulas of `scores_of`."""
    tp, fp, fn, tn = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    found = score_formulas(tp, fp, fn, tn, _ratio, _root_of_product)
    return {name: np.where(tp + fp + fn + tn > 0, values, np.nan) for name, values in found.items()}


def _root_of_product(*factors: NDArray[np.float64]) -> NDArray[np.float64]:
    # Roots one by one: the product of four counts of a large scene is beyond the digits of a float.
    first, *others = (np.sqrt(factor) for factor in factors)
    for other in others:
        first = first * other
    return first


@fields_as_keywords(settings=BootstrapSettings)
def bootstrap_scores(table: BlockTable, settings: BootstrapSettings | None = None) -> Intervals:
    """Returns an interval for every score of one mask; the same seed gives the same intervals."""
    settings = settings or BootstrapSettings()
    if table.blocks < 2:
        scores = {name: Interval(math.nan, math.nan) for name in SCORE_NAMES}
    else:
        drawn = score_arrays(draw_sums(table.counts, settings.draws, settings.seed))
        scores = {
            name: percentile_interval(values, settings.confidence, table.blocks)
            for name, values in drawn.items()
        }
    return Intervals(scores, settings.confidence, table.block_px, table.blocks, settings.draws)


def draw_sums(counts: NDArray[np.int64], draws: int, seed: int) -> NDArray[np.float64]:
    """Draws as many rows `(K,)` as there are, with replacement, and sums them: whole numbers `(draws, K)`."""
    blocks = len(counts)
    values = counts.astype(np.float64)
    rng = np.random.default_rng(seed)
    chances = np.full(blocks, 1 / blocks)
    at_once = max(_AT_ONCE // blocks, 1)
    sums = [
        rng.multinomial(blocks, chances, size=min(at_once, draws - done)) @ values
        for done in range(0, draws, at_once)
    ]
    return np.concatenate(sums)


def percentile_interval(values: NDArray[np.float64], confidence: float, blocks: int) -> Interval:
    """Returns percentiles that leave out the same share on either side, set wider for few blocks.

    Draws from n blocks vary by `sqrt((n - 1) / n)` too little, and as if their variance were known. The
    percentiles are therefore those of a normal distribution at Student's quantile times `sqrt(n / (n - 1))`
    (the expanded percentile interval, Hesterberg 2015).
    """
    reach = student_quantile((1 + confidence) / 2, blocks - 1) * math.sqrt(blocks / (blocks - 1))
    tail = math.erfc(reach / math.sqrt(2)) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high))


def _on_lattices(grids: Sequence[Grid]) -> list[tuple[int, int, int]]:
    """Returns the lattice of each grid, and the row and column on it where the grid begins, from 0 on."""
    numbers: dict[object, int] = {}
    first: list[Grid] = []
    found = []
    for grid in grids:
        a, b, _, d, e, _ = grid.transform[:6]
        number = numbers.setdefault((grid.crs.to_wkt(), a, b, d, e), len(numbers))
        if number == len(first):
            first.append(grid)
        found.append((number, *first[number].place_of(grid)))
    least = {
        number: tuple(min(place[axis] for place in found if place[0] == number) for axis in (1, 2))
        for number in range(len(first))
    }
    return [(number, row - least[number][0], column - least[number][1]) for number, row, column in found]


def _blocks_of(
    pairs: Iterable[tuple[NDArray[np.uint8], ...]], places: Sequence[tuple[int, int, int]], block_px: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns lattice, row and column `(N, 3)` of blocks, and their counts `(N, K)`."""
    keys, counts = [np.zeros((0, 3), np.int64)], []
    for pair, (lattice, row, column) in zip(pairs, places, strict=True):
        lead = row % block_px, column % block_px
        if any(lead):
            margins = [(pixels, 0) for pixels in lead]
            pair = tuple(np.pad(mask, margins, constant_values=IGNORE) for mask in pair)  # noqa: PLW2901
        grid = np.concatenate([count_blocks(mask, pair[-1], block_px) for mask in pair[:-1]], axis=-1)
        rows, columns = (places.ravel() for places in np.indices(grid.shape[:2]))
        lattices = np.full(rows.size, lattice)
        keys.append(np.stack([lattices, rows + row // block_px, columns + column // block_px], axis=1))
        counts.append(grid.reshape(-1, grid.shape[-1]))
    whole = np.concatenate(counts) if counts else np.zeros((0, 4), np.int64)
    return np.concatenate(keys), whole


def _merged(
    keys: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sums the counts of blocks with the same key, and leaves out those without a pixel."""
    filled = counts.any(axis=1)
    unique, positions = np.unique(keys[filled], axis=0, return_inverse=True)
    sums = np.zeros((len(unique), counts.shape[1]), np.int64)
    np.add.at(sums, positions.ravel(), counts[filled])
    return unique, sums


def _iou_variance(counts: NDArray[np.int64]) -> float:
    """Variance of the IoU between blocks, linearised; of two masks that of the difference."""
    blocks = len(counts)
    if blocks < 2:
        return 0.0
    error = np.zeros(blocks)
    for number, sign in zip(range(0, counts.shape[1], 4), (1.0, -1.0), strict=False):
        both, union = counts[:, number], counts[:, number : number + 3].sum(axis=1)
        if whole := union.sum():
            error += sign * (both - both.sum() / whole * union) / whole
    return float((error**2).sum() * blocks / (blocks - 1))


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole != 0)


# Student's t: with t = sqrt(n) tan(a) its density in the angle a is proportional to cos(a)^(n - 1), a smooth
# function that Gauss-Legendre integrates to ten digits.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


@lru_cache(maxsize=64)
def student_quantile(share: float, degrees_of_freedom: float) -> float:
    """Returns below what a share from 0.5 to 1 of the distribution lies, the angle found by bisection."""
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        density = np.cos((_NODES + 1) * angle / 2) ** (degrees_of_freedom - 1)
        below = 0.5 + _height(degrees_of_freedom) * float(_WEIGHTS @ density) * angle / 2
        low, high = (angle, high) if below < share else (low, angle)
    return math.sqrt(degrees_of_freedom) * math.tan(low)


def student_tail(t: ArrayLike, degrees_of_freedom: float) -> NDArray[np.float64]:
    """Returns how likely a value above `t` is, which may be infinite."""
    angle = np.arctan(np.asarray(t, np.float64) / math.sqrt(degrees_of_freedom))
    # Integrated from |t| outwards, so that small shares keep their digits.
    reach = math.pi / 2 - np.abs(angle)
    # With few degrees of freedom the density rises from its end like a root, which is smooth in this share of
    # the way, squared.
    way = (_NODES + 1) / 2
    density = np.sin(reach[..., None] * way**2) ** (degrees_of_freedom - 1)
    beyond = _height(degrees_of_freedom) * (density @ (_WEIGHTS * way)) * reach
    tail: NDArray[np.float64] = np.where(angle < 0, 1 - beyond, beyond)
    return tail


def _height(degrees_of_freedom: float) -> float:
    gammas = math.lgamma((degrees_of_freedom + 1) / 2) - math.lgamma(degrees_of_freedom / 2)
    return math.exp(gammas) / math.sqrt(math.pi)
