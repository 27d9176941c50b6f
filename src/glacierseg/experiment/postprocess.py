"""The stages after prediction: refinement tuned on validation pixels, and outlines."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from glacierseg.data.regions import Region
from glacierseg.inventory.files import make_inventory
from glacierseg.models.card import read_card, update_card
from glacierseg.predict.calibration import read_calibration
from glacierseg.raster.outlines import is_vector
from glacierseg.raster.truth import read_mask
from glacierseg.raster.write import read_json, write_json
from glacierseg.refine.files import refine_file, slope_on_grid, tune_record
from glacierseg.refine.search import RegionGain, TuneResult, Use, region_gain, tune_refinement, verdict
from glacierseg.runs.layout import ModelFolder
from glacierseg.settings import OutputsConfig, RegionConfig, TuneSettings
from glacierseg.settings.outlines import InventoryInputs, InventorySettings
from glacierseg.settings.refine import RefineSettings
from glacierseg.vectors.polygons import draw_outlines

_log = logging.getLogger(__name__)


Truths = Mapping[str, NDArray[np.uint8]]
"""Truth `(H, W)` of regions by name, 255 where it may not be used."""


def refine_regions(
    regions: Sequence[Region],
    truths: Callable[[], Truths],
    folder: ModelFolder,
    settings: TuneSettings,
    dems: Mapping[str, Path | None],
) -> None:
    """Tunes the refinement on validation pixels and applies it to every region, unless that is done.

    Afterwards the agreement of raw and refined masks is measured on validation pixels and, for the record
    only, on test pixels: these never have a say in the choice.

    Args:
        regions: The regions.
        truths: Returns the truth on validation pixels (`regions.tuning_truths`).
        folder: Holds the predicted masks.
        settings: The values to try.
        dems: Elevation of the regions by name, None of those without.
    """
    if folder.refinement.exists():
        _log.debug("refinement is tuned already")
        record = read_json(folder.refinement)
    else:
        used = truths()
        tuned = _tune(regions, used, folder, settings, dems)
        record = tune_record(tuned) | {
            "tuned_on": list(used),
            "table": tuned.table,
        }
        write_json(folder.refinement, record)
    best = RefineSettings(**record["best"])
    # The rule that needs no network has no card.
    if folder.card.exists() and read_card(folder.path).refinement != best:
        update_card(folder.path, refinement=best)
    changes = record.setdefault("changes", {})
    missing = [s for s in regions if not folder.refined(s.name).exists() or s.name not in changes]
    for region in missing:
        done = refine_file(folder.mask(region.name), folder.refined(region.name), best, dem=dems[region.name])
        changes[region.name] = [asdict(change) for change in done]
        # They were drawn from what the mask was refined to before.
        folder.outlines(region.name).unlink(missing_ok=True)
    if missing:
        # Once for all regions: the search's table in it is long. What is cut off before is refined again.
        record.pop("gains", None)
        write_json(folder.refinement, record)
    if "gains" not in record:
        gains = _gains(regions, folder, truths())
        record["gains"] = [gain.to_dict() for gain in gains]
        write_json(folder.refinement, record)
        _log.info(f"refinement: validation IoU {record['raw_iou']:.4f} raw, {record['best_iou']:.4f} refined")
        for line in verdict(gains, settings.objective):
            _log.info(f"refinement: {line}")


def _tune(
    regions: Sequence[Region],
    truths: Truths,
    folder: ModelFolder,
    settings: TuneSettings,
    dems: Mapping[str, Path | None],
) -> TuneResult:
    grids = {region.name: region.scene.grid for region in regions}
    slopes = None
    if settings.max_hole_slope_deg is not None:
        slopes = [slope_on_grid(dem, grids[name]) for name in truths if (dem := dems[name]) is not None]
    # On whole masks, though only validation pixels count: what is a hole or a fragment depends on all.
    return tune_refinement(
        [read_mask(folder.mask(name)) for name in truths],
        list(truths.values()),
        [grids[name].pixel_size_m for name in truths],
        settings,
        slope_deg=slopes,
    )


def _gains(regions: Sequence[Region], folder: ModelFolder, truths: Truths) -> list[RegionGain]:
    """Compares raw and refined masks with the truth, on what was tuned on and on what tests."""
    gains = []
    for region in regions:
        tests = {"test": region.truth_of("test")} if "test" in region.areas else {}
        own = ({"tuned": truths[region.name]} if region.name in truths else {}) | tests
        if own:
            raw, refined = read_mask(folder.mask(region.name)), read_mask(folder.refined(region.name))
        for use, truth in own.items():
            size_m = region.scene.grid.pixel_size_m
            gains.append(region_gain(region.name, cast("Use", use), raw, refined, truth, size_m))
    return gains


def write_outlines(regions: Sequence[Region], folder: ModelFolder) -> None:
    """Writes the outlines of raw and refined masks of every region that has none yet."""
    for region in regions:
        if not folder.outlines(region.name).exists():
            draw_outlines(
                folder.mask(region.name),
                folder.outlines(region.name),
                refined_path=folder.refined(region.name),
            )


def write_inventories(
    sections: Sequence[RegionConfig],
    outputs: OutputsConfig,
    inventory: InventorySettings,
    folder: ModelFolder,
) -> None:
    """Writes the inventory of the refined mask of every region that shall have one and has none yet.

    Truth in the form of outlines is what its glaciers are linked to. Divides follow the terrain, or the truth
    where there is no elevation model, unless the section `inventory` says otherwise.

    Args:
        sections: The regions of the configuration that have a mask.
        outputs: Whether inventories are wanted.
        inventory: How they are made.
        folder: Holds the refined masks.
    """
    for region in sections:
        wanted = outputs.inventory
        if wanted is None:
            wanted = region.dem is not None and outputs.outlines != "none"
        if not wanted or folder.inventory(region.name).exists():
            continue
        settings = inventory
        if settings.divides == "auto" and region.dem is not None:
            settings = settings.replaced(divides="terrain")
        probability = folder.probability(region.name)
        inputs = InventoryInputs(
            dem=(region.dem,) if region.dem else (),
            probability=probability if probability.exists() else None,
            existing=region.truth if is_vector(region.truth) else None,
            existing_layer=region.truth_layer,
        )
        # The mean of teachers has probabilities, but no card.
        known = probability.exists() and folder.card.exists()
        calibration = read_calibration(folder.path) if known else None
        if calibration and (calibration.scale.at_bound or not calibration.glaciers):
            calibration = None  # which the run has said
        made = make_inventory(
            folder.refined(region.name),
            folder.inventory(region.name),
            settings.replaced(prefix=settings.prefix or region.name),
            inputs,
            calibration=calibration,
        )
        for note in made.notes:
            _log.info(f"inventory of {region.name}: {note}")
