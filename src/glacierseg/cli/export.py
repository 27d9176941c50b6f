"""The command that turns a trained network into a file for other programs."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from glacierseg import log
from glacierseg.choices import ExportFormat
from glacierseg.cli.options import Member, WeightsName, one_model, with_settings
from glacierseg.raster.outputs import writes
from glacierseg.settings.predict import ExportSettings, Int8Inputs
from glacierseg.settings.scene import InputSettings

_log = logging.getLogger(__name__)


def add_export_command(app: typer.Typer) -> None:
    """Adds `export` to the command line."""
    app.command()(export)


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
