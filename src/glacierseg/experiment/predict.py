"""The stage that makes the masks of every region: by the rule that needs no network, and by networks."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from glacierseg import log
from glacierseg.data.regions import Region, train_pixels
from glacierseg.models.card import load_model
from glacierseg.models.threshold import ThresholdRule, find_threshold
from glacierseg.predict.ensemble import Ensemble
from glacierseg.predict.scene import predict_scene
from glacierseg.raster.facts import facts_of_bands
from glacierseg.raster.truth import GLACIER, IGNORE
from glacierseg.raster.write import read_json, write_json, write_raster
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
    wanted = unpredicted(regions, folder)
    if not wanted:
        _log.debug("every region is predicted already")
        return
    network, card = load_model(folder.path, prune_level=model.prune_level)
    ensemble = Ensemble((network,), (card,))
    predict_with(ensemble, wanted, folder, settings, tags)


def unpredicted(regions: Sequence[Region], folder: ModelFolder) -> list[Region]:
    """Returns the regions that lack one of their two maps in a folder."""
    return [s for s in regions if not (folder.mask(s.name).exists() and folder.probability(s.name).exists())]


def predict_with(
    ensemble: Ensemble,
    regions: Sequence[Region],
    folder: ModelFolder,
    settings: PredictSettings,
    tags: Mapping[str, str],
) -> None:
    """Predicts the whole scene of every region that has no prediction yet, with networks that are loaded.

    Args:
        ensemble: The networks.
        regions: The regions.
        folder: Where the maps go.
        settings: How scenes are predicted.
        tags: What the maps keep besides.
    """
    spent = read_json(folder.timings) if folder.timings.exists() else {"prediction_s": 0.0, "predicted_px": 0}
    for region in unpredicted(regions, folder):
        started = time.monotonic()
        forget_region(folder, region.name)
        scene = replace(region.scene, name=region.name)
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


def threshold_masks(
    regions: Sequence[Region], folder: ModelFolder, shown: Sequence[Region] | None = None
) -> str:
    """Finds the best threshold on training pixels and applies it to every region, unless that is done.

    Args:
        regions: All regions.
        folder: Where the rule and its masks go.
        shown: The regions it is applied to; all when None.

    Returns:
        The rule in words.
    """
    stored = folder.rule
    bands = regions[0].scene.band_names
    if not stored.exists():
        rule = find_threshold(lambda: train_pixels(regions), bands)
        write_json(stored, rule.to_dict())
    facts = read_json(stored)
    facts.pop("rule")
    rule = ThresholdRule(**facts)
    for region in regions if shown is None else shown:
        if folder.mask(region.name).exists():
            continue
        scene = region.scene.select(rule.bands)
        grid = scene.grid
        mask = np.empty(grid.shape, np.uint8)
        with scene.open() as reader:
            for rows, values, valid in reader.strips():
                mask[rows] = np.where(rule.apply(values), np.uint8(GLACIER), np.uint8(0))
                mask[rows][~valid] = IGNORE
        tags = {"rule": str(rule), **facts_of_bands(scene.bands).tags}
        write_raster(folder.mask(region.name), mask, grid, bands=["glacier"], nodata=IGNORE, tags=tags)
    return str(rule)
