"""Means of networks: of all of a fold, and of those kinds that are shipped, as they are shipped."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from benchmarks.recipes.calibrated import calibrate_all
from benchmarks.recipes.ground import ScoredChip, role_truth
from benchmarks.recipes.methods import Costs, Method, network_names
from benchmarks.recipes.study import Study, WeightsPlan
from numpy.typing import NDArray

from glacierseg.predict.scene import predict_scene
from glacierseg.raster.grid import Grid
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.probability import probability_strips
from glacierseg.raster.scene import open_scene
from glacierseg.raster.truth import GLACIER, IGNORE
from glacierseg.raster.write import write_json, write_raster
from glacierseg.refine.search import tune_refinement
from glacierseg.refine.steps import refine_mask
from glacierseg.runs.layout import ModelFolder, folder_name
from glacierseg.settings import PredictSettings, RefineSettings, TuneSettings

NETWORKS = "networks"

Probabilities = Callable[[int, str], list[Path]]
"""Paths of the probabilities of a fold and a chip whose mean is taken."""


def ensemble_methods(study: Study, chips: tuple[ScoredChip, ...], costs: Sequence[Costs]) -> list[Method]:
    """Writes the masks of the mean, raw and refined, and returns both methods; none with a single network.

    Args:
        study: Its runs are finished.
        chips: What is tested.
        costs: Of the networks, which add up.
    """
    names = network_names(study, NETWORKS)
    if len(names) < 2:
        return []

    def stored(fold: int, chip: str) -> list[Path]:
        return [_stored(study, fold, name, chip) for name in names]

    return _mean_methods(study, chips, "mean of the networks", "ensemble", stored, _sum(costs))


def shipped_methods(
    study: Study, chips: tuple[ScoredChip, ...], costs: dict[str, Costs], plan: WeightsPlan
) -> list[Method]:
    """Predicts as the weights to ship do, and returns their methods; none where a kind was not trained.

    Also writes the calibration of their mean, for the facts of the weights.

    Each kind counts as often as it is shipped, and all predict in the windows of the weights, in the eight
    symmetries where the weights do. A fold has one network of a kind where the weights may have several, so
    this is a little less than what is shipped.

    Args:
        study: Its runs are finished.
        chips: What is tested.
        costs: Of the networks, by name; each counts as often as it is shipped, as a user pays for it.
        plan: The weights to ship.
    """
    shares = Counter(plan.kinds)
    if not set(shares) <= set(costs):
        return []

    def predicted(fold: int, chip: str) -> list[Path]:
        return [
            path for name in shares for path in [_as_shipped(study, fold, name, chip, plan)] * shares[name]
        ]

    name = "as shipped: " + " + ".join(
        f"{count} x {name}" if count > 1 else name for name, count in shares.items()
    )
    if plan.symmetries:
        name += ", eight symmetries"
        costs = {
            kind: replace(own, prediction_s_per_mpx=8 * (own.prediction_s_per_mpx or 0))
            for kind, own in costs.items()
        }
    total = _sum([costs[kind] for kind in plan.kinds])
    methods = _mean_methods(study, chips, name, "shipped", predicted, total)
    found = calibrate_all(
        f"{len(chips)} regions of {study.name}, each by networks that did not know its ground",
        chips,
        lambda chip: _mean(predicted(chip.fold, chip.name)),
        study.out / "shipped" / "probability.tif",
        symmetries=plan.symmetries,
    )
    write_json(study.out / "shipped" / "calibration.json", found.to_dict())
    return methods


def _as_shipped(study: Study, fold: int, name: str, chip: str, plan: WeightsPlan) -> Path:
    """Returns the probability of a chip, predicted as the weights do; predicts it if it is not there."""
    model = next(model for model in study.sets[NETWORKS]["models"] if model["name"] == name)
    if plan.window_px in {None, model.get("patch_px")} and not plan.symmetries:
        return _stored(study, fold, name, chip)
    # Another window, or another way to look, is another prediction, which lies elsewhere.
    window = f"{plan.window_px}px" if plan.window_px else ""
    way = "_".join(filter(None, (folder_name(name), window, "symmetries" if plan.symmetries else "")))
    folder = study.out / "shipped" / f"fold{fold}" / way
    path = ModelFolder(folder).probability(chip)
    if not path.exists():
        network = study.model_folder(NETWORKS, fold, name).path
        scene = next(own.scene for own in study.chips if own.name == chip)
        settings = PredictSettings(window_px=plan.window_px, symmetries=plan.symmetries)
        predict_scene(network, replace(open_scene(scene), name=chip), folder, settings)
    return path


def _stored(study: Study, fold: int, name: str, chip: str) -> Path:
    return study.model_folder(NETWORKS, fold, name).probability(chip)


def _mean_methods(
    study: Study,
    chips: tuple[ScoredChip, ...],
    name: str,
    folder: str,
    probabilities: Probabilities,
    costs: Costs,
) -> list[Method]:
    def path(fold: int, chip: str, stage: str) -> Path:
        return study.out / folder / f"fold{fold}" / f"{chip}_{stage}.tif"

    for fold in range(1, study.folds + 1):
        best = _tuned(study, fold, probabilities)
        write_json(path(fold, "x", "raw").with_name("refinement.json"), best.model_dump())
        for chip in chips:
            if chip.fold == fold:
                mask, grid = _mean_mask(study, probabilities(fold, chip.name))
                refined = refine_mask(mask, grid.pixel_size_m, best)
                for stage, own in (("raw", mask), ("refined", refined)):
                    write_raster(
                        path(fold, chip.name, stage), own, grid, bands=["glacier"], nodata=IGNORE, cog=False
                    )

    def method(stage: str) -> Method:
        return Method(name, stage, lambda fold, chip: path(fold, chip, stage), costs)

    return [method(stage) for stage in ("raw", "refined")]


def _tuned(study: Study, fold: int, probabilities: Probabilities) -> RefineSettings:
    """Returns the refinement that is best on the validation pixels of a fold."""
    run = study.run_folder(NETWORKS, fold)
    truths, masks = [], []
    sizes: list[float | tuple[float, float]] = []
    for chip in study.chips:
        truth = role_truth(run, chip.name, "validate")
        if truth is not None:
            mask, grid = _mean_mask(study, probabilities(fold, chip.name))
            truths.append(truth)
            masks.append(mask)
            sizes.append(grid.pixel_size_m)
    settings = TuneSettings(**study.sets[NETWORKS].get("refinement", {}))
    return tune_refinement(masks, truths, sizes, settings).best


def _mean_mask(study: Study, paths: Sequence[Path]) -> tuple[NDArray[np.uint8], Grid]:
    mean = _mean(paths)
    with open_raster(paths[0]) as file:
        grid = grid_of(file)
    threshold = float(study.sets[NETWORKS].get("prediction", {}).get("threshold", 0.5))
    mask = np.where(mean >= threshold, np.uint8(GLACIER), np.uint8(0))
    mask[np.isnan(mean)] = IGNORE
    return mask, grid


def _mean(paths: Sequence[Path]) -> NDArray[np.float32]:
    total = sum(np.concatenate([part for _, part in probability_strips(path, 512)]) for path in paths)
    return np.asarray(total / len(paths))


def _sum(costs: Sequence[Costs]) -> Costs:
    return Costs(
        sum(one.parameters or 0 for one in costs),
        sum(one.training_s or 0 for one in costs),
        sum(one.prediction_s_per_mpx or 0 for one in costs),
    )
