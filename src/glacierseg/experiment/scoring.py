"""The scores of a run beyond one number: intervals, zones, boundaries, glaciers, all regions together."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.choices import Role
from glacierseg.data.regions import Region
from glacierseg.evaluate.counts import (
    AS_BACKGROUND,
    BOTH_WAYS,
    SCORE_NAMES,
    Counts,
    count_clean,
    scores_of,
    undefined_as_background,
)
from glacierseg.evaluate.debris import SURFACE_SCORES, count_surfaces, score_surfaces
from glacierseg.evaluate.detail import (
    Zoning,
    evaluate_in_detail,
    read_elevation_zones,
    size_zones,
    true_glaciers,
)
from glacierseg.evaluate.evaluation import scores_as_background
from glacierseg.evaluate.glaciers import TrueGlaciers
from glacierseg.evaluate.intervals import BlockTable, bootstrap_scores, table_by_block
from glacierseg.experiment.calibration import PROBABILITY_COLUMNS, RELIABILITY_COLUMNS, probability_scores
from glacierseg.experiment.surfaces import read_surface
from glacierseg.raster.truth import IGNORE, read_mask
from glacierseg.raster.write import finite_only, read_json
from glacierseg.runs.layout import STAGES, ModelFolder, RunFolder
from glacierseg.runs.results import KEYS, read_rules
from glacierseg.runs.write import write_table
from glacierseg.settings import RegionConfig
from glacierseg.settings.score import ScoreSettings

_FIRST = ("overall_accuracy", "iou", "f1", "precision", "recall", "kappa")
_NEXT = ("mcc", "iou_background", "mean_iou")
_SCORES = (
    *_FIRST, "tp", "fp", "fn", "tn", *_NEXT, *(name for name in SCORE_NAMES if name not in (*_FIRST, *_NEXT)),
)  # fmt: skip
_WITH_INTERVAL = ("iou", "f1", "precision", "recall", "kappa", "mcc", "mean_iou", "overall_accuracy")
INTERVAL_SCORES = (
    *_WITH_INTERVAL,
    *(name for name in SCORE_NAMES if name not in (*_WITH_INTERVAL, "iou_background")),
)
INTERVAL_COLUMNS = tuple(f"{name}_{side}" for name in INTERVAL_SCORES for side in ("low", "high"))
_BLOCKS = ("interval_confidence", "interval_block_px", "interval_blocks")
_LAST = (*(name + AS_BACKGROUND for name in BOTH_WAYS), "undefined_px", *SURFACE_SCORES, "ice_rule")
METRIC_COLUMNS = (
    *KEYS, *_SCORES, "predicted_km2", "truth_km2", *PROBABILITY_COLUMNS, *INTERVAL_COLUMNS, *_BLOCKS, *_LAST,
)  # fmt: skip
SETTINGS = ScoreSettings(buffers_m=(10.0, 20.0))
"""How every run scores, so that runs can be compared."""
_DISTANCES = ("polis_m", "mean_m", "p95_m", "hausdorff_m")
_BUFFER_COLUMNS = tuple(
    name.format(f"{buffer_m:g}m")
    for buffer_m in SETTINGS.buffers_m
    for name in (
        "iou_buffer_{}", "omission_buffer_{}", "commission_buffer_{}", "iou_grown_{}", "iou_shrunk_{}",
    )
)  # fmt: skip
TABLES: Mapping[str, tuple[str, ...]] = {
    "metrics": METRIC_COLUMNS,
    "pooled": (*KEYS, *_SCORES, "predicted_km2", "truth_km2", *INTERVAL_COLUMNS, *_BLOCKS, *_LAST),
    "zones": (*KEYS, "kind", "zone", *_SCORES),
    "boundaries": (*KEYS, *_DISTANCES, *_BUFFER_COLUMNS),
    "glaciers": (
        *KEYS, "glacier_id", "truth_km2", "predicted_km2", "found_km2", "deviation_percent", "whole",
    ),
}  # fmt: skip
"""Columns of the tables of a run; `RunFolder.table` says where each lies."""

ALL_REGIONS = "all"
Rows = dict[str, list[dict[str, Any]]]


def score_regions(
    sections: Sequence[RegionConfig], regions: Sequence[Region], run: RunFolder, folder: ModelFolder
) -> Rows:
    """Scores raw and refined masks of every region under each of its roles, and all regions together.

    Scores of probabilities stand with the raw stage; refinement works on masks and has none. Their
    reliability diagrams go to `reliability.csv` in the model folder.

    Args:
        sections: Where the truth and the elevation of each region are from.
        regions: The regions to score.
        run: Holds the whole truth and the surfaces.
        folder: Holds the masks and probabilities.

    Returns:
        Rows by name of the table, see `TABLES`, without model and bands.
    """
    rows: Rows = {name: [] for name in TABLES}
    together: dict[tuple[Role, str], list[Region]] = defaultdict(list)
    beyond: dict[tuple[Role, str], list[_Beyond]] = defaultdict(list)
    diagrams: list[dict[str, Any]] = []
    rules = read_rules(run)
    wanted = {section.name: section for section in sections}
    for region in regions:
        glaciers, zonings = _divided(wanted[region.name], region)
        probability, bars = probability_scores(region, folder)
        diagrams += bars
        masks = {stage: read_mask(folder.mask(region.name, stage)) for stage in STAGES}
        whole, rule = read_mask(run.whole_truth(region.name)), rules.get(region.name, "")
        surface = read_surface(run, region.name) if rule else None
        for role, area in region.areas.items():
            truth = region.truth_of(role)
            for stage in STAGES:
                whose = {"region": region.name, "role": role, "stage": stage}
                grid = region.scene.grid
                detail = evaluate_in_detail(masks[stage], truth, grid, SETTINGS, glaciers, zonings)
                _add(rows, whose, detail.to_dict())
                more = _beyond(masks[stage], area, whole, surface, rule)
                rows["metrics"][-1] |= more.row(detail.evaluation.counts)
                beyond[role, stage].append(more)
                if stage == "raw":
                    rows["metrics"][-1] |= probability.get(role, {})
                together[role, stage].append(region)
    for (pooled_role, stage), pooled in together.items():
        whose = {"region": ALL_REGIONS, "role": pooled_role, "stage": stage}
        own = [row for row in rows["metrics"] if (row["role"], row["stage"]) == (pooled_role, stage)]
        # Read again one after the other: those of all regions at once need not fit in memory.
        pairs = ((read_mask(folder.mask(one.name, stage)), one.truth_of(pooled_role)) for one in pooled)
        table = table_by_block(pairs, grids=[one.scene.grid for one in pooled])
        more = sum(beyond[pooled_role, stage][1:], beyond[pooled_role, stage][0])
        rows["pooled"].append(whose | _pooled(own, table) | more.row(_sum_of_counts(own)))
    if diagrams:
        write_table(folder.reliability, RELIABILITY_COLUMNS, diagrams)
    found: Rows = finite_only(rows)
    return found


def write_tables(folder: RunFolder, rows: Sequence[tuple[str, str, Rows]]) -> None:
    """Writes every table of a run.

    Args:
        folder: The run's folder.
        rows: Model, bands and rows by table of each network that has been scored.
    """
    for name, columns in TABLES.items():
        every = [
            {"model": model, "bands": bands, **row} for model, bands, tables in rows for row in tables[name]
        ]
        write_table(folder.table(name), columns, every)


def read_scores(folder: ModelFolder) -> Rows | None:
    """Reads the rows that an earlier call stored; None where there are none of this kind."""
    if not folder.scores.exists():
        return None
    stored = read_json(folder.scores)
    return stored if isinstance(stored, dict) and set(stored) == set(TABLES) else None


def _divided(wanted: RegionConfig, region: Region) -> tuple[TrueGlaciers, list[Zoning]]:
    """Returns the true glaciers of a region, and its size classes and elevation bands."""
    grid = region.scene.grid
    glaciers = true_glaciers(wanted.truth, region.truth, grid, wanted.truth_layer)
    zonings = [size_zones(glaciers)]
    if wanted.dem is not None:
        zonings.append(read_elevation_zones(wanted.dem, grid, SETTINGS.elevation_band_m))
    return glaciers, zonings


def _add(rows: Rows, whose: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Adds the record of a mask to the tables."""
    scores = {key: record[key] for key in METRIC_COLUMNS if key in record}
    rows["metrics"].append({**whose, **scores, **_interval_row(record["intervals"])})
    rows["zones"] += [{**whose, **_known(zone, "zones")} for zone in record.get("zones", ())]
    rows["boundaries"].append(_known({**whose, **record["outline_distances"], **record}, "boundaries"))
    rows["glaciers"] += [{**whose, **one} for one in record["glaciers"]["glaciers"]]


