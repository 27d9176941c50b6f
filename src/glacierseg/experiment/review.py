"""The last stage: the QGIS project of a run, and what an analyst corrects in it."""

import logging
from pathlib import Path

from glacierseg.predict.calibration import read_calibration
from glacierseg.raster.outlines import own_layers, read_own
from glacierseg.raster.write import digest_of
from glacierseg.report.project import write_run_project
from glacierseg.report.summary import pool
from glacierseg.report.views import open_region
from glacierseg.review.corrections import read_origin, write_corrections
from glacierseg.review.places import suggest_places
from glacierseg.runs.layout import STAGES, THRESHOLD, ModelFolder
from glacierseg.runs.results import RegionResult, RunResults, read_results

_log = logging.getLogger(__name__)

# Of more regions QGIS takes minutes to open.
_MOST_REGIONS = 40


def prepare_review(run_dir: Path) -> None:
    """Writes the outlines of the best model for an analyst to correct, and the project of the run.

    The best is that of the highest IoU on validation pixels, a network where there is any.

    Args:
        run_dir: The folder of a run.

    Raises:
        DataError: A file of the run is damaged.
        OutputError: A file cannot be written.
    """
    results = read_results(run_dir)
    best = _best(results)
    if best is None or (model := results.model(*best)) is None:
        return
    regions = [region for region in results.regions if model.folder.refined(region.name).is_file()]
    regions.sort(key=lambda region: "test" not in region.roles)
    if len(regions) > _MOST_REGIONS:
        _log.info(f"{results.folder.project}: shows {_MOST_REGIONS} of {len(regions)} regions")
        regions = regions[:_MOST_REGIONS]
    for region in regions:
        _write_corrections(model.folder, region, f"{results.name}, {' '.join(best)}")
    write_run_project(results, best, regions)
    _log.info(f"QGIS project: {results.folder.project}")


def _best(results: RunResults) -> tuple[str, str] | None:
    ranked = [
        (name, bands)
        for role in ("validate", "test", "train")
        for name, bands, stage in (entry.variant for entry in pool(results, role))
        if stage == STAGES[1]
    ]
    return next((entry for entry in ranked if entry[0] != THRESHOLD), ranked[0] if ranked else None)


def _write_corrections(folder: ModelFolder, region: RegionResult, model: str) -> None:
    refined, probability = folder.refined(region.name), folder.probability(region.name)
    path, inventory = folder.corrections(region.name), folder.inventory(region.name)
    if read_origin(path).get("mask_digest") == digest_of(refined):
        return  # A run that continues; places to look at take seconds.
    places = None
    if probability.is_file():
        calibration = read_calibration(folder.path) if folder.card.exists() else None
        places = suggest_places(probability, calibration=calibration, mask=refined)
    glaciers = read_own(inventory, "glaciers") if own_layers(inventory) else None
    scene, _ = open_region(region)
    facts = {"model": model}
    write_corrections(path, refined, glaciers, places, scene=scene, facts=facts)
