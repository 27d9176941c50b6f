"""The stage that trains one network on one set of bands."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from glacierseg import log
from glacierseg.data.augment import Augmentation
from glacierseg.data.patches import PatchDataset, PatchReader
from glacierseg.data.regions import Region, count_train_pixels, thinned, train_pixels
from glacierseg.data.split import ROLE_CODES
from glacierseg.data.statistics import DatasetStatistics, dataset_statistics
from glacierseg.errors import BandError, did_you_mean
from glacierseg.experiment.regions import SplitPatches, leak_share, split_patches
from glacierseg.models.card import ModelCard, read_card, save_model
from glacierseg.models.registry import count_parameters, create_model, option_names
from glacierseg.models.scaling import (
    Scaling,
    logarithmic_floor,
    measure_logarithmic_scaling,
    measure_scaling,
)
from glacierseg.raster.prepare.recipes import modality_of
from glacierseg.raster.scene import Scene
from glacierseg.raster.values import BandValues, measure_values
from glacierseg.raster.write import atomic_path, write_json
from glacierseg.runs.layout import ModelFolder
from glacierseg.runs.write import forget_results
from glacierseg.settings import BandsConfig, Logarithm, ModelConfig, PatchConfig, SplitConfig, TrainSettings
from glacierseg.settings.train import TrainingPlan
from glacierseg.training.fit import FitResult, fit, resolved_precision, start_from
from glacierseg.training.processes import find_processes, join, wait_for_others
from glacierseg.training.states import EpochRecord, remove_states, states_folder
from glacierseg.weights.own import facts_of_scenes, unlike_training
from glacierseg.weights.shelf import model_folder

_log = logging.getLogger(__name__)

_SAMPLED_PX = 200_000
"""So many training pixels tell what values a network has seen."""


def try_options(model: ModelConfig, bands: int) -> None:
    """Makes the network without memory for its weights, so that a wrong option is found before the work.

    Raises:
        RequestError: The network has no such option, or a size is impossible.
    """
    with torch.device("meta"):
        create_model(model.name, bands, 2, model.width, **model.options)


def train(
    model: ModelConfig,
    bands: tuple[str, ...],
    regions: Sequence[Region],
    folder: ModelFolder,
    *,
    inputs: BandsConfig,
    patch: PatchConfig,
    split: SplitConfig,
    training: TrainSettings,
) -> None:
    """Trains a network, unless its weights are already there.

    Writes the weights and their card, the facts of the data set, the epoch table and its curves. Under
    `torchrun` or SLURM every process calls this; the first one writes.

    Args:
        model: The network's section.
        bands: Names of its bands.
        regions: The regions.
        folder: Where the network goes.
        inputs: What networks see of the bands.
        patch: How patches are cut and changed.
        split: How pixels are shared out.
        training: How networks are trained.
    """
    if folder.weights.exists():
        _log.info("trained already")
        return
    processes = find_processes()
    join(processes)
    is_first = processes.is_first
    started = time.monotonic()
    if is_first:
        forget_results(folder)
    plan = model.training_plan(training, len(bands), patch.glacier_share)
    torch.manual_seed(plan.seed)
    changes = augmentation(model, patch, inputs.modalities, bands)
    options = network_options(model, changes.modalities if inputs.modalities else {}, len(bands))
    network = create_model(model.name, len(bands), 2, model.width, **options)
    patch_px = model.resolved_patch_px
    data = _prepare(
        PatchReader(
            [replace(region, scene=region.scene.select(bands)) for region in regions],
            patch_px,
            patch.cache,
            states_folder(folder.path),
        ),
        split_patches(regions, patch_px, patch, split),
        changes,
        inputs.logarithm if model.logarithm is None else model.logarithm,
        plan.seed,
    )
    if model.start_from is not None:
        inherited = start_from(network, bands, model_folder(model.start_from), model.name)
        fresh = f", fresh for {', '.join(inherited.fresh)}" if inherited.fresh else ""
        _log.info(f"weights of {model.start_from} for {', '.join(inherited.kept)}{fresh}")
        earlier = read_card(model_folder(model.start_from))
        if unlike := unlike_training(earlier, bands, data.values, str(model.start_from)):
            _log.warning(f"the scenes are unlike those that {model.start_from} was trained on: {unlike}")
    _log.info(
        f"training {count_parameters(network) / 1e6:.2f} M parameters on {len(data.train)} patches, "
        f"validating on {len(data.validate)} patches of {patch_px} px "
        f"(training sees {data.leak:.0%} of their pixels)"
    )
    for line in data.statistics.lines():
        _log.info(line)
    if is_first:
        write_json(folder.dataset, data.statistics.as_dict())
    result = fit(
        network,
        data.train,
        data.validate,
        plan,
        folder.path,
        progress=log.shows_bars(),
        on_epoch=lambda record: _log.info(_epoch_line(record)),
    )
    # The other processes have read the best state before the first one removes it.
    wait_for_others()
    if is_first:
        trained_on = [region.name for region in regions if "train" in region.areas]
        facts = {"parameters": count_parameters(network), "regions": trained_on}
        facts |= _facts(data, plan, result) | {"seconds": round(time.monotonic() - started, 1)}
        card = ModelCard(
            architecture=model.name,
            width=model.width,
            options=options,
            bands=bands,
            band_mean=data.scaling.mean,
            band_std=data.scaling.std,
            band_log_floor=data.scaling.floor if any(data.scaling.floor) else (),
            patch_px=patch_px,
            may_miss=tuple(bands[place] for place in changes.may_miss(len(bands))),
            **facts_of_scenes(data.scenes, data.values),
            training=facts
            | {"split": split.method, "started_from": model.start_from and str(model.start_from)},
        )
        draw_curves(folder, model.name, result.best_epoch)
        save_model(folder.path, network, card)
        remove_states(folder.path)
        _log.info(f"kept epoch {result.best_epoch} of {result.epochs}, val IoU {result.best_iou:.4f}")
    wait_for_others()


@dataclass(frozen=True)
class _TrainingData:
    """What a network trains on."""

    train: PatchDataset
    validate: PatchDataset
    scaling: Scaling
    leak: float
    statistics: DatasetStatistics
    values: tuple[BandValues, ...]
    scenes: tuple[Scene, ...]


def _prepare(
    reader: PatchReader, patches: SplitPatches, changes: Augmentation, logarithm: Logarithm, seed: int
) -> _TrainingData:
    if find_processes().is_first:
        reader.store.fill()
    wait_for_others()
    regions = reader.regions
    kept: list[NDArray[np.float32]] = []
    step = max(1, count_train_pixels(regions) // _SAMPLED_PX)
    plain = measure_scaling(thinned((pixels for pixels, _ in train_pixels(regions)), step, kept))
    scaling = _with_logarithms(logarithm, regions, plain)
    soft = any(region.soft is not None for region in regions)
    train = PatchDataset(reader, patches.train, "train", scaling, augmentation=changes, seed=seed, soft=soft)
    return _TrainingData(
        train=train,
        validate=PatchDataset(
            reader, patches.validate, "train" if patches.from_train else "validate", scaling
        ),
        scaling=scaling,
        statistics=dataset_statistics(reader, patches.train, patches.validate, plain),
        leak=leak_share(patches, regions, reader.patch_px, reach_px=train.reach_px),
        values=tuple(measure_values(np.concatenate(kept, axis=1)) or ()),
        scenes=tuple(region.scene for region in regions if (region.roles == ROLE_CODES["train"]).any()),
    )


def _with_logarithms(wanted: Logarithm, regions: Sequence[Region], plain: Scaling) -> Scaling:
    """Measures the scaling again where logarithms of some bands are wanted."""
    bands = regions[0].scene.band_names
    places = range(len(bands)) if wanted == "all" else [bands.index(band) for band in wanted if band in bands]
    if not places:
        return plain
    try:
        floor = logarithmic_floor(plain, places)
    except ValueError as error:
        name = bands[error.args[0]]
        raise BandError(
            f"logarithm includes {name}, whose mean is not positive; name only bands of light, such as "
            "logarithm: [red, nir]"
        ) from error
    return measure_logarithmic_scaling((pixels for pixels, _ in train_pixels(regions)), floor)


def draw_curves(folder: ModelFolder, name: str, best_epoch: int) -> None:
    """Draws the epoch table of a model folder as a picture beside it.

    Args:
        folder: The model folder.
        name: The network's name.
        best_epoch: Whose weights were kept.
    """
    from glacierseg.report.figures.curves import figure_training_curves  # noqa: PLC0415  (brings matplotlib)
    from glacierseg.runs.results import ModelResult, read_epochs  # noqa: PLC0415

    result = ModelResult(
        model=name,
        bands=folder.path.name,
        folder=folder,
        card={"training": {"best_epoch": best_epoch}},
        epochs=read_epochs(folder.epochs),
        importance=(),
        refinement={},
    )
    with atomic_path(folder.curves) as part:
        figure_training_curves([result]).savefig(part, dpi=120)


def augmentation(
    model: ModelConfig, patch: PatchConfig, modalities: Mapping[str, Sequence[str]], bands: Sequence[str]
) -> Augmentation:
    """Returns what may happen to a network's training patches of some bands.

    Args:
        model: The network's section.
        patch: The patch section.
        modalities: Names of the bands of each; where there are none, all but light is grouped by name.
        bands: Names of the bands; those of a modality that are not among them are left out.
    """
    places = {band: position for position, band in enumerate(bands)}
    if not modalities:
        modalities = modalities_by_name(bands)
    groups = {
        name: tuple(places[band] for band in members if band in places)
        for name, members in modalities.items()
    }
    return Augmentation(
        symmetries=patch.augment,
        zoom=patch.zoom,
        gamma=patch.gamma,
        brightness=patch.brightness if model.brightness is None else model.brightness,
        noise=patch.noise,
        band_dropout=patch.band_dropout,
        modality_dropout=patch.modality_dropout,
        modalities={name: positions for name, positions in groups.items() if positions},
    )


def modalities_by_name(bands: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Returns thermal, terrain, radar and motion with their bands, by the names of these."""
    found: dict[str, tuple[str, ...]] = {}
    for band in bands:
        if modality := modality_of(band):
            found[modality] = (*found.get(modality, ()), band)
    return found


