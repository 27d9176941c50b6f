"""Band importance: by one measure, and by two side by side."""

from collections.abc import Collection, Mapping, Sequence

from matplotlib.figure import Figure

from glacierseg.bands import Measures
from glacierseg.bands.table import read_measures
from glacierseg.report.save import Picture
from glacierseg.report.style import BLUE, INK, MUTED, RULE, VERMILLION, model_label
from glacierseg.runs.layout import ALL_BANDS
from glacierseg.runs.results import ModelResult, RunResults

_PANELS = {
    "gradient": ("Gradient", "Share of all bands", BLUE),
    "permutation": ("Permutation", "IoU lost", VERMILLION),
}


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


def figure_importance_measures(measures: Measures, top: int, network: str | None = None) -> Figure:
    """Draws one panel per measure, bands in the order of the first, with standard errors.

    Each measure has its own colour and panel; its best `top` bands are filled, the others are pale, those
    without measurable importance are outlines only, and the rank of each band with its bounds, or `none`,
    stands beside its bar, so that nothing rests on colour alone.
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


def importance_picture(results: RunResults) -> Picture | None:
    """Shows the band importance of all networks that were measured in one way only."""
    importance, chosen = {}, {}
    for model in results.networks:
        if model.bands == ALL_BANDS and model.importance and len(measures_of(model)) < 2:
            title = model_label(model.model)
            importance[title] = model.importance
            chosen[title] = chosen_bands(results, model)
    if not importance:
        return None
    words = [f"{title}: {', '.join(chosen[title])}" for title in importance]
    return Picture(
        figure_band_importance(importance, chosen),
        f"Bar charts of band importance. Most important bands of {'; '.join(words)}.",
        "Importance of each band, as a share of all bands, by the measure that selects bands. "
        "In colour: the bands that the smaller networks were trained on.",
    )


def measures_of(model: ModelResult) -> Measures:
    """Returns every measure of the band importance of a network; none while there is none."""
    path = model.folder.importance
    return read_measures(path) if path.exists() else {}


def chosen_bands(results: RunResults, model: ModelResult) -> tuple[str, ...]:
    """Returns the bands of the same network's smaller set; the six strongest while it is not trained."""
    smaller = [
        m for m in results.networks if m.model == model.model and m.bands != ALL_BANDS and m.card.get("bands")
    ]
    if smaller:
        return tuple(smaller[0].card["bands"])
    return tuple(band for band, _ in model.importance[:6])


def measure_pictures(results: RunResults) -> list[Picture]:
    """Shows all measures of band importance of every network that has several."""
    pictures = []
    for model in results.networks:
        if model.bands != ALL_BANDS or len(measures := measures_of(model)) < 2:
            continue
        top = len(chosen_bands(results, model))
        best = {
            measure: [entry.band for entry in entries if entry.rank <= top]
            for measure, entries in measures.items()
        }
        words = "; ".join(f"{measure}: {', '.join(names)}" for measure, names in best.items())
        pictures.append(
            Picture(
                figure_importance_measures(measures, top, model.model),
                f"Bar charts of band importance of {model_label(model.model)} by {len(measures)} measures. "
                f"The best {top} by {words}.{_empty_in_words(measures)}",
                "Every measure, with rank and bounds beside each bar and the standard error as a line. The "
                "first measure selects the bands; the other is a check. Strong colour: the best "
                f"{top} of each. "
                "Dashed outline: no measurable importance; such bands share the last ranks.",
            )
        )
    return pictures


def _empty_in_words(measures: Measures) -> str:
    empty = {m: [e.band for e in entries if e.measurable is False] for m, entries in measures.items()}
    words = "; ".join(f"{measure}: {', '.join(names)}" for measure, names in empty.items() if names)
    return f" No measurable importance by {words}." if words else ""
