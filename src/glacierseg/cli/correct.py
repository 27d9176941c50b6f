"""The command that learns from corrections made by hand."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glacierseg import log
from glacierseg.cli.options import Member, WeightsName, one_model, split_model, with_settings
from glacierseg.raster.outputs import writes
from glacierseg.settings.correct import CorrectInputs, CorrectSettings

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from glacierseg.correct.correct import Kept

SHOWN_ROWS = 20


def add_correct_command(app: typer.Typer) -> None:
    """Adds `correct` to the command line."""
    app.command()(correct)


@with_settings
@writes(out=None)
def correct(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="[MODEL_DIR] SCENE", help="Trained model, unless --weights names one; scene it mapped."
        ),
    ],
    mask: Annotated[Path, typer.Option(metavar="PATH", help="Mask that was corrected.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of corrections and model.")],
    inputs: CorrectInputs,
    settings: CorrectSettings,
    weights: WeightsName = None,
    member: Member = None,
) -> None:
    """Learn from outlines that were corrected by hand; or say where to look next."""
    from glacierseg.raster.scene import open_scene

    model_dir, scenes = split_model(paths, weights)
    if len(scenes) != 1:
        raise typer.BadParameter(f"corrections are of one scene (got {len(scenes)}); give one at a time")
    scene = open_scene(scenes[0])
    if inputs.suggest is not None:
        from glacierseg.correct.correct import suggest_next
        from glacierseg.predict.ensemble import load_ensemble
        from glacierseg.weights import find_weights

        ensemble = load_ensemble(model_dir or find_weights(weights or ""))
        path, places = suggest_next(ensemble, scene, mask, inputs, out)
        _log.info(
            f"{path}: {len(places)} places, {places['expected_error_km2'].sum():.3g} km2 of expected error"
        )
        return
    from glacierseg.correct.correct import keep_edits

    one_model(model_dir, weights, member)  # before anything is kept
    model = str(model_dir or f"weights:{weights}" + (f"/{member}" if member else ""))
    _say(keep_edits(model, scene, mask, inputs, out))
    from glacierseg.correct.learning import learn
    from glacierseg.correct.store import Store

    learn(model, Store(out), out, settings, replay=inputs.replay)


def _say(kept: "Kept") -> None:
    edits = kept.edits
    for note in kept.notes:
        _log.warning(note)
    who = f" by {edits.analyst}" if edits.analyst else ""
    _log.info(f"{edits.checked_km2:.4g} km2 were checked{who}")
    rows = [
        (str(row[0]), str(row[1]), _signed(row[2]), _signed(-row[3]), str(row[4]) or "-")
        for row in edits.changes.head(SHOWN_ROWS).itertuples(index=False)
    ]
    if not rows:
        _log.info("nothing was changed there, so the map is confirmed")
    else:
        shown = (
            "" if len(rows) == len(edits.changes) else f" (the largest {len(rows)} of {len(edits.changes)})"
        )
        columns = ("glacier", "change", "gained km2", "lost km2", "analyst")
        _log.info(log.table(f"changes by glacier{shown}", columns, rows))
        gained, lost = _signed(edits.gained_km2), _signed(-edits.lost_km2)
        _log.info(f"{gained} km2 gained and {lost} km2 lost: {kept.table}")
    corrections = kept.store.corrections
    used_km2 = sum(one.facts["used_km2"] for one in corrections)
    count = "1 correction" if len(corrections) == 1 else f"{len(corrections)} corrections"
    _log.info(f"{kept.store.folder}: {count} of {used_km2:.4g} km2 so far")


def _signed(km2: Any) -> str:
    return f"{km2:+.4f}" if km2 else "0"
