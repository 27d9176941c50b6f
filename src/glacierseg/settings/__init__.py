"""The configuration of a run: one validated object per section of the YAML file."""

from glacierseg.settings.load import dump_config, first_difference, load_config, parse_config
from glacierseg.settings.sections import (
    BandsConfig,
    Logarithm,
    ModelConfig,
    OutputsConfig,
    PartConfig,
    PatchConfig,
    PredictionConfig,
    RefinementConfig,
    RegionConfig,
    RunConfig,
    SplitConfig,
    TrainingConfig,
    is_missing,
)

__all__ = [
    "BandsConfig",
    "Logarithm",
    "ModelConfig",
    "OutputsConfig",
    "PartConfig",
    "PatchConfig",
    "PredictionConfig",
    "RefinementConfig",
    "RegionConfig",
    "RunConfig",
    "SplitConfig",
    "TrainingConfig",
    "dump_config",
    "first_difference",
    "is_missing",
    "load_config",
    "parse_config",
]
