"""Turning a network's glacier probability into one that can be believed, and keeping how with the model."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import CheckpointError, DataError, TruthError
from glacierseg.models.card import CARD, ModelCard, read_card, update_card
from glacierseg.weights.card import CARD_FILE
from glacierseg.weights.shelf import Weights, find_weights, model_folder, weights_name

LARGEST_LOGIT = 16.0
"""Probabilities nearer to 0 and 1 than 1e-7, where float32 ends, are taken to lie there."""
TEMPERATURES = (0.05, 20.0)
GLACIER_CONFIDENCE = 0.9
"""Of the bounds of single glaciers."""
NEAR_M = 100.0
"""So far around a glacier on the map its ground is looked at."""
_LARGEST_BIAS = 1000.0


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the probability that belongs to each logit."""
    values: NDArray[np.float64] = 0.5 * (1 + np.tanh(0.5 * logits))
    return values


@dataclass(frozen=True)
class LogitScale:
    """Scales the logit of a probability: `sigmoid(logit(p) / temperature + bias)`.

    Attributes:
        temperature: Above 1 the network was too sure of itself, below 1 not sure enough (Guo et al. 2017).
        bias: Shift of the logit (Platt 1999): negative where the network finds too much glacier.
        at_bound: Whether the best temperature lies beyond `TEMPERATURES`: the probabilities separate the
            classes without an error, or say nothing about them. Such a scale should not be believed.
    """

    temperature: float
    bias: float = 0.0
    at_bound: bool = False

    def apply(self, probability: NDArray[np.floating]) -> NDArray[np.float32]:
        """Returns scaled probabilities of any shape; NaN stays NaN.

        A temperature of 1 without bias changes nothing but what lies within 1e-7 of 0 and 1.
        """
        chance = probability.astype(np.float64)
        with np.errstate(divide="ignore"):
            logits = np.clip(np.log(chance) - np.log1p(-chance), -LARGEST_LOGIT, LARGEST_LOGIT)
        return sigmoid(logits / self.temperature + self.bias).astype(np.float32)


@dataclass(frozen=True)
class Dispersion:
    """How much more a sum of pixels errs than if each erred by itself; see `evaluate.area_bounds`.

    Attributes:
        factor: Variance of the error of a block's area over the variance for independent pixels, at least 1.
        block_px: Side of the blocks on which it was measured.
        blocks: How many equally uncertain blocks they are worth.
        degrees_of_freedom: Of the factor.
        variance_px: Sum of p (1 - p) over the pixels it was measured on.
        smaller: The same on smaller blocks, the smallest first; empty in cards of earlier versions.
    """

    factor: float
    block_px: int
    blocks: float
    degrees_of_freedom: float
    variance_px: float
    smaller: tuple["Dispersion", ...] = ()

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Dispersion":
        """Reads it from JSON."""
        return cls(**{**stored, "smaller": tuple(map(cls.from_dict, stored.get("smaller", ())))})


@dataclass(frozen=True)
class GlacierClass:
    """Bounds of the area of single glaciers of a size; see `evaluate.glacier_bounds`.

    Attributes:
        from_km2: Mapped area of the smallest ones.
        lower: True less expected area over the sum of p (1 - p), which few glaciers fall short of.
        upper: The same that few exceed.
        glaciers: How many it was measured on.
        massifs: In how many massifs they lie.
    """

    from_km2: float
    lower: float
    upper: float
    glaciers: int
    massifs: int


