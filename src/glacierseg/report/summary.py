"""Which network is best: scores pooled and compared, and the answer in words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from glacierseg.evaluate.area_bounds import AreaBounds
from glacierseg.evaluate.counts import Counts, scores_of
from glacierseg.report.style import (
    ROLES,
    area_text,
    bands_label,
    difference_text,
    model_label,
    score_text,
    variant_label,
)
from glacierseg.report.views import Variant
from glacierseg.runs.layout import THRESHOLD
from glacierseg.runs.results import COUNTS, SCORES, RunResults, ScoreRow, finite, read_rows

_SURFACES = {
    "clean_ice_recall": "Clean ice, recall",
    "debris_recall": "Debris, recall",
    "debris_precision": "Debris, precision",
    "debris_iou": "Debris, IoU",
}
_UNDEFINED = {
    "iou_undefined_as_background": "IoU*",
    "mean_iou_undefined_as_background": "Mean IoU*",
    "mcc_undefined_as_background": "MCC*",
}
# Of the columns `area_km2_lower` and `area_km2_upper`.
_AREA_CONFIDENCE = 0.9


@dataclass(frozen=True)
class Pooled:
    """The counts of one model, set of bands and stage over all regions of a role."""

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


def counts_of(score: ScoreRow) -> Counts | None:
    """Returns the confusion counts of a row, None when one is missing."""
    values = [score.get(name) for name in COUNTS]
    return None if None in values else Counts(*(int(value or 0) for value in values))


def pool(results: RunResults, role: str) -> list[Pooled]:
    """Sums the counts of each model over all regions of a role, the best by IoU first.

    Models that lack a region which another model has are left out: their sums could not be compared.
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
    """A row of the comparison table; no other row of its region and role is better in the columns `best`.

    The area is that of predicted glacier, its error a share of the true area. Rows are sorted by `order`.
    """

    score: ScoreRow
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

    def place(score: ScoreRow) -> tuple[int, int, float]:
        role = roles.index(score.role) if score.role in roles else len(roles)
        region = regions.index(score.region) if score.region in regions else len(regions)
        iou = score.get("iou")
        return role, region, -1.0 if iou is None else -iou

    ordered = sorted(results.scores, key=place)
    return [_row(results, score, ordered, place(score)[0]) for score in ordered]


def _row(results: RunResults, score: ScoreRow, scores: Sequence[ScoreRow], order: int) -> Row:
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


def shown_columns(results: RunResults) -> dict[str, str]:
    """Returns heading by column of the scores that stand in a table of their own where a run has them.

    Scores with undefined pixels as background are shown where there are undefined pixels.
    """
    undefined = any(score.get("undefined_px") for score in results.scores)
    known = {
        column for score in results.scores for column, value in score.values.items() if value is not None
    }
    columns = _SURFACES | (_UNDEFINED if undefined else {})
    return {column: heading for column, heading in columns.items() if column in known}


def more_columns(results: RunResults) -> list[str]:
    """Returns the columns of `metrics.csv` that the table shows on request only, without empty ones."""
    columns = list(
        dict.fromkeys(
            column for score in results.scores for column, value in score.values.items() if value is not None
        )
    )
    # Bounds stand beside their score.
    bounds = {f"{column}_{end}" for column in columns for end in ("low", "high")}
    hidden = {*SCORES, *bounds, *shown_columns(results)}
    return [column for column in columns if column not in hidden]


def score_notes(results: RunResults) -> list[str]:
    """Says how the scores in `shown_columns` were made."""
    notes, columns = [], shown_columns(results)
    if set(columns) & set(_SURFACES):
        rules = "; ".join(dict.fromkeys(results.ice_rules.values()))
        notes.append(
            f"Clean ice is glacier of the truth where {rules}, and debris is the rest of it; debris "
            "precision and IoU are of ground that shows no ice or snow."
        )
    if set(columns) & set(_UNDEFINED):
        notes.append(
            "* Undefined pixels, where the scene has no data but the truth is known, count as background."
        )
    return notes


def area_bounds(results: RunResults, model: str, bands: str, role: str) -> AreaBounds | None:
    """Adds up the area of a network's regions; None where a region has no bounds.

    Bounds are added as if all regions erred the same way, which makes the sum's bounds too wide rather than
    too narrow.
    """
    rows = [s for s in results.scores if s.variant == (model, bands, "raw") and s.role == role]
    sums = [[row.get(f"area_km2_{kind}") for row in rows] for kind in ("expected", "lower", "upper")]
    if not rows or any(value is None for column in sums for value in column):
        return None
    expected, lower, upper = (sum(value or 0.0 for value in column) for column in sums)
    return AreaBounds(expected, lower, upper, _AREA_CONFIDENCE)


def interval_of(results: RunResults, entry: Pooled, role: str, column: str) -> tuple[float, float] | None:
    """Returns the bounds of a score over all regions of a role; None where nobody measured them.

    Those of one region are in `metrics.csv`. Those of several are in `pooled.csv` only: bounds of regions
    cannot be pooled afterwards.
    """
    rows = [s for s in results.scores if s.variant == entry.variant and s.role == role]
    if entry.regions == 1 and len(rows) == 1:
        return rows[0].interval(column)
    for row in read_rows(results.folder.table("pooled")):
        if (row.get("model"), row.get("bands"), row.get("stage")) == entry.variant and row.get(
            "role"
        ) == role:
            low, high = finite(row.get(f"{column}_low")), finite(row.get(f"{column}_high"))
            return None if low is None or high is None else (low, high)
    return None