def _pooled(rows: Sequence[Mapping[str, Any]], table: BlockTable) -> dict[str, Any]:
    counts = _sum_of_counts(rows)
    areas = {name: sum(row[name] for row in rows) for name in ("predicted_km2", "truth_km2")}
    intervals = bootstrap_scores(table, SETTINGS)
    return {**asdict(scores_of(counts)), **asdict(counts), **areas, **_interval_row(intervals.to_dict())}


def _sum_of_counts(rows: Sequence[Mapping[str, Any]]) -> Counts:
    return sum((Counts(row["tp"], row["fp"], row["fn"], row["tn"]) for row in rows), Counts())


@dataclass(frozen=True)
class _Beyond:
    """Counts of a mask besides those of its scores: with undefined pixels, and by surface.

    Attributes:
        everywhere: Pixels with truth, undefined ones being background.
        surfaces: On clean ice and on ground without; None where no rule tells them apart.
        rules: Those that do.
    """

    everywhere: Counts
    surfaces: tuple[Counts, Counts] | None
    rules: tuple[str, ...] = ()

    def __add__(self, other: "_Beyond") -> "_Beyond":
        surfaces = self.surfaces
        # Regions whose bands tell nothing are left out of what is told of the others.
        if surfaces and other.surfaces:
            surfaces = surfaces[0] + other.surfaces[0], surfaces[1] + other.surfaces[1]
        rules = tuple(dict.fromkeys((*self.rules, *other.rules)))
        return _Beyond(self.everywhere + other.everywhere, surfaces or other.surfaces, rules)

    def row(self, defined: Counts) -> dict[str, Any]:
        """Returns the last columns of a table, given the counts where there is data."""
        found: dict[str, Any] = scores_as_background(self.everywhere, defined)
        if self.surfaces:
            found |= score_surfaces(self.surfaces).to_dict() | {"ice_rule": "; ".join(self.rules)}
        return found


def _beyond(
    mask: NDArray[np.uint8],
    area: NDArray[np.bool_],
    whole_truth: NDArray[np.uint8],
    surface: NDArray[np.uint8] | None,
    rule: str,
) -> _Beyond:
    truth = np.where(area, whole_truth, np.uint8(IGNORE))
    everywhere = count_clean(undefined_as_background(mask), truth)
    if surface is None:
        return _Beyond(everywhere, None)
    return _Beyond(everywhere, count_surfaces(mask, np.where(area, surface, np.uint8(IGNORE))), (rule,))


def _interval_row(intervals: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name in INTERVAL_SCORES:
        row[f"{name}_low"], row[f"{name}_high"] = intervals["scores"][name]
    facts = (intervals[key] for key in ("confidence", "block_px", "blocks"))
    return row | dict(zip(_BLOCKS, facts, strict=True))


def _known(row: Mapping[str, Any], table: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key in TABLES[table]}
