"""The page: everything that a run found, in one file that needs no network."""

from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from glacierseg._version import __version__
from glacierseg.raster.write import write_text
from glacierseg.report import style
from glacierseg.report.figures.bands import importance_picture, measure_pictures
from glacierseg.report.figures.curves import curves_picture
from glacierseg.report.figures.errors import errors_picture, find_zooms
from glacierseg.report.figures.maps import still_picture
from glacierseg.report.figures.refinement import steps_pictures, surface_picture
from glacierseg.report.figures.scores import buffers_picture, reliability_picture, score_picture
from glacierseg.report.map import PAGE_BUDGET, glacier_layers, map_json, region_map
from glacierseg.report.summary import comparison_rows, more_columns, score_notes, shown_columns, summarise
from glacierseg.report.tables import (
    TRAINING_FACTS,
    importance_table,
    read_tables,
    refinement_rows,
    refinement_table,
    training_rows,
)
from glacierseg.report.views import RegionView, Variant, view_region
from glacierseg.runs.results import RunResults, read_results


def write_report(run_dir: Path) -> Path:
    """Writes `report.html` into a run folder, finished or not.

    The page holds its pictures, styles and script within itself; opening it needs no network.

    Args:
        run_dir: The folder of a run.

    Returns:
        Path of the page.

    Raises:
        RequestError: It is not a run folder.
        DataError: A file of the run folder is damaged.
        OutputError: The page cannot be written.
    """
    results = read_results(Path(run_dir))
    path = results.folder.report
    write_text(path, render(results))
    return path


def render(results: RunResults) -> str:
    """Returns the page of a run."""
    summary = summarise(results)
    views = [view for region in results.regions if (view := view_region(results, region))]
    best = summary.best.variant if summary.best else None
    return page_template("page.html.j2").render(
        run=results,
        version=__version__,
        notices=[*results.notices, *_progress(results)],
        summary=summary,
        rows=comparison_rows(results),
        shown_columns=shown_columns(results),
        more_columns=more_columns(results),
        score_notes=score_notes(results),
        scores=score_picture(results),
        curves=curves_picture(results.networks),
        trainings=training_rows(results),
        training_facts=TRAINING_FACTS,
        regions=[region_section(results, view, best, PAGE_BUDGET // len(views)) for view in views],
        zooms=find_zooms(results, views, best) if best else [],
        best_label=style.variant_label(*best) if best else "",
        importance=[*([first] if (first := importance_picture(results)) else []), *measure_pictures(results)],
        reliability=reliability_picture(results),
        tables=read_tables(results.folder),
        ranks=importance_table(results.networks),
        steps=refinement_table(results.models),
        refinement=refinement_rows(results),
        buffers=buffers_picture(results),
        surface=surface_picture(results, best),
        step_maps=steps_pictures(results, views, best),
        environment=list(flatten(results.environment)),
    )


def page_template(name: str) -> jinja2.Template:
    """Returns one of the package's own templates, with what all of them use.

    Args:
        name: Its file name.
    """
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_resource),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "score": style.score_text,
        "difference": style.difference_text,
        "area": style.area_text,
        "count": style.count_text,
    }
    environment.globals |= {"style": style, "inline": _inline}
    return environment.get_template(name)


def _resource(name: str) -> str:
    return resources.files("glacierseg.report").joinpath(name).read_text(encoding="utf-8")


def _inline(name: str) -> Markup:
    # The package's own files, not data: they go in as they are, but for the address of a source map.
    return Markup(_resource(name).split("//# sourceMappingURL=")[0].strip())  # noqa: S704


def _progress(results: RunResults) -> list[str]:
    """Says what an unfinished run lacks."""
    if not results.unscored:
        return []
    names = ", ".join(style.model_label(name) for name in results.unscored)
    return [f"This run is not finished: no scores yet for {names}. The page shows the results so far."]


def region_section(
    results: RunResults, view: RegionView, best: Variant | None, budget: int, *, title: str = ""
) -> dict[str, Any]:
    """Returns what `region.html.j2` shows of a region.

    Args:
        results: The run.
        view: The region at screen size.
        best: The prediction to show first.
        budget: Characters that its outlines may take.
        title: Heading; where one is given, the map begins with the inventory.
    """
    drawn = region_map(results, view, best)
    outlines = glacier_layers(results, view, budget)
    return {
        "name": view.region.name,
        "title": title or f"Region {view.region.name}",
        "inventory_first": bool(title),
        "facts": _facts(view),
        "notes": view.notes,
        "map": drawn,
        "data": map_json(drawn, view, outlines),
        "outlines": bool(outlines),
        "inventory": any(key.endswith("-inventory") for key in outlines),
        "still": still_picture(view, best),
        "errors": errors_picture(results, view),
    }


def _facts(view: RegionView) -> str:
    width_m, height_m = view.grid.pixel_size_m
    size = (
        f"{width_m:.4g} m"
        if abs(width_m - height_m) < 0.01 * width_m
        else f"{width_m:.4g} × {height_m:.4g} m"
    )
    facts = [f"{view.grid.width} × {view.grid.height} pixels of {size}, {view.region.crs}"]
    if origin := view.region.facts.in_words:
        facts.append(origin)
    if view.truth is not None and (known := view.truth != 255).any():
        facts.append(f"{(view.truth[known] == 1).mean():.0%} glacier in the truth")
    for role in style.ROLES:
        mask = view.role(role)
        if mask is not None:
            facts.append(f"{role} {mask.mean():.0%}")
    return "; ".join(facts)


def flatten(data: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Lists nested facts as pairs of dotted name and text."""
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield f"{prefix}{key}", style.DASH if value is None else text
