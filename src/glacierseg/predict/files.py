"""The two files of a predicted scene."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glacierseg.choices import ProbabilityType
from glacierseg.predict.calibration import LogitScale
from glacierseg.raster.blocks import RowWriter
from glacierseg.raster.grid import Grid
from glacierseg.raster.truth import GLACIER, IGNORE
from glacierseg.raster.write import atomic_path

CALIBRATION_TAG = "calibration"
"""Says of a probability file that a calibration was applied already, and which."""
INT8_TAG = "int8"
"""Tells which quantised file predicted."""
NETWORKS_TAG = "weights"
"""Has a word for each network that predicted, made from its weights (`predict.export.fingerprint`)."""
SOURCE_TAG = "source"
"""Has a word for the scene: the content of its files, bands, their scale and nodata, and the grid."""
PLACE_TAG = "source_place"
"""Has a word for where the files of the scene lay, on which the result does not depend."""
SPREAD_TAG = "spread_of"
"""Says what the second band of a probability file is the spread of: so many networks, or symmetries."""
SYMMETRIES_TAG = "symmetries"
"""Says that every window was looked at in all its symmetries."""

_LEVELS = 254
"""Of an 8-bit probability; 255 is no data."""


@dataclass(frozen=True)
class ScenePrediction:
    """Files of one predicted scene.

    Attributes:
        probability: Glacier probability from 0 to 1, NaN where the scene has no data; or in 8 bits, times
            254, 255 where it has none. With several layers a second band holds their standard deviation.
        mask: 0 background, 1 glacier, 255 no data.
    """

    probability: Path
    mask: Path


def write_files(
    strips: Iterable[NDArray[np.float32]],
    grid: Grid,
    files: ScenePrediction,
    *,
    layers: int,
    threshold: float,
    dtype: ProbabilityType = "float32",
    calibration: LogitScale | None = None,
    tags: Mapping[str, str],
) -> None:
    """Writes probability and mask as two cloud-optimised GeoTIFFs.

    Args:
        strips: Rows from top to bottom, `(layers, rows, W)`: probability and, as second layer, spread; NaN
            where there is no data.
        grid: Of the scene.
        files: Where they go.
        layers: 1 or 2.
        threshold: Probability from which a pixel is glacier.
        dtype: Of the probability.
        calibration: Applied to the stored probabilities. The spread stays that of the network's own ones,
            and so does the mask.
        tags: Facts to store in the files.
    """
    coarse = dtype == "uint8"
    told = tags_of(tags, calibration)
    with (
        atomic_path(files.probability) as probability,
        atomic_path(files.mask) as mask,
        RowWriter(
            probability.with_name("probability"),
            grid,
            bands=["glacier_probability", "spread"][:layers],
            dtype=dtype,
            nodata=IGNORE if coarse else float("nan"),
            scale=1 / _LEVELS if coarse else 1.0,
            tags=told,
        ) as probabilities,
        RowWriter(
            mask.with_name("mask"), grid, bands=["glacier"], dtype="uint8", nodata=IGNORE, tags=tags
        ) as masks,
    ):
        for rows in strips:
            classes = np.where(rows[:1] >= threshold, np.uint8(GLACIER), np.uint8(0))
            missing = np.isnan(rows[:1])
            if missing.any():
                classes[missing] = IGNORE
            masks.append(classes)
            if calibration:
                rows[0] = calibration.apply(rows[0])
            probabilities.append(_levels(rows) if coarse else rows)
        probabilities.to_cog(probability, resampling="average")
        masks.to_cog(mask, resampling="nearest")


def tags_of(facts: Mapping[str, str], calibration: LogitScale | None) -> dict[str, str]:
    """Returns the tags of a probability file."""
    told = dict(facts)
    if calibration:
        told[CALIBRATION_TAG] = f"temperature {calibration.temperature:.6g} bias {calibration.bias:.6g}"
    return told


def _levels(rows: NDArray[np.float32]) -> NDArray[np.uint8]:
    levels = np.rint(np.nan_to_num(rows) * _LEVELS).astype(np.uint8)
    levels[np.isnan(rows)] = IGNORE
    return levels
