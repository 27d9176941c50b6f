"""Band importance: which bands a trained network uses, by its gradient, with permutation as a check."""

from glacierseg.bands.importance import (
    BatchOfPatches,
    PatchSample,
    gradient_importance,
    measure_patches,
    permutation_importance,
)
from glacierseg.bands.ranking import (
    BandImportance,
    Measures,
    agreement_message,
    preset_bands,
    tie_message,
    top_bands,
    unmeasured_message,
)
from glacierseg.bands.scene import band_importance, measure_scenes
from glacierseg.bands.table import read_measures, write_importance

__all__ = [
    "BandImportance",
    "BatchOfPatches",
    "Measures",
    "PatchSample",
    "agreement_message",
    "band_importance",
    "gradient_importance",
    "measure_patches",
    "measure_scenes",
    "permutation_importance",
    "preset_bands",
    "read_measures",
    "tie_message",
    "top_bands",
    "unmeasured_message",
    "write_importance",
]
