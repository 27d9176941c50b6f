"""Scores and band importance side by side."""

import math
from collections.abc import Collection, Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from glacierseg.report.style import BLUE, INK, MUTED, RULE, bands_label, model_colour, model_label, score_text
from glacierseg.runs.results import THRESHOLD, Score


def figure_scores(
    scores: Sequence[Score], column: str = "iou", title: str = "IoU on the test part"
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
        limits = [(s, own.get((THRESHOLD, "all", s))) for s in ("raw", "refined")]
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


def figure_band_importance(
    importance: Mapping[str, Sequence[tuple[str, float]]], chosen: Mapping[str, Collection[str]]
) -> Figure:
    """Draws the importance of bands as bars, one panel per network, the chosen bands in colour.

    Args:
        importance: By title, `(band, importance)` from the most to the least important.
        chosen: By the same title, the bands that were chosen.
    """
    longest = max(len(bands) for bands in importance.values())
    figure = Figure(
        figsize=(3.9 * max(2, len(importance)), 0.9 + 0.215 * max(4, longest)), layout="constrained"
    )
    panels = figure.subplots(1, len(importance), squeeze=False)[0]
    for axes, (title, bands) in zip(panels, importance.items(), strict=True):
        names = [band for band, _ in bands]
        strong = [band in chosen.get(title, ()) for band in names]
        axes.barh(
            range(len(names)),
            [value for _, value in bands],
            height=0.7,
            color=[BLUE if s else "#c4cbd1" for s in strong],
        )
        axes.set_yticks(range(len(names)), names, fontsize=8.5)
        for label, is_chosen in zip(axes.get_yticklabels(), strong, strict=True):
            label.set_fontweight("bold" if is_chosen else "normal")
            label.set_color(INK if is_chosen else MUTED)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_title(title, fontsize=10, fontweight="bold", loc="left")
        axes.set_xlabel("Importance")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=8)
    return figure
