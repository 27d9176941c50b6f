"""Commands that measure: scores of masks, importance of bands."""

from pathlib import Path
from typing import Annotated, Literal

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
    scenes: Annotated[list[Path], typer.Argument(metavar="SCENE...", help="Scenes with the model's bands.")],
    mask: Annotated[
        list[Path], typer.Option(help="Truth of each scene in order: a mask on its grid, or outlines.")
    ],
    out: Out,
    measure: Annotated[
        Literal["gradient", "integrated", "permutation", "drop", "all"],
        typer.Option(help="How to measure; all: rank by gradient and show the others beside it."),
    ] = "gradient",
    top: Annotated[int, typer.Option(min=1, help="How many of the best bands to name.")] = 6,
    patches: Annotated[int, typer.Option(min=1, help="At most so many patches of all scenes.")] = 64,
    plot: Annotated[Path | None, typer.Option(help="Draw the measures too (.png, .svg or .pdf).")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the permutation.")] = 0,
) -> None:
    """Measure band importance and write it as CSV."""
    from glacierseg.bands import (  # noqa: PLC0415
        MEASURES,
        agreement_of,
        measure_scenes,
        tie_message,
        top_bands,
        write_importance,
    )
    from glacierseg.console import Talk  # noqa: PLC0415
    from glacierseg.errors import RequestError  # noqa: PLC0415

    if len(mask) != len(scenes):
        raise RequestError(
            f"{len(scenes)} scenes and {len(mask)} masks; give one --mask for each scene, in their order"
        )
    if plot is not None and plot.suffix.lower() not in {".png", ".svg", ".pdf"}:
        raise RequestError(f"{plot}: cannot draw this format; name it .png, .svg or .pdf")
    talk, chosen = Talk(), MEASURES if measure == "all" else (measure,)
    found = measure_scenes(
        model_dir, list(zip(scenes, mask, strict=True)), measures=chosen, patches=patches, seed=seed
    )
    write_importance(out, found)
    ranked = found[chosen[0]]
    others = {m: {e.band: e for e in found[m]} for m in chosen[1:]}
    rows = [
        [str(e.rank), e.band, f"{e.importance:.4f}", f"{e.spread:.4f}"]
        + [f"{own[e.band].importance:.4f} ({own[e.band].rank})" for own in others.values()]
        for e in ranked
    ]
    talk.table(None, ("rank", "band", "importance", "spread", *(f"{m} (rank)" for m in others)), rows)
    best = top_bands(ranked, top, [e.band for e in ranked])
    talk.say(f"best bands by {chosen[0]}: {', '.join(best)}")
    if tie := tie_message(ranked, top):
        talk.say(f"a close choice: {tie}")
    for agreement in agreement_of(found, top):
        talk.say(agreement.in_words())
    if plot is not None:
        from glacierseg.raster.write import atomic_path  # noqa: PLC0415
        from glacierseg.report.importance import figure_importance_measures  # noqa: PLC0415

        with atomic_path(plot) as part:
            figure_importance_measures(found, top).savefig(part, dpi=150, format=plot.suffix[1:].lower())
