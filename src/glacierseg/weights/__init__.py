"""Trained weights under a name: where they lie, what they expect of a scene, and whether a scene fits."""

from glacierseg.raster.values import BandValues
from glacierseg.weights.card import Score, WeightsCard
from glacierseg.weights.expectation import WeightsBand
from glacierseg.weights.fitting import Fitted
from glacierseg.weights.shelf import Weights, find_weights, list_weights

__all__ = [
    "BandValues",
    "Fitted",
    "Score",
    "Weights",
    "WeightsBand",
    "WeightsCard",
    "find_weights",
    "list_weights",
]
