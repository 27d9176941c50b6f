"""Calibrated probabilities of a raster, and whether a calibration is for it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import RequestError
from glacierseg.models.card import fingerprints
from glacierseg.predict.calibration import Calibration, read_calibration
from glacierseg.predict.files import CALIBRATION_TAG, NETWORKS_TAG, SPREAD_TAG, SYMMETRIES_TAG
from glacierseg.raster.open import open_raster
from glacierseg.raster.probability import probability_strips
from glacierseg.weights.shelf import find_weights, model_folder, weights_name

STRIP_PX = 256
"""Rows to read at once: as many as whole blocks of area errors have."""


def calibration_for_bounds(path: Path, model: Path | str) -> Calibration:
    """Reads the calibration that bounds of the areas of a probability raster need.

    Args:
        path: A probability raster, calibrated or not; its tags say which.
        model: The network that predicted it, with its calibration, or `weights:NAME`.

    Raises:
        RasterError: The raster cannot be read.
        CheckpointError: The model folder cannot be used.
        RequestError: The network has no calibration for these probabilities.
    """
    calibration = read_calibration(model)
    if calibration is None:
        raise RequestError(
            f"{model}: has no calibration, and bounds need one; "
            "`glacierseg run` makes one on validation pixels; or leave the probabilities out"
        )
    if calibration.scale.at_bound:
        raise RequestError(
            f"{model}: its calibration ended at a bound and must not be used (docs/uncertainty.md); "
            "leave the probabilities out"
        )
    require_calibration_of(path, model, calibration)
    return calibration


def require_calibration_of(path: Path, model: Path | str, calibration: Calibration) -> None:
    """Checks by its tags that a probability raster is of the kind that a calibration of a model is for.

    Where tags are lost, it is taken to be of that model.
    """
    with open_raster(path) as dataset:
        tags = dataset.tags()
    name, spread_of = weights_name(model), tags.get(SPREAD_TAG, "")
    if NETWORKS_TAG in tags:
        folders = find_weights(name).folders if name else [model_folder(model)]
        theirs = tags[NETWORKS_TAG] == fingerprints(folders)
    else:
        theirs = bool(name) or not spread_of.endswith("networks")
    turned = SYMMETRIES_TAG in tags or spread_of.endswith("symmetries")
    if not theirs or turned != calibration.symmetries:
        what = f"weights {name}" if name else "the network alone"
        kinds = "with symmetries" if calibration.symmetries else "without symmetries"
        raise RequestError(
            f"{path}: the calibration of {model} is for {what} {kinds}, but these probabilities were "
            "predicted in another way; predict again in that way"
        )


def is_calibrated(path: Path) -> bool:
    """Says whether a probability raster holds calibrated probabilities already, by its tags."""
    with open_raster(path) as dataset:
        return CALIBRATION_TAG in dataset.tags()


def calibrated_strips(path: Path, calibration: Calibration) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Reads a probability raster from top to bottom and calibrates it, unless its tags say that it is.

    Yields:
        Which rows, `STRIP_PX` at most, and `(h, W)` probabilities, NaN where there are none.
    """
    stored = is_calibrated(path)
    for rows, probability in probability_strips(path, STRIP_PX):
        yield rows, probability if stored else calibration.apply(probability)
