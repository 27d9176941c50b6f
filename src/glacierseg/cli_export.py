"""The command that turns a trained network into a file for other programs."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def add_export_command(app: typer.Typer) -> None:
    """Adds `export` to the command line."""
    app.command()(export)


def export(
    model_dir: Annotated[Path, typer.Argument(help="Folder of a trained model.")],
    to: Annotated[Literal["onnx", "openvino"], typer.Option(help="One .onnx file, or .xml with .bin.")],
    out: Annotated[Path | None, typer.Option(help="The file; in the model folder when left out.")] = None,
    window_px: Annotated[
        int | None, typer.Option(help="Side of the windows it takes; the training patch by default.")
    ] = None,
    prune_level: Annotated[
        int | None,
        typer.Option(min=1, max=4, help="Steps of a unetplusplus with deep supervision: fewer are faster."),
    ] = None,
) -> None:
    """Write a network for other programs: band values in, class probabilities out."""
    from glacierseg.console import Talk  # noqa: PLC0415
    from glacierseg.predict.export import export_model  # noqa: PLC0415

    Talk().say(str(export_model(model_dir, to, out, window_px=window_px, prune_level=prune_level)))
