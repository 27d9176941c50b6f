"""What an evaluation says to people: a few small tables."""

from collections.abc import Iterator
from typing import Any

from glacierseg.evaluate.detail import Detail
from glacierseg.raster.write import finite_only

Table = tuple[str | None, tuple[str, ...], list[tuple[Any, ...]]]
_ZONE_SCORES = ("iou", "precision", "recall", "tp", "fp", "fn")


def detail_tables(detail: Detail) -> Iterator[Table]:
    """Yields title, column names and rows for each thing that was asked for; None stands for no value."""
    yield _scores(detail)
    if detail.zones:
        records = [zone.to_dict() for zone in detail.zones]
        rows = [(r["kind"], r["zone"], *(finite_only(r[name]) for name in _ZONE_SCORES)) for r in records]
        yield "By zone", ("kind", "zone", *_ZONE_SCORES), rows
    if detail.distances is not None:
        found = vars(detail.distances)
        yield "Between the outlines", ("distance", "m"), [(name, finite_only(v)) for name, v in found.items()]
    if detail.glaciers is not None:
        areas = detail.glaciers
        yield (
            "Areas by glacier",
            ("what", "value"),
            [
                ("true glaciers", len(areas.glaciers)),
                ("deviation of the total in percent", finite_only(areas.deviation_percent)),
                ("predicted beside every glacier in km2", areas.elsewhere_km2),
                (f"share of {areas.counted} glaciers right within 5 %", finite_only(areas.share_close)),
            ],
        )
    if detail.probability is not None:
        both = [("as predicted", detail.probability.scores), ("calibrated", detail.probability.calibrated)]
        rows = [
            (name, finite_only(s.ece), finite_only(s.mce), finite_only(s.brier))
            for name, s in both
            if s is not None
        ]
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
        pair = ("", "") if bounds is None else (finite_only(bounds.low), finite_only(bounds.high))
        rows.append((name, value, *pair))
    return title, ("score", "value", "low", "high"), rows
