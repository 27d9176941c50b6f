"""From edits to the store of corrections, and from a map to the places where to look next."""

from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd

from glacierseg.correct.store import Store
from glacierseg.errors import RequestError
from glacierseg.predict.calibration import Calibration
from glacierseg.predict.ensemble import Ensemble
from glacierseg.predict.scene import finished_files, predict_scene
from glacierseg.raster.outputs import require_folder, writes
from glacierseg.raster.scene import Scene
from glacierseg.raster.write import atomic_path, digest_of
from glacierseg.review.corrections import PLACES
from glacierseg.review.edits import Edits, read_edits
from glacierseg.review.places import suggest_places
from glacierseg.runs.layout import ModelFolder, RunFolder
from glacierseg.runs.write import locked
from glacierseg.settings.correct import CorrectInputs
from glacierseg.settings.predict import PredictSettings
from glacierseg.vectors.layers import joined, write_layers


@dataclass(frozen=True, eq=False)
class Kept:
    """Edits that were kept.

    Attributes:
        edits: What changed.
        store: All corrections so far.
        table: CSV file of what changed by glacier.
        notes: What a user should know, one line each.
    """

    edits: Edits
    store: Store
    table: Path
    notes: tuple[str, ...]


@writes(out=None)
def keep_edits(model: str, scene: Scene, mask: Path, inputs: CorrectInputs, out: Path) -> Kept:
    """Reads what an analyst made of a mask, writes what changed, and keeps it among the corrections.

    Args:
        model: What predicted the mask, for the record.
        scene: What it predicted.
        mask: The mask that was corrected.
        inputs: The corrected outlines and the checked ground.
        out: Gets `changes.csv` and `corrections/`.

    Raises:
        GlaciersegError: See `read_edits` and `Store.add`; or no outlines are given.
    """
    if inputs.outlines is None:
        raise RequestError("nothing to learn from: give --outlines corrections.gpkg, or --suggest 20")
    store, table = Store(out), out / "changes.csv"
    facts = {"model": model, "mask": str(mask.resolve()), "mask_digest": digest_of(mask)}
    edits = read_edits(
        mask, inputs.outlines, inputs.checked, scene=scene, layer=inputs.layer, analyst=inputs.analyst
    )
    with locked(RunFolder(out)):
        notes = store.add(edits, scene, facts)
        with atomic_path(table) as part:
            edits.changes.to_csv(part, index=False)
    return Kept(edits, store, table, (*edits.warnings, *notes))


@writes(out=None)
def suggest_next(
    ensemble: Ensemble, scene: Scene, mask: Path, inputs: CorrectInputs, out: Path
) -> tuple[Path, gpd.GeoDataFrame]:
    """Writes the places where a map is expected to err most, away from ground that was checked already.

    Args:
        ensemble: The networks that predicted the mask.
        scene: What they predicted.
        mask: The map.
        inputs: How many places; the probability, which is predicted where it is missing; corrected outlines
            whose checked ground counts too.
        out: Gets `places.gpkg`.

    Returns:
        The file, and the places.

    Raises:
        GlaciersegError: A file cannot be read, or the result not be written.
    """
    require_folder(out)
    ground = Store(out).checked_ground(scene)
    if inputs.outlines is not None:
        edits = read_edits(mask, inputs.outlines, inputs.checked, scene=scene, layer=inputs.layer)
        ground = [*ground, edits.ground]
    settings = ensemble.resolved(PredictSettings())
    places = suggest_places(
        inputs.probability or _probability(ensemble, scene, mask, settings, out),
        count=inputs.suggest or 20,
        calibration=_calibration(ensemble, settings),
        checked=joined(ground) if ground else None,
        mask=mask,
    )
    write_layers(out / "places.gpkg", {PLACES: places}, replaceable=(PLACES,))
    return out / "places.gpkg", places


def _probability(ensemble: Ensemble, scene: Scene, mask: Path, settings: PredictSettings, out: Path) -> Path:
    beside = ModelFolder(mask.parent).probability(scene.name)
    if beside.exists():
        return beside
    fitted = ensemble.fit(scene).scene
    files = finished_files(ensemble, fitted, out, settings) or predict_scene(ensemble, fitted, out, settings)
    return files.probability


def _calibration(ensemble: Ensemble, settings: PredictSettings) -> Calibration | None:
    try:
        return ensemble.calibration(settings)
    except RequestError:
        return None
