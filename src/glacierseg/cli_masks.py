"""Commands that refine masks, and search how."""

from pathlib import Path
from typing import Annotated, Any

import typer

Out = Annotated[Path, typer.Option("--out", help="Where the result goes.")]


def add_mask_commands(app: typer.Typer) -> None:
    """Adds `refine` and `tune` to the command line."""
    for command in (refine, tune):
        app.command()(command)


def refine(
    mask: Annotated[Path, typer.Argument(help="A mask raster.")],
    out: Out,
    min_area_km2: Annotated[float, typer.Option(help="Smaller fragments are removed.")] = 0.03,
    merge_distance_m: Annotated[float, typer.Option(help="Fragments with a smaller gap are joined.")] = 20.0,
    iterations: Annotated[int, typer.Option(help="Passes of smoothing.")] = 10,
    max_hole_km2: Annotated[
        float, typer.Option(help="Smaller holes are filled; 0 for none, inf for all.")
    ] = 0.03,
) -> None:
    """Refine a mask: merge, smooth, fill holes, remove fragments."""
    import math  # noqa: PLC0415

    from glacierseg.console import Talk  # noqa: PLC0415
    from glacierseg.refine.files import refine_file  # noqa: PLC0415
    from glacierseg.refine.pipeline import RefineParameters  # noqa: PLC0415

    changes = refine_file(
        mask,
        out,
        RefineParameters(
            min_area_km2=min_area_km2,
            merge_distance_m=merge_distance_m,
            iterations=iterations,
            max_hole_km2=None if math.isinf(max_hole_km2) else max_hole_km2,
        ),
    )
    _print_changes(Talk(), changes)


def tune(
    mask: Annotated[Path, typer.Argument(help="A predicted mask.")],
    truth: Annotated[Path, typer.Option(help="A mask on its grid, or outlines.")],
    out: Out,
) -> None:
    """Search the refinement parameters with the highest IoU."""
    from dataclasses import asdict  # noqa: PLC0415

    from glacierseg.console import Talk, plain  # noqa: PLC0415
    from glacierseg.raster.scene import grid_of, open_raster  # noqa: PLC0415
    from glacierseg.raster.truth import load_truth, read_mask  # noqa: PLC0415
    from glacierseg.raster.write import write_json  # noqa: PLC0415
    from glacierseg.refine.search import tune_refinement  # noqa: PLC0415

    with open_raster(mask) as dataset:
        grid = grid_of(dataset)
    tuned = tune_refinement(read_mask(mask), load_truth(truth, grid), grid.pixel_size_m)
    write_json(
        out,
        {
            "best": asdict(tuned.best),
            "raw_iou": tuned.raw_iou,
            "best_iou": tuned.best_iou,
            "table": tuned.table,
        },
    )
    talk = Talk()
    talk.say(
        f"IoU {tuned.raw_iou:.4f} raw, {tuned.best_iou:.4f} with the best of {len(tuned.table)} combinations:"
    )
    talk.table(None, ("parameter", "value"), [(key, plain(v)) for key, v in asdict(tuned.best).items()])


def _print_changes(talk: Any, changes: Any) -> None:
    rows = [
        (
            change.step,
            f"{change.fragments_before} -> {change.fragments_after}",
            f"{change.holes_before} -> {change.holes_after}",
            f"{change.area_before_km2:.3f} -> {change.area_after_km2:.3f}",
        )
        for change in changes
    ]
    talk.table(None, ("step", "fragments", "holes", "km2"), rows)
