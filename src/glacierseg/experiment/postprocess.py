"""The stages after prediction: refinement tuned on validation pixels, and outlines."""

from collections.abc import Sequence
from dataclasses import asdict

from glacierseg.config import ModelConfig, RunConfig
from glacierseg.console import Talk
from glacierseg.experiment.folder import ModelFolder
from glacierseg.experiment.regions import StudyRegion, split_patches, tuning_truths
from glacierseg.raster.truth import read_mask
from glacierseg.raster.write import read_json, write_json
from glacierseg.refine.files import refine_file
from glacierseg.refine.pipeline import RefineParameters
from glacierseg.refine.search import tune_refinement
from glacierseg.vectors.polygons import vectorize_mask


def refine_regions(
    config: RunConfig,
    studied: Sequence[StudyRegion],
    folder: ModelFolder,
    model: ModelConfig | None,
    talk: Talk,
) -> None:
    """Tunes the refinement on validation pixels and applies it to every region, unless that is done.

    Args:
        config: The run's configuration.
        studied: The regions.
        folder: Holds the predicted masks.
        model: The network, whose patch size decides on the validation pixels of the random split; None for
            the threshold rule.
        talk: Where to say what happens.
    """
    if not folder.refinement.exists():
        patch_px = (model or config.models[0]).resolved_patch_px
        truths = tuning_truths(config, studied, split_patches(config, studied, patch_px), patch_px)
        sizes = {study.name: study.region.scene.grid.pixel_size_m for study in studied}
        ranges = config.refinement
        # On whole masks, though only validation pixels count: what is a hole or a fragment depends on all.
        tuned = tune_refinement(
            [read_mask(folder.mask(name)) for name in truths],
            list(truths.values()),
            [sizes[name] for name in truths],
            merge_distances_m=ranges.merge_distances_m,
            min_areas_km2=ranges.min_areas_km2,
            iterations=ranges.iterations,
            max_holes_km2=ranges.max_holes_km2,
        )
        write_json(
            folder.refinement,
            {
                "best": asdict(tuned.best),
                "raw_iou": tuned.raw_iou,
                "best_iou": tuned.best_iou,
                "tuned_on": list(truths),
                "table": tuned.table,
            },
        )
        talk.say(f"refinement: validation IoU {tuned.raw_iou:.4f} raw, {tuned.best_iou:.4f} refined")
    best = RefineParameters(**read_json(folder.refinement)["best"])
    for study in studied:
        if not folder.refined(study.name).exists():
            refine_file(folder.mask(study.name), folder.refined(study.name), best)


def write_outlines(studied: Sequence[StudyRegion], folder: ModelFolder) -> None:
    """Writes the outlines of raw and refined masks of every region that has none yet."""
    for study in studied:
        if not folder.outlines(study.name).exists():
            vectorize_mask(
                folder.mask(study.name),
                folder.outlines(study.name),
                refined_path=folder.refined(study.name),
            )
