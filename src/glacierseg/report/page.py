"""The page: everything that a run found, in one file that needs no network."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from glacierseg._version import __version__
from glacierseg.raster.write import write_text
from glacierseg.report import style
from glacierseg.report.bars import figure_band_importance, figure_scores
from glacierseg.report.comparison import comparison_rows, more_columns
from glacierseg.report.composites import grey_of
from glacierseg.report.curves import figure_training_curves
from glacierseg.report.encode import figure_to_svg, figure_to_webp
from glacierseg.report.layers import RegionMap, region_map
from glacierseg.report.maps import figure_errors
from glacierseg.report.refinement import refinement_rows
from glacierseg.report.results import ModelResult, RunResults, read_results
from glacierseg.report.summary import Summary, summarise
from glacierseg.report.views import RegionView, view_region
from glacierseg.report.zooms import find_zooms


@dataclass(frozen=True)
class Picture:
    """A figure in the page.

    Attributes:
        uri: The figure as data.
        alt: What it shows, for those who do not see it.
        caption: What stands below it.
    """

    uri: str
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class RegionSection:
    """A region in the page.

    Attributes:
        name: Its name.
        facts: Size, grid and parts, in one line.
        notes: What could not be shown.
        map: Its interactive map.
        errors: Errors of every model side by side; None while there is nothing to compare.
    """

    name: str
    facts: str
    notes: tuple[str, ...]
    map: RegionMap
    errors: Picture | None


def write_report(run_dir: Path) -> Path:
    """Writes `report.html` into a run folder, finished or not.

    The page holds its pictures, styles and script within itself; opening it needs no network.

    Args:
        run_dir: The folder of a run.

    Returns:
        Path of the page.

    Raises:
        RequestError: It is no run folder.
        DataError: A file of the run folder is damaged.
        OutputError: The page cannot be written.
    """
    results = read_results(Path(run_dir))
    path = results.folder / "report.html"
    write_text(path, render(results))
    return path


def render(results: RunResults) -> str:
    """Returns the page of a run.

    Raises:
        RasterError: A raster of the run folder is damaged.
    """
    summary = summarise(results)
    views = [view for region in results.regions if (view := view_region(results, region))]
    best = summary.best.variant if summary.best else None
    zooms = find_zooms(results, views, best) if best else []
    return _template().render(
        run=results,
        version=__version__,
        notices=[*results.notices, *_progress(results)],
        summary=summary,
        rows=comparison_rows(results),
        more_columns=more_columns(results),
        scores=_score_picture(results),
        curves=_curves_picture(results.networks),
        regions=[_region_section(results, view, summary) for view in views],
        zooms=[Picture(figure_to_webp(zoom.figure), zoom.text, zoom.text) for zoom in zooms],
        best_label=style.variant_label(*best) if best else "",
        importance=_importance_picture(results),
        refinement=refinement_rows(results),
        environment=list(flatten(results.environment)),
        css=_inline("page.css"),
        js=_inline("page.js"),
    )


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "score": style.score_text,
        "difference": style.difference_text,
        "area": style.area_text,
        "count": style.count_text,
    }
    environment.globals["style"] = style
    return environment.from_string(_resource("page.html.j2"))


def _resource(name: str) -> str:
    return resources.files("glacierseg.report").joinpath(name).read_text(encoding="utf-8")


def _inline(name: str) -> Markup:
    # The package's own files, not data: they go into the page as they are.
    return Markup(_resource(name))  # noqa: S704


def _progress(results: RunResults) -> list[str]:
    """Says what an unfinished run lacks."""
    if not results.unscored:
        return []
    names = ", ".join(style.model_label(name) for name in results.unscored)
    return [f"This run is not finished: there are no scores yet of {names}. The page shows what is there."]


def _score_picture(results: RunResults) -> Picture | None:
    role = next((r for r in ("test", "validate") if any(score.role == r for score in results.scores)), None)
    scores = [score for score in results.scores if score.role == role and score.get("iou") is not None]
    if role is None or all(score.model == "threshold" for score in scores):
        return None
    words = [f"{style.variant_label(*s.variant)} on {s.region} {style.score_text(s.get('iou'))}" for s in scores]
    return Picture(
        figure_to_svg(figure_scores(scores, title=f"IoU on the {role} part")),
        f"Dot plot of IoU on the {role} part: {'; '.join(words)}.",
        f"IoU on the {role} part before and after refinement; lines mark the simple threshold.",
    )


def _curves_picture(networks: Iterable[ModelResult]) -> Picture | None:
    trained = [model for model in networks if model.epochs.get("epoch")]
    if not trained:
        return None
    words = [
        f"{style.variant_label(model.model, model.bands)}: {len(model.epochs['epoch'])} epochs, best validation "
        f"IoU {style.score_text(float(np.nanmax(model.epochs['val_iou'])))}"
        for model in trained
        if np.isfinite(model.epochs.get("val_iou", [])).any()
    ]
    return Picture(
        figure_to_svg(figure_training_curves(trained)),
        f"Training curves. {'; '.join(words)}.",
        "Loss and validation IoU by epoch. The weights of the marked epoch are the ones used.",
    )


def _importance_picture(results: RunResults) -> Picture | None:
    importance, chosen = {}, {}
    for model in results.networks:
        if model.bands == "all" and model.importance:
            title = style.model_label(model.model)
            importance[title] = model.importance
            chosen[title] = _chosen_bands(results, model)
    if not importance:
        return None
    words = [f"{title}: {', '.join(chosen[title])}" for title in importance]
    return Picture(
        figure_to_svg(figure_band_importance(importance, chosen)),
        f"Bars of band importance. Most important bands of {'; '.join(words)}.",
        "How strongly the glacier score answers to each band (input gradients). "
        "In colour: the bands that the smaller networks were trained on.",
    )


def _chosen_bands(results: RunResults, model: ModelResult) -> tuple[str, ...]:
    """Returns the bands of the same network's smaller set; the six strongest while it is not trained."""
    smaller = [m for m in results.networks if m.model == model.model and m.bands != "all" and m.card.get("bands")]
    if smaller:
        return tuple(smaller[0].card["bands"])
    return tuple(band for band, _ in model.importance[:6])


