"""The stages that need a network: training, prediction and band importance."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.bands import gradient_importance, read_importance, top_bands, write_importance
from glacierseg.config import ModelConfig, RunConfig
from glacierseg.console import Talk
from glacierseg.dataset.patches import Patch, PatchDataset, PatchReader, Region
from glacierseg.dataset.scaling import measure_scaling
from glacierseg.dataset.split import ROLE_CODES
from glacierseg.experiment.folder import ModelFolder
from glacierseg.experiment.regions import StudyRegion, leak_share, split_patches
from glacierseg.models.registry import count_parameters, create_model
from glacierseg.predict.scene import predict_scene
from glacierseg.raster.truth import GLACIER, IGNORE
from glacierseg.training.checkpoint import ModelCard, load_model, save_model
from glacierseg.training.fit import EpochRecord, TrainingPlan, fit, remove_checkpoints


def training_plan(config: RunConfig, model: ModelConfig, bands: int) -> TrainingPlan:
    """Merges a network's own defaults, the training section and the model's section, the last winning.

    Args:
        config: The run's configuration.
        model: The network's section.
        bands: Number of input bands; some networks train on few bands with another batch size.
    """
    spec, training = model.spec, config.training
    own_batch = spec.batch_size_six_bands if bands <= 6 else spec.batch_size
    return TrainingPlan(
        loss=model.loss or spec.loss,
        learning_rate=model.learning_rate or spec.learning_rate,
        batch_size=model.batch_size or training.batch_size or own_batch,
        epochs=model.epochs or training.epochs,
        patience=training.patience,
        monitor=training.monitor,
        clip_norm=spec.clip_norm,
        schedule=training.schedule,
        weight_decay=training.weight_decay,
        patches_per_epoch=model.patches_per_epoch or training.patches_per_epoch,
        mixed_precision=spec.mixed_precision,
        workers=training.workers,
        seed=training.seed,
    )


def try_options(model: ModelConfig, bands: int) -> None:
    """Makes the network without memory for its weights, so that a wrong option is found before the work.

    Raises:
        RequestError: The network has no such option, or a size is impossible.
    """
    import torch  # noqa: PLC0415

    with torch.device("meta"):
        create_model(model.name, bands, 2, model.width, **model.options)


def train(
    config: RunConfig,
    model: ModelConfig,
    studied: Sequence[StudyRegion],
    folder: ModelFolder,
    *,
    bands: tuple[str, ...],
    talk: Talk,
) -> None:
    """Trains a network, unless its weights are already there."""
    if folder.weights.exists():
        talk.say("trained already")
        return
    import torch  # noqa: PLC0415

    folder.forget_results()
    regions = [
        Region(study.name, study.region.scene.select(bands), study.region.truth, study.region.roles)
        for study in studied
    ]
    patch_px = model.resolved_patch_px
    patches = split_patches(config, studied, patch_px)
    reader = PatchReader(regions, patch_px)
    scaling = measure_scaling(pixels for pixels, _ in train_pixels(regions))
    plan = training_plan(config, model, len(bands))
    spatial = config.split.method == "spatial"
    leak = leak_share(patches, studied, patch_px, blanked=spatial)
    torch.manual_seed(plan.seed)
    network = create_model(model.name, len(bands), 2, model.width, **model.options)
    talk.say(
        f"training {count_parameters(network) / 1e6:.2f} M parameters on {len(patches.train)} patches of "
        f"{patch_px} px, validating on {len(patches.validate)} (training sees {leak:.0%} of their pixels)"
    )
    dataset = PatchDataset(
        reader, patches.train, "train", scaling, augment=config.patch.augment, seed=plan.seed
    )
    # Under the random split validation patches lie among training pixels.
    held = PatchDataset(reader, patches.validate, "validate" if spatial else "train", scaling)
    started = time.monotonic()

    def on_epoch(record: EpochRecord) -> None:
        talk.say(
            f"epoch {record.epoch:4d}  loss {record.train_loss:.4f}  val loss {record.val_loss:.4f}  "
            f"val IoU {record.val_iou:.4f}  {record.seconds:.1f} s"
        )

    result = fit(network, dataset, held, plan, folder.path, progress=talk.shows_bars, on_epoch=on_epoch)
    facts: dict[str, Any] = {
        "parameters": count_parameters(network),
        "regions": [study.name for study in studied if "train" in study.areas],
        "patches": len(patches.train),
        "validation_patches": len(patches.validate),
        "validation_pixels_seen_in_training": leak,
        "split": config.split.method,
        "loss": plan.loss,
        "learning_rate": plan.learning_rate,
        "batch_size": plan.batch_size,
        "seed": plan.seed,
        "epochs": result.epochs,
        "best_epoch": result.best_epoch,
        "best_val_iou": result.best_iou,
        "best_val_loss": result.best_loss,
        "stopped_early": result.stopped_early,
        "seconds": round(time.monotonic() - started, 1),
    }
    card = ModelCard(
        architecture=model.name,
        width=model.width,
        options=model.options,
        bands=bands,
        band_mean=scaling.mean,
        band_std=scaling.std,
        patch_px=patch_px,
        training=facts,
    )
    save_model(folder.path, network, card)
    remove_checkpoints(folder.path)
    talk.say(f"kept epoch {result.best_epoch} of {result.epochs}, val IoU {result.best_iou:.4f}")


def predict_regions(
    config: RunConfig, studied: Sequence[StudyRegion], folder: ModelFolder, talk: Talk
) -> None:
    """Predicts the whole scene of every region that has no prediction yet."""
    wanted = [
        s for s in studied if not (folder.mask(s.name).exists() and folder.probability(s.name).exists())
    ]
    if not wanted:
        return
    network, card = load_model(folder.path)
    for study in wanted:
        folder.forget_region(study.name)
        with talk.bar(f"predicting {study.name}") as progress:
            predict_scene(
                network,
                study.region.scene,
                folder.path,
                card=card,
                name=study.name,
                window_px=config.prediction.window_px,
                overlap=config.prediction.overlap,
                batch_size=config.prediction.batch_size,
                threshold=config.prediction.threshold,
                tags={"run": config.name},
                progress=progress,
            )


def measure_importance(
    folder: ModelFolder, studied: Sequence[StudyRegion], bands: tuple[str, ...], count: int
) -> tuple[str, ...]:
    """Measures band importance on training pixels, unless that is done, and returns the best few bands."""
    if not folder.importance.exists():
        from torch.utils.data import DataLoader, Subset  # noqa: PLC0415

        from glacierseg.dataset.patches import place_patches  # noqa: PLC0415

        network, card = load_model(folder.path)
        regions = [study.region for study in studied]
        patches = _with_glacier(place_patches(regions, "train", card.patch_px, overlap=0.0), regions, card)
        dataset = PatchDataset(PatchReader(regions, card.patch_px), patches, "train", card.scaling)
        # Enough patches for a stable mean, evenly over all regions.
        chosen = np.linspace(0, len(patches) - 1, min(len(patches), 128)).round().astype(int)
        batches = DataLoader(Subset(dataset, chosen.tolist()), batch_size=8)
        write_importance(folder.importance, gradient_importance(network, batches, bands))
    return top_bands(read_importance(folder.importance), count, bands)


def train_pixels(
    regions: Sequence[Region],
) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Yields valid training pixels `(C, N)` and whether they are glacier `(N,)`, strip by strip."""
    for region in regions:
        chosen = (region.roles == ROLE_CODES["train"]) & (region.truth != IGNORE)
        if not chosen.any():
            continue
        with region.scene.open() as reader:
            for rows, values, _ in reader.strips():
                inside = chosen[rows]
                yield values[:, inside], region.truth[rows][inside] == GLACIER


def _with_glacier(patches: Sequence[Patch], regions: Sequence[Region], card: ModelCard) -> list[Patch]:
    size = card.patch_px
    return [
        patch
        for patch in patches
        if (
            regions[patch.region].truth[
                max(patch.row, 0) : patch.row + size, max(patch.column, 0) : patch.column + size
            ]
            == GLACIER
        ).any()
    ]
