"""The stage that predicts whole scenes with a trained network."""

import logging
import time
from collections.abc import Sequence
from typing import Any

from glacierseg import log
from glacierseg.experiment.regions import StudyRegion
from glacierseg.predict.halo import halo_agreement
from glacierseg.predict.members import Ensemble
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
    spent = read_json(folder.timings) if folder.timings.exists() else {"prediction_s": 0.0, "predicted_px": 0}
    for study in wanted:
        started = time.monotonic()
        forget_region(folder, study.name)
        grid = study.region.scene.grid
        asked = config.prediction
        # Transformers look at whole windows of the size they know; they are blended as ever.
        halo_px = asked.halo_px if model.spec.convolutional else 0
        how: dict[str, Any] = {
            "window_px": asked.window_px,
            "overlap": asked.overlap,
            "halo_px": halo_px,
            "batch_size": asked.batch_size,
            "threshold": asked.threshold,
            "symmetries": asked.symmetries,
            "engine": asked.engine,
            "precision": asked.precision,
        }
        if halo_px:
            scene = study.region.scene.select(card.bands)
            _log.info(f"{study.name}: {halo_agreement(Ensemble((network,), (card,)), scene, **how)}")
        with log.bar(f"predicting {study.name}", grid.height * grid.width) as progress:
            predict_scene(
                network,
                study.region.scene,
                folder.path,
                card=card,
                name=study.name,
                tags={"run": config.name},
                again=True,
                progress=progress,
                **how,
            )
        spent["prediction_s"] += time.monotonic() - started
        spent["predicted_px"] += grid.height * grid.width
        write_json(folder.timings, spent)
