"""The stages after prediction: refinement tuned on validation pixels, outlines and scores."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from glacierseg.config import ModelConfig, RunConfig
from glacierseg.console import Talk
from glacierseg.evaluate.evaluation import evaluate_masks
from glacierseg.experiment.calibration import PROBABILITY_COLUMNS, probability_scores
from glacierseg.experiment.folder import ModelFolder
from glacierseg.experiment.regions import StudyRegion, split_patches, tuning_truths
from glacierseg.raster.truth import is_vector, read_mask
from glacierseg.raster.write import read_json, write_json
from glacierseg.refine.files import refine_file
from glacierseg.refine.pipeline import RefineParameters
from glacierseg.refine.search import tune_refinement
from glacierseg.vectors.inventory.files import make_inventory
from glacierseg.vectors.polygons import vectorize_mask

METRIC_COLUMNS = (
    "model", "bands", "region", "role", "stage",
    "overall_accuracy", "iou", "f1", "precision", "recall", "kappa", "tp", "fp", "fn", "tn",
    "mcc", "iou_background", "mean_iou", "predicted_km2", "truth_km2", *PROBABILITY_COLUMNS,
)  # fmt: skip
STAGES = ("raw", "refined")


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


def write_inventories(config: RunConfig, folder: ModelFolder, talk: Talk) -> None:
    """Writes the inventory of the refined mask of every region that shall have one and has none yet.

    Truth in the form of outlines is what its glaciers are linked to. Divides follow the terrain, or the truth
    where there is no elevation model.
    """
    for region in config.regions:
        wanted = config.outputs.inventory
        if wanted is None:
            wanted = region.dem is not None and config.outputs.outlines != "none"
        if not wanted or folder.inventory(region.name).exists():
            continue
        chance = folder.probability(region.name)
        made = make_inventory(
            folder.refined(region.name),
            folder.inventory(region.name),
            dem=region.dem,
            probability=chance if chance.exists() else None,
            existing=region.truth if is_vector(region.truth) else None,
            existing_layer=region.truth_layer,
            divides="auto" if region.dem is None else "terrain",
            prefix=region.name,
        )
        for note in made.notes:
            talk.say(f"inventory of {region.name}: {note}")


def score_regions(studied: Sequence[StudyRegion], folder: ModelFolder) -> list[dict[str, Any]]:
    """Scores raw and refined masks of every region under each of its roles.

    What is said about probabilities stands with the raw stage; refinement works on masks and has none.
    """
    rows = []
    for study in studied:
        chances = probability_scores(study, folder)
        masks = {"raw": read_mask(folder.mask(study.name)), "refined": read_mask(folder.refined(study.name))}
        for role in study.areas:
            truth = study.truth_of(role)
            for stage in STAGES:
                scores = evaluate_masks(masks[stage], truth, study.region.scene.grid.pixel_size_m).to_dict()
                rows.append(
                    {"region": study.name, "role": role, "stage": stage}
                    | {key: scores[key] for key in METRIC_COLUMNS if key in scores}
                    | (chances.get(role, {}) if stage == "raw" else {})
                )
    return rows
