"""All measures of band importance by name."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, get_args

from glacierseg.bands.ablation import ablation_importance
from glacierseg.bands.gradients import DONORS, gradient_importance, integrated_importance, points_between
from glacierseg.bands.result import BandImportance
from glacierseg.bands.sample import PatchSample

if TYPE_CHECKING:
    from torch import nn

Measure = Literal["gradient", "integrated", "permutation", "drop"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
Measures = Mapping[Measure, tuple[BandImportance, ...]]
"""Results by measure; the first is the one that bands are chosen by."""


def measure_patches(
    network: "nn.Module",
    sample: PatchSample,
    bands: Sequence[str],
    measures: Sequence[Measure] = MEASURES,
    *,
    steps: int = 16,
    repeats: int = 3,
    seed: int = 0,
) -> Measures:
    """Measures band importance on patches.

    Args:
        network: Trained; put into evaluation mode.
        sample: The patches.
        bands: Names in the order of the channels.
        measures: Which measures, in the order of the result.
        steps: Of the integrated gradients.
        repeats: Of the permutation.
        seed: Of the permutation, and of the paces of integrated gradients.

    Raises:
        RequestError: No patch holds a glacier pixel, or there is only one patch to permute.
    """
    found: dict[Measure, tuple[BandImportance, ...]] = {}
    mixed = sample.mixed() if {"gradient", "integrated"} & set(measures) else sample
    for measure in measures:
        if measure == "gradient":
            result = gradient_importance(network, mixed, bands, mixed.regions)
        elif measure == "integrated":
            result = integrated_importance(network, mixed, bands, mixed.regions, steps=steps, seed=seed)
        else:
            result = ablation_importance(network, sample, bands, measure, repeats=repeats, seed=seed)
        found[measure] = result
    return found


def passes_per_patch(measures: Sequence[Measure], bands: int, *, steps: int = 16, repeats: int = 3) -> int:
    """Returns what measuring costs, in forward passes of a patch; a backward pass counts as two."""
    cost = {
        "gradient": 3 * (1 + DONORS),
        "integrated": 3 * (steps + points_between(steps)),
        "permutation": 1 + bands * repeats,
        "drop": 1 + bands,
    }
    return sum(cost[measure] for measure in measures)
