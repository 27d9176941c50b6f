"""Two masks of the same ground: where they differ, and whether one is better by more than noise.

Both masks are scored on the same pixels, and the same blocks are drawn for both, so that what makes ground
hard for both cancels out (paired block bootstrap). McNemar's test is added because reviewers ask for it, but
it assumes independent pixels, which these are not, so its p-value is far too small.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.evaluate.counts import (
    AS_BACKGROUND,
    BOTH_WAYS,
    SCORE_NAMES,
    clean_pair,
    undefined_as_background,
)
from glacierseg.evaluate.intervals import (
    BlockTable,
    Interval,
    draw_sums,
    percentile_interval,
    score_arrays,
    table_by_block,
)
from glacierseg.raster.grid import Grid
from glacierseg.raster.truth import GLACIER, IGNORE
from glacierseg.raster.write import finite_only
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.score import BootstrapSettings

CHANGES = {
    0: "both right about background", 1: "both right about glacier", 2: "both missed it",
    3: "both false alarm", 4: "fixed: B found it", 5: "fixed: B dropped a false alarm",
    6: "broken: B missed it", 7: "broken: B added a false alarm",
}  # fmt: skip
"""Values of the map of changes; 255 where a mask or the truth is unknown."""


@dataclass(frozen=True)
class Difference:
    """Difference of one score, of mask B less mask A.

    Attributes:
        a: Score of A.
        b: Score of B.
        difference: `b - a`.
        low: Lower bound of the difference.
        high: Upper bound of the difference.
        p: Two-sided p-value of the bootstrap: twice the share of draws on the less likely side of 0, the
            masks as they are counted as one draw (Davison and Hinkley 1997, 4.11), at most 1; so never 0.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float

    @property
    def is_noise(self) -> bool:
        """Whether the interval contains 0, or there is none."""
        return not (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Comparison:
    """Masks A and B against one truth, with glacier and background pixels that differ.

    Attributes:
        scores: Differences by name of the score; where the whole truth is known, six of them also with
            undefined pixels as background, such as `iou_undefined_as_background`.
        pixels: Pixels compared.
        changed: Pixels where A and B differ.
        fixed: Of those, pixels that only B has right.
        broken: Of those, pixels that only A has right.
        mcnemar: Its statistic with continuity correction, `(|fixed - broken| - 1)^2 / (fixed + broken)`.
        mcnemar_p: Its p-value, as if pixels were independent.
        confidence: Confidence level of the intervals, 0-1.
        block_px: Side of the blocks.
        blocks: Number of blocks.
        draws: Number of bootstrap draws.
    """

    scores: dict[str, Difference]
    pixels: int
    changed: int
    fixed: int
    broken: int
    mcnemar: float
    mcnemar_p: float
    confidence: float
    block_px: int
    blocks: int
    draws: int

    def to_dict(self) -> dict[str, Any]:
        """Returns it for JSON, with a verdict for every score."""
        record = asdict(self)
        for name, one in self.scores.items():
            record["scores"][name]["more_than_noise"] = not one.is_noise
        plain: dict[str, Any] = finite_only(record)
        return plain


@fields_as_keywords(settings=BootstrapSettings)
def compare_masks(
    regions: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]],
    settings: BootstrapSettings | None = None,
    *,
    grids: Sequence[Grid] | None = None,
    whole_truths: Sequence[NDArray[np.uint8]] | None = (),
) -> Comparison:
    """Compares mask B with mask A on the pixels that both and the truth know.

    Args:
        regions: For each region mask A, mask B and the truth, `(H, W)` each of 0, 1 and 255.
        settings: How blocks are drawn; their side is chosen so that the difference in IoU is least certain.
        grids: Where the regions lie, so that those that share ground share its blocks.
        whole_truths: For each region the truth also where the scene has no data; the truth itself when empty,
            unknown when None.

    Raises:
        GridMismatchError: Masks of a region differ in shape.
        TruthError: A mask has other values.
    """
    settings = settings or BootstrapSettings()
    fixed = broken = 0
    common = []
    for one, other, true in regions:
        (a, truth), (b, _) = clean_pair(one, true), clean_pair(other, true)
        truth = np.where((a == IGNORE) | (b == IGNORE), np.uint8(IGNORE), truth)
        differ = (a != b) & (truth != IGNORE)
        better = int(np.count_nonzero(differ & (b == truth)))
        fixed, broken = fixed + better, broken + int(np.count_nonzero(differ)) - better
        common.append((a, b, truth))
    table, scores = _differences(common, SCORE_NAMES, settings, grids)
    if whole_truths is not None:
        wholes = whole_truths or [truth for _, _, truth in regions]
        filled = [
            (undefined_as_background(a), undefined_as_background(b), clean_pair(a, whole)[1])
            for (a, b, _), whole in zip(common, wholes, strict=True)
        ]
        everywhere = scores
        if any((whole != truth).any() for (_, _, whole), (_, _, truth) in zip(filled, common, strict=True)):
            _, everywhere = _differences(filled, BOTH_WAYS, settings, grids)
        scores |= {name + AS_BACKGROUND: everywhere[name] for name in BOTH_WAYS}
    statistic, mcnemar_p = mcnemar(fixed, broken)
    return Comparison(
        scores=scores,
        pixels=int(table.counts.sum()) // 2,
        changed=fixed + broken,
        fixed=fixed,
        broken=broken,
        mcnemar=statistic,
        mcnemar_p=mcnemar_p,
        confidence=settings.confidence,
        block_px=table.block_px,
        blocks=table.blocks,
        draws=settings.draws,
    )


