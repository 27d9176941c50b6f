"""The stage that predicts whole scenes with a trained network."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from glacierseg import log
from glacierseg.data.regions import Region
from glacierseg.models.card import load_model
from glacierseg.predict.halo import halo_agreement
from glacierseg.predict.members import Ensemble
from glacierseg.predict.scene import predict_scene
from glacierseg.raster.write import read_json, write_json
from glacierseg.runs.layout import ModelFolder
from glacierseg.runs.write import forget_region
from glacierseg.settings import ModelConfig, PredictSettings

_log = logging.getLogger(__name__)


def predict_regions(
    model: ModelConfig,
    regions: Sequence[Region],
    folder: ModelFolder,
    settings: PredictSettings,
    tags: Mapping[str, str],
) -> None:
    """Predicts the whole scene of every region that has no prediction yet.

    Args:
        model: The network's section.
        regions: The regions.
        folder: Holds the network; the maps go there too.
        settings: How scenes are predicted.
        tags: What the maps keep besides.
    """
    wanted = [
        s for s in regions if not (folder.mask(s.name).exists() and folder.probability(s.name).exists())
    ]
    if not wanted:
        _log.debug("every region is predicted already")
        return
    network, card = load_model(folder.path, prune_level=model.prune_level)
    spent = read_json(folder.timings) if folder.timings.exists() else {"prediction_s": 0.0, "predicted_px": 0}
    for region in wanted:
        started = time.monotonic()
        forget_region(folder, region.name)
        grid = region.scene.grid
        # Transformers look at whole windows of the size they know; they are blended as ever.
        halo_px = settings.halo_px if model.spec.convolutional else 0
        how: dict[str, Any] = {
            "window_px": settings.window_px,
            "overlap": settings.overlap,
            "halo_px": halo_px,
            "batch_size": settings.batch_size,
            "threshold": settings.threshold,
            "symmetries": settings.symmetries,
            "engine": settings.engine,
            "precision": settings.precision,
        }
        if halo_px:
            scene = region.scene.select(card.bands)
            _log.info(f"{region.name}: {halo_agreement(Ensemble((network,), (card,)), scene, **how)}")
        with log.bar(f"predicting {region.name}", grid.height * grid.width) as progress:
            predict_scene(
                network,
                region.scene,
                folder.path,
                card=card,
                name=region.name,
                tags=tags,
                again=True,
                progress=progress,
                **how,
            )
        spent["prediction_s"] += time.monotonic() - started
        spent["predicted_px"] += grid.height * grid.width
        write_json(folder.timings, spent)
