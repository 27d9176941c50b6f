"""Tables of the page besides the comparison, each shown where a run holds its file."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glacierseg.report.style import DASH, bands_label, count_text, model_label, score_text, variant_label
from glacierseg.report.summary import Pooled, pool
from glacierseg.runs.layout import ALL_BANDS, RunFolder
from glacierseg.runs.results import ModelResult, RunResults, finite, read_rows

# Table of the run, its heading, and a hint on what it holds.
_TABLES = (
    ("pooled", "Pooled over regions", "Scores from pixel counts summed over all regions of a part."),
    (
        "distil",
        "Teachers and student",
        "Scores of raw masks over all regions, expected calibration error, seconds a megapixel, size.",
    ),
    ("zones", "By zone", "Scores by elevation zone and by glacier size."),
    ("boundaries", "Distances between outlines", "Distances between predicted and true outlines."),
    ("glaciers", "Glacier by glacier", "Predicted and true area of each glacier."),
)
_MOST_ROWS = 400
_KEYS: Mapping[str, Callable[[str], str]] = {
    "model": model_label,
    "bands": bands_label,
    "region": str,
    "role": str,
    "stage": str,
    "kind": str,
    "zone_kind": str,
    "zone": str,
}
TRAINING_FACTS = ("Width", "Parameters", "Patch, px", "Patches", "Epochs", "Best epoch", "Time")
_UNITS = {"km2": "km²", "m": "m", "px": "px", "deg": "°"}


@dataclass(frozen=True)
class Cell:
    """A cell of a table: text for people, the value to sort by, if any, and its bounds as text."""

    text: str
    value: float | None = None
    bounds: str = ""


@dataclass(frozen=True)
class ExtraTable:
    """A table of a run: its heading, a sentence on what it holds, and the number of rows left out."""

    key: str
    title: str
    hint: str
    columns: Sequence[tuple[str, bool]]
    rows: Sequence[Sequence[Cell]]
    left_out: int


def read_tables(folder: RunFolder) -> list[ExtraTable]:
    """Reads the further tables of a run folder, as far as they exist."""
    found = []
    for name, title, hint in _TABLES:
        rows = read_rows(folder.table(name))
        if rows:
            found.append(_table(name, title, hint, rows))
    return found


def importance_table(models: Iterable[ModelResult]) -> ExtraTable | None:
    """Lists the ranks that several measures give to the bands; None while there is one measure only."""
    rows = []
    for model in models:
        for row in read_rows(model.folder.importance):
            further = [name.removesuffix("_rank") for name in row if name.endswith("_rank")]
            if further:
                first = row.get("measure") or "first measure"
                found = {"model": model.model, "bands": model.bands, "band": row.get("band", "")}
                for measure, own in ((first, ""), *((name, f"{name}_") for name in further)):
                    found[f"{measure}_rank"] = row.get(f"{own}rank", "")
                    for end in ("rank_low", "rank_high"):
                        found[f"{measure}_{end}"] = row.get(f"{own}{end}", "")
                rows.append(found)
    hint = (
        "Rank of each band by every measure, with its bounds. The first measure selects the bands; the "
        "other is a check. Bands without measurable importance share the last ranks."
    )
    return _table("importance", "Ranks by measure", hint, rows) if rows else None


def refinement_table(models: Iterable[ModelResult]) -> ExtraTable | None:
    """Lists what each step of the refinement changed; None while that is not recorded."""
    rows = []
    for model in models:
        changes = model.refinement.get("changes", {})
        for region, steps in changes.items() if isinstance(changes, Mapping) else ():
            for step in steps:
                own = {"model": model.model, "bands": model.bands, "region": region}
                rows.append(own | {str(k): "" if v is None else str(v) for k, v in step.items()})
    hint = "Changes made by each step of the refinement, in order."
    return _table("steps", "Step by step", hint, rows) if rows else None


def _table(key: str, title: str, hint: str, rows: Sequence[Mapping[str, str]]) -> ExtraTable:
    names = [name for name in rows[0] if name and any(row.get(name) for row in rows)]
    ends = [name for name in names if name.endswith(("_low", "_high"))]
    # Bounds stand in the cell of their score, and what was before in that of what came after.
    shown = [
        name
        for name in names
        if (name not in ends or name.rsplit("_", 1)[0] not in names)
        and ("_before" not in name or name.replace("_before", "_after") not in names)
    ]
    numbers = {
        name: name not in _KEYS and all(_is_number(row[name]) for row in rows if row.get(name))
        for name in shown
    }
    cells = [[_cell(name, row, number=numbers[name]) for name in shown] for row in rows[:_MOST_ROWS]]
    titles = [
        ((name.replace("_after", "") if _before(name) in names else name).replace("_", " "), numbers[name])
        for name in shown
    ]
    return ExtraTable(key, title, hint, titles, cells, max(0, len(rows) - _MOST_ROWS))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _cell(name: str, row: Mapping[str, str], *, number: bool) -> Cell:
    text = row.get(name) or ""
    if not number:
        return Cell(_KEYS.get(name, str)(text) if text else "–")
    value = finite(text)
    if value is None:
        return Cell("–")
    words = _words(value)
    bounds = ""
    low, high = finite(row.get(f"{name}_low")), finite(row.get(f"{name}_high"))
    if low is not None and high is not None:
        show = count_text if name.endswith("_rank") else score_text
        bounds = f"({show(low)}–{show(high)})"
    before = finite(row.get(_before(name)))
    return Cell(words if before is None else f"{_words(before)} → {words}", value, bounds)


def _words(value: float) -> str:
    return score_text(value) if 0 <= value <= 1 and not float(value).is_integer() else count_text(value)


def _before(name: str) -> str:
    """Returns the column of what was before, an empty name where this is no column of what came after."""
    return name.replace("_after", "_before") if "_after" in name else ""


@dataclass(frozen=True)
class TrainingRow:
    """What one training was, as texts; facts are in the order of `TRAINING_FACTS`."""

    model: str
    bands: str
    facts: Sequence[str]


def training_rows(results: RunResults) -> list[TrainingRow]:
    """Returns a row for every network that has a card."""
    rows = []
    for model in (model for model in results.networks if model.card):
        facts = model.card.get("training", {})
        names = model.card.get("bands", ())
        # A long list says nothing that the configuration does not; a short one is the finding.
        listed = f": {', '.join(names)}" if model.bands != ALL_BANDS and names else ""
        rows.append(
            TrainingRow(
                model_label(model.model),
                bands_label(model.bands) + listed,
                (
                    count_text(model.card.get("width")),
                    count_text(facts.get("parameters")),
                    count_text(model.card.get("patch_px")),
                    count_text(facts.get("patches")),
                    count_text(facts.get("epochs")),
                    count_text(facts.get("best_epoch")),
                    duration_text(facts.get("seconds")),
                ),
            )
        )
    return rows


def duration_text(seconds: float | None) -> str:
    """Formats a duration, a dash when it is missing."""
    if seconds is None:
        return DASH
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{seconds:.0f} s"


@dataclass(frozen=True)
class RefinementRow:
    """Refinement of one model with one set of bands; IoU is raw and refined, None where missing."""

    label: str
    parameters: str
    tuned_on: str
    validate: tuple[float | None, float | None]
    test: tuple[float | None, float | None]


def refinement_rows(results: RunResults) -> list[RefinementRow]:
    """Returns a row for every model that has been refined."""
    validate, test = pool(results, "validate"), pool(results, "test")
    return [
        RefinementRow(
            label=variant_label(model.model, model.bands),
            parameters=parameters_in_words(model.refinement.get("best", {})),
            tuned_on=", ".join(model.refinement.get("tuned_on", [])),
            validate=_pair(validate, model.model, model.bands),
            test=_pair(test, model.model, model.bands),
        )
        for model in results.models
        if model.refinement
    ]


def parameters_in_words(parameters: Mapping[str, Any]) -> str:
    """Lists parameters of refinement; what was not asked for need not be read."""
    return ", ".join(
        in_words(key, value)
        for key, value in parameters.items()
        if (key, value) not in (("max_hole_slope_deg", None), ("keep_cut_fragments", False))
    )


def in_words(key: str, value: Any) -> str:
    """Writes a parameter such as `min_area_km2=0.03` as *min area 0.03 km²*."""
    name, _, unit = key.rpartition("_")
    if unit not in _UNITS:
        name, unit = key, ""
    text = "unlimited" if value is None else f"{value:g}" if isinstance(value, int | float) else str(value)
    if value is True:
        text = "yes"
    if isinstance(value, list | tuple):
        text = ", then ".join(map(str, value))
    return " ".join(
        word
        for word in (name.replace("_", " "), text, _UNITS.get(unit, "") if value is not None else "")
        if word
    )


def _pair(pooled: Iterable[Pooled], model: str, bands: str) -> tuple[float | None, float | None]:
    iou = {entry.variant: entry.iou for entry in pooled}
    return iou.get((model, bands, "raw")), iou.get((model, bands, "refined"))
