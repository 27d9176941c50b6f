"""Commands that refine masks, and search how."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glacierseg import log
from glacierseg.raster.outputs import TIFF, writes

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from glacierseg.refine.files import Pair, TuneReport
    from glacierseg.refine.parameters import RefineParameters
    from glacierseg.refine.pipeline import StepChange

Out = Annotated[Path, typer.Option("--out", help="Where the result goes.")]
SHOWN_ROWS = 10


def add_mask_commands(app: typer.Typer) -> None:
    """Adds `refine` and `tune` to the command line."""
    for command in (refine, tune):
        app.command()(command)


@writes(out=TIFF, picture=())
def refine(
    mask: Annotated[Path, typer.Argument(help="A mask raster.")],
    out: Out,
    parameters: Annotated[
        Path | None, typer.Option(help="A file of `glacierseg tune`; the options below take precedence.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Smallest area by name: regional (0.03 km2) or rgi (0.01 km2).")
    ] = None,
    min_area_km2: Annotated[
        float | None, typer.Option(help="Smaller fragments are removed. Default: 0.03.")
    ] = None,
    merge_distance_m: Annotated[
        float | None, typer.Option(help="Fragments with a smaller gap are joined. Default: 20.")
    ] = None,
    iterations: Annotated[int | None, typer.Option(help="Passes of smoothing. Default: 10.")] = None,
    smoothing: Annotated[
        str | None, typer.Option(help="majority, closing, opening, dilation or erosion. Default: majority.")
    ] = None,
    max_hole_km2: Annotated[
        float | None, typer.Option(help="Smaller holes are filled; 0 for none, inf for all. Default: 0.03.")
    ] = None,
    max_hole_slope_deg: Annotated[
        float | None, typer.Option(help="Steeper holes are nunataks and stay; needs --dem.")
    ] = None,
    dem: Annotated[Path | None, typer.Option(help="Elevation in metres, on any grid.")] = None,
    connectivity: Annotated[
        int | None, typer.Option(help="4: fragments that only touch at a corner are two. Default: 8.")
    ] = None,
    keep_cut_fragments: Annotated[
        bool | None,
        typer.Option("--keep-cut-fragments", help="Never remove what the scene border or missing data cuts."),
    ] = None,
    steps: Annotated[
        str | None, typer.Option(help="Which steps, in which order. Default: merge,smooth,fill,remove.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw what each step changed (PNG, SVG or PDF).")
    ] = None,
) -> None:
    """Refine a mask: merge, smooth, fill holes, remove fragments."""
    from glacierseg.errors import RequestError  # noqa: PLC0415
    from glacierseg.refine.files import refine_file  # noqa: PLC0415
    from glacierseg.refine.parameters import preset_area_km2  # noqa: PLC0415

    if preset is not None:
        if min_area_km2 is not None:
            raise RequestError("--preset and --min-area-km2 both set the smallest area; give one of them")
        min_area_km2 = preset_area_km2(preset)
    chosen = _parameters(
        parameters,
        min_area_km2=min_area_km2,
        merge_distance_m=merge_distance_m,
        iterations=iterations,
        smoothing=smoothing,
        max_hole_km2=max_hole_km2,
        max_hole_slope_deg=max_hole_slope_deg,
        connectivity=connectivity,
        keep_cut_fragments=keep_cut_fragments,
        steps=None if steps is None else tuple(step.strip() for step in steps.split(",")),
    )
    if dem is not None and chosen.max_hole_slope_deg is None:
        _log.info("note: --dem was not used; it is for --max-hole-slope-deg")
    if picture is not None:
        from glacierseg.report.figures.refinement import draw_refinement_steps  # noqa: PLC0415

        draw_refinement_steps(mask, picture, chosen, dem=dem)
    _print_changes(refine_file(mask, out, chosen, dem=dem))


@writes(out=(".json",), plot=())
def tune(
    mask: Annotated[list[Path], typer.Argument(help="Predicted masks to tune on.")],
    truth: Annotated[
        list[Path], typer.Option(help="Truth of each mask in their order: a mask on any grid, or outlines.")
    ],
    out: Out,
    objective: Annotated[
        str, typer.Option(help="What is sought: iou, f1 (ranks as iou does), or area.")
    ] = "iou",
    merge_distance_m: Annotated[
        list[float] | None, typer.Option(help="A value to try. Default: 0 10 20 30 40.")
    ] = None,
    min_area_km2: Annotated[
        list[float] | None, typer.Option(help="A value to try. Default: 0 0.01 0.03 0.1.")
    ] = None,
    iterations: Annotated[list[int] | None, typer.Option(help="A value to try. Default: 0 1 3 10.")] = None,
    max_hole_km2: Annotated[
        list[float] | None, typer.Option(help="A value to try, inf for all holes. Default: 0 0.03 0.1.")
    ] = None,
    smoothing: Annotated[list[str] | None, typer.Option(help="A method to try. Default: majority.")] = None,
    max_hole_slope_deg: Annotated[
        float | None, typer.Option(help="Steeper holes are nunataks and stay; needs --dem.")
    ] = None,
    dem: Annotated[
        list[Path] | None, typer.Option(help="Elevation of each mask in their order, then of the untouched.")
    ] = None,
    connectivity: Annotated[int, typer.Option(help="4: fragments that only touch at a corner are two.")] = 8,
    steps: Annotated[str, typer.Option(help="Which steps, in which order.")] = "merge,smooth,fill,remove",
    keep_cut_fragments: Annotated[
        bool,
        typer.Option("--keep-cut-fragments", help="Never remove what the scene border or missing data cuts."),
    ] = False,
    untouched_mask: Annotated[
        list[Path] | None, typer.Option(help="A mask that only shows what the choice does elsewhere.")
    ] = None,
    untouched_truth: Annotated[
        list[Path] | None, typer.Option(help="Its truth, in the order of the masks.")
    ] = None,
    truth_layer: Annotated[
        list[str] | None,
        typer.Option(help="Layer of outlines with several: one for all, or for each (untouched last)."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the score over all parameters (PNG, SVG or PDF).")
    ] = None,
) -> None:
    """Search the refinement parameters that bring masks nearest to the truth."""
    from glacierseg.raster.outlines import one_layer_each  # noqa: PLC0415
    from glacierseg.raster.write import write_json  # noqa: PLC0415
    from glacierseg.refine.files import tune_files  # noqa: PLC0415

    if plot is not None:
        from glacierseg.report.save import require_picture  # noqa: PLC0415

        require_picture(plot)
    elevation = list(dem or [])
    layers = one_layer_each([*truth, *(untouched_truth or [])], truth_layer)
    tuned = _pairs(mask, truth, elevation, layers, "mask", "--truth")
    untouched = _pairs(
        untouched_mask or [], untouched_truth or [], elevation[len(mask) :], layers[len(truth) :],
        "--untouched-mask", "--untouched-truth",
    )  # fmt: skip
    grids: dict[str, Any] = {
        "merge_distances_m": merge_distance_m,
        "min_areas_km2": min_area_km2,
        "iterations": iterations,
        "max_holes_km2": None if max_hole_km2 is None else [_or_all(hole) for hole in max_hole_km2],
        "smoothing": smoothing,
    }
    report = tune_files(
        tuned,
        untouched,
        objective=objective,
        max_hole_slope_deg=max_hole_slope_deg,
        connectivity=connectivity,
        keep_cut_fragments=keep_cut_fragments,
        steps=tuple(step.strip() for step in steps.split(",")),
        **{name: values for name, values in grids.items() if values},
    )
    write_json(out, report.to_dict())
    if plot is not None:
        from glacierseg.report.figures.refinement import draw_tuning_surface  # noqa: PLC0415

        draw_tuning_surface(report.result, plot)
    _print_tuning(report)


def _parameters(file: Path | None, **given: Any) -> "RefineParameters":
    """Returns the parameters of a file, or the defaults, with what was given in their place."""
    from dataclasses import replace  # noqa: PLC0415

    from glacierseg.refine.parameters import RefineParameters, load_parameters  # noqa: PLC0415

    known = {name: value for name, value in given.items() if value is not None}
    if "max_hole_km2" in known:
        known["max_hole_km2"] = _or_all(known["max_hole_km2"])
    return replace(RefineParameters() if file is None else load_parameters(file), **known)


def _or_all(hole_km2: float) -> float | None:
    return None if hole_km2 == float("inf") else hole_km2


def _pairs(
    masks: Sequence[Path],
    truths: Sequence[Path],
    dems: Sequence[Path],
    layers: Sequence[str | None],
    mask_name: str,
    truth_name: str,
) -> "list[Pair]":
    from glacierseg.errors import RequestError  # noqa: PLC0415
    from glacierseg.refine.files import Pair  # noqa: PLC0415

    if len(masks) != len(truths):
        raise RequestError(
            f"there are {len(masks)} x {mask_name} and {len(truths)} x {truth_name}; "
            f"give one {truth_name} for each mask, in the same order"
        )
    padded = [*dems, *[None] * len(masks)]
    return [
        Pair(*each) for each in zip(masks, truths, padded[: len(masks)], layers[: len(masks)], strict=True)
    ]


def _print_changes(changes: "Sequence[StepChange]") -> None:
    rows = [
        (
            change.step,
            f"{change.fragments_before} -> {change.fragments_after}",
            f"{change.holes_before} -> {change.holes_after}",
            f"{change.area_before_km2:.3f} -> {change.area_after_km2:.3f}",
            f"{change.changed_px}",
        )
        for change in changes
    ]
    _log.info(log.table(None, ("step", "fragments", "holes", "km2", "changed px"), rows))


def _print_tuning(report: "TuneReport") -> None:
    from dataclasses import asdict  # noqa: PLC0415

    from glacierseg.refine.transfer import verdict  # noqa: PLC0415

    result = report.result
    for line in report.moved:
        _log.info(line)
    searched = ("merge_distance_m", "smoothing", "iterations", "max_hole_km2", "min_area_km2")
    shown = (*searched, "iou", "f1", "area_error")
    ranked = result.ranked()
    rows = [
        (
            *(
                "all" if name == "max_hole_km2" and row[name] is None else log.plain(row[name])
                for name in searched
            ),
            *(f"{row[name]:.4f}" for name in ("iou", "f1")),
            f"{row['area_error']:+.1%}",
        )
        for row in ranked[:SHOWN_ROWS]
    ]
    _log.info(
        log.table(f"the best {len(rows)} of {len(ranked)} combinations by {result.objective}", shown, rows)
    )
    _log.info(
        f"IoU {result.raw_iou:.4f} raw, {result.best_iou:.4f} with the best of {len(ranked)} combinations:"
    )
    _log.info(
        log.table(
            None,
            ("parameter", "value"),
            [
                (key, ",".join(value) if isinstance(value, tuple) else log.plain(value))
                for key, value in asdict(result.best).items()
            ],
        )
    )
    _log.info(
        log.table(
            "raw and refined with these",
            ("region", "use", "IoU raw", "refined", "F1 raw", "refined", "area raw", "refined"),
            [
                (
                    gain.region,
                    gain.use,
                    *(
                        f"{value:.4f}"
                        for value in (gain.raw.iou, gain.refined.iou, gain.raw.f1, gain.refined.f1)
                    ),
                    *(f"{value:+.1%}" for value in (gain.raw.area_error, gain.refined.area_error)),
                )
                for gain in report.gains
            ],
        )
    )
    for line in verdict(report.gains, result.objective):
        _log.info(line)
