"""Commands for what was found: the page of a run, and figures of a run or of any scene."""

import logging
from pathlib import Path
from typing import Annotated, Literal

import typer

from glacierseg.cli.options import with_settings
from glacierseg.errors import RequestError
from glacierseg.raster.outputs import writes
from glacierseg.settings.figures import FigureInputs
from glacierseg.settings.scene import SceneSettings

_log = logging.getLogger(__name__)

RunDir = Annotated[Path, typer.Argument(help="Folder of a run.")]


def add_report_commands(app: typer.Typer) -> None:
    """Adds `report` and `figures` to the command line."""
    for command in (report, figures):
        app.command()(command)


def report(run_dir: RunDir) -> None:
    """Write the report of a run again."""
    from glacierseg.report import write_report

    _log.info(f"report: {write_report(run_dir)}")


@with_settings
@writes(out=None)
def figures(
    run_dir: Annotated[Path | None, typer.Argument(help="Folder of a run.")] = None,
    *,
    out: Annotated[Path, typer.Option(help="Folder for the figures.")],
    scene_file: Annotated[
        Path | None, typer.Option("--scene", help="Any scene, instead of the regions of a run.")
    ] = None,
    format_: Annotated[
        Literal["png", "svg", "pdf"], typer.Option("--format", help="PNG has 300 dots per inch.")
    ] = "png",
    inputs: FigureInputs,
    scene: SceneSettings,
) -> None:
    """Write the figures of a run, or of any scene with what was mapped on it, for papers and talks."""
    from glacierseg.raster.scene import open_scene
    from glacierseg.report.figures import write_figures, write_scene_figures

    if (run_dir is None) == (scene_file is None):
        raise RequestError("figures are of a run or of a scene; give the folder of a run, or --scene FILE")
    if scene_file is not None:
        opened = open_scene(scene_file, bands=scene.band_names, nodata=scene.nodata)
        written = write_scene_figures(opened, out, inputs, kind=format_)
    elif run_dir is not None and not (given := [*inputs.model_fields_set, *scene.model_fields_set]):
        written = write_figures(run_dir, out, kind=format_)
    else:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(given))
        raise RequestError(f"a run has all that its figures show; leave {options} out, or give --scene FILE")
    for path in written:
        _log.info(f"figure: {path}")
