"""Scores of a method over all test pixels of all folds, with intervals from blocks of ground."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from benchmarks.recipes.ground import ScoredChip
from benchmarks.recipes.methods import Method

from glacierseg.evaluate.counts import Counts, Scores, count, scores_of, undefined_as_background
from glacierseg.evaluate.debris import SurfaceScores, count_surfaces, score_surfaces
from glacierseg.evaluate.evaluation import scores_as_background
from glacierseg.evaluate.intervals import Intervals, bootstrap_scores, table_by_block
from glacierseg.raster.truth import read_mask
from glacierseg.settings.score import BootstrapSettings

CONFIDENCE = 0.9
SCORES = {
    "mean_iou": "mean IoU",
    "iou": "glacier IoU",
    "f1": "F1",
    "mcc": "MCC",
    "precision": "precision",
    "recall": "recall",
}


@dataclass(frozen=True)
class Result:
    """A method's scores.

    Attributes:
        method: Which.
        counts: Over all test pixels of all folds.
        scores: Of these counts.
        intervals: Of these scores.
        by_fold: Scores of each fold.
        by_chip: Counts of each chip.
        everywhere: Over all test pixels, undefined ones as background.
        surfaces: How well clean and debris-covered ice are found; None where no chip has a rule.
    """

    method: Method
    counts: Counts
    scores: Scores
    intervals: Intervals
    by_fold: tuple[Scores, ...]
    by_chip: dict[str, Counts]
    everywhere: Counts
    surfaces: SurfaceScores | None

    def to_dict(self) -> dict[str, Any]:
        intervals = {name: [found.low, found.high] for name, found in self.intervals.scores.items()}
        return {
            "method": self.method.name,
            "stage": self.method.stage,
            **asdict(self.method.costs),
            **asdict(self.counts),
            **asdict(self.scores),
            "intervals": intervals,
            "block_px": self.intervals.block_px,
            "blocks": self.intervals.blocks,
            **scores_as_background(self.everywhere, self.counts),
            **(self.surfaces.to_dict() if self.surfaces else {}),
            "by_fold": [asdict(scores) for scores in self.by_fold],
        }


def score(method: Method, chips: Sequence[ScoredChip]) -> Result:
    """Scores the masks of a method; a pixel without a prediction but with truth is an error of the method."""
    pairs, by_chip = [], {}
    by_fold: dict[int, Counts] = {}
    everywhere, surfaces = Counts(), None
    for chip in chips:
        mask = read_mask(method.mask(chip.fold, chip.name), chip.grid)
        missing = (mask == 255) & (chip.truth != 255)
        if missing.any():
            mask = np.where(missing, np.uint8(0), mask)
        pairs.append((mask, chip.truth))
        by_chip[chip.name] = count(mask, chip.truth)
        everywhere += count(undefined_as_background(mask), chip.whole_truth)
        if chip.surface is not None:
            ice, stones = count_surfaces(mask, chip.surface)
            surfaces = (surfaces[0] + ice, surfaces[1] + stones) if surfaces else (ice, stones)
        by_fold[chip.fold] = by_fold.get(chip.fold, Counts()) + by_chip[chip.name]
    counts = sum(by_chip.values(), Counts())
    return Result(
        method,
        counts,
        scores_of(counts),
        bootstrap_scores(
            table_by_block(pairs, grids=[chip.grid for chip in chips]),
            BootstrapSettings(confidence=CONFIDENCE),
        ),
        tuple(scores_of(by_fold[fold]) for fold in sorted(by_fold)),
        by_chip,
        everywhere,
        score_surfaces(surfaces) if surfaces else None,
    )
