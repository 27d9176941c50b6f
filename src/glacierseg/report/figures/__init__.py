"""Figures of a run, and of any scene with what was mapped on it, for papers and notebooks.

from glacierseg.report import figures

run = figures.open_run("runs/basin")
view = figures.open_region(run, "khumbu")
figures.figure_region(view, ("unetplusplus", "all", "refined"))   # a matplotlib Figure: shown by a notebook
figures.write_figures("runs/basin", "figures", kind="pdf")        # all of them, as `glacierseg figures` does
figures.write_scene_figures("scene.tif", "figures", mask="mask.tif", inventory="inventory.gpkg")
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, get_args

from matplotlib.figure import Figure

from glacierseg.errors import RequestError
from glacierseg.raster.outputs import writes
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.report.figures.bands import figure_band_importance, importance_picture, measure_pictures
from glacierseg.report.figures.curves import curves_picture, figure_training_curves
from glacierseg.report.figures.errors import errors_picture, figure_errors, figure_zoom, find_zooms
from glacierseg.report.figures.gallery import figure_patches, figure_statistics
from glacierseg.report.figures.maps import figure_boundary, figure_region
from glacierseg.report.figures.refinement import steps_pictures, surface_picture
from glacierseg.report.figures.scenes import plot_mask, plot_scene, scene_figures
from glacierseg.report.figures.scores import (
    buffers_picture,
    figure_reliability,
    figure_scores,
    reliability_picture,
    score_picture,
)
from glacierseg.report.save import save_figure
from glacierseg.report.summary import summarise
from glacierseg.report.views import RegionView, view_region
from glacierseg.runs.results import RunResults, read_results
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.figures import FigureInputs

__all__ = [
    "figure_band_importance",
    "figure_boundary",
    "figure_errors",
    "figure_patches",
    "figure_region",
    "figure_reliability",
    "figure_scores",
    "figure_statistics",
    "figure_training_curves",
    "figure_zoom",
    "open_region",
    "open_run",
    "plot_mask",
    "plot_scene",
    "run_figures",
    "scene_figures",
    "write_figures",
    "write_scene_figures",
]

Kind = Literal["png", "svg", "pdf"]
_DPI = 300


def open_run(run_dir: Path | str) -> RunResults:
    """Reads a run folder, finished or not; see `glacierseg.runs.results.read_results`."""
    return read_results(Path(run_dir))


def open_region(results: RunResults, name: str) -> RegionView:
    """Reads a region of a run at screen size.

    Raises:
        RequestError: The run has no such region, or no raster of it yet.
        RasterError: A raster is damaged.
    """
    region = results.region(name)
    view = view_region(results, region) if region else None
    if view is None:
        names = ", ".join(region.name for region in results.regions) or "none"
        raise RequestError(f"{results.folder.path}: has nothing to show of a region {name!r}; it has {names}")
    return view


def run_figures(results: RunResults) -> Iterator[tuple[str, Figure]]:
    """Draws every figure that a run has the files for, one after the other.

    Yields:
        Name of the figure, without a suffix, and the figure.
    """
    of_run = {
        "scores": score_picture(results),
        "curves": curves_picture(results.networks),
        "importance": importance_picture(results),
        **{f"measures_{number}": one for number, one in enumerate(measure_pictures(results), 1)},
        "reliability": reliability_picture(results),
        "buffers": buffers_picture(results),
    }
    yield from ((name, picture.figure) for name, picture in of_run.items() if picture)
    best = summarise(results).best
    if surface := surface_picture(results, best.variant if best else None):
        yield "tuning", surface.figure
    views = [view for region in results.regions if (view := view_region(results, region))]
    for view in views:
        for picture in steps_pictures(results, [view], best.variant if best else None):
            yield f"{view.region.name}_refinement", picture.figure
        yield from _region_figures(results, view, best.variant if best else None)
    if best:
        for number, zoom in enumerate(find_zooms(results, views, best.variant), 1):
            yield f"worst_{number}", zoom.figure


def _region_figures(
    results: RunResults, view: RegionView, best: tuple[str, str, str] | None
) -> Iterator[tuple[str, Figure]]:
    name = view.region.name
    if best not in view.predictions:
        best = None
    yield f"{name}_map", figure_region(view, best)
    if view.truth is not None:
        yield f"{name}_patches", figure_patches(view)
        yield f"{name}_statistics", figure_statistics(view)
    if (picture := errors_picture(results, view)) is not None:
        yield f"{name}_errors", picture.figure
    model = results.model(best[0], best[1]) if best else None
    if best and model:
        try:
            path = model.folder.outlines(name)
            yield f"{name}_boundary", figure_boundary(view, path, refined=best[2] == "refined")
        except RequestError:
            return  # no outlines yet, or none at all: then there is no boundary to show


@writes(out_dir=None)
def write_figures(run_dir: Path | str, out_dir: Path | str, *, kind: Kind = "png") -> list[Path]:
    """Writes every figure of a run; PNG with 300 dots per inch, words in SVG and PDF stay words.

    Args:
        run_dir: The folder of a run, finished or not.
        out_dir: Where the figures go.
        kind: Format.

    Returns:
        Their paths.

    Raises:
        RequestError: It is no run folder, or the format is unknown.
        DataError: A file of the run folder is damaged.
        OutputError: A figure cannot be written.
    """
    _require_kind(kind)
    return _write(run_figures(open_run(run_dir)), Path(out_dir), kind)


@fields_as_keywords(inputs=FigureInputs)
@writes(out_dir=None)
def write_scene_figures(
    scene: Scene | Path | str,
    out_dir: Path | str,
    inputs: FigureInputs | None = None,
    *,
    kind: Kind = "png",
) -> list[Path]:
    """Writes pictures of a scene in natural and false colour, and maps of what was found on it.

    Args:
        scene: The scene or its file.
        out_dir: Where the figures go.
        inputs: The mask, probability, inventory and change to draw; the scene alone when None. Its fields may
            be given as keywords.
        kind: Format, as for `write_figures`.

    Returns:
        Their paths.

    Raises:
        RasterError: A raster cannot be read.
        GridMismatchError: A mask, a probability or a change lies elsewhere.
        TruthError: The mask has other values, or the inventory cannot be used.
        RequestError: The change is none, or the format is unknown.
        OutputError: A figure cannot be written.
    """
    _require_kind(kind)
    scene = scene if isinstance(scene, Scene) else open_scene(scene)
    return _write(scene_figures(scene, inputs or FigureInputs()), Path(out_dir), kind)


def _require_kind(kind: str) -> None:
    if kind not in (kinds := get_args(Kind)):
        raise RequestError(f"figures cannot be written as {kind!r}; choose one of {', '.join(kinds)}")


def _write(figures: Iterable[tuple[str, Figure]], folder: Path, kind: Kind) -> list[Path]:
    written = []
    for name, figure in figures:
        path = folder / f"{name}.{kind}"
        save_figure(figure, path, dpi=_DPI)
        written.append(path)
    return written
