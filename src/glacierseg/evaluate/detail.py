"""Everything beyond plain scores that can be said about one mask against its truth."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.evaluate.bootstrap import Intervals
from glacierseg.evaluate.counts import Counts
from glacierseg.evaluate.distances import OutlineDistances
from glacierseg.evaluate.evaluation import Evaluation
from glacierseg.evaluate.glaciers import GlacierAreas
from glacierseg.evaluate.probability import ProbabilityEvaluation
from glacierseg.evaluate.scores import scores_of
from glacierseg.evaluate.zones import Zoning, count_zones
from glacierseg.raster.write import finite_only


@dataclass(frozen=True)
class ZoneEvaluation:
    """Scores of one zone.

    Attributes:
        kind: What divides: `size_km2`, `elevation_m` or `layer`.
        zone: Name of the zone.
        counts: Its pixels.
    """

    kind: str
    zone: str
    counts: Counts

    def to_dict(self) -> dict[str, Any]:
        """Returns one flat record."""
        return {"kind": self.kind, "zone": self.zone, **asdict(scores_of(self.counts)), **asdict(self.counts)}


@dataclass(frozen=True)
class Detail:
    """A mask against its truth, with all that was asked for; None or empty where it was not.

    Attributes:
        evaluation: Scores, areas and buffers.
        intervals: Of the scores.
        zones: Scores by zone.
        distances: Between the outlines.
        glaciers: Area by glacier.
        probability: Reliability of the probabilities.
    """

    evaluation: Evaluation
    intervals: Intervals | None = None
    zones: tuple[ZoneEvaluation, ...] = ()
    distances: OutlineDistances | None = None
    glaciers: GlacierAreas | None = None
    probability: ProbabilityEvaluation | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the record of the evaluation and, nested in it, one key for each of the others."""
        record = self.evaluation.to_dict()
        if self.intervals is not None:
            facts = asdict(self.intervals)
            scores = facts.pop("scores")
            record["intervals"] = {**facts, "scores": {k: [v["low"], v["high"]] for k, v in scores.items()}}
        if self.zones:
            record["zones"] = [zone.to_dict() for zone in self.zones]
        if self.distances is not None:
            record["outline_distances"] = asdict(self.distances)
        if self.glaciers is not None:
            record["glaciers"] = glacier_record(self.glaciers)
        if self.probability is not None:
            record["probability"] = self.probability.to_dict()
        plain: dict[str, Any] = finite_only(record)
        return plain


def evaluate_zones(
    predicted: NDArray[np.uint8], truth: NDArray[np.uint8], zonings: Sequence[Zoning]
) -> tuple[ZoneEvaluation, ...]:
    """Counts the zones of several divisions, each in its order; empty ones are left out."""
    return tuple(
        ZoneEvaluation(zoning.kind, name, counts)
        for zoning in zonings
        for name, counts in count_zones(predicted, truth, zoning).items()
    )


def glacier_record(areas: GlacierAreas) -> dict[str, Any]:
    """Returns areas by glacier for JSON."""
    return {
        "number": len(areas.glaciers),
        "truth_km2": areas.truth_km2,
        "predicted_km2": areas.predicted_km2,
        "elsewhere_km2": areas.elsewhere_km2,
        "deviation_percent": areas.deviation_percent,
        "share_within_5_percent": areas.share_close,
        "share_is_of": areas.counted,
        "glaciers": [{**asdict(one), "deviation_percent": one.deviation_percent} for one in areas.glaciers],
    }
