"""Commands that measure: scores of masks, differences of masks and runs, importance of bands."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glacierseg import log
from glacierseg.choices import Role
from glacierseg.cli.options import Member, WeightsName, one_model, split_model, with_settings
from glacierseg.raster.outputs import TIFF, writes
from glacierseg.settings.bands import ImportanceSettings
from glacierseg.settings.scene import InputSettings, SceneSettings
from glacierseg.settings.score import BootstrapSettings, ScoreInputs, ScoreSettings

if TYPE_CHECKING:
    from glacierseg.evaluate.paired import Comparison

_log = logging.getLogger(__name__)

Out = Annotated[Path, typer.Option("--out", help="Where the result goes.")]


def add_score_commands(app: typer.Typer) -> None:
    """Adds `evaluate`, `compare`, `benchmark` and `bands` to the command line."""
    for command in (evaluate, compare, benchmark, bands):
        app.command()(command)


@with_settings
@writes(out=(".json",))
def evaluate(
    predicted: Annotated[Path, typer.Argument(help="Predicted mask.")],
    truth: Annotated[Path, typer.Argument(help="Outlines, or a raster on the grid of the mask.")],
    out: Annotated[Path, typer.Option(help="JSON file of the scores.")],
    inputs: ScoreInputs,
    reading: SceneSettings,
    settings: ScoreSettings,
    zones: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE=NAME",
            help="Ground to score alone; repeatable.",
        ),
    ] = None,
) -> None:
    """Score a mask against the truth."""
    from glacierseg.errors import RequestError
    from glacierseg.evaluate.detail import detail_tables, evaluate_files
    from glacierseg.raster.scene import open_scene
    from glacierseg.raster.write import write_json

    named = {}
    for given in zones or ():
        path, equals, name = given.rpartition("=")
        if not (path and equals and name):
            raise RequestError(
                f"--zones must be a file and a name, such as debris.tif=debris-covered (got {given})"
            )
        if name in named:
            raise RequestError(f"two --zones are called {name}; give each a name of its own")
        named[name] = Path(path)
    if inputs.calibrated_by is not None and inputs.probability is None:
        raise RequestError("a calibration needs its probabilities; give --probability too")
    scene = None
    if inputs.scene:
        scene = open_scene(inputs.scene, bands=reading.band_names, nodata=reading.nodata)
    elif reading.model_fields_set:
        raise RequestError("band names and nodata are of a scene; give --scene too")
    detail = evaluate_files(
        predicted,
        truth,
        settings,
        zones=named,
        dem=inputs.dem,
        probability=inputs.probability,
        model=inputs.calibrated_by,
        scene=scene,
    )
    write_json(out, detail.to_dict())
    for title, columns, rows in detail_tables(detail):
        _log.info(log.table(title, columns, [[log.plain(cell) for cell in row] for row in rows]))


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
@writes(out=(".csv",), plot=())
def bands(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="[MODEL_DIR] SCENE...", help="A trained model, and scenes with its bands."),
    ],
    truth: Annotated[
        list[Path], typer.Option(help="Truth of each scene in their order: a mask on its grid, or outlines.")
    ],
    out: Out,
    reading: SceneSettings,
    settings: ImportanceSettings,
    plot: Annotated[Path | None, typer.Option(help="Figure of the importance (.png, .svg or .pdf).")] = None,
    weights: WeightsName = None,
    member: Member = None,
) -> None:
    """Measure band importance and write it as CSV."""
    from glacierseg.bands import (
        agreement_message,
        measure_scenes,
        tie_message,
        top_bands,
        unmeasured_message,
        write_importance,
    )
    from glacierseg.errors import RequestError
    from glacierseg.raster.scene import open_scene
    from glacierseg.weights import find_weights

    model_dir, scenes = split_model(paths, weights)
    folder = one_model(model_dir, weights, member)
    if len(truth) != len(scenes):
        raise RequestError(
            f"each scene needs one --truth, in the order of the scenes (got {len(scenes)} scenes and "
            f"{len(truth)} truths)"
        )
    if plot is not None:
        from glacierseg.report.save import require_picture

        require_picture(plot)
    opened = [open_scene(path, bands=reading.band_names, nodata=reading.nodata) for path in scenes]
    if weights is not None:
        fitted = [find_weights(weights).fit(scene, InputSettings(force=True)) for scene in opened]
        opened = [own.scene for own in fitted]
        for line in (line for own in fitted for line in own.warnings):
            _log.warning(line)
    found = measure_scenes(folder, list(zip(opened, truth, strict=True)), settings)
    measure, top = settings.measure, settings.top
    write_importance(out, found)
    ranked = found[measure]
    others = {other: {e.band: e for e in found[other]} for other in found if other != measure}
    rows = [
        [e.rank_in_words(), e.band, f"{e.importance:.4f}", f"{e.spread:.4f}"]
        + [f"{own[e.band].importance:.4f}, {own[e.band].rank_in_words()}" for own in others.values()]
        for e in ranked
    ]
    _log.info(
        log.table(None, ("rank", "band", "importance", "spread", *(f"{m}, rank" for m in others)), rows)
    )
    best = top_bands(ranked, top, [e.band for e in ranked])
    _log.info(f"best bands by {measure}: {', '.join(best)}")
    if empty := unmeasured_message(ranked, top):
        _log.warning(empty)
    if tie := tie_message(ranked, top):
        _log.info(f"a close choice: {tie}")
    if agreement := agreement_message(found, top):
        _log.info(agreement)
    if plot is not None:
        from glacierseg.report.figures.bands import figure_importance_measures
        from glacierseg.report.save import save_figure

        save_figure(figure_importance_measures(found, top), plot)
