"""The mean of the networks of a fold, from the probabilities that their runs stored."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
from benchmarks.recipes.ground import ScoredChip, role_truth
from benchmarks.recipes.methods import Costs, Method, network_names
from benchmarks.recipes.study import Study
from numpy.typing import NDArray

from glacierseg.config import RefinementConfig
from glacierseg.models.registry import folder_name
from glacierseg.raster.grid import Grid
from glacierseg.raster.probability import probability_strips
from glacierseg.raster.scene import grid_of, open_raster
from glacierseg.raster.truth import GLACIER, IGNORE
from glacierseg.raster.write import write_json, write_raster
from glacierseg.refine.pipeline import refine_mask
from glacierseg.refine.search import tune_refinement

NAME = "mean of the networks"


def ensemble_methods(study: Study, chips: tuple[ScoredChip, ...], costs: list[Costs]) -> list[Method]:
    """Writes the masks of the mean, raw and refined, and returns both methods; none with a single network.

    Args:
        study: Its runs are finished.
        chips: What is tested.
        costs: Of the networks, which add up.
    """
    networks = "networks"
    names = network_names(study, networks)
    if len(names) < 2:
        return []
    for fold in range(1, study.folds + 1):
        _write_fold(study, fold, names, [chip for chip in chips if chip.fold == fold])
    return [
        Method(NAME, stage, lambda fold, chip, stage=stage: _path(study, fold, chip, stage), _sum(costs))
        for stage in ("raw", "refined")
    ]


def _path(study: Study, fold: int, chip: str, stage: str) -> Path:
    return study.out / "ensemble" / f"fold{fold}" / f"{chip}_{stage}.tif"


def _write_fold(study: Study, fold: int, names: list[str], chips: list[ScoredChip]) -> None:
    """Tunes refinement on the validation pixels of a fold and writes the masks of its tested chips."""
    run = study.run_folder("networks", fold)
    truths, masks, sizes = [], [], []
    for chip in study.chips:
        truth = role_truth(run, chip.name, "validate")
        if truth is not None:
            mask, grid = _mean_mask(study, run, names, chip.name)
            truths.append(truth)
            masks.append(mask)
            sizes.append(grid.pixel_size_m)
    ranges = RefinementConfig(**study.sets["networks"].get("refinement", {}))
    tuned = tune_refinement(
        masks,
        truths,
        sizes,
        merge_distances_m=ranges.merge_distances_m,
        min_areas_km2=ranges.min_areas_km2,
        iterations=ranges.iterations,
        max_holes_km2=ranges.max_holes_km2,
        smoothing=ranges.smoothing,
        objective=ranges.objective,
        connectivity=ranges.connectivity,
        keep_cut_fragments=ranges.keep_cut_fragments,
        steps=ranges.steps,
    )
    write_json(_path(study, fold, "x", "raw").with_name("refinement.json"), asdict(tuned.best))
    for tested in chips:
        mask, grid = _mean_mask(study, run, names, tested.name)
        for stage, own in (
            ("raw", mask),
            ("refined", refine_mask(mask, grid.pixel_size_m, **asdict(tuned.best))),
        ):
            path = _path(study, fold, tested.name, stage)
            write_raster(path, own, grid, bands=["glacier"], nodata=IGNORE, cog=False)


def _mean_mask(study: Study, run: Path, names: list[str], chip: str) -> tuple[NDArray[np.uint8], Grid]:
    paths = [run / folder_name(name) / "all" / f"{chip}_probability.tif" for name in names]
    total = sum(np.concatenate([part for _, part in probability_strips(path, 512)]) for path in paths)
    with open_raster(paths[0]) as file:
        grid = grid_of(file)
    threshold = float(study.sets["networks"].get("prediction", {}).get("threshold", 0.5))
    mask = np.where(total / len(paths) >= threshold, np.uint8(GLACIER), np.uint8(0))
    mask[np.isnan(total)] = IGNORE
    return mask, grid


def _sum(costs: list[Costs]) -> Costs:
    return Costs(
        sum(one.parameters or 0 for one in costs),
        sum(one.training_s or 0 for one in costs),
        sum(one.prediction_s_per_mpx or 0 for one in costs),
    )