def check_named_bands(inputs: BandsConfig, models: Sequence[ModelConfig], bands: Sequence[str]) -> None:
    """Checks that the bands of every modality, and those that become logarithms, exist.

    Args:
        inputs: Modalities, and the logarithms of all networks.
        models: The networks, some perhaps with logarithms of their own.
        bands: Names of all bands.

    Raises:
        BandError: One does not.
    """
    groups = {f"modality {name!r}": members for name, members in inputs.modalities.items()}
    logarithms = {"bands.logarithm": inputs.logarithm}
    logarithms |= {f"logarithm of {model.name}": model.logarithm or () for model in models}
    groups |= {name: members for name, members in logarithms.items() if members != "all"}
    for name, members in groups.items():
        for band in members:
            if band not in bands:
                raise BandError(
                    f"{name} names band {band!r}, which the scenes do not have"
                    f"{did_you_mean(band, bands)}; they have {', '.join(bands)}"
                )


def network_options(
    model: ModelConfig, modalities: Mapping[str, Sequence[int]], bands: int
) -> dict[str, Any]:
    """Returns a network's options; one that takes `groups` of bands gets the modalities.

    Args:
        model: The network's section.
        modalities: Positions of the bands of each; those in none form one more group.
        bands: Number of its bands.
    """
    options = dict(model.options)
    if modalities and "groups" not in options and "groups" in option_names(model.name):
        grouped = {position for positions in modalities.values() for position in positions}
        rest = [position for position in range(bands) if position not in grouped]
        options["groups"] = [list(group) for group in (*modalities.values(), rest) if group]
    return options


def _epoch_line(record: EpochRecord) -> str:
    return (
        f"epoch {record.epoch:4d}  loss {record.train_loss:.4f}  val loss {record.val_loss:.4f}  "
        f"IoU {record.train_iou:.4f}  val IoU {record.val_iou:.4f}  {record.seconds:.1f} s"
    )


def _facts(data: _TrainingData, plan: TrainingPlan, result: FitResult) -> dict[str, Any]:
    return {
        "dataset_fingerprint": data.statistics.fingerprint,
        "patches": len(data.train),
        "validation_patches": len(data.validate),
        "validation_pixels_seen_in_training": data.leak,
        "loss": plan.loss,
        "learning_rate": plan.learning_rate,
        "batch_size": plan.batch_size,
        "precision": resolved_precision(plan.precision),
        "seed": plan.seed,
        "epochs": result.epochs,
        "best_epoch": result.best_epoch,
        # Not known of an epoch that an earlier version trained.
        **({"train_iou": result.train_iou} if math.isfinite(result.train_iou) else {}),
        "best_val_iou": result.best_iou,
        "best_val_loss": result.best_loss,
        "stopped_early": result.stopped_early,
    }
