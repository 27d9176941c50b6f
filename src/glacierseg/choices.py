"""The names that options choose from: one type for each, for settings, stages and commands alike."""

from collections.abc import Collection
from typing import Literal, get_args

from glacierseg.errors import RequestError, did_you_mean

Resampling = Literal["nearest", "bilinear", "cubic", "average", "mode"]
"""How values between pixels are found."""
Cloudy = Literal["cloud", "cirrus", "shadow"]
"""A class of ground that clouds hide or darken."""
Satellite = Literal["sentinel2", "landsat"]
"""Satellites whose products catalogues offer."""
Role = Literal["train", "validate", "test"]
"""What ground is for."""
Cache = Literal["auto", "memory", "disk", "none"]
"""Where pixels wait for training."""

LossName = Literal["cross_entropy", "focal", "dice", "dice_focal", "tversky", "lovasz"]
Monitor = Literal["val_iou", "val_loss", "last"]
"""What decides which epoch is kept."""
Schedule = Literal["constant", "cosine", "plateau"]
"""Course of the learning rate."""
FloatPrecision = Literal["auto", "float32", "bfloat16"]
"""auto is bfloat16 where the hardware computes in it."""
TrainPrecision = Literal[FloatPrecision, "float64"]
Storage = Literal["float32", "bfloat16", "float16"]
"""Data type of weights in a file."""

Engine = Literal["auto", "torch", "openvino", "onnx"]
"""Library that runs a network."""
Precision = Literal[FloatPrecision, "int8"]
ExportFormat = Literal["onnx", "openvino"]
ProbabilityType = Literal["float32", "uint8"]
"""Data type of a probability raster."""

StepName = Literal["merge", "smooth", "fill", "remove"]
"""A step of refinement."""
STEP_NAMES: tuple[StepName, ...] = get_args(StepName)
Smoothing = Literal["majority", "closing", "opening", "dilation", "erosion"]
Objective = Literal["iou", "f1", "area"]
"""What the search for refinement parameters aims at."""
Preset = Literal["regional", "rgi"]
"""Smallest glacier of an inventory."""

OutlineLayer = Literal["raw", "smooth", "refined", "refined_smooth", "contour"]
OUTLINE_LAYERS: tuple[OutlineLayer, ...] = get_args(OutlineLayer)
Divides = Literal["auto", "terrain", "existing", "none"]
"""Where divides between glaciers are from."""

Measure = Literal["gradient", "permutation"]
"""A measure of band importance."""
MEASURES: tuple[Measure, ...] = get_args(Measure)


def require_choice(kind: str, name: str, known: Collection[str]) -> None:
    """Checks a name that types cannot: one from a file or a notebook.

    Args:
        kind: What it names, such as `objective`.
        name: As given.
        known: The names there are.

    Raises:
        RequestError: It is none of them.
    """
    if name not in known:
        raise RequestError(
            f"no {kind} is called {name!r}{did_you_mean(name, known)}; choose from {', '.join(known)}"
        )
