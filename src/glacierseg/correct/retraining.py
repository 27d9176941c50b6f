"""The training itself: patches of corrections and of old ground in one order, from the weights before."""

import copy
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from glacierseg import log
from glacierseg.correct.ground import OldGround, Place, patches_of
from glacierseg.data.augment import Augmentation
from glacierseg.data.patches import Patch, PatchDataset, PatchReader, place_patches
from glacierseg.data.regions import Region
from glacierseg.data.split import NO_ROLE, ROLE_CODES
from glacierseg.experiment.training import augmentation
from glacierseg.models.card import ModelCard
from glacierseg.predict.calibration import calibration_of
from glacierseg.predict.ensemble import Ensemble
from glacierseg.predict.samples import CroppedScene, predicted
from glacierseg.settings import PredictSettings
from glacierseg.settings.correct import CorrectSettings
from glacierseg.settings.train import TrainingPlan
from glacierseg.training.fit import fit
from glacierseg.training.states import EpochRecord

if TYPE_CHECKING:
    from torch import nn

_log = logging.getLogger(__name__)

# So many windows of unchecked ground remind a network of what it was sure of there.
_MOST_UNCHECKED = 512
_SURE = 0.05


def retrain(
    ensemble: Ensemble,
    base: Path,
    regions: Sequence[Region],
    places: Sequence[Place],
    old: OldGround | None,
    settings: CorrectSettings,
    work: Path,
) -> "nn.Module":
    """Trains a network on the places that do not judge, with its loss and in its patches.

    Batch norm keeps its statistics: little ground would give it poor ones.

    Args:
        ensemble: The network, which stays as it is.
        base: Its folder.
        regions: The scenes of the corrections.
        places: Their places.
        old: The ground of its training.
        settings: How it is trained.
        work: Where the states of the training go; it goes on from there.
    """
    card = ensemble.cards[0]
    assert card is not None  # noqa: S101  (a model folder has one)
    size = card.patch_px
    checked = patches_of([place for place in places if not place.judges], regions, size)
    judging = patches_of([place for place in places if place.judges], regions, size)
    ground, unchecked = with_own_map(ensemble, card, base, regions, settings.seed)
    changes, replayed = Augmentation(), list[Patch]()
    if old is not None:
        ground += old.regions
        placed = place_patches(old.regions, "train", size, overlap=old.config.patch.overlap)
        replayed = [replace(patch, region=patch.region + len(regions)) for patch in placed]
        own = next(
            (one for one in old.config.networks if one.name == card.architecture), old.config.networks[0]
        )
        changes = augmentation(own, old.config.patch, old.config.bands.modalities, card.bands)
    reader = PatchReader(ground, size)
    share = settings.replay_share
    patches = mixed(
        [checked, unchecked, replayed],
        [1 - share - settings.unchecked_share, settings.unchecked_share, share],
    )
    train = PatchDataset(reader, patches, "train", card.scaling, augmentation=changes, seed=settings.seed)
    validate = PatchDataset(reader, judging, "validate", card.scaling)
    facts = card.training
    plan = TrainingPlan(
        loss=facts.get("loss", "cross_entropy"),
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        patches_per_epoch=settings.patches_per_epoch,
        monitor="last",
        schedule="cosine",
        clip_norm=1.0,
        seed=settings.seed,
        frozen_norms=True,
    )
    network = card.build()
    network.load_state_dict(ensemble.networks[0].state_dict())
    fit(network, train, validate, plan, work, progress=log.shows_bars(), on_epoch=_tell)
    return network.eval()


def between(before: "nn.Module", after: "nn.Module", way: float) -> "nn.Module":
    """Returns a network with weights between those of two (Wortsman et al. 2022), 1 for the second."""
    own, other = before.state_dict(), after.state_dict()
    mixed = {
        key: torch.lerp(own[key], value, way) if value.is_floating_point() else value
        for key, value in other.items()
    }
    network = copy.deepcopy(after)
    network.load_state_dict(mixed)
    return network.eval()


def _tell(record: EpochRecord) -> None:
    _log.info(f"epoch {record.epoch}: loss {record.train_loss:.4f}, {record.seconds:.1f} s")


def mixed(kinds: Sequence[Sequence[Patch]], shares: Sequence[float]) -> list[Patch]:
    """Repeats patches so that each kind makes up its share of those drawn without order, where there are any.

    Args:
        kinds: Patches of each kind.
        shares: Of each.
    """
    wanted = {number: share for number, share in enumerate(shares) if kinds[number] and share > 0}
    most = max(len(kinds[number]) / share for number, share in wanted.items())
    times = {number: max(round(most * share / len(kinds[number])), 1) for number, share in wanted.items()}
    return [patch for number, count in times.items() for patch in [*kinds[number]] * count]


def with_own_map(
    ensemble: Ensemble, card: ModelCard, base: Path, regions: Sequence[Region], seed: int
) -> tuple[list[Region], list[Patch]]:
    """Gives unchecked ground the network's own map as truth where it is sure.

    Places that are corrected are unlike the rest of a scene: learned alone, they would change all of it.

    Args:
        ensemble: The network.
        card: Its card.
        base: Its folder.
        regions: The scenes of corrections.
        seed: Draws the windows where there are many.

    Returns:
        The regions, and patches on their unchecked ground.
    """
    side, calibration = card.patch_px, calibration_of(card, base)
    windows = [
        Patch(number, row, column)
        for number, region in enumerate(regions)
        for row in range(0, region.truth.shape[0] - side + 1, side)
        for column in range(0, region.truth.shape[1] - side + 1, side)
    ]
    drawn = np.random.default_rng(seed).permutation(len(windows))[:_MOST_UNCHECKED]
    kept = [windows[place] for place in sorted(drawn)]
    parts = [
        CroppedScene.of(regions[patch.region].scene, patch.row, patch.column, side, side) for patch in kept
    ]
    truths, roles = ([getattr(region, what).copy() for region in regions] for what in ("truth", "roles"))
    useful = []
    for patch, raw in zip(
        kept, predicted(ensemble, parts, ensemble.resolved(PredictSettings())), strict=True
    ):
        chance = calibration.apply(raw) if calibration else raw
        window = np.s_[patch.row : patch.row + side, patch.column : patch.column + side]
        sure = (np.minimum(chance, 1 - chance) < _SURE) & (roles[patch.region][window] == NO_ROLE)
        truths[patch.region][window][sure] = chance[sure] > 0.5
        roles[patch.region][window][sure] = ROLE_CODES["train"]
        if sure.any():
            useful.append(patch)
    known = zip(regions, truths, roles, strict=True)
    return [replace(region, truth=truth, roles=own) for region, truth, own in known], useful
