"""Who teaches a student: networks of the run, model folders from elsewhere, weights by name."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from glacierseg.data.regions import Region
from glacierseg.data.split import ROLE_CODES
from glacierseg.errors import CheckpointError
from glacierseg.models.card import read_card
from glacierseg.predict.ensemble import Ensemble, load_ensemble
from glacierseg.raster.bounds import area_on_grid, may_meet
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.write import read_json
from glacierseg.runs.layout import ALL_BANDS, ModelFolder, RunFolder
from glacierseg.settings import DistilSettings, RunConfig
from glacierseg.settings.distil import is_network
from glacierseg.weights.shelf import find_weights, model_folder, weights_name

_UNKNOWN = (
    "Teachers from elsewhere: the student learned from networks that were not trained in a run, and whether "
    "they know the test ground is not known here. If they do, scores of the mean of the teachers flatter, "
    "and those of the student may."
)


def teacher_names(config: RunConfig) -> tuple[str, ...]:
    """Returns the teachers of a run, as they are named in its configuration."""
    teachers = config.distil.teachers
    return tuple(model.name for model in config.models) if teachers == "all" else teachers


def outside_teachers(settings: DistilSettings) -> list[Path]:
    """Returns the model folders among the teachers that are no networks of the run.

    Raises:
        RequestError: There are no weights of that name.
        CheckpointError: One is no model folder.
    """
    if settings.student is None or settings.teachers == "all":
        return []
    folders = [folder for name in settings.teachers if not is_network(name) for folder in _folders(name)]
    for folder in folders:
        read_card(folder)
        if not ModelFolder(folder).weights.is_file():
            raise CheckpointError(
                f"{folder}: has no {ModelFolder.weights.name}; its training did not finish, run it again"
            )
    return folders


def find_teachers(config: RunConfig, folder: RunFolder) -> Ensemble:
    """Loads the teachers of a run.

    Raises:
        CheckpointError: One is no model folder.
        RequestError: There are no weights of that name.
    """
    names = teacher_names(config)
    if len(names) == 1 and weights_name(names[0]):
        return load_ensemble(find_weights(names[0]))
    return load_ensemble(
        [
            path
            for name in names
            for path in ([folder.model(name, ALL_BANDS).path] if is_network(name) else _folders(name))
        ]
    )


def notice_of_teachers(config: RunConfig, regions: Sequence[Region]) -> list[str]:
    """Says in sentences for the report whether teachers from outside know ground that tests."""
    folders = outside_teachers(config.distil)
    tested = {region.name: region for region in regions if "test" in region.areas}
    if not (folders and tested):
        return []
    runs = {RunFolder(folder.resolve().parents[1]).path for folder in folders}
    if not all(RunFolder(run).regions.exists() for run in runs):
        return [_UNKNOWN]
    known = {name: np.zeros(region.truth.shape, bool) for name, region in tested.items()}
    for run in map(RunFolder, runs):
        for entry in read_json(run.regions):
            with open_raster(run.roles(entry["name"])) as dataset:
                grid, trained = grid_of(dataset), dataset.read(1) == ROLE_CODES["train"]
            for name, region in tested.items():
                if trained.any() and may_meet(grid, region.scene.grid):
                    known[name] |= area_on_grid(trained, grid, region.scene.grid)
    test_px = sum(int(region.areas["test"].sum()) for region in tested.values())
    share = sum(int((known[name] & region.areas["test"]).sum()) for name, region in tested.items()) / test_px
    if not share:
        return []
    flattered = "scores of the mean of the teachers flatter, and those of the student may"
    return [f"Teachers know test ground: {share:.1%} of the test pixels trained them, so that {flattered}."]


def _folders(name: str) -> tuple[Path, ...]:
    return find_weights(name).folders if weights_name(name) else (model_folder(name),)
