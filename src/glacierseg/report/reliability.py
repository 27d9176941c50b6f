"""How far the probabilities can be believed: the reliability diagram of every network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from glacierseg.report.style import BLUE, MUTED, RULE, VERMILLION
from glacierseg.runs.read import finite, read_rows

_COLOURS = {"raw": VERMILLION, "calibrated": BLUE}
_MARKS = {"raw": "o", "calibrated": "s"}


@dataclass(frozen=True)
class ReliabilityPoint:
    """Pixels of similar probability.

    Attributes:
        kind: `raw` or `calibrated`.
        pixels: How many.
        confidence: Their mean probability.
        glacier_share: Share of them that is glacier in the truth.
    """

    kind: str
    pixels: float
    confidence: float
    glacier_share: float


def read_reliability(model_dir: Path, role: str) -> list[ReliabilityPoint]:
    """Reads `reliability.csv` of a model, pooled over its regions.

    Args:
        model_dir: Folder of a model.
        role: `train`, `validate` or `test`.

    Returns:
        Empty while the file is missing or says nothing of that role.
    """
    sums: dict[tuple[str, float], list[float]] = {}
    for row in read_rows(model_dir / "reliability.csv"):
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
    """Draws reliability diagrams: share of glacier against probability, and how many pixels that concerns.

    Args:
        points: By title.
    """
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
    grid[0, 0].set_ylabel("Share that is glacier")
    grid[1, 0].set_ylabel("Pixels")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=max(1, len(labels)), frameon=False, fontsize=8.5
    )
    return figure
