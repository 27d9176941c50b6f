"""The networks. Importing this package does not import torch."""

from glacierseg.models.registry import MODELS, ModelSpec, count_parameters, create_model, model_spec

__all__ = ["MODELS", "ModelSpec", "count_parameters", "create_model", "model_spec"]
