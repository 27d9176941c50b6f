"""Reading probability rasters, and what the scores say of them."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import GridMismatchError, RequestError
from glacierseg.evaluate.area_bounds import STRIP_PX, AreaBounds, AreaSums, bound_area, sum_area
from glacierseg.evaluate.reliability import (
    Reliability,
    ReliabilityBin,
    ReliabilityCounts,
    count_reliability,
    known_pixels,
    reliability_of,
    reliability_table,
)
from glacierseg.predict.calibration import Calibration
from glacierseg.predict.files import CALIBRATION_TAG, NETWORKS_TAG, SPREAD_TAG, SYMMETRIES_TAG
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import even_pixel_m
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.probability import probability_strips
from glacierseg.weights.shelf import find_weights, model_folder, weights_name


@dataclass(frozen=True)
class ProbabilityEvaluation:
    """A probability raster against the truth.

    Attributes:
        scores: ECE, MCE, Brier score and likelihood.
        bars: Of the reliability diagram.
        calibrated: The same scores with the calibration of the model, when it has one.
        calibrated_bars: Their diagram.
        area: Glacier area with its bounds from calibrated probabilities, where truth is known.
    """

    scores: Reliability
    bars: tuple[ReliabilityBin, ...]
    calibrated: Reliability | None = None
    calibrated_bars: tuple[ReliabilityBin, ...] = ()
    area: AreaBounds | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns it for JSON."""
        record: dict[str, Any] = {**asdict(self.scores), "bins": [asdict(bar) for bar in self.bars]}
        if self.calibrated is not None:
            bars = [asdict(bar) for bar in self.calibrated_bars]
            record["calibrated"] = {**asdict(self.calibrated), "bins": bars}
        if self.area is not None:
            record["area"] = asdict(self.area)
        return record


def require_calibration_of(path: Path, model: Path | str, calibration: Calibration) -> None:
    """Checks by its tags that a probability raster came about as that which a calibration is of.

    Args:
        path: As `predict` wrote it. Where tags are lost, it is taken to be of that model.
        model: The model folder or `weights:NAME` that the calibration is from.
        calibration: Its calibration.

    Raises:
        RasterError: The raster cannot be read.
        CheckpointError: The model folder cannot be used.
        RequestError: It is of other networks, or of these and has symmetries where the calibration has none,
            or the other way round.
    """
    with open_raster(path) as dataset:
        tags = dataset.tags()
    name, spread_of = weights_name(model), tags.get(SPREAD_TAG, "")
    if NETWORKS_TAG in tags:
        from glacierseg.predict.export import fingerprints  # noqa: PLC0415  (brings torch)

        folders = find_weights(name).folders if name else [model_folder(model)]
        theirs = tags[NETWORKS_TAG] == fingerprints(folders)
    else:
        theirs = bool(name) or not spread_of.endswith("networks")
    turned = SYMMETRIES_TAG in tags or spread_of.endswith("symmetries")
    if not theirs or turned != calibration.symmetries:
        what = f"weights {name}" if name else "the network alone"
        kinds = "with symmetries" if calibration.symmetries else "without symmetries"
        raise RequestError(
            f"{path}: the calibration of {model} is for {what} {kinds}, and these probabilities came about "
            "in another way; predict again in that one"
        )


def calibrated_strips(path: Path, calibration: Calibration) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Reads a probability raster from top to bottom and calibrates it, unless its tags say that it is.

    Args:
        path: As `predict` wrote it.
        calibration: Of the network that predicted it.

    Yields:
        Which rows, `STRIP_PX` at most, and `(h, W)` probabilities, NaN where there are none.

    Raises:
        RasterError: The raster is missing, damaged, or holds no probabilities.
    """
    with open_raster(path) as dataset:
        stored = CALIBRATION_TAG in dataset.tags()
    for rows, probability in probability_strips(path, STRIP_PX):
        yield rows, probability if stored else calibration.apply(probability)


def evaluate_probability(
    path: Path, truth: NDArray[np.uint8], grid: Grid, calibration: Calibration | None = None
) -> ProbabilityEvaluation:
    """Says how far the probabilities of a raster can be believed, strip by strip.

    Args:
        path: A probability raster on the grid.
        truth: `(H, W)` of 0, 1 and 255.
        grid: Where the truth lies.
        calibration: Of the model that predicted it.

    Raises:
        GridMismatchError: The raster lies on another grid.
        RasterError: The raster is damaged.
        RequestError: Its values are no probabilities.
    """
    with open_raster(path) as dataset:
        if difference := grid.difference(grid_of(dataset)):
            raise GridMismatchError(
                f"{path}: probability lies on another grid than the mask ({difference}); "
                "give the one that the mask was made from"
            )
    raw, better, sums = ReliabilityCounts.none(), ReliabilityCounts.none(), AreaSums()
    for rows, probability in probability_strips(path, STRIP_PX):
        raw += count_reliability(probability, truth[rows])
    if calibration:
        for rows, scaled in calibrated_strips(path, calibration):
            better += count_reliability(scaled, truth[rows])
            sums += sum_area(scaled, known_pixels(scaled, truth[rows]))
    scores, bars = reliability_of(raw), reliability_table(raw)
    if calibration is None:
        return ProbabilityEvaluation(scores, bars)
    believable = not calibration.scale.at_bound
    area = bound_area(sums, calibration.dispersion, grid.pixel_area_km2) if believable else None
    return ProbabilityEvaluation(scores, bars, reliability_of(better), reliability_table(better), area)


def predicted_area(path: Path, calibration: Calibration, confidence: float = 0.9) -> AreaBounds | None:
    """Returns the glacier area of a whole predicted scene with its bounds.

    Args:
        path: A probability raster, calibrated or not; its tags say which.
        calibration: Of the network that predicted it.
        confidence: Of the bounds.

    Returns:
        None when nothing can be said: the calibration's temperature is at a bound, or no pixel has data.

    Raises:
        RasterError: The raster is damaged, or its pixels have very different sizes on the ground.
        RequestError: The confidence is not between 0 and 1.
    """
    if calibration.scale.at_bound:
        return None
    with open_raster(path) as dataset:
        width_m, height_m = even_pixel_m(grid_of(dataset), str(path), [path])
    pixel_area_km2 = width_m * height_m / 1e6
    sums = sum((sum_area(rows) for _, rows in calibrated_strips(path, calibration)), AreaSums())
    return bound_area(sums, calibration.dispersion, pixel_area_km2, confidence) if sums.pixels else None
