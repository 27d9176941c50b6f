"""Pictures of what a network looks at and how its mask was refined, with words for those who see none."""

from collections.abc import Iterable

from glacierseg.bands import Measures
from glacierseg.raster.truth import read_mask
from glacierseg.refine.parameters import RefineParameters, load_parameters
from glacierseg.refine.pipeline import refine_stepwise
from glacierseg.refine.search import TuneResult
from glacierseg.report import style
from glacierseg.report.buffers import figure_buffers, read_buffers
from glacierseg.report.importance import figure_importance_measures
from glacierseg.report.pictures import Picture, chosen_bands, measures_of
from glacierseg.report.steps_picture import figure_refinement_steps
from glacierseg.report.tuning_surface import figure_tuning_surface
from glacierseg.report.views import RegionView, Variant
from glacierseg.runs.results import ModelResult, RunResults


def measure_pictures(results: RunResults) -> list[Picture]:
    """Shows all measures of band importance of every network that has several."""
    pictures = []
    for model in results.networks:
        if model.bands != "all" or len(measures := measures_of(model)) < 2:
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
                f"Bars of band importance of {style.model_label(model.model)} by {len(measures)} measures. "
                f"The best {top} by {words}.{_empty_in_words(measures)}",
                "Every measure, the rank and its bounds beside the bar, the standard error as a line. The "
                "first one chooses the bands, the others check it; in strong colour: the best "
                f"{top} of each. "
                "Dashed outlines: no measurable importance; such bands share the last ranks.",
            )
        )
    return pictures


def _empty_in_words(measures: Measures) -> str:
    empty = {m: [e.band for e in entries if e.measurable is False] for m, entries in measures.items()}
    words = "; ".join(f"{measure}: {', '.join(names)}" for measure, names in empty.items() if names)
    return f" No measurable importance by {words}." if words else ""


def buffers_picture(results: RunResults) -> Picture | None:
    """Shows what a forgiven rim and a moved truth do to the IoU, on the test part where there is one."""
    for role in ("test", "validate"):
        if lines := read_buffers(results, role):
            words = [
                f"{style.variant_label(line.model, line.bands)} in {line.region}: "
                + ", ".join(f"{distance_m:g} m {style.score_text(iou)}" for distance_m, iou in line.forgiven)
                for line in lines
            ]
            return Picture(
                figure_buffers(lines),
                f"IoU of refined masks on the {role} part by width of the forgiven rim. {'; '.join(words)}.",
                f"Refined masks on the {role} part. Left: IoU without the pixels near the true boundary. "
                "Right: against a truth that is shrunk or grown; where the grown one fits better, the mask "
                "is too large.",
            )
    return None


def surface_picture(results: RunResults, best: Variant | None) -> Picture | None:
    """Shows what the parameter search found for the best model; None where there was none, or an old one."""
    model = _refined(results, best)
    if model is None or len(model.refinement.get("table", ())) < 2:
        return None
    found = model.refinement
    # Earlier versions wrote fewer columns; what is left of such a run is still worth a report.
    if not all({"iou", "f1", "area_error"} <= row.keys() for row in found["table"]):
        return None
    result = TuneResult(
        best=load_parameters(model.folder / "refinement.json"),
        best_iou=found["best_iou"],
        raw_iou=found["raw_iou"],
        table=found["table"],
        objective=found.get("objective", "iou"),
    )
    label = style.variant_label(model.model, model.bands)
    return Picture(
        figure_tuning_surface(result),
        f"Score of every combination of refinement parameters that was tried for {label}.",
        f"{label}: what every combination that was tried scores on validation pixels.",
    )


def steps_pictures(results: RunResults, views: Iterable[RegionView], best: Variant | None) -> list[Picture]:
    """Shows what each step of the refinement did to the mask of the best model, region by region.

    The steps are done again on the whole mask; those that changed nothing are only named. Where they need the
    slope of the ground, which lies outside the run's folder, there is no picture.

    Raises:
        RasterError: A mask is damaged.
    """
    model = _refined(results, best)
    if model is None:
        return []
    parameters: RefineParameters = load_parameters(model.folder / "refinement.json")
    if parameters.max_hole_slope_deg is not None:
        return []
    pictures = []
    for view in views:
        path = model.mask_path(view.region.name, "raw")
        if not path.exists():
            continue
        mask, size_m = read_mask(path), view.region.pixel_size_m
        steps = list(refine_stepwise(mask, size_m, parameters))
        befores = [mask, *(after for _, after in steps)]
        drawn = [number for number, (_, after) in enumerate(steps) if (after != befores[number]).any()]
        if not drawn:
            continue
        idle = [name for number, (name, _) in enumerate(steps) if number not in drawn]
        label = f"{style.variant_label(model.model, model.bands)} in {view.region.name}"
        pictures.append(
            Picture(
                # A step that changed nothing leaves the mask of the one before, so it can be left out.
                figure_refinement_steps(mask, [steps[number] for number in drawn], size_m, north=view.north),
                f"Maps of what each step of the refinement added and took away for {label}.",
                f"{label}, step by step: all of it, and the place where most changed before and after."
                + (f" No change by: {', '.join(idle)}." if idle else ""),
                has_image=True,
            )
        )
    return pictures


def _refined(results: RunResults, best: Variant | None) -> ModelResult | None:
    model = results.model(best[0], best[1]) if best else None
    return model if model is not None and "best" in model.refinement else None
