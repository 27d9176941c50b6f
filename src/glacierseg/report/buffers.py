"""What a rim along the true boundary, or a truth grown or shrunk, does to the IoU."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from glacierseg.report.style import INK, MUTED, RULE, model_colour, variant_label
from glacierseg.runs.read import finite, read_rows
from glacierseg.runs.results import RunResults

_MOST_REGIONS = 4


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
    for row in read_rows(Path(results.folder) / "boundaries.csv"):
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
    """Draws a row per region: IoU by width of the forgiven rim, and by how far the truth is moved.

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
            look = {"color": model_colour(line.model), "linestyle": "-" if line.bands == "all" else "--"}
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
    grid[-1, 0].set_xlabel("Rim along the true boundary that is forgiven, m", fontsize=8.5)
    grid[-1, 1].set_xlabel("Truth shrunk (−) or grown (+) by, m", fontsize=8.5)
    named = {(line.model, line.bands): variant_label(line.model, line.bands) for line in lines}
    handles = [
        Line2D([], [], color=model_colour(model), linestyle="-" if bands == "all" else "--", label=label)
        for (model, bands), label in named.items()
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8, labelcolor=INK
    )
    return figure
