"""The stages that need a network: training, prediction and band importance."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from glacierseg.bands import gradient_importance, read_importance, top_bands, write_importance
from glacierseg.config import ModelConfig, RunConfig
from glacierseg.console import Talk
from glacierseg.dataset.patches import Patch, PatchDataset, PatchReader, Region, as_batch
from glacierseg.experiment.folder import ModelFolder
from glacierseg.experiment.regions import StudyRegion
from glacierseg.predict.halo import halo_agreement
from glacierseg.predict.members import Ensemble
from glacierseg.predict.scene import predict_scene
from glacierseg.raster.truth import GLACIER
from glacierseg.training.checkpoint import ModelCard, load_model


def predict_regions(
    config: RunConfig, model: ModelConfig, studied: Sequence[StudyRegion], folder: ModelFolder, talk: Talk
) -> None:
    """Predicts the whole scene of every region that has no prediction yet."""
    wanted = [
        s for s in studied if not (folder.mask(s.name).exists() and folder.probability(s.name).exists())
    ]
    if not wanted:
        return
    network, card = load_model(folder.path, prune_level=model.prune_level)
    for study in wanted:
        folder.forget_region(study.name)
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
            talk.say(f"{study.name}: {halo_agreement(Ensemble((network,), (card,)), scene, **how)}")
        with talk.bar(f"predicting {study.name}", grid.height * grid.width) as progress:
            predict_scene(
                network,
                study.region.scene,
                folder.path,
                card=card,
                name=study.name,
                tags={"run": config.name},
                progress=progress,
                **how,
            )


def measure_importance(
    folder: ModelFolder, studied: Sequence[StudyRegion], bands: tuple[str, ...], count: int
) -> tuple[str, ...]:
    """Measures band importance on training pixels, unless that is done, and returns the best few bands."""
    if not folder.importance.exists():
        from torch.utils.data import DataLoader, Subset  # noqa: PLC0415

        from glacierseg.dataset.batches import InputScaling  # noqa: PLC0415
        from glacierseg.dataset.patches import place_patches  # noqa: PLC0415

        network, card = load_model(folder.path)
        regions = [study.region for study in studied]
        patches = _with_glacier(place_patches(regions, "train", card.patch_px, overlap=0.0), regions, card)
        dataset = PatchDataset(PatchReader(regions, card.patch_px), patches, "train", card.scaling)
        # Enough patches for a stable mean, evenly over all regions.
        chosen = np.linspace(0, len(patches) - 1, min(len(patches), 128)).round().astype(int)
        scale = InputScaling(card.scaling)
        loader = DataLoader(Subset(dataset, chosen.tolist()), batch_size=8, collate_fn=as_batch)
        batches = ((scale(values, valid), target) for values, valid, target in loader)
        write_importance(folder.importance, gradient_importance(network, batches, bands))
    return top_bands(read_importance(folder.importance), count, bands)


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
