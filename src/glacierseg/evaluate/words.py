"""What an evaluation says to people: a few small tables."""

import math
from collections.abc import Iterator
from typing import Any

from glacierseg.evaluate.detail import Detail

Table = tuple[str | None, tuple[str, ...], list[tuple[Any, ...]]]
_ZONE_SCORES = ("iou", "precision", "recall", "tp", "fp", "fn")


def detail_tables(detail: Detail) -> Iterator[Table]:
    """Yields title, column names and rows for each thing that was asked for; None stands for no value."""
    yield _scores(detail)
    if detail.zones:
        records = [zone.to_dict() for zone in detail.zones]
        rows = [(r["kind"], r["zone"], *(_plain(r[name]) for name in _ZONE_SCORES)) for r in records]
        yield "By zone", ("kind", "zone", *_ZONE_SCORES), rows
    if detail.distances is not None:
        found = vars(detail.distances)
        yield "Between the outlines", ("distance", "m"), [(name, _plain(v)) for name, v in found.items()]
    if detail.glaciers is not None:
        areas = detail.glaciers
        yield (
            "Areas by glacier",
            ("what", "value"),
            [
                ("true glaciers", len(areas.glaciers)),
                ("deviation of the total in percent", _plain(areas.deviation_percent)),
                ("predicted beside every glacier in km2", areas.elsewhere_km2),
                (f"share of {areas.counted} glaciers right within 5 %", _plain(areas.share_close)),
            ],
        )
    if detail.probability is not None:
        both = [("as predicted", detail.probability.scores), ("calibrated", detail.probability.calibrated)]
        rows = [(name, _plain(s.ece), _plain(s.mce), _plain(s.brier)) for name, s in both if s is not None]
        yield "Reliability", ("probabilities", "ece", "mce", "brier"), rows


def _scores(detail: Detail) -> Table:
    record = detail.evaluation.to_dict()
    if detail.intervals is None:
        return None, ("score", "value"), list(record.items())
    intervals = detail.intervals
    title = (
        f"Bounds hold with {intervals.confidence:.0%} ({intervals.draws} draws of {intervals.blocks} blocks "
        f"of {intervals.block_px} px)"
    )
    rows: list[tuple[Any, ...]] = []
    for name, value in record.items():
        bounds = intervals.scores.get(name)
        pair = ("", "") if bounds is None else (_plain(bounds.low), _plain(bounds.high))
        rows.append((name, value, *pair))
    return title, ("score", "value", "low", "high"), rows


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
