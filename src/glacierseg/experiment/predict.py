"""The stage that predicts whole scenes with a trained network."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from glacierseg import log
from glacierseg.data.regions import Region
from glacierseg.models.card import load_model
from glacierseg.predict.ensemble import Ensemble
from glacierseg.predict.halo import halo_agreement
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
    ensemble = Ensemble((network,), (card,))
    if not model.spec.convolutional:
        # Transformers look at whole windows of the size they know; they are blended as ever.
        settings = settings.replaced(halo_px=0)
    spent = read_json(folder.timings) if folder.timings.exists() else {"prediction_s": 0.0, "predicted_px": 0}
    for region in wanted:
        started = time.monotonic()
        forget_region(folder, region.name)
        scene = replace(region.scene, name=region.name)
        if settings.halo_px:
            _log.info(f"{region.name}: {halo_agreement(ensemble, scene.select(card.bands), settings)}")
        pixels = scene.grid.height * scene.grid.width
        with log.bar(f"predicting {region.name}", pixels) as progress:
            predict_scene(
                ensemble,
                scene,
                folder.path,
                settings,
                tags=tags,
                again=True,
                progress=progress,
            )
        spent["prediction_s"] += time.monotonic() - started
        spent["predicted_px"] += pixels
        write_json(folder.timings, spent)
