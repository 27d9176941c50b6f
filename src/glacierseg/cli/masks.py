"""Commands that refine masks, and search how."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glacierseg import log
from glacierseg.cli.options import with_settings
from glacierseg.raster.outputs import TIFF, writes
from glacierseg.settings.refine import RefineSettings, TuneInputs, TuneSettings

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from glacierseg.refine.files import Pair, TuneReport
    from glacierseg.refine.pipeline import StepChange

SHOWN_ROWS = 10
DEM_UNUSED = "note: --dem was not used; it is for --max-hole-slope-deg"


def add_mask_commands(app: typer.Typer) -> None:
    """Adds `refine` and `tune` to the command line."""
    for command in (refine, tune):
        app.command()(command)


@with_settings
@writes(out=TIFF, plot=())
def refine(
    mask: Annotated[Path, typer.Argument(help="Predicted mask.")],
    out: Annotated[Path, typer.Option("--out", metavar="PATH", help="Refined mask.")],
    settings: RefineSettings,
    parameters: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="File of `glacierseg tune`, or a run's refinement.json. Default: as the mask's run tuned.",
        ),
    ] = None,
    dem: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Elevation in metres, on any grid.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Plot of every step (PNG, SVG or PDF).")
    ] = None,
) -> None:
    """Refine a mask: merge, smooth, fill holes, remove fragments."""
    from glacierseg.refine.files import load_parameters, refine_file, tuned_parameters

    tuned = tuned_parameters(mask) if parameters is None else load_parameters(parameters)
    if parameters is None:
        whose = "defaults, as it carries no tuned ones" if tuned is None else "tuned by its network's run"
        _log.info(f"{mask}: refinement parameters: {whose}")
    settings = (tuned or RefineSettings()).replaced(**settings.model_dump(exclude_unset=True))
    if dem is not None and settings.max_hole_slope_deg is None:
        _log.info(DEM_UNUSED)
    if plot is not None:
        from glacierseg.report.figures.refinement import draw_refinement_steps

        draw_refinement_steps(mask, plot, settings, dem=dem)
    _print_changes(refine_file(mask, out, settings, dem=dem))


@with_settings
@writes(out=(".json",), plot=())
def tune(
    mask: Annotated[list[Path], typer.Argument(help="Predicted masks to tune on.")],
    truth: Annotated[
        list[Path],
        typer.Option(metavar="PATH", help="Truth of each mask, in order."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="PATH", help="Parameters and scores (JSON).")],
    inputs: TuneInputs,
    settings: TuneSettings,
    plot: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Plot of scores (PNG, SVG or PDF).")
    ] = None,
) -> None:
    """Search refinement parameters; repeat an option to try several values."""
    from glacierseg.errors import RequestError
    from glacierseg.raster.outlines import one_layer_each
    from glacierseg.raster.write import write_json
    from glacierseg.refine.files import tune_files

    if plot is not None:
        from glacierseg.report.save import require_picture

        require_picture(plot)
    if len(inputs.dem) > (masks := len(mask) + len(inputs.test_mask)):
        raise RequestError(
            f"there are {len(inputs.dem)} x --dem and {masks} masks; give one --dem for each mask, in order"
        )
    if inputs.dem and settings.max_hole_slope_deg is None:
        _log.info(DEM_UNUSED)
    layers = one_layer_each([*truth, *inputs.test_truth], inputs.truth_layer)
    tuned = _pairs(mask, truth, inputs.dem, layers, "mask", "--truth")
    tests = _pairs(
        inputs.test_mask, inputs.test_truth, inputs.dem[len(mask) :], layers[len(truth) :],
        "--test-mask", "--test-truth",
    )  # fmt: skip
    report = tune_files(tuned, tests, settings)
    write_json(out, report.to_dict())
    if plot is not None:
        from glacierseg.report.figures.refinement import draw_tuning_surface

        draw_tuning_surface(report.result, plot)
    _print_tuning(report)


def _pairs(
    masks: Sequence[Path],
    truths: Sequence[Path],
    dems: Sequence[Path],
    layers: Sequence[str | None],
    mask_name: str,
    truth_name: str,
) -> "list[Pair]":
    from glacierseg.errors import RequestError
    from glacierseg.refine.files import Pair

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
    from glacierseg.refine.transfer import verdict

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
                for key, value in result.best.model_dump().items()
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
