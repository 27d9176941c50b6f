"""Commands that measure: scores of masks, importance of bands."""

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Option("--out", help="Where the result goes.")]


def add_score_commands(app: typer.Typer) -> None:
    """Adds `evaluate` and `bands` to the command line."""
    for command in (evaluate, bands):
        app.command()(command)


def evaluate(
    predicted: Annotated[Path, typer.Argument(help="A predicted mask.")],
    truth: Annotated[Path, typer.Argument(help="A mask on its grid, or outlines.")],
    out: Out,
    buffer_m: Annotated[
        list[float] | None, typer.Option(help="Forgive a rim of so many metres along the true boundary.")
    ] = None,
) -> None:
    """Score a mask against the truth."""
    from glacierseg.console import Talk, plain  # noqa: PLC0415
    from glacierseg.evaluate.files import evaluate_file  # noqa: PLC0415
    from glacierseg.raster.write import write_json  # noqa: PLC0415

    record = evaluate_file(predicted, truth, buffers_m=buffer_m or ()).to_dict()
    write_json(out, record)
    Talk().table(None, ("score", "value"), [(key, plain(value)) for key, value in record.items()])


def bands(
    model_dir: Annotated[Path, typer.Argument(help="Folder of a trained model.")],
    scene: Annotated[Path, typer.Argument(help="A scene with the model's bands.")],
    mask: Annotated[Path, typer.Option(help="Its truth: a mask on its grid, or outlines.")],
    out: Out,
) -> None:
    """Measure band importance and write it as CSV."""
    from glacierseg.bands import band_importance, write_importance  # noqa: PLC0415
    from glacierseg.console import Talk  # noqa: PLC0415

    importance = band_importance(model_dir, scene, mask)
    write_importance(out, importance)
    rows = [(str(e.rank), e.band, f"{e.importance:.4f}", f"{e.spread:.4f}") for e in importance]
    Talk().table(None, ("rank", "band", "importance", "spread"), rows)
