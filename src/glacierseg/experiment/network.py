"""The stage that predicts whole scenes with a trained network."""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

from glacierseg import log
from glacierseg.experiment.regions import StudyRegion
from glacierseg.predict.ensemble import Ensemble
from glacierseg.predict.halo import halo_agreement
from glacierseg.predict.scene import predict_scene
from glacierseg.raster.write import read_json, write_json
from glacierseg.runs.layout import ModelFolder
from glacierseg.runs.write import forget_region
from glacierseg.settings import ModelConfig, RunConfig
from glacierseg.training.checkpoint import load_model

_log = logging.getLogger(__name__)


def predict_regions(
    config: RunConfig, model: ModelConfig, studied: Sequence[StudyRegion], folder: ModelFolder
) -> None:
    """Predicts the whole scene of every region that has no prediction yet."""
    wanted = [
        s for s in studied if not (folder.mask(s.name).exists() and folder.probability(s.name).exists())
    ]
    if not wanted:
        _log.debug("every region is predicted already")
        return
    network, card = load_model(folder.path, prune_level=model.prune_level)
    ensemble, settings = Ensemble((network,), (card,)), config.prediction
    if not model.spec.convolutional:
        # Transformers look at whole windows of the size they know; they are blended as ever.
        settings = settings.replaced(halo_px=0)
    spent = read_json(folder.timings) if folder.timings.exists() else {"prediction_s": 0.0, "predicted_px": 0}
    for study in wanted:
        started = time.monotonic()
        forget_region(folder, study.name)
        scene = replace(study.region.scene, name=study.name)
        if settings.halo_px:
            _log.info(f"{study.name}: {halo_agreement(ensemble, scene.select(card.bands), settings)}")
        pixels = scene.grid.height * scene.grid.width
        with log.bar(f"predicting {study.name}", pixels) as progress:
            predict_scene(
                ensemble,
                scene,
                folder.path,
                settings,
                tags={"run": config.name},
                again=True,
                progress=progress,
            )
        spent["prediction_s"] += time.monotonic() - started
        spent["predicted_px"] += pixels
        write_json(folder.timings, spent)
