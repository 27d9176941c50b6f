"""Band importance."""

from collections.abc import Collection, Mapping, Sequence

from matplotlib.figure import Figure

from glacierseg.bands.measures import Measures
from glacierseg.bands.table import read_measures
from glacierseg.report.importance import figure_importance_measures
from glacierseg.report.save import Picture
from glacierseg.report.style import BLUE, INK, MUTED, model_label
from glacierseg.runs.layout import ALL_BANDS
from glacierseg.runs.results import ModelResult, RunResults


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
                "first measure selects the bands; the others are a check. Strong colour: the best "
                f"{top} of each. "
                "Dashed outline: no measurable importance; such bands share the last ranks.",
            )
        )
    return pictures


def _empty_in_words(measures: Measures) -> str:
    empty = {m: [e.band for e in entries if e.measurable is False] for m, entries in measures.items()}
    words = "; ".join(f"{measure}: {', '.join(names)}" for measure, names in empty.items() if names)
    return f" No measurable importance by {words}." if words else ""
