"""The comparison: pooled scores, the best of them, and the rows of the table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from glacierseg.evaluate.counts import Counts
from glacierseg.evaluate.scores import scores_of
from glacierseg.report.style import ROLES, bands_label, model_label
from glacierseg.report.views import Variant
from glacierseg.runs.read import finite, read_rows
from glacierseg.runs.results import COUNTS, SCORES, THRESHOLD, RunResults, Score


@dataclass(frozen=True)
class Pooled:
    """The counts of one model, set of bands and stage over all regions of a role.

    Attributes:
        variant: Model, bands and stage.
        counts: Sums over the regions.
        regions: How many regions are in it.
        predicted_km2: Area of predicted glacier where there is truth.
        true_km2: Area of true glacier.
    """

    variant: Variant
    counts: Counts
    regions: int
    predicted_km2: float
    true_km2: float

    @property
    def iou(self) -> float:
        """Intersection over union over all pixels of all regions."""
        return scores_of(self.counts).iou

    @property
    def f1(self) -> float:
        """F1 over all pixels of all regions."""
        return scores_of(self.counts).f1


def counts_of(score: Score) -> Counts | None:
    """Returns the confusion counts of a row, None when one is missing."""
    values = [score.get(name) for name in COUNTS]
    return None if None in values else Counts(*(int(value or 0) for value in values))


def pool(results: RunResults, role: str) -> list[Pooled]:
    """Sums the counts of each model over all regions of a role.

    Models that lack a region which another model has are left out: their sums could not be compared.

    Args:
        results: The run.
        role: `train`, `validate` or `test`.

    Returns:
        The best by IoU first.
    """
    found: dict[Variant, Pooled] = {}
    for score in results.scores:
        region, counts = results.region(score.region), counts_of(score)
        if score.role != role or region is None or counts is None or not counts.total:
            continue
        old = found.get(score.variant, Pooled(score.variant, Counts(), 0, 0.0, 0.0))
        found[score.variant] = Pooled(
            score.variant,
            old.counts + counts,
            old.regions + 1,
            old.predicted_km2 + (counts.tp + counts.fp) * region.pixel_area_km2,
            old.true_km2 + (counts.tp + counts.fn) * region.pixel_area_km2,
        )
    most = max((entry.regions for entry in found.values()), default=0)
    return sorted((entry for entry in found.values() if entry.regions == most), key=lambda entry: -entry.iou)


def best_network(pooled: Iterable[Pooled]) -> Pooled | None:
    """Returns the first that is a network."""
    return next((entry for entry in pooled if entry.variant[0] != THRESHOLD), None)


def best_threshold(pooled: Iterable[Pooled]) -> Pooled | None:
    """Returns the first that is the threshold."""
    return next((entry for entry in pooled if entry.variant[0] == THRESHOLD), None)


@dataclass(frozen=True)
class Row:
    """A row of the comparison table.

    Attributes:
        score: The numbers.
        model: Name of the model for people.
        bands: Set of bands for people.
        order: Place of its role, to sort by.
        area_km2: Predicted glacier.
        area_error: How much more (or less) than the true area, as a share of it.
        best: Columns in which no other row of its region and role is better.
    """

    score: Score
    model: str
    bands: str
    order: int
    area_km2: float | None
    area_error: float | None
    best: frozenset[str]


def comparison_rows(results: RunResults) -> list[Row]:
    """Orders the scores for the table: test, validate, train; each region from best to worst."""
    roles = tuple(reversed(ROLES))
    regions = [region.name for region in results.regions]

    def place(score: Score) -> tuple[int, int, float]:
        role = roles.index(score.role) if score.role in roles else len(roles)
        region = regions.index(score.region) if score.region in regions else len(regions)
        iou = score.get("iou")
        return role, region, -1.0 if iou is None else -iou

    ordered = sorted(results.scores, key=place)
    return [_row(results, score, ordered, place(score)[0]) for score in ordered]


def _row(results: RunResults, score: Score, scores: Sequence[Score], order: int) -> Row:
    rivals = [other for other in scores if (other.region, other.role) == (score.region, score.role)]
    best = []
    for column in SCORES:
        value = score.get(column)
        top = max((v for other in rivals if (v := other.get(column)) is not None), default=None)
        if value is not None and value == top:
            best.append(column)
    region, counts = results.region(score.region), counts_of(score)
    area = error = None
    if region and counts:
        area = (counts.tp + counts.fp) * region.pixel_area_km2
        true = counts.tp + counts.fn
        error = (counts.fp - counts.fn) / true if true else None
    return Row(
        score,
        model_label(score.model),
        "–" if score.model == THRESHOLD else bands_label(score.bands),
        order,
        area,
        error,
        frozenset(best),
    )


def more_columns(results: RunResults) -> list[str]:
    """Returns the columns of `metrics.csv` that the table shows on request only."""
    columns = list(dict.fromkeys(column for score in results.scores for column in score.values))
    # Bounds stand beside their score.
    bounds = {f"{column}_{end}" for column in columns for end in ("low", "high")}
    return [column for column in columns if column not in SCORES and column not in bounds]


@dataclass(frozen=True)
class AreaBounds:
    """Glacier area with its bounds, summed over regions.

    Attributes:
        expected_km2: What the calibrated probabilities add up to.
        lower_km2: Lower bound.
        upper_km2: Upper bound.
    """

    expected_km2: float
    lower_km2: float
    upper_km2: float


def area_bounds(results: RunResults, model: str, bands: str, role: str) -> AreaBounds | None:
    """Adds up the area of a network's regions; None where a region has no bounds.

    Bounds are added as if all regions erred the same way, which makes the sum's bounds too wide rather than
    too narrow.
    """
    rows = [s for s in results.scores if s.variant == (model, bands, "raw") and s.role == role]
    sums = [[row.get(f"area_km2_{kind}") for row in rows] for kind in ("expected", "lower", "upper")]
    if not rows or any(value is None for column in sums for value in column):
        return None
    return AreaBounds(*(sum(value or 0.0 for value in column) for column in sums))


def interval_of(results: RunResults, entry: Pooled, role: str, column: str) -> tuple[float, float] | None:
    """Returns the bounds of a score over all regions of a role; None where nobody measured them.

    Those of one region are in `metrics.csv`. Those of several are in `pooled.csv` only: bounds of regions
    cannot be pooled afterwards.
    """
    rows = [s for s in results.scores if s.variant == entry.variant and s.role == role]
    if entry.regions == 1 and len(rows) == 1:
        return rows[0].interval(column)
    for row in read_rows(results.folder / "pooled.csv"):
        if (row.get("model"), row.get("bands"), row.get("stage")) == entry.variant and row.get(
            "role"
        ) == role:
            low, high = finite(row.get(f"{column}_low")), finite(row.get(f"{column}_high"))
            return None if low is None or high is None else (low, high)
    return None
