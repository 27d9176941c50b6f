"""The stage that measures band importance and chooses the best few bands."""

import logging
from collections.abc import Iterator, Sequence

from torch import nn

from glacierseg.bands import (
    BandImportance,
    BatchOfPatches,
    Measures,
    PatchSample,
    agreement_message,
    gradient_importance,
    permutation_importance,
    preset_bands,
    read_measures,
    tie_message,
    top_bands,
    unmeasured_message,
    write_importance,
)
from glacierseg.bands.importance import mix, spread_evenly
from glacierseg.choices import MEASURES, Measure, Role
from glacierseg.data.patches import Patch, PatchDataset, PatchReader, place_patches
from glacierseg.data.regions import Region
from glacierseg.models.card import ModelCard, load_model
from glacierseg.models.device import InputScaling
from glacierseg.raster.scene import Scene
from glacierseg.runs.layout import ModelFolder
from glacierseg.settings import BandsConfig

_log = logging.getLogger(__name__)

PATCHES = 128
"""Enough for a stable mean of gradients, evenly over all regions."""
PASSES = 3000
"""What permutation may cost, in forward passes of a patch: an epoch or two."""
REPEATS = 2
BATCH = 8


def choose_top_bands(
    config: BandsConfig, network: str, regions: Sequence[Region], folder: ModelFolder
) -> tuple[str, ...]:
    """Measures band importance, unless that is done, and returns the bands to train on again.

    Args:
        config: How many, by which measure, or which ones.
        network: The network's name.
        regions: The regions.
        folder: Folder of the network that was trained on all bands.

    Raises:
        BandError: A preset names bands that are not there.
    """
    scene = regions[0].scene
    bands, preset = scene.band_names, bands_of_preset(config, network, scene)
    if folder.importance.exists():
        _log.debug("band importance is measured already")
    else:
        write_importance(folder.importance, _measure(config, regions, folder))
    measures = read_measures(folder.importance)
    measured = next(iter(measures.values()))
    _draw(measures, config.top, network, folder)
    best = top_bands(measured, config.top, bands)
    _log.info(f"best bands by {next(iter(measures))}: {', '.join(best)}")
    if empty := unmeasured_message(measured, config.top):
        _log.warning(empty)
    if tie := tie_message(measured, config.top):
        _log.info(f"a close choice: {tie}")
    if agreement := agreement_message(measures, config.top):
        _log.info(agreement)
    if preset is not None:
        shared = len(set(preset) & set(best))
        _log.info(f"bands of the preset: {', '.join(preset)}; {shared} of them are among the measured best")
        return preset
    if config.top_preset is not None:
        _log.info(f"the preset has no bands for {network}, which is trained on the measured ones")
    return best


def bands_of_preset(config: BandsConfig, network: str, scene: Scene) -> tuple[str, ...] | None:
    """Returns the bands that a preset chooses for a network, in scene order; None where there is no preset.

    Args:
        config: Which preset.
        network: The network's name.
        scene: With all bands.

    Raises:
        BandError: The preset names bands that are not there.
    """
    if config.top_preset is None:
        return None
    if config.top_preset == "original":
        return preset_bands(network, scene.band_names)
    if network not in config.top_preset:
        return None
    chosen = scene.select(config.top_preset[network]).band_names
    return tuple(band for band in scene.band_names if band in chosen)


def _measure(config: BandsConfig, regions: Sequence[Region], folder: ModelFolder) -> Measures:
    """Measures on training pixels what chooses the bands, and the other measure as a check if asked for."""
    network, card = load_model(folder.path)
    # Some hold glacier, or the run had refused the roles.
    places = _places(card, regions, "train", config.measure)
    found = {config.measure: _by(config.measure, network, card, regions, "train", places)}
    if not config.check:
        return found
    (other,) = (measure for measure in MEASURES if measure != config.measure)
    # Validation pixels show what a band contributes on ground that the network has not learned by heart.
    for role in ("validate", "train"):
        places = _places(card, regions, role, other)
        if len(places) > 1:
            _log.info(f"checking band importance by {other} on {len(places)} patches of {role} pixels")
            return found | {other: _by(other, network, card, regions, role, places)}
    _log.info("too few patches with glacier to check band importance")
    return found


def _by(
    measure: Measure,
    network: nn.Module,
    card: ModelCard,
    regions: Sequence[Region],
    role: Role,
    places: Sequence[Patch],
) -> tuple[BandImportance, ...]:
    # Gradients compare patches of a batch, permutation swaps bands between all of them.
    places = mix(places, BATCH) if measure == "gradient" else places
    batches, numbers = _batches(card, regions, role, places), [patch.region for patch in places]
    if measure == "gradient":
        # A batch at a time: so many patches of a large network need not fit into memory together.
        return gradient_importance(network, batches, card.bands, numbers)
    sample = PatchSample.collect(batches, numbers, BATCH)
    return permutation_importance(network, sample, card.bands, repeats=REPEATS)


def _places(card: ModelCard, regions: Sequence[Region], role: Role, measure: Measure) -> list[Patch]:
    """Places as many patches with glacier of a role as a measure may take, evenly over all regions."""
    passes = 1 + len(card.bands) * REPEATS
    most = PATCHES if measure == "gradient" else max(4, min(PATCHES, PASSES // passes))
    placed = place_patches(regions, role, card.patch_px, overlap=0.0)
    holds = PatchDataset(PatchReader(regions, card.patch_px, "none"), placed, role, card.scaling)
    fit = [patch for patch, held in zip(placed, holds.hold_glacier(), strict=True) if held]
    return [fit[i] for i in spread_evenly(len(fit), most)] if fit else []


def _batches(
    card: ModelCard, regions: Sequence[Region], role: Role, places: Sequence[Patch]
) -> Iterator[BatchOfPatches]:
    """Reads patches as network input; only pixels of the role have a label."""
    reader = PatchReader(regions, card.patch_px, "none")
    dataset = PatchDataset(reader, places, role, card.scaling)
    scale = InputScaling(card.scaling)
    for first in range(0, len(places), BATCH):
        values, valid, target = dataset.__getitems__(range(first, min(first + BATCH, len(places))))
        yield scale(values, valid), target


def _draw(measures: Measures, top: int, network: str, folder: ModelFolder) -> None:
    from glacierseg.report.figures.bands import figure_importance_measures  # noqa: PLC0415  (brings matplotlib)
    from glacierseg.report.save import save_figure  # noqa: PLC0415

    figure = figure_importance_measures(measures, top, network)
    save_figure(figure, folder.importance.with_suffix(".png"), dpi=120)
