"""Commands about masks: refinement and its search, outlines, inventories, and change between two dates."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glacierseg import log
from glacierseg.cli.options import with_settings
from glacierseg.cli.output import count_and_area, say_area
from glacierseg.raster.outputs import TIFF, writes
from glacierseg.settings.outlines import (
    ChangeInputs,
    ChangeSettings,
    InventoryInputs,
    InventorySettings,
    VectorizeSettings,
)
from glacierseg.settings.refine import RefineSettings, TuneInputs, TuneSettings

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from glacierseg.refine.files import Pair, TuneReport
    from glacierseg.refine.steps import StepChange

SHOWN_ROWS = 10
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace a GeoPackage even if it holds other layers.")
]
DEM_UNUSED = "note: --dem was not used; it is for --max-hole-slope-deg"


def add_mask_commands(app: typer.Typer) -> None:
    """Adds `refine`, `tune`, `vectorize`, `inventory` and `change` to the command line."""
    for command in (refine, tune, vectorize, inventory, change):
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
    from glacierseg.refine.search import verdict

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


@with_settings
def vectorize(
    mask: Annotated[Path, typer.Argument(help="Mask raster.")],
    out: Annotated[
        Path, typer.Option("--out", help="Vector file; .gpkg (all layers), .shp, .geojson or .parquet.")
    ],
    settings: VectorizeSettings,
    refined: Annotated[
        Path | None, typer.Option(help="Refined mask, for the layers refined and refined_smooth.")
    ] = None,
    probability: Annotated[
        Path | None, typer.Option(help="Probability raster, for the layer contour.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw the outlines of a mask: layers `raw` and `smooth`, and others on request."""
    from glacierseg.vectors.polygons import draw_outlines

    totals = draw_outlines(
        mask, out, settings, refined_path=refined, probability_path=probability, overwrite=overwrite
    )
    if probability is not None and "contour" not in totals:
        _log.info("note: --probability was not used; it is for the layer contour, which --contour adds")
    for name, total in totals.items():
        _log.info(
            f"{out}: {name}: {total.outlines} outline{'s' * (total.outlines != 1)}, {total.area_km2:.3f} km2"
        )


@with_settings
@writes(out=(), project=(".qgz",))
def inventory(
    source: Annotated[Path, typer.Argument(help="Mask raster, or outlines in any format and CRS.")],
    out: Annotated[Path, typer.Option("--out", help="GeoPackage to write.")],
    settings: InventorySettings,
    inputs: InventoryInputs,
    project: Annotated[
        Path | None,
        typer.Option(metavar="FILE.qgz", help="QGIS project; of a mask also its outlines to correct."),
    ] = None,
    scene: Annotated[
        list[Path] | None, typer.Option(metavar="PATH", help="Scene or its files, for the project.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Divide ice bodies into glaciers and write their inventory: attributes, hypsometry, links."""
    from glacierseg.errors import RequestError
    from glacierseg.inventory.files import make_inventory

    if scene and project is None:
        raise RequestError("--scene is for the QGIS project; give --project FILE.qgz too")
    opened = None
    if scene:
        from glacierseg.raster.scene import open_scene

        opened = open_scene(scene)
    made = make_inventory(source, out, settings, inputs, overwrite=overwrite)
    table = made.glaciers
    for note in made.notes:
        _log.info(f"note: {note}")
    if project is not None:
        from glacierseg.report.project import write_inventory_project

        if write_inventory_project(project, source, made, inputs, opened):
            _log.info(str(project))
    glaciers, area = count_and_area(table)
    bodies = "1 ice body" if made.bodies == 1 else f"{made.bodies} ice bodies"
    _log.info(f"{out}: {glaciers} from {bodies}, {area}")
    if inputs.probability and inputs.calibrated_by:
        from glacierseg.evaluate.reliability import predicted_area
        from glacierseg.predict.calibrated import calibration_for_bounds

        calibration = calibration_for_bounds(inputs.probability, inputs.calibrated_by)
        if bounds := predicted_area(inputs.probability, calibration):
            say_area(bounds)
    shown = [
        name
        for name in ("inv_id", "area_km2", "zmin_m", "zmax_m", "slope_deg", "aspect_dir", "divides")
        if name in table
    ]
    largest = table[shown].head(10).round({"area_km2": 3, "zmin_m": 0, "zmax_m": 0, "slope_deg": 1})
    rows = [
        [log.plain(None if value != value else value) for value in row]  # noqa: PLR0124  (NaN)
        for row in largest.astype(object).where(largest.notna(), None).itertuples(index=False)
    ]
    if rows:
        _log.info(log.table("the largest", shown, rows))


@with_settings
def change(
    old: Annotated[Path, typer.Argument(help="Mask or outlines of the earlier date.")],
    new: Annotated[Path, typer.Argument(help="Mask or outlines of the later date.")],
    out: Annotated[Path, typer.Option(help="GeoPackage, or a folder.")],
    settings: ChangeSettings,
    inputs: ChangeInputs,
    overwrite: Overwrite = False,
) -> None:
    """Measure how glaciers changed between two dates: area, advance, retreat, terminus."""
    from glacierseg.change.files import change_between_files, change_path

    found = change_between_files(old, new, out, settings, inputs, overwrite=overwrite)
    for note in found.notes:
        _log.info(f"note: {note}")
    record = found.to_dict()
    _log.info(
        log.table("All glaciers", ("what", "value"), [(k, log.plain(v)) for k, v in record["total"].items()])
    )
    shown = ["glacier_id", "old_km2", "new_km2", "change_km2", "change_error_km2", "change_percent"]
    if any(row["observed_share"] not in (None, 1) for row in record["glaciers"]):
        shown.append("observed_share")
    if any(found.termini):
        shown.append("terminus_shift_m")
    if found.bounds:
        shown += ["change_expected_km2", "change_lower_km2", "change_upper_km2"]
    largest = sorted(record["glaciers"], key=lambda row: -row["old_km2"])[:10]
    _log.info(
        log.table(
            f"The largest glaciers ({len(largest)} of {len(record['glaciers'])})",
            shown,
            [[log.plain(row.get(name)) for name in shown] for row in largest],
        )
    )
    _log.info(
        f"uncertainty of the outlines: {found.old_error_m:g} m (old), {found.new_error_m:g} m (new); "
        f"written: {change_path(out, overwrite=True)}"
    )
    if found.bounds:
        _log.info(
            "expected areas and bounds come from calibrated probabilities; they hold with "
            f"{settings.confidence:.0%} confidence on ground like that of validation, if the errors of both "
            "dates are independent (docs/scores.md)"
        )
