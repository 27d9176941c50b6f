"""Tables that a run may hold besides `metrics.csv`, read without insisting on any of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from glacierseg.report.style import bands_label, count_text, model_label, score_text
from glacierseg.runs.read import finite, read_rows
from glacierseg.runs.results import ModelResult

# File in the run folder, its heading, and what it tells.
_TABLES = (
    ("pooled.csv", "Pooled over regions", "Scores from the summed pixel counts of all regions of a part."),
    ("zones.csv", "By zone", "Scores within parts of the terrain and by size of glacier."),
    ("boundaries.csv", "Distances between outlines", "How far predicted and true outlines lie apart."),
    ("glaciers.csv", "Glacier by glacier", "Predicted against true area of each glacier."),
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


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: For people.
        value: To sort by; None for words and for what is missing.
        bounds: Of the value, for people; empty where there are none.
    """

    text: str
    value: float | None = None
    bounds: str = ""


@dataclass(frozen=True)
class ExtraTable:
    """A table of a run.

    Attributes:
        key: Short name.
        title: Heading.
        hint: What it tells.
        columns: `(name, whether it holds numbers)`.
        rows: Cells in the order of the columns.
        left_out: Rows that the file has beyond these.
    """

    key: str
    title: str
    hint: str
    columns: Sequence[tuple[str, bool]]
    rows: Sequence[Sequence[Cell]]
    left_out: int


def read_tables(run_dir: Path) -> list[ExtraTable]:
    """Reads the further tables of a run folder, those that are there."""
    found = []
    for name, title, hint in _TABLES:
        rows = read_rows(run_dir / name)
        if rows:
            found.append(_table(name.removesuffix(".csv"), title, hint, rows))
    return found


def importance_table(models: Iterable[ModelResult]) -> ExtraTable | None:
    """Lists the ranks that several measures give to the bands; None while there is one measure only."""
    rows = []
    for model in models:
        for row in read_rows(model.folder / "band_importance.csv"):
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
        "Rank of each band by every measure, with its bounds; the first chooses the bands, the others check "
        "it. Bands without measurable importance share the last ranks."
    )
    return _table("importance", "Ranks by every measure", hint, rows) if rows else None


def refinement_table(models: Iterable[ModelResult]) -> ExtraTable | None:
    """Lists what each step of the refinement changed; None while that is not recorded."""
    rows = []
    for model in models:
        changes = model.refinement.get("changes", {})
        for region, steps in changes.items() if isinstance(changes, Mapping) else ():
            for step in steps:
                own = {"model": model.model, "bands": model.bands, "region": region}
                rows.append(own | {str(k): "" if v is None else str(v) for k, v in step.items()})
    hint = "What each step of the refinement changed, in its order."
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
