"""Band importance: which bands a trained network looks at, by measures that check one another."""

from glacierseg.bands.ablation import ablation_importance
from glacierseg.bands.agreement import Agreement, agreement_of, rank_correlation
from glacierseg.bands.gradients import gradient_importance, integrated_gradients, integrated_importance
from glacierseg.bands.measures import MEASURES, Measure, Measures, measure_patches
from glacierseg.bands.presets import ORIGINAL_SIX, preset_bands
from glacierseg.bands.result import BandImportance, rank_bands
from glacierseg.bands.sample import BatchOfPatches, PatchSample
from glacierseg.bands.scene import band_importance, measure_scenes
from glacierseg.bands.selection import tie_message, top_bands, unmeasured_message
from glacierseg.bands.table import read_importance, read_measures, write_importance
from glacierseg.bands.use import use_of_bands

__all__ = [
    "MEASURES",
    "ORIGINAL_SIX",
    "Agreement",
    "BandImportance",
    "BatchOfPatches",
    "Measure",
    "Measures",
    "PatchSample",
    "ablation_importance",
    "agreement_of",
    "band_importance",
    "gradient_importance",
    "integrated_gradients",
    "integrated_importance",
    "measure_patches",
    "measure_scenes",
    "preset_bands",
    "rank_bands",
    "rank_correlation",
    "read_importance",
    "read_measures",
    "tie_message",
    "top_bands",
    "unmeasured_message",
    "use_of_bands",
    "write_importance",
]
