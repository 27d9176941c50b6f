"""Commands that compare: two masks, two runs, two dates."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glacierseg import log
from glacierseg.choices import Role
from glacierseg.cli.masks import Overwrite
from glacierseg.cli.options import with_settings
from glacierseg.raster.outputs import TIFF, writes
from glacierseg.settings.outlines import ChangeInputs, ChangeSettings
from glacierseg.settings.score import BootstrapSettings

if TYPE_CHECKING:
    from glacierseg.evaluate.paired import Comparison

_log = logging.getLogger(__name__)


def add_compare_commands(app: typer.Typer) -> None:
    """Adds `compare`, `benchmark` and `change` to the command line."""
    for command in (compare, benchmark, change):
        app.command()(command)


@with_settings
@writes(out=(".json",), map_out=TIFF)
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="Mask A.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Mask B, on the grid of A.")],
    truth: Annotated[Path, typer.Option(help="Truth: outlines, or a raster on the grid of the masks.")],
    settings: BootstrapSettings,
    truth_layer: Annotated[str | None, typer.Option(help="Layer of the true outlines.")] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file of the differences.")] = None,
    map_out: Annotated[
        Path | None, typer.Option("--map", help="GeoTIFF of the pixels that changed, and how.")
    ] = None,
) -> None:
    """Say whether mask B is better than mask A by more than noise."""
    from glacierseg.evaluate.paired import CHANGES, change_map, compare_masks
    from glacierseg.raster.truth import IGNORE, load_truth, read_mask
    from glacierseg.raster.warp import read_grid
    from glacierseg.raster.write import write_json, write_raster

    grid = read_grid(a)
    masks = read_mask(a), read_mask(b, grid), load_truth(truth, grid, layer=truth_layer)
    found = compare_masks([masks], settings)
    if out is not None:
        write_json(out, found.to_dict())
    if map_out is not None:
        tags = {"values": "; ".join(f"{value} {word}" for value, word in CHANGES.items())}
        write_raster(map_out, change_map(*masks), grid, bands=["change"], nodata=IGNORE, tags=tags)
    _show_comparison(found, None)


@with_settings
@writes(out=(".json",))
def benchmark(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="Folder of run A.")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="Folder of run B, of the same ground.")],
    settings: BootstrapSettings,
    model_a: Annotated[
        str | None,
        typer.Option(help="Model of run A, such as unetplusplus/all. Default: all in both."),
    ] = None,
    model_b: Annotated[str | None, typer.Option(help="Model of run B to compare with --model-a.")] = None,
    role: Annotated[Role, typer.Option(help="Role of the pixels in both runs.")] = "test",
    out: Annotated[Path | None, typer.Option(help="JSON file of the differences.")] = None,
) -> None:
    """Say whether run B is better than run A by more than noise, on the test pixels of both."""
    from glacierseg.experiment.benchmark import compare_runs
    from glacierseg.raster.write import write_json

    differences = compare_runs(run_a, run_b, settings, model_a=model_a, model_b=model_b, role=role)
    if out is not None:
        write_json(out, [one.to_dict() for one in differences])
    for one in differences:
        title = f"{one.b} less {one.a}, {one.stage}, {role} pixels of {', '.join(one.regions)}"
        _show_comparison(one.comparison, title)
    _log.info(
        "The intervals are for other ground of this kind and these very networks; training again with "
        "another seed may move the scores by as much as a small difference (docs/scores.md)"
    )


def _show_comparison(found: "Comparison", title: str | None) -> None:
    rows = [
        (
            name,
            *(log.plain(value) for value in (one.a, one.b, one.difference, one.low, one.high, one.p)),
            "noise" if one.is_noise else "better" if one.difference > 0 else "worse",
        )
        for name, one in found.scores.items()
    ]
    _log.info(log.table(title, ("score", "A", "B", "B - A", "low", "high", "p", "B is"), rows))
    _log.info(
        f"{found.changed} of {found.pixels} pixels changed: {found.fixed} fixed, {found.broken} broken; "
        f"intervals of {found.confidence:.0%} confidence ({found.draws} draws of {found.blocks} blocks of "
        f"{found.block_px} px)"
    )
    _log.info(
        f"McNemar: {found.mcnemar:.1f}, p {found.mcnemar_p:.2g}; it assumes independent pixels, which these "
        "are not, so rely on the intervals"
    )


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
