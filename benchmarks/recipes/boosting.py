"""Gradient boosting on single pixels: what a user of scikit-learn would try first, on the same folds."""

import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
from benchmarks.recipes.ground import role_truth, roles_of
from benchmarks.recipes.methods import Costs, Method
from benchmarks.recipes.study import Chip, Study
from numpy.typing import NDArray

from glacierseg.choices import Role
from glacierseg.data.split import ELSEWHERE
from glacierseg.raster.grid import Grid
from glacierseg.raster.scene import open_scene
from glacierseg.raster.truth import GLACIER, IGNORE
from glacierseg.raster.write import read_json, write_json, write_raster

WINDOWS_PX = (3, 9, 21)
TRAIN_PIXELS = 400_000


def boosting_method(study: Study, *, iterations: int = 300) -> Method:
    """Trains and predicts what is not there yet, and returns the method."""
    networks = next(iter(study.sets))
    spent = [_fold(study, networks, fold, iterations) for fold in range(1, study.folds + 1)]
    seconds = sum(one["prediction_s"] for one in spent) / sum(one["predicted_px"] for one in spent) * 1e6
    costs = Costs(None, sum(one["training_s"] for one in spent) / len(spent), seconds)
    return Method("gradient boosting", "raw", lambda fold, chip: _folder(study, fold) / f"{chip}.tif", costs)


def pixel_features(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Returns what is known of each pixel.

    Args:
        values: `(C, H, W)`.
        valid: `(H, W)`; pixels without data count in no window.

    Returns:
        `(F, H, W)`: bands, normalised differences of all pairs, mean and spread of each band around a pixel.
    """
    known = valid.astype(np.float32)
    values = np.where(valid, values, np.float32(0))
    found = list(values)
    for one, other in combinations(values, 2):
        found.append((one - other) / np.maximum(one + other, 1e-6))
    for side in WINDOWS_PX:
        weight = np.maximum(_mean(known, side), 1e-6)
        for band in values:
            mean = _mean(band, side) / weight
            square = _mean(band * band, side) / weight
            found += [mean, np.sqrt(np.maximum(square - mean * mean, 0))]
    return np.stack(found)


def _mean(band: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    return np.asarray(
        cv2.boxFilter(band, cv2.CV_32F, (side, side), borderType=cv2.BORDER_REFLECT), np.float32
    )


def _folder(study: Study, fold: int) -> Path:
    return study.out / "boosting" / f"fold{fold}"


def _fold(study: Study, networks: str, fold: int, iterations: int) -> dict[str, float]:
    facts_path = _folder(study, fold) / "facts.json"
    if facts_path.exists():
        facts: dict[str, float] = read_json(facts_path)
        return facts
    from sklearn.ensemble import HistGradientBoostingClassifier

    print(f"gradient boosting fold {fold}", flush=True)
    run = study.run_folder(networks, fold)
    started = time.monotonic()
    features, labels = _sample(study, run)
    model = HistGradientBoostingClassifier(
        max_iter=iterations, max_leaf_nodes=63, l2_regularization=1.0, early_stopping=False, random_state=0
    )
    model.fit(features, labels)
    trained_s = time.monotonic() - started
    started, predicted_px = time.monotonic(), 0
    for chip, truth in _chips(study, run, "test"):
        values, valid, grid = _read(chip)
        mask = np.full(valid.shape, IGNORE, np.uint8)
        mask[valid] = model.predict(pixel_features(values, valid)[:, valid].T)
        write_raster(
            _folder(study, fold) / f"{chip.name}.tif", mask, grid, bands=["glacier"], nodata=IGNORE, cog=False
        )
        predicted_px += truth.size
    facts = {
        "training_s": trained_s,
        "train_pixels": len(labels),
        "features": features.shape[1],
        "prediction_s": time.monotonic() - started,
        "predicted_px": predicted_px,
    }
    write_json(facts_path, facts)
    return facts


def _sample(study: Study, run: Path) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Draws training pixels, from every chip the same share of them."""
    chips = list(_chips(study, run, "train"))
    total = sum(int((truth != IGNORE).sum()) for _, truth in chips)
    rng = np.random.default_rng(0)
    features, labels = [], []
    for chip, truth in chips:
        values, valid, _ = _read(chip)
        # Ground that another chip tests is not shown, not even as surroundings.
        valid &= roles_of(run, chip.name) != ELSEWHERE
        places = np.flatnonzero((truth != IGNORE) & valid)
        wanted = round(len(places) * min(TRAIN_PIXELS / total, 1))
        drawn = rng.choice(places, wanted, replace=False)
        found = pixel_features(values, valid)
        features.append(found.reshape(len(found), -1)[:, drawn].T)
        labels.append((truth.ravel()[drawn] == GLACIER).astype(np.uint8))
    return np.concatenate(features), np.concatenate(labels)


def _chips(study: Study, run: Path, role: Role) -> Iterator[tuple[Chip, NDArray[np.uint8]]]:
    for chip in study.chips:
        truth = role_truth(run, chip.name, role)
        if truth is not None:
            yield chip, truth


def _read(chip: Chip) -> tuple[NDArray[np.float32], NDArray[np.bool_], Grid]:
    scene = open_scene(chip.scene)
    with scene.open() as reader:
        parts = list(reader.strips())
    values = np.concatenate([part[1] for part in parts], axis=1).astype(np.float32)
    return values, np.concatenate([part[2] for part in parts], axis=0), scene.grid