def _differences(
    regions: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]],
    names: Sequence[str],
    settings: BootstrapSettings,
    grids: Sequence[Grid] | None,
) -> tuple[BlockTable, dict[str, Difference]]:
    """Returns counts by block of masks A and B, and differences of some scores."""
    table = table_by_block(regions, settings.block_px, grids=grids)
    counts = table.counts if table.counts.shape[1] == 8 else np.zeros((0, 8), np.int64)
    whole = counts.sum(axis=0)
    of_a, of_b = score_arrays(whole[:4]), score_arrays(whole[4:])
    scores = {}
    if table.blocks >= 2:
        sums = draw_sums(counts, settings.draws, settings.seed)
        drawn_a, drawn_b = score_arrays(sums[:, :4]), score_arrays(sums[:, 4:])
    for name in names:
        interval, p = Interval(math.nan, math.nan), math.nan
        if table.blocks >= 2:
            drawn = drawn_b[name] - drawn_a[name]
            interval = percentile_interval(drawn, settings.confidence, table.blocks)
            rarer = min(np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0))
            p = min(1.0, 2 * (rarer + 1) / (len(drawn) + 1))
        a_score, b_score = float(of_a[name]), float(of_b[name])
        scores[name] = Difference(a_score, b_score, b_score - a_score, interval.low, interval.high, p)
    return table, scores


def mcnemar(fixed: int, broken: int) -> tuple[float, float]:
    """Returns McNemar's statistic (1947; continuity correction by Edwards 1948) and its p-value.

    Without a pixel that differs, they are 0 and 1.
    """
    differing = fixed + broken
    if not differing:
        return 0.0, 1.0
    statistic = max(abs(fixed - broken) - 1, 0) ** 2 / differing
    return statistic, math.erfc(math.sqrt(statistic / 2))


def change_map(a: NDArray[np.uint8], b: NDArray[np.uint8], truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Classifies each pixel by how it changed from mask A to mask B.

    Returns:
        `(H, W)` of the values of `CHANGES`, 255 where a mask or the truth is unknown.
    """
    glacier = truth == GLACIER
    same = np.where(glacier, np.where(a == GLACIER, 1, 2), np.where(a == GLACIER, 3, 0))
    changed = np.where(glacier, np.where(b == GLACIER, 4, 6), np.where(b == GLACIER, 7, 5))
    values = np.where(a == b, same, changed).astype(np.uint8)
    values[(a | b | truth) > 1] = IGNORE
    return values
