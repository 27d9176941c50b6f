"""The stages after prediction: refinement tuned on validation pixels, and outlines."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import cast

import numpy as np
from numpy.typing import NDArray

from glacierseg.experiment.regions import StudyRegion, split_patches, tuning_truths
from glacierseg.inventory.files import make_inventory
from glacierseg.raster.outlines import is_vector
from glacierseg.raster.truth import read_mask
from glacierseg.raster.write import read_json, write_json
from glacierseg.refine.files import refine_file, tune_record
from glacierseg.refine.ground import slope_on_grid
from glacierseg.refine.search import TuneResult, tune_refinement
from glacierseg.refine.transfer import RegionGain, Use, region_gain, verdict
from glacierseg.runs.layout import ModelFolder
from glacierseg.settings import ModelConfig, RunConfig
from glacierseg.settings.outlines import InventoryInputs
from glacierseg.settings.refine import RefineSettings
from glacierseg.vectors.polygons import vectorize_mask

_log = logging.getLogger(__name__)


def refine_regions(
    config: RunConfig,
    studied: Sequence[StudyRegion],
    folder: ModelFolder,
    model: ModelConfig | None,
) -> None:
    """Tunes the refinement on validation pixels and applies it to every region, unless that is done.

    Afterwards the agreement of raw and refined masks is measured on validation pixels and, for the record
    only, on test pixels: these never have a say in the choice.

    Args:
        config: The run's configuration.
        studied: The regions.
        folder: Holds the predicted masks.
        model: The network, whose patch size decides on the validation pixels of the random split; None for
            the threshold rule.
    """
    patch_px = (model or config.models[0]).resolved_patch_px
    if folder.refinement.exists():
        _log.debug("refinement is tuned already")
        record = read_json(folder.refinement)
    else:
        truths = tuning_truths(config, studied, split_patches(config, studied, patch_px), patch_px)
        tuned = _tune(config, studied, folder, truths)
        record = tune_record(tuned) | {
            "tuned_on": list(truths),
            "table": tuned.table,
        }
        write_json(folder.refinement, record)
    best = RefineSettings(**record["best"])
    changes = record.setdefault("changes", {})
    dems = {region.name: region.dem for region in config.regions}
    missing = [s for s in studied if not folder.refined(s.name).exists() or s.name not in changes]
    for study in missing:
        done = refine_file(folder.mask(study.name), folder.refined(study.name), best, dem=dems[study.name])
        changes[study.name] = [asdict(change) for change in done]
        # They were drawn from what the mask was refined to before.
        folder.outlines(study.name).unlink(missing_ok=True)
    if missing:
        # Once for all regions: the search's table in it is long. What is cut off before is refined again.
        record.pop("gains", None)
        write_json(folder.refinement, record)
    if "gains" not in record:
        truths = tuning_truths(config, studied, split_patches(config, studied, patch_px), patch_px)
        gains = _gains(studied, folder, truths)
        record["gains"] = [gain.to_dict() for gain in gains]
        write_json(folder.refinement, record)
        _log.info(f"refinement: validation IoU {record['raw_iou']:.4f} raw, {record['best_iou']:.4f} refined")
        for line in verdict(gains, config.refinement.objective):
            _log.info(f"refinement: {line}")


def _tune(
    config: RunConfig,
    studied: Sequence[StudyRegion],
    folder: ModelFolder,
    truths: Mapping[str, NDArray[np.uint8]],
) -> TuneResult:
    grids = {study.name: study.region.scene.grid for study in studied}
    dems = {region.name: region.dem for region in config.regions}
    slopes = None
    if config.refinement.max_hole_slope_deg is not None:
        slopes = [slope_on_grid(dem, grids[name]) for name in truths if (dem := dems[name]) is not None]
    # On whole masks, though only validation pixels count: what is a hole or a fragment depends on all.
    return tune_refinement(
        [read_mask(folder.mask(name)) for name in truths],
        list(truths.values()),
        [grids[name].pixel_size_m for name in truths],
        config.refinement,
        slope_deg=slopes,
    )


def _gains(
    studied: Sequence[StudyRegion], folder: ModelFolder, truths: Mapping[str, NDArray[np.uint8]]
) -> list[RegionGain]:
    """Compares raw and refined masks with the truth, on what was tuned on and on what tests."""
    gains = []
    for study in studied:
        tests = {"test": study.truth_of("test")} if "test" in study.areas else {}
        own = ({"tuned": truths[study.name]} if study.name in truths else {}) | tests
        if own:
            raw, refined = read_mask(folder.mask(study.name)), read_mask(folder.refined(study.name))
        for use, truth in own.items():
            size_m = study.region.scene.grid.pixel_size_m
            gains.append(region_gain(study.name, cast("Use", use), raw, refined, truth, size_m))
    return gains


def write_outlines(studied: Sequence[StudyRegion], folder: ModelFolder) -> None:
    """Writes the outlines of raw and refined masks of every region that has none yet."""
    for study in studied:
        if not folder.outlines(study.name).exists():
            vectorize_mask(
                folder.mask(study.name),
                folder.outlines(study.name),
                refined_path=folder.refined(study.name),
            )


def write_inventories(config: RunConfig, folder: ModelFolder, names: Collection[str] | None = None) -> None:
    """Writes the inventory of the refined mask of every region that shall have one and has none yet.

    Truth in the form of outlines is what its glaciers are linked to. Divides follow the terrain, or the truth
    where there is no elevation model, unless the section `inventory` says otherwise.

    Args:
        config: The run's configuration.
        folder: Holds the refined masks.
        names: Of the regions that have a mask; all when None.
    """
    for region in config.regions:
        wanted = config.outputs.inventory
        if wanted is None:
            wanted = region.dem is not None and config.outputs.outlines != "none"
        if names is not None and region.name not in names:
            continue
        if not wanted or folder.inventory(region.name).exists():
            continue
        settings = config.inventory
        if settings.divides == "auto" and region.dem is not None:
            settings = settings.replaced(divides="terrain")
        probability = folder.probability(region.name)
        inputs = InventoryInputs(
            dem=region.dem,
            probability=probability if probability.exists() else None,
            existing=region.truth if is_vector(region.truth) else None,
            existing_layer=region.truth_layer,
        )
        made = make_inventory(
            folder.refined(region.name),
            folder.inventory(region.name),
            settings.replaced(prefix=settings.prefix or region.name),
            inputs,
        )
        for note in made.notes:
            _log.info(f"inventory of {region.name}: {note}")
