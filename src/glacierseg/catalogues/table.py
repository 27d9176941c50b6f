"""What became of each image of a catalogue, as a table."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from glacierseg.catalogues.addresses import shown
from glacierseg.catalogues.choice import Choice, Chosen
from glacierseg.catalogues.sun import as_utc
from glacierseg.raster.write import write_text

COLUMNS = (
    "rank", "taken", "why", "name", "item", "sensor", "tile", "acquired", "baseline", "processed", "cloud",
    "snow", "no_data", "cloud_on_glaciers", "cloud_off_glaciers", "snow_off_glaciers", "sun_deg",
    "off_season_days", "age_days", "cloud_said", "score", "address",
)  # fmt: skip
"""Of `scenes.csv`."""


def write_choices(path: Path, chosen: Chosen, left_out: Sequence[tuple[str, str]] = ()) -> None:
    """Writes `scenes.csv`: a row for each candidate by rank, then those that were left out.

    Args:
        path: The file.
        chosen: What became of the candidates.
        left_out: Items that are no candidates, with the reason.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(one) for one in chosen.choices)
    writer.writerows({"taken": 0, "why": why, "item": item} for item, why in sorted(left_out))
    write_text(path, text.getvalue())


def _row(choice: Choice) -> dict[str, object]:
    seen, candidate = choice.seen, choice.candidate
    shares = ("cloud", "snow", "no_data", "cloud_on_glaciers", "cloud_off_glaciers", "snow_off_glaciers")
    row: dict[str, object] = {"rank": choice.rank, "taken": int(choice.taken), "why": choice.why}
    row |= {name: getattr(candidate, name) for name in ("name", "item", "sensor", "tile")}
    row["acquired"] = as_utc(candidate.acquired).strftime("%Y-%m-%dT%H:%M:%SZ")
    row |= {"baseline": candidate.baseline, "processed": candidate.processed}
    row |= {name: _rounded(getattr(seen, name)) for name in shares}
    row["sun_deg"] = round(seen.sun_deg, 1)
    row |= {"off_season_days": seen.off_season_days, "age_days": seen.age_days}
    row |= {"cloud_said": _rounded(candidate.cloud_said), "score": _rounded(choice.rating.score)}
    return row | {"address": shown(candidate.address)}


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(float(share), 4)