@dataclass(frozen=True)
class Fact:
    """A number that stands by itself."""

    value: str
    label: str


@dataclass(frozen=True)
class Summary:
    """The answer in words; `best` is what the validate part chooses, else the best where it is judged."""

    facts: Sequence[Fact]
    sentences: Sequence[str]
    best: Pooled | None


def summarise(results: RunResults) -> Summary:
    """Says which network with which bands to take, and how well it does on the test part.

    The validate part chooses, because the highest of many test scores is optimistic. Without a test part the
    validate part also judges, and the text says so.
    """
    role = next((role for role in ("test", "validate") if pool(results, role)), None)
    used = _used(results)
    if role is None:
        return Summary((), ("There are no scores on a test or validate part yet.", *used), None)
    pooled = pool(results, role)
    highest, threshold = best_network(pooled), best_threshold(pooled)
    chosen = _chosen(results, pooled) if role == "test" else None
    best = chosen or highest
    facts, sentences = [], []
    if best:
        facts.append(Fact(score_text(best.iou), f"IoU on the {role} part"))
        text = (
            f"{_name(best)} was chosen by its validation scores. On the test part it reaches "
            if chosen
            else f"{_name(best)} agrees best with the truth on the {role} part, with "
        )
        text += (
            f"IoU {score_text(best.iou)}{_between(results, best, role, 'iou')} "
            f"and F1 {score_text(best.f1)}{_between(results, best, role, 'f1')}"
        )
        if best.regions > 1:
            text += f", pooled over {best.regions} regions"
        sentences.append(text + ".")
    if threshold:
        facts.append(Fact(score_text(threshold.iou), "IoU of the best threshold"))
        rule = f" ({results.rule})" if results.rule else ""
        text = (
            f"The best threshold rule{rule} reaches IoU {score_text(threshold.iou)} there without a network"
        )
        if best:
            difference = difference_text(abs(best.iou - threshold.iou)).removeprefix("+")
            higher = "higher" if best.iou >= threshold.iou else "lower"
            text += f"; the network scores {difference} {higher}"
        sentences.append(text + ".")
    if best:
        facts.append(Fact(f"{area_text(best.predicted_km2)} km²", f"glacier mapped on the {role} part"))
        facts.append(Fact(f"{area_text(best.true_km2)} km²", "glacier in the truth there"))
        share = best.predicted_km2 / best.true_km2 - 1 if best.true_km2 else 0.0
        sentences.append(
            f"It maps {area_text(best.predicted_km2)} km² of glacier where the truth has "
            f"{area_text(best.true_km2)} km² ({share:+.1%}). ".replace("-", "−").strip()
        )
        bounds = area_bounds(results, best.variant[0], best.variant[1], role)
        if bounds:
            text = f"{area_text(bounds.lower_km2)}–{area_text(bounds.upper_km2)} km²"
            facts.append(Fact(text, "area from calibrated probabilities"))
            sentences.append(
                f"According to its calibrated probabilities the area is {area_text(bounds.expected_km2)} "
                f"km², between {area_text(bounds.lower_km2)} and {area_text(bounds.upper_km2)} km² "
                f"at {100 * bounds.confidence:g} % confidence."
            )
    if role == "test" and best and highest:
        sentences.append(_about_the_choice(chosen, highest))
    elif role != "test":
        sentences.append("There is no score on a test part yet; scores on the validate part are optimistic.")
    return Summary(facts, [*sentences, *used], best)


def _chosen(results: RunResults, test: Sequence[Pooled]) -> Pooled | None:
    """Returns the test scores of the network that one would take without looking at the test part."""
    found = best_network(pool(results, "validate"))
    return next((entry for entry in test if found and entry.variant == found.variant), None)


def _about_the_choice(chosen: Pooled | None, highest: Pooled) -> str:
    if chosen is None:
        return "Without validation scores the test scores chose the network, so they are optimistic."
    if chosen.variant == highest.variant:
        return "No other network scores higher on the test part."
    return (
        f"On the test part {_name(highest)} scores higher (IoU {score_text(highest.iou)}); choosing it for "
        "that would make its test score optimistic."
    )


def _between(results: RunResults, entry: Pooled, role: str, column: str) -> str:
    bounds = interval_of(results, entry, role, column)
    return f" ({score_text(bounds[0])}–{score_text(bounds[1])})" if bounds else ""


def _name(entry: Pooled) -> str:
    model, bands, stage = entry.variant
    return f"{variant_label(model, bands)} ({stage})"


def _used(results: RunResults) -> list[str]:
    """Says what was trained on, and what the rest was for."""
    parts = []
    for role, verb in (("train", "Trained on"), ("validate", "tuned on"), ("test", "tested on")):
        names = [
            _part_of(region.name, region.roles, role) for region in results.regions if role in region.roles
        ]
        if names:
            parts.append(f"{verb} {_listed(names)}")
    return [f"{'; '.join(parts)}."] if parts else []


def _part_of(name: str, roles: Sequence[str], role: str) -> str:
    return name if len(roles) == 1 else f"the {role} part of {name}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
