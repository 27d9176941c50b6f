"""Band importance as a table: one row per band, the measure that chooses first, its check beside it."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from glacierseg.bands.ranking import BandImportance, Measures
from glacierseg.choices import MEASURES, Measure
from glacierseg.errors import DataError
from glacierseg.raster.write import write_text

_TESTED = ("p_value", "measurable", "rank_low", "rank_high")


def write_importance(path: Path, measures: Measures) -> None:
    """Writes a table, the most important band first.

    Columns: `rank,band,importance,spread` of the first measure, its `measure,standard_error,region_spread`;
    then, if there is a second measure M, `M_rank,M,M_spread,M_standard_error,M_region_spread`; then
    `p_value,measurable,rank_low,rank_high` of the first measure and `M_p_value,...` of the second. What is
    not known is empty; `measurable` is 1 or 0.
    """
    (main, ranked), *others = measures.items()
    header = ["rank", "band", "importance", "spread", "measure", "standard_error", "region_spread"]
    for name, _ in others:
        header += [f"{name}_rank", name, f"{name}_spread", f"{name}_standard_error", f"{name}_region_spread"]
    header += [*_TESTED, *(f"{name}_{column}" for name, _ in others for column in _TESTED)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for entry in ranked:
        row = [entry.rank, entry.band, *_numbers(entry)]
        row[4:4] = [main]
        same = [next(one for one in result if one.band == entry.band) for _, result in others]
        for other in same:
            row += [other.rank, *_numbers(other)]
        for tested in (entry, *same):
            row += _tested(tested)
        writer.writerow(row)
    write_text(path, text.getvalue())


def read_measures(path: Path) -> Measures:
    """Reads what `write_importance` wrote, also of earlier versions.

    They wrote four columns, or those of further measures beside the ones of today, which are left out.

    Raises:
        DataError: The file is damaged, or its bands were chosen by a measure of an earlier version.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        chosen_by = rows[0].get("measure") or "gradient"
        if chosen_by not in MEASURES:
            raise DataError(
                f"{path}: bands must be ranked by {' or '.join(MEASURES)} (got {chosen_by!r}, of an earlier "
                "version); remove the file and measure again"
            )
        main = next(measure for measure in MEASURES if measure == chosen_by)
        found: dict[Measure, tuple[BandImportance, ...]] = {main: _read(rows, "rank", "importance", "")}
        for measure in MEASURES:
            if measure != main and measure in rows[0]:
                found[measure] = _read(rows, f"{measure}_rank", measure, f"{measure}_")
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"{path}: is damaged; remove it and run again") from error
    return found


def _read(
    rows: Sequence[Mapping[str, str]], rank: str, value: str, prefix: str
) -> tuple[BandImportance, ...]:
    entries = [
        BandImportance(
            int(row[rank]),
            row["band"],
            float(row[value]),
            float(row[f"{prefix}spread"]),
            _number(row.get(f"{prefix}standard_error")),
            _number(row.get(f"{prefix}region_spread")),
            _number(row.get(f"{prefix}p_value")),
            None if (known := _whole(row.get(f"{prefix}measurable"))) is None else known == 1,
            _whole(row.get(f"{prefix}rank_low")),
            _whole(row.get(f"{prefix}rank_high")),
        )
        for row in rows
    ]
    return tuple(sorted(entries, key=lambda entry: entry.rank))


def _number(text: str | None) -> float | None:
    return float(text) if text else None


def _whole(text: str | None) -> int | None:
    return int(text) if text else None


def _tested(entry: BandImportance) -> list[str | int]:
    values = (entry.measurable, entry.rank_low, entry.rank_high)
    p_value = "" if entry.p_value is None else f"{entry.p_value:.3g}"
    return [p_value, *("" if value is None else int(value) for value in values)]


def _numbers(entry: BandImportance) -> list[str | int]:
    values = (entry.importance, entry.spread, entry.standard_error, entry.region_spread)
    return ["" if value is None else f"{value:.6f}" for value in values]
