"""The two measures of band importance side by side."""

from matplotlib.figure import Figure

from glacierseg.bands import Measures
from glacierseg.report.style import BLUE, INK, MUTED, RULE, VERMILLION, model_label

_PANELS = {
    "gradient": ("Gradient", "Share of all bands", BLUE),
    "permutation": ("Permutation", "IoU lost", VERMILLION),
}


def figure_importance_measures(measures: Measures, top: int, network: str | None = None) -> Figure:
    """Draws one panel per measure, bands in the order of the first, with standard errors.

    Each measure has its own colour and panel; its best `top` bands are filled, the others are pale, those
    without measurable importance are outlines only, and the rank of each band with its bounds, or `none`,
    stands beside its bar, so that nothing rests on colour alone.

    Args:
        measures: Results by measure; the first orders the bands.
        top: How many are the best.
        network: Name for the title.
    """
    first = next(iter(measures.values()))
    order = [entry.band for entry in sorted(first, key=lambda entry: entry.rank)]
    figure = Figure(
        figsize=(1.6 + 2.3 * len(measures), 1.1 + 0.22 * max(4, len(order))), layout="constrained"
    )
    panels = figure.subplots(1, len(measures), squeeze=False, sharey=True)[0]
    for axes, (measure, result) in zip(panels, measures.items(), strict=True):
        title, unit, colour = _PANELS[measure]
        entries = {entry.band: entry for entry in result}
        for row, band in enumerate(order):
            entry = entries[band]
            empty, best = entry.measurable is False, entry.rank <= top
            axes.barh(
                row,
                entry.importance,
                height=0.7,
                color="none" if empty else colour,
                alpha=1 if best or empty else 0.3,
                edgecolor=MUTED if empty else "none",
                linewidth=0.8 if empty else 0,
                linestyle=(0, (2, 2)) if empty else "-",
            )
            error = entry.standard_error or 0.0
            axes.errorbar(entry.importance, row, xerr=error, color=INK, linewidth=1, capsize=2)
            axes.annotate(
                "none" if empty else entry.rank_in_words(),
                (max(entry.importance, 0) + error, row),
                (4, 0),
                textcoords="offset points",
                va="center",
                fontsize=7.5,
                color=INK if best and not empty else MUTED,
                fontweight="bold" if best and not empty else "normal",
            )
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.set_title(title, fontsize=10, fontweight="bold", loc="left")
        axes.set_xlabel(unit, fontsize=8.5)
        axes.margins(x=0.3)
        axes.grid(axis="x", color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=8)
    panels[0].set_yticks(range(len(order)), order, fontsize=8.5)
    panels[0].set_ylim(len(order) - 0.4, -0.6)
    if network:
        figure.suptitle(f"{model_label(network)}: importance of bands", x=0.01, ha="left", fontsize=11)
    return figure
