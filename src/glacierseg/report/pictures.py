"""The figures of a run as the page shows them: with words for those who do not see them."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from glacierseg.bands import Measures
from glacierseg.bands.table import read_measures
from glacierseg.report import style
from glacierseg.report.bars import figure_band_importance, figure_scores
from glacierseg.report.composites import grey_of
from glacierseg.report.curves import figure_training_curves
from glacierseg.report.encode import figure_to_svg, figure_to_webp
from glacierseg.report.maps import figure_errors
from glacierseg.report.region_maps import figure_region
from glacierseg.report.reliability import figure_reliability, read_reliability
from glacierseg.report.views import RegionView, Variant
from glacierseg.runs.results import THRESHOLD, ModelResult, RunResults

_SMALL_MAP_PX = 500


@dataclass(frozen=True)
class Picture:
    """A figure in the page.

    Attributes:
        figure: The figure.
        alt: What it shows, for those who do not see it.
        caption: What stands below it.
        has_image: Whether it holds images, so that dots are smaller than lines.
    """

    figure: Figure
    alt: str
    caption: str
    has_image: bool = False

    @property
    def uri(self) -> str:
        """The figure as data; drawn when it is asked for."""
        return figure_to_webp(self.figure) if self.has_image else figure_to_svg(self.figure)

    @property
    def width_px(self) -> int:
        """Width that its words are made for."""
        return round(96 * self.figure.get_figwidth())


def score_picture(results: RunResults) -> Picture | None:
    """Shows the IoU of every model on the test part, on the validate part while nothing is tested."""
    role = next((r for r in ("test", "validate") if any(score.role == r for score in results.scores)), None)
    scores = [score for score in results.scores if score.role == role and score.get("iou") is not None]
    if role is None or all(score.model == THRESHOLD for score in scores):
        return None
    words = [
        f"{style.variant_label(*s.variant)} on {s.region} {style.score_text(s.get('iou'))}" for s in scores
    ]
    return Picture(
        figure_scores(scores, title=f"IoU on the {role} part"),
        f"Dot plot of IoU on the {role} part: {'; '.join(words)}.",
        f"IoU on the {role} part before and after refinement; lines mark the simple threshold.",
    )


def curves_picture(networks: Iterable[ModelResult]) -> Picture | None:
    """Shows the training curves of all networks that have any."""
    trained = [model for model in networks if model.epochs.get("epoch")]
    if not trained:
        return None
    words = [
        f"{style.variant_label(model.model, model.bands)}: {len(model.epochs['epoch'])} epochs, "
        f"best validation IoU {style.score_text(float(np.nanmax(model.epochs['val_iou'])))}"
        for model in trained
        if np.isfinite(model.epochs.get("val_iou", [])).any()
    ]
    return Picture(
        figure_training_curves(trained),
        f"Training curves. {'; '.join(words)}.",
        "Loss and glacier IoU by epoch, of validation and, dotted, of training patches as they were shown. "
        "The weights of the marked epoch are the ones used.",
    )


def importance_picture(results: RunResults) -> Picture | None:
    """Shows the band importance of all networks that were measured in one way only."""
    importance, chosen = {}, {}
    for model in results.networks:
        if model.bands == "all" and model.importance and len(measures_of(model)) < 2:
            title = style.model_label(model.model)
            importance[title] = model.importance
            chosen[title] = chosen_bands(results, model)
    if not importance:
        return None
    words = [f"{title}: {', '.join(chosen[title])}" for title in importance]
    return Picture(
        figure_band_importance(importance, chosen),
        f"Bars of band importance. Most important bands of {'; '.join(words)}.",
        "How important each band is, as a share of all, by the measure that chooses. "
        "In colour: the bands that the smaller networks were trained on.",
    )


def measures_of(model: ModelResult) -> Measures:
    """Returns every measure of the band importance of a network; none while there is none."""
    path = model.folder / "band_importance.csv"
    return read_measures(path) if path.exists() else {}


def reliability_picture(results: RunResults) -> Picture | None:
    """Shows how far the probabilities can be believed, on the test part where that is known."""
    for role in ("test", "validate"):
        points = {
            style.variant_label(model.model, model.bands): own
            for model in results.networks
            if (own := read_reliability(model.folder, role))
        }
        if points:
            return Picture(
                figure_reliability(points),
                f"Reliability diagrams on the {role} part of {'; '.join(points)}.",
                f"On the {role} part: of the pixels given some probability, how many are glacier. "
                "On the dashed line the probability can be taken at its word; below it the network promises "
                "too much.",
            )
    return None


def chosen_bands(results: RunResults, model: ModelResult) -> tuple[str, ...]:
    """Returns the bands of the same network's smaller set; the six strongest while it is not trained."""
    smaller = [
        m for m in results.networks if m.model == model.model and m.bands != "all" and m.card.get("bands")
    ]
    if smaller:
        return tuple(smaller[0].card["bands"])
    return tuple(band for band, _ in model.importance[:6])


def errors_picture(results: RunResults, view: RegionView) -> Picture | None:
    """Shows the errors of every model in a region side by side, refined where that is done."""
    if view.truth is None or not view.predictions:
        return None
    final = {(model, bands): stage for model, bands, stage in view.predictions}  # refined comes after raw
    iou = {
        score.variant: score.get("iou")
        for score in results.scores
        if score.region == view.region.name and score.role == "test"
    }
    masks = {}
    for (model, bands), stage in final.items():
        score = iou.get((model, bands, stage))
        title = style.variant_label(model, bands, stage) + (f": {score:.3f}" if score is not None else "")
        masks[title] = view.predictions[model, bands, stage]
    # Small maps need no more; half the pixels take a quarter of the time.
    step = max(1, max(view.truth.shape) // _SMALL_MAP_PX)
    coarse = (slice(None, None, step), slice(None, None, step))
    test = view.role("test")
    figure = figure_errors(
        {title: mask[coarse] for title, mask in masks.items()},
        view.truth[coarse],
        (view.pixel_size_m[0] * step, view.pixel_size_m[1] * step),
        background=grey_of(view.composites[0])[coarse] if view.composites else None,
        test=None if test is None else test[coarse],
        north=view.north,
    )
    return Picture(
        figure,
        f"Maps of agreement and errors in {view.region.name} for {'; '.join(masks)}.",
        "Agreement and errors of every model"
        + (" with its IoU on the test part, which the dashed line bounds." if iou else "."),
        has_image=True,
    )


def still_picture(view: RegionView, best: Variant | None) -> Picture | None:
    """Shows a region as its map opens: image, true and predicted outlines, coordinates."""
    if not view.composites:
        return None
    predicted = view.predictions.get(best) if best else None
    figure = figure_region(view, best if predicted is not None else None)
    lines = " with the true outlines" if view.truth is not None else ""
    lines += f" and those of {style.variant_label(*best)}" if best and predicted is not None else ""
    return Picture(figure, f"Map of {view.region.name}{lines}.", "", has_image=True)
