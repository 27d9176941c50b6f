"""The configuration of a run: one validated object per section of the YAML file."""

from glacierseg.settings.distil import DistilSettings
from glacierseg.settings.load import dump_config, first_difference, load_config, parse_config
from glacierseg.settings.models import Logarithm, ModelConfig
from glacierseg.settings.predict import PredictSettings
from glacierseg.settings.refine import RefineSettings, TuneSettings
from glacierseg.settings.sections import (
    BandsConfig,
    OutputsConfig,
    PartConfig,
    PatchConfig,
    RegionConfig,
    RunConfig,
    SplitConfig,
    is_missing,
)
from glacierseg.settings.train import TrainSettings

__all__ = [
    "BandsConfig",
    "DistilSettings",
    "Logarithm",
    "ModelConfig",
    "OutputsConfig",
    "PartConfig",
    "PatchConfig",
    "PredictSettings",
    "RefineSettings",
    "RegionConfig",
    "RunConfig",
    "SplitConfig",
    "TrainSettings",
    "TuneSettings",
    "dump_config",
    "first_difference",
    "is_missing",
    "load_config",
    "parse_config",
]