@dataclass(frozen=True)
class Calibration:
    """How a network's probabilities become calibrated ones, and how well that works.

    Attributes:
        scale: What happens to a probability.
        pixels: Pixels it was fitted on.
        regions: Names of the regions they lie in.
        nll_before: Mean negative log likelihood there without the calibration.
        nll_after: The same with it.
        ece_before: Expected calibration error there without the calibration.
        ece_after: The same with it.
        dispersion: What area bounds need.
        symmetries: Whether the probabilities were means over the eight symmetries; it holds for such alone.
        glaciers: Bounds of single glaciers, the smallest class first; empty where too few massifs show them.
        massifs: How many massifs there were.
    """

    scale: LogitScale
    pixels: int
    regions: tuple[str, ...]
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float
    dispersion: Dispersion
    symmetries: bool = False
    glaciers: tuple[GlacierClass, ...] = ()
    massifs: int = 0

    @property
    def without_glaciers(self) -> str:
        """Why single glaciers have no bounds, in a line; empty where they have."""
        if self.glaciers:
            return ""
        least = round(GLACIER_CONFIDENCE / (1 - GLACIER_CONFIDENCE))
        return (
            f"no bounds of single glaciers: at {GLACIER_CONFIDENCE:.0%} they need validation glaciers in "
            f"{least} squares of 10 km or more, and the calibration has them in {self.massifs}"
        )

    def bound_glacier(self, mapped_km2: float, expected_px: float, variance_px: float) -> tuple[float, float]:
        """Returns between which numbers of pixels the area of a glacier lies at `GLACIER_CONFIDENCE`.

        Args:
            mapped_km2: Its area on the map, which decides on its class.
            expected_px: Sum of the calibrated probabilities p of the pixels within `NEAR_M` of it and nearer
                to it than to other glaciers.
            variance_px: Sum of their p (1 - p).
        """
        own = [one for one in self.glaciers if mapped_km2 >= one.from_km2] or self.glaciers[:1]
        low, high = (expected_px + shift * variance_px for shift in (own[-1].lower, own[-1].upper))
        return max(low, 0.0), max(high, 0.0)

    def apply(self, probability: NDArray[np.floating]) -> NDArray[np.float32]:
        """Returns calibrated probabilities of any shape; NaN stays NaN."""
        return self.scale.apply(probability)

    def to_dict(self) -> dict[str, Any]:
        """Returns it for JSON."""
        return {**asdict(self), "regions": list(self.regions)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Calibration":
        """Reads what `to_dict` gave."""
        try:
            nested = {
                "scale": LogitScale(**stored["scale"]),
                "regions": tuple(stored["regions"]),
                "dispersion": Dispersion.from_dict(stored["dispersion"]),
                "glaciers": tuple(GlacierClass(**one) for one in stored.get("glaciers", ())),
            }
            return cls(**{**stored, **nested})
        except (TypeError, KeyError) as error:
            raise DataError(
                f"calibration has other fields than glacierseg writes ({error}); remove it and run again"
            ) from error


def fit_logit_scale(
    logits: NDArray[np.float64], background: NDArray[np.int64], glacier: NDArray[np.int64]
) -> LogitScale:
    """Finds the temperature and bias of the greatest likelihood, exactly on a histogram.

    With the bias (Platt 1999) calibrated probabilities sum to the true area on the pixels of the fit.

    The negative log likelihood is convex in `(1 / temperature, bias)`, and so is its minimum over the bias as
    a function of `1 / temperature`. Its derivatives there are sums of (probability - truth) * logit and of
    (probability - truth), each rising, so bisection finds the one minimum and cannot run away.

    Args:
        logits: `(N,)` of each bin.
        background: `(N,)` background pixels of each bin.
        glacier: `(N,)` glacier pixels of each bin.

    Raises:
        TruthError: The pixels are all glacier, or none is.
    """
    if not (background.any() and glacier.any()):
        lacking = "glacier" if background.any() else "background"
        raise TruthError(
            f"no {lacking} among the pixels to calibrate on; give the role validate to ground with both"
        )
    counted = (background + glacier) > 0
    logits = logits[counted]
    true, total = glacier[counted].astype(float), (background + glacier)[counted].astype(float)

    def excess(sharpness: float, bias: float) -> NDArray[np.float64]:
        return np.asarray(sigmoid(sharpness * logits + bias) * total - true)

    def best_bias(sharpness: float) -> float:
        return _root(lambda bias: float(excess(sharpness, bias).sum()), -_LARGEST_BIAS, _LARGEST_BIAS)

    def slope(sharpness: float) -> float:
        return float(excess(sharpness, best_bias(sharpness)) @ logits)

    least, most = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    at_bound = slope(least) >= 0 or slope(most) <= 0
    sharpness = (least if slope(least) >= 0 else most) if at_bound else _root(slope, least, most)
    return LogitScale(1 / sharpness, best_bias(sharpness), at_bound)


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Returns where a rising function crosses zero, to the last digits."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


def store_calibration(folder: Path, calibration: Calibration) -> None:
    """Writes a calibration into a model folder's card; the weights are not touched."""
    update_card(Path(folder), calibration=calibration.to_dict())


def read_calibration(model: Path | str | Weights) -> Calibration | None:
    """Reads the calibration of a model or of weights, None when there is none.

    Args:
        model: A model folder; weights, or `weights:NAME`, of several members the calibration of their mean;
            or one of them, `weights:NAME/2`.

    Raises:
        CheckpointError: There is no card, or it or its calibration is none of glacierseg's.
        RequestError: There are no such weights.
    """
    if isinstance(model, Weights):
        if len(model.folders) == 1:
            return read_calibration(model.folders[0])
        return _calibration_in(model.card.calibration, model.folder / CARD_FILE)
    if name := weights_name(model):
        return read_calibration(find_weights(name))
    folder = model_folder(model)
    return calibration_of(read_card(folder), folder)


def calibration_of(card: ModelCard, folder: Path) -> Calibration | None:
    """Returns the calibration that a network's card holds, None when there is none."""
    return _calibration_in(card.calibration, folder / CARD)


def _calibration_in(stored: Mapping[str, Any] | None, path: Path) -> Calibration | None:
    try:
        return None if stored is None else Calibration.from_dict(stored)
    except DataError as error:
        raise CheckpointError(f"{path}: {error}") from error
