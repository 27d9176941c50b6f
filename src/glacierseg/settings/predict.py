"""How scenes are predicted."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from glacierseg.choices import Engine, Precision, ProbabilityType
from glacierseg.settings.base import RARE, Cli, Settings
from glacierseg.settings.scene import SceneSettings

THRESHOLD = 0.5
"""Probability from which a pixel is glacier, unless another one is given."""
OVERLAP = 0.5
"""Overlap of neighbouring windows of the training patch's size, unless a card or the user says otherwise."""


class PredictSettings(Settings):
    """How scenes are predicted; a run takes none of calibrated, confidence, int8_model and prune_level."""

    section: ClassVar[str | None] = "prediction"
    panel: ClassVar[str | None] = "Prediction"

    regions: Annotated[Literal["all", "scored"], RARE] = "all"
    """In a run: all regions, or scored for those that validate or test."""
    window_px: Annotated[int, Field(ge=8)] | None = None
    """Side of a window in pixels; null for the model's own, else that of the training."""
    overlap: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Overlap of neighbouring windows, as a share of 0-1; null for the model's own, else 0.5."""
    batch_size: Annotated[int, RARE, Field(ge=1)] = 16
    """Windows of the training patch's size in one pass."""
    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Probability from which a pixel is glacier, 0-1; null for 0.5 or the weights' own."""
    symmetries: bool | None = None
    """Mean over the eight flips and turns, up to 8 times slower; null for the weights' own, else no."""
    engine: Engine = "auto"
    """Library that runs the network: torch, openvino or onnx; auto for torch."""
    precision: Precision = "auto"
    """Number format: float32, bfloat16 or int8; auto for bfloat16 where the hardware has it."""
    int8_model: Annotated[Path | None, RARE] = None
    """Quantised network for precision int8; null for model_int8.xml in the model folder, or <name>_int8.xml
    here for weights.
    """
    dtype: ProbabilityType = "float32"
    """Data type of the probability: float32, or uint8 with 254 levels."""
    calibrated: bool = False
    """Calibrate the probabilities, not the mask."""
    confidence: Annotated[float, RARE, Field(gt=0, lt=1)] = 0.9
    """Confidence level of the bounds of the glacier area, 0-1."""
    prune_level: Annotated[int | None, RARE, Field(ge=1, le=4)] = None
    """Steps of a unetplusplus with deep supervision, of which fewer are faster; null for all."""

    @property
    def leaves_windows_open(self) -> bool:
        """Whether a card may say in which windows; a file for int8 has windows of its own."""
        asked = self.window_px or self.overlap is not None
        return not asked and self.precision != "int8"


class ClusterSettings(Settings):
    """Who shares the work of a prediction, or many areas (docs/scale.md, extra `cluster`)."""

    panel: ClassVar[str | None] = "Sharing the work"

    workers: Annotated[int, Field(ge=1)] | None = None
    """Number of processes on this machine that share the work."""
    dask: str | None = None
    """Address of a Dask cluster that shares the work."""

    @model_validator(mode="after")
    def _one_of_the_two(self) -> "ClusterSettings":
        if self.workers and self.dask:
            raise ValueError("workers and dask exclude each other; give one of the two")
        return self

    @property
    def asked_for(self) -> bool:
        """Whether the work is to be shared."""
        return self.workers is not None or self.dask is not None


class ExportSettings(Settings):
    """How a network becomes a file for other programs (docs/engines.md)."""

    window_px: Annotated[int, Field(ge=1)] | None = None
    """Side of the windows that the file takes; null for that of the training."""
    prune_level: Annotated[int, Field(ge=1, le=4)] | None = None
    """Steps of a unetplusplus with deep supervision, of which fewer are faster; null for all."""
    truth: Path | None = None
    """Truth of the scene that shows the cost of int8: a raster on its grid, or outlines."""
    truth_layer: str | None = None
    """Layer of a truth with several."""


class Int8Inputs(SceneSettings):
    """Scenes that a network is quantised with, and how their files are read."""

    panel: ClassVar[str | None] = "8-bit integers"

    int8_with: Annotated[Path | None, Cli(metavar="SCENE")] = None
    """Scene to quantise to 8-bit integers with (openvino)."""
    cost_on: Annotated[Path | None, Cli(metavar="SCENE")] = None
    """Scene of --truth, such as one for validation, if another one."""
