"""Commands that pass results on: the page of a run, figures, and networks for other programs."""

import logging
from pathlib import Path
from typing import Annotated, Literal

import typer

from glacierseg import log
from glacierseg.choices import ExportFormat
from glacierseg.cli.options import Member, WeightsName, one_model, with_settings
from glacierseg.errors import RequestError
from glacierseg.raster.outputs import writes
from glacierseg.settings.figures import FigureInputs
from glacierseg.settings.predict import ExportSettings, Int8Inputs
from glacierseg.settings.scene import InputSettings, SceneSettings

_log = logging.getLogger(__name__)

RunDir = Annotated[Path, typer.Argument(help="Folder of a run.")]


def add_share_commands(app: typer.Typer) -> None:
    """Adds `report`, `figures` and `export` to the command line."""
    for command in (report, figures, export):
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


@with_settings
@writes(out=())
def export(
    to: Annotated[ExportFormat, typer.Option(help="Format: one .onnx file, or .xml with .bin.")],
    settings: ExportSettings,
    inputs: Int8Inputs,
    model_dir: Annotated[Path | None, typer.Argument(help="Folder of a trained model.")] = None,
    weights: WeightsName = None,
    member: Member = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="File of the result. Default: in the model folder, or here."),
    ] = None,
) -> None:
    """Write a network for other programs: band values in, class probabilities out."""
    from glacierseg.errors import RequestError
    from glacierseg.predict.export import export_model
    from glacierseg.raster.scene import open_scene
    from glacierseg.weights import find_weights

    folder = one_model(model_dir, weights, member)
    named = None if weights is None else find_weights(weights)
    if named and settings.window_px is None:
        settings = settings.replaced(window_px=named.window_px)
    if named and out is None:
        # The package's own folder is no place for results.
        stem = f"{named.name}-{member}" if member else named.name
        out = Path(f"{stem}{'_int8' if inputs.int8_with else ''}{'.onnx' if to == 'onnx' else '.xml'}")
    if inputs.int8_with is None:
        if settings.truth is not None:
            raise RequestError("--truth shows what int8 costs; give --int8-with SCENE too, or leave it out")
        for name in sorted(inputs.model_fields_set):
            option = f"--{name.replace('_', '-')}"
            raise RequestError(f"{option} goes with --int8-with SCENE; give that too, or leave it out")
        _log.info(str(export_model(folder, to, out, settings)))
        return
    if to != "openvino":
        raise RequestError("int8 is for OpenVINO; give --to openvino, or leave --int8-with out")
    from glacierseg.predict.int8 import quantize_model

    opened = [
        open_scene(path, bands=inputs.band_names, nodata=inputs.nodata)
        for path in (inputs.int8_with, inputs.cost_on)
        if path is not None
    ]
    if named:
        fitted = [named.fit(one, InputSettings(force=True)) for one in opened]
        for line in (line for one in fitted for line in one.warnings):
            _log.warning(line)
        opened = [one.scene for one in fitted]
    scene, *others = opened
    path, cost = quantize_model(folder, scene, out, settings, cost_scene=others[0] if others else None)
    _log.info(str(path))
    _log.info(
        f"compared on {cost.pixels} pixels of {cost.windows} windows that it was not calibrated on: "
        f"{1 - cost.agreement:.3%} change class"
    )
    if cost.iou_float32 is None or cost.iou_int8 is None:
        _log.info("what int8 costs in IoU is UNKNOWN: give the --truth to learn it")
        return
    _log.info(
        log.table(
            None,
            ("precision", "IoU"),
            [
                ("float32", f"{cost.iou_float32:.4f}"),
                ("int8", f"{cost.iou_int8:.4f}"),
                ("difference", f"{cost.iou_int8 - cost.iou_float32:+.4f}"),
            ],
        )
    )
