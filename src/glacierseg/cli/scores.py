"""Commands that measure: scores of masks, importance of bands."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from glacierseg import log
from glacierseg.cli.options import Member, WeightsName, one_model, split_model, with_settings
from glacierseg.raster.outputs import writes
from glacierseg.settings.bands import ImportanceSettings
from glacierseg.settings.scene import InputSettings, SceneSettings
from glacierseg.settings.score import ScoreInputs, ScoreSettings

_log = logging.getLogger(__name__)

Out = Annotated[Path, typer.Option("--out", help="Where the result goes.")]


def add_score_commands(app: typer.Typer) -> None:
    """Adds `evaluate` and `bands` to the command line."""
    for command in (evaluate, bands):
        app.command()(command)


@with_settings
@writes(out=(".json",))
def evaluate(
    predicted: Annotated[Path, typer.Argument(help="Predicted mask.")],
    truth: Annotated[Path, typer.Argument(help="Outlines, or a raster on the grid of the mask.")],
    out: Annotated[Path, typer.Option(help="JSON file of the scores.")],
    inputs: ScoreInputs,
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
    detail = evaluate_files(
        predicted,
        truth,
        settings,
        zones=named,
        dem=inputs.dem,
        probability=inputs.probability,
        model=inputs.calibrated_by,
    )
    write_json(out, detail.to_dict())
    for title, columns, rows in detail_tables(detail):
        _log.info(log.table(title, columns, [[log.plain(cell) for cell in row] for row in rows]))


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
