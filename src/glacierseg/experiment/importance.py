"""The stage that measures band importance and chooses the best few bands."""

import logging
from collections.abc import Iterator, Sequence

from torch import nn

from glacierseg.bands import (
    MEASURES,
    BandImportance,
    BatchOfPatches,
    Measure,
    Measures,
    PatchSample,
    agreement_of,
    gradient_importance,
    measure_patches,
    preset_bands,
    read_measures,
    tie_message,
    top_bands,
    unmeasured_message,
    write_importance,
)
from glacierseg.bands.measures import passes_per_patch
from glacierseg.bands.sample import mix, spread_evenly
from glacierseg.data.batches import InputScaling
from glacierseg.data.patches import Patch, PatchDataset, PatchReader, place_patches
from glacierseg.data.split import Role
from glacierseg.errors import RequestError
from glacierseg.experiment.regions import StudyRegion
from glacierseg.raster.scene import Scene
from glacierseg.runs.folder import ModelFolder
from glacierseg.settings import BandsConfig
from glacierseg.training.checkpoint import ModelCard, load_model

_log = logging.getLogger(__name__)

PATCHES = 128
"""Enough for a stable mean of gradients, evenly over all regions."""
CHECK_PASSES = 3000
"""What measuring otherwise than by gradients may cost, in forward passes of a patch: an epoch or two."""
BATCH = 8
_STEPS, _REPEATS = 8, 2


def choose_top_bands(
    config: BandsConfig, network: str, studied: Sequence[StudyRegion], folder: ModelFolder
) -> tuple[str, ...]:
    """Measures band importance, unless that is done, and returns the bands to train on again.

    Args:
        config: How many, by which measure, or which ones.
        network: The network's name.
        studied: The regions.
        folder: Folder of the network that was trained on all bands.

    Raises:
        BandError: A preset names bands that are not there.
    """
    scene = studied[0].region.scene
    bands, preset = scene.band_names, bands_of_preset(config, network, scene)
    if folder.importance.exists():
        _log.debug("band importance is measured already")
    else:
        write_importance(folder.importance, _measure(config, studied, folder))
    measures = read_measures(folder.importance)
    measured = next(iter(measures.values()))
    _draw(measures, config.top, network, folder)
    best = top_bands(measured, config.top, bands)
    _log.info(f"best bands by {next(iter(measures))}: {', '.join(best)}")
    if empty := unmeasured_message(measured, config.top):
        _log.warning(empty)
    if tie := tie_message(measured, config.top):
        _log.info(f"a close choice: {tie}")
    for agreement in agreement_of(measures, config.top):
        _log.info(agreement.in_words())
    if preset is not None:
        shared = len(set(preset) & set(best))
        _log.info(f"bands of the preset: {', '.join(preset)}; {shared} of them are among the measured best")
        return preset
    if config.top_preset is not None:
        _log.info(f"the preset has no bands for {network}; it gets the measured ones")
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


def _measure(config: BandsConfig, studied: Sequence[StudyRegion], folder: ModelFolder) -> Measures:
    """Measures on training pixels what chooses the bands, and, if there is room, the rest as a check."""
    network, card = load_model(folder.path)
    if config.measure == "gradient":
        places = mix(_places(card, studied, "train", PATCHES), BATCH)
        # A batch at a time: so many patches of a large network need not fit into memory together.
        batches = _batches(card, studied, "train", places)
        regions = [patch.region for patch in places]
        found: dict[Measure, tuple[BandImportance, ...]] = {
            "gradient": gradient_importance(network, batches, card.bands, regions)
        }
    else:
        places = _places(card, studied, "train", _affordable([config.measure], len(card.bands)))
        found = dict(_on(network, card, studied, "train", places, [config.measure]))
    if not config.check:
        return found
    others = [measure for measure in MEASURES if measure != config.measure]
    # Validation pixels show what a band is worth on ground that the network has not learned by heart.
    for role in ("validate", "train"):
        places = _places(card, studied, role, _affordable(others, len(card.bands)))
        if len(places) > 1:
            _log.info(f"checking band importance on {len(places)} patches of {role} pixels")
            return found | dict(_on(network, card, studied, role, places, others))
    _log.info("too few patches with glacier to check band importance")
    return found


def _affordable(measures: Sequence[Measure], bands: int) -> int:
    cost = passes_per_patch(measures, bands, steps=_STEPS, repeats=_REPEATS)
    return max(4, min(PATCHES, CHECK_PASSES // cost))


def _on(
    network: nn.Module,
    card: ModelCard,
    studied: Sequence[StudyRegion],
    role: Role,
    places: Sequence[Patch],
    measures: Sequence[Measure],
) -> Measures:
    if not places:
        raise RequestError(
            f"band importance needs {role} patches with glacier, and there are none; set `bands: top: 0`"
        )
    batches = _batches(card, studied, role, places)
    sample = PatchSample.collect(batches, [patch.region for patch in places], BATCH)
    return measure_patches(network, sample, card.bands, measures, steps=_STEPS, repeats=_REPEATS)


def _places(card: ModelCard, studied: Sequence[StudyRegion], role: Role, most: int) -> list[Patch]:
    """Places patches with glacier of a role, at most so many, evenly over all regions."""
    regions = [study.region for study in studied]
    placed = place_patches(regions, role, card.patch_px, overlap=0.0)
    holds = PatchDataset(PatchReader(regions, card.patch_px, "none"), placed, role, card.scaling)
    fit = [patch for patch, held in zip(placed, holds.hold_glacier(), strict=True) if held]
    return [fit[i] for i in spread_evenly(len(fit), most)] if fit else []


def _batches(
    card: ModelCard, studied: Sequence[StudyRegion], role: Role, places: Sequence[Patch]
) -> Iterator[BatchOfPatches]:
    """Reads patches as network input; only pixels of the role have a label."""
    reader = PatchReader([study.region for study in studied], card.patch_px, "none")
    dataset = PatchDataset(reader, places, role, card.scaling)
    scale = InputScaling(card.scaling)
    for first in range(0, len(places), BATCH):
        values, valid, target = dataset.__getitems__(range(first, min(first + BATCH, len(places))))
        yield scale(values, valid), target


def _draw(measures: Measures, top: int, network: str, folder: ModelFolder) -> None:
    from glacierseg.report.importance import figure_importance_measures  # noqa: PLC0415  (brings matplotlib)
    from glacierseg.report.save import save_figure  # noqa: PLC0415

    figure = figure_importance_measures(measures, top, network)
    save_figure(figure, folder.importance.with_suffix(".png"), dpi=120)
