"""Scores side by side: by model, by distance from the boundary, by probability."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from glacierseg.report.save import Picture
from glacierseg.report.style import (
    BLUE,
    INK,
    MUTED,
    RULE,
    VERMILLION,
    bands_label,
    model_colour,
    model_label,
    score_text,
    variant_label,
)
from glacierseg.runs.layout import ALL_BANDS, STAGES, THRESHOLD, ModelFolder
from glacierseg.runs.results import RunResults, ScoreRow, finite, read_rows

_MOST_REGIONS = 4
_COLOURS = {"raw": VERMILLION, "calibrated": BLUE}
_MARKS = {"raw": "o", "calibrated": "s"}


def figure_scores(
    scores: Sequence[ScoreRow], column: str = "iou", title: str = "IoU on the test part"
) -> Figure:
    """Draws one score of every model as dots, raw and refined, with the threshold as a line.

    Args:
        scores: Rows of one role, of one region or several.
        column: The score to draw.
        title: Label of the axis.

    Returns:
        A figure with one panel per region, three in a row.
    """
    regions = list(dict.fromkeys(score.region for score in scores))
    networks = list(dict.fromkeys((s.model, s.bands) for s in scores if s.model != THRESHOLD))
    columns = max(1, min(3, len(regions)))
    rows = max(1, math.ceil(len(regions) / columns))
    height = 0.4 + rows * (0.75 + 0.36 * max(2, len(networks)))
    figure = Figure(figsize=(max(6.4, 2.2 + 3.3 * columns), height), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
    for axes in panels[len(regions) :]:
        axes.set_axis_off()
    for axes, region in zip(panels, regions, strict=False):
        own = {score.variant: score.get(column) for score in scores if score.region == region}
        limits = [(s, own.get((THRESHOLD, ALL_BANDS, s))) for s in STAGES]
        for stage, limit in limits:
            if limit is not None:
                axes.axvline(
                    limit, color=MUTED, linewidth=1.2, linestyle="-" if stage == "refined" else (0, (2, 2))
                )
        for row, (model, bands) in enumerate(networks):
            raw, refined = own.get((model, bands, "raw")), own.get((model, bands, "refined"))
            colour = model_colour(model)
            if raw is not None and refined is not None:
                axes.plot([raw, refined], [row, row], color=colour, linewidth=1.6, alpha=0.5, zorder=2)
            if raw is not None:
                axes.plot(raw, row, "o", mfc="white", mec=colour, mew=1.6, markersize=7, zorder=3)
            if refined is not None:
                axes.plot(refined, row, "o", color=colour, markersize=7, zorder=4)
            values = [value for value in (raw, refined) if value is not None]
            if values:
                last = refined if refined is not None else values[-1]
                axes.annotate(
                    score_text(last),
                    (max(values), row),
                    (8, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=8.5,
                    color=INK,
                )
        axes.set_title(region, fontsize=10, fontweight="bold", loc="left")
        axes.set_xlabel(title)
        axes.margins(x=0.16)
        axes.grid(axis="x", color=RULE, linewidth=0.6)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(networks)), [f"{model_label(m)}, {bands_label(b)}" for m, b in networks])
    panels[0].set_ylim(len(networks) - 0.5, -0.5)
    handles = [
        Line2D([], [], marker="o", linestyle="", mfc="white", mec=MUTED, mew=1.6, label="raw"),
        Line2D([], [], marker="o", linestyle="", color=MUTED, label="refined"),
        Line2D([], [], color=MUTED, linewidth=1.2, linestyle=(0, (2, 2)), label="threshold, raw"),
        Line2D([], [], color=MUTED, linewidth=1.2, label="threshold, refined"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=8.5)
    return figure


def score_picture(results: RunResults) -> Picture | None:
    """Shows the IoU of every model on the test part, on the validate part while nothing is tested."""
    role = next((r for r in ("test", "validate") if any(score.role == r for score in results.scores)), None)
    scores = [score for score in results.scores if score.role == role and score.get("iou") is not None]
    if role is None or all(score.model == THRESHOLD for score in scores):
        return None
    words = [f"{variant_label(*s.variant)} on {s.region} {score_text(s.get('iou'))}" for s in scores]
    return Picture(
        figure_scores(scores, title=f"IoU on the {role} part"),
        f"Dot plot of IoU on the {role} part: {'; '.join(words)}.",
        f"IoU on the {role} part before and after refinement; vertical lines mark the threshold rule.",
    )


@dataclass(frozen=True)
class BufferLine:
    """IoU of one refined mask in one region, by distance.

    Attributes:
        region: The region.
        model: A network's name, or `threshold`.
        bands: `all` or `top6`.
        forgiven: `(m, IoU)` without the pixels so near to the true boundary, from 0 m on.
        moved: `(m, IoU)` against the truth grown by so much, shrunk where negative, in rising order.
    """

    region: str
    model: str
    bands: str
    forgiven: Sequence[tuple[float, float]]
    moved: Sequence[tuple[float, float]]


def read_buffers(results: RunResults, role: str) -> list[BufferLine]:
    """Reads `boundaries.csv` of a run, refined masks only; nothing while it is missing."""
    plain = {
        (score.region, score.model, score.bands): score.get("iou")
        for score in results.scores
        if (score.role, score.stage) == (role, "refined")
    }
    lines = []
    for row in read_rows(results.folder.table("boundaries")):
        whose = row.get("region", ""), row.get("model", ""), row.get("bands", "")
        iou = plain.get(whose)
        if (row.get("role"), row.get("stage")) != (role, "refined") or iou is None:
            continue
        forgiven, moved = [(0.0, iou)], [(0.0, iou)]
        for name, text in row.items():
            found, value = re.fullmatch(r"iou_(buffer|grown|shrunk)_([\d.]+)m", name or ""), finite(text)
            if not found or value is None:
                continue
            distance_m = float(found[2])
            if found[1] == "buffer":
                forgiven.append((distance_m, value))
            else:
                moved.append((distance_m if found[1] == "grown" else -distance_m, value))
        if len(forgiven) > 1:
            lines.append(BufferLine(*whose, sorted(forgiven), sorted(moved)))
    return lines


def figure_buffers(lines: Sequence[BufferLine]) -> Figure:
    """Draws a row per region: IoU with a margin along the true boundary ignored, and against a moved truth.

    A line on the right that rises to one side says that the mask is too large (grown truth fits better) or
    too small. All bands are drawn whole, smaller sets dashed.

    Args:
        lines: From `read_buffers`; of more than four regions the first four are drawn.
    """
    regions = list(dict.fromkeys(line.region for line in lines))[:_MOST_REGIONS]
    figure = Figure(figsize=(7.6, 0.9 + 2.3 * len(regions)), layout="constrained")
    grid = figure.subplots(len(regions), 2, squeeze=False, sharex="col", sharey="row")
    for row, region in zip(grid, regions, strict=True):
        for line in (line for line in lines if line.region == region):
            look = {"color": model_colour(line.model), "linestyle": "-" if line.bands == ALL_BANDS else "--"}
            for axes, points in zip(row, (line.forgiven, line.moved), strict=True):
                axes.plot(*zip(*points, strict=True), marker="o", markersize=3.5, linewidth=1.3, **look)
        row[0].set_title(region, fontsize=10, fontweight="bold", loc="left")
        row[0].set_ylabel("IoU", fontsize=8.5)
        row[1].axvline(0, color=MUTED, linewidth=0.8)
        for axes in row:
            axes.grid(axis="y", color=RULE, linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=8)
    for axes, kind in zip(grid[-1], ("forgiven", "moved"), strict=True):
        axes.set_xticks(sorted({distance_m for line in lines for distance_m, _ in getattr(line, kind)}))
    grid[-1, 0].set_xlabel("Margin ignored on each side of the true boundary, m", fontsize=8.5)
    grid[-1, 1].set_xlabel("Truth shrunk (−) or grown (+), m", fontsize=8.5)
    named = {(line.model, line.bands): variant_label(line.model, line.bands) for line in lines}
    handles = [
        Line2D([], [], color=model_colour(model), linestyle="-" if bands == ALL_BANDS else "--", label=label)
        for (model, bands), label in named.items()
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8, labelcolor=INK
    )
    return figure


def buffers_picture(results: RunResults) -> Picture | None:
    """Shows IoU without the pixels near the boundary and against a moved truth, on the test part if any."""
    for role in ("test", "validate"):
        if lines := read_buffers(results, role):
            words = [
                f"{variant_label(line.model, line.bands)} in {line.region}: "
                + ", ".join(f"{distance_m:g} m {score_text(iou)}" for distance_m, iou in line.forgiven)
                for line in lines
            ]
            return Picture(
                figure_buffers(lines),
                f"IoU of refined masks on the {role} part by width of the margin ignored along the true "
                f"boundary. {'; '.join(words)}.",
                f"Refined masks on the {role} part. Left: IoU without the pixels near the true boundary. "
                "Right: IoU against the truth shrunk or grown; where the grown truth fits better, the mask "
                "is too large.",
            )
    return None


@dataclass(frozen=True)
class ReliabilityPoint:
    """Pixels of similar probability, `raw` or `calibrated`, and the share of them that is glacier."""

    kind: str
    pixels: float
    confidence: float
    glacier_share: float


def read_reliability(folder: ModelFolder, role: str) -> list[ReliabilityPoint]:
    """Reads `reliability.csv` of a model, pooled over its regions; empty where it says nothing of a role."""
    sums: dict[tuple[str, float], list[float]] = {}
    for row in read_rows(folder.reliability):
        lower, pixels = finite(row.get("lower")), finite(row.get("pixels"))
        confidence, share = finite(row.get("confidence")), finite(row.get("glacier_share"))
        if row.get("role") != role or lower is None or not pixels or confidence is None or share is None:
            continue
        total = sums.setdefault((row.get("kind") or "raw", lower), [0.0, 0.0, 0.0])
        for place, value in enumerate((pixels, pixels * confidence, pixels * share)):
            total[place] += value
    return [
        ReliabilityPoint(kind, pixels, confidence / pixels, share / pixels)
        for (kind, _), (pixels, confidence, share) in sorted(sums.items())
    ]


def figure_reliability(points: Mapping[str, Sequence[ReliabilityPoint]]) -> Figure:
    """Draws reliability diagrams by title: share of glacier against probability, and numbers of pixels."""
    columns = max(1, len(points))
    figure = Figure(figsize=(max(6.4, 2.9 * columns), 3.9), layout="constrained")
    grid = figure.subplots(2, columns, squeeze=False, sharex=True, sharey="row", height_ratios=(3, 1))
    for (top, bottom), (title, own) in zip(grid.T, points.items(), strict=True):
        top.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        for kind in dict.fromkeys(point.kind for point in own):
            of_kind = [point for point in own if point.kind == kind]
            x = [point.confidence for point in of_kind]
            colour = _COLOURS.get(kind, MUTED)
            mark = _MARKS.get(kind, "^")
            top.plot(
                x, [p.glacier_share for p in of_kind], mark, ls="-", ms=4, lw=1.3, color=colour, label=kind
            )
            bottom.plot(x, [p.pixels for p in of_kind], mark, ls="-", ms=3, lw=1, color=colour)
        top.set_title(title, fontsize=10, fontweight="bold", loc="left")
        top.set_xlim(0, 1)
        top.set_ylim(0, 1)
        bottom.set_yscale("log")
        bottom.set_xlabel("Glacier probability")
        for axes in (top, bottom):
            axes.grid(color=RULE, linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=8)
    grid[0, 0].set_ylabel("Share of glacier")
    grid[1, 0].set_ylabel("Pixels")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=max(1, len(labels)), frameon=False, fontsize=8.5
    )
    return figure


def reliability_picture(results: RunResults) -> Picture | None:
    """Shows whether probabilities are calibrated, on the test part where that is known."""
    for role in ("test", "validate"):
        points = {
            variant_label(model.model, model.bands): own
            for model in results.networks
            if (own := read_reliability(model.folder, role))
        }
        if points:
            return Picture(
                figure_reliability(points),
                f"Reliability diagrams on the {role} part of {'; '.join(points)}.",
                f"Share of glacier among pixels of similar probability on the {role} part. On the dashed "
                "line probabilities are calibrated; below it the network is overconfident.",
            )
    return None