def _region_section(results: RunResults, view: RegionView, summary: Summary) -> RegionSection:
    return RegionSection(
        name=view.region.name,
        facts=_facts(view),
        notes=view.notes,
        map=region_map(results, view, summary.best.variant if summary.best else None),
        errors=_errors_picture(results, view),
    )


def _facts(view: RegionView) -> str:
    width_m, height_m = view.grid.pixel_size_m
    size = f"{width_m:.4g} m" if abs(width_m - height_m) < 0.01 * width_m else f"{width_m:.4g} × {height_m:.4g} m"
    facts = [f"{view.grid.width} × {view.grid.height} pixels of {size}, {view.region.crs}"]
    if view.truth is not None and (known := view.truth != 255).any():
        facts.append(f"{(view.truth[known] == 1).mean():.0%} glacier in the truth")
    for role in style.ROLES:
        mask = view.role(role)
        if mask is not None:
            facts.append(f"{role} {mask.mean():.0%}")
    return "; ".join(facts)


def _errors_picture(results: RunResults, view: RegionView) -> Picture | None:
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
    figure = figure_errors(
        masks,
        view.truth,
        view.pixel_size_m,
        background=grey_of(view.composites[0]) if view.composites else None,
        test=view.role("test"),
        north=view.north,
    )
    return Picture(
        figure_to_webp(figure, dpi=130),
        f"Maps of agreement and errors in {view.region.name} for {'; '.join(masks)}.",
        "Agreement and errors of every model"
        + (" with its IoU on the test part, which the dashed line bounds." if iou else "."),
    )


def flatten(data: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Lists nested facts as pairs of dotted name and text."""
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield f"{prefix}{key}", style.DASH if value is None else text
