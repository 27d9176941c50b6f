"""How masks are scored, against the truth and against each other."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, field_validator, model_validator

from glacierseg.settings.base import Cli, Settings, model_or_weights


class BootstrapSettings(Settings):
    """How blocks of ground are drawn for the intervals of scores."""

    panel: ClassVar[str | None] = "Intervals"

    draws: Annotated[int, Field(ge=20)] = 1000
    """Bootstrap draws, at least 20."""
    block_px: Annotated[int, Field(ge=1)] | None = None
    """Side of a drawn block, in pixels; null for automatic."""
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Confidence level of the intervals, 0-1."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the draws."""


class ScoreInputs(Settings):
    """What scores use besides the mask and its truth."""

    panel: ClassVar[str | None] = "Inputs"

    scene: tuple[Path, ...] = ()
    """File of the scene's bands, for scores of debris-covered ice; repeatable."""
    dem: Path | None = None
    """Elevation model, for scores by band."""
    probability: Path | None = None
    """Probability raster on the grid of the mask."""
    model: Path | None = None
    """Model folder, for its calibration of the probability."""
    weights: str | None = None
    """Weights by name, for theirs."""

    @model_validator(mode="after")
    def _one_model(self) -> "ScoreInputs":
        _ = self.calibrated_by
        return self

    @property
    def calibrated_by(self) -> Path | None:
        """The model of the probability, a folder or `weights:NAME`."""
        return model_or_weights(self.model, self.weights, "model and weights")


class ScoreSettings(BootstrapSettings):
    """How a mask is scored against the truth."""

    panel: ClassVar[str | None] = "Scores"

    draws: int = 1000
    """Bootstrap draws, at least 20; 0 for none."""
    truth_layer: str | None = None
    """Layer of the true outlines."""
    buffers_m: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Cli("--buffer-m", metavar="<float>")] = ()
    """Rim along the true boundary that does not count, in metres; repeatable."""
    elevation_band_m: Annotated[float, Field(gt=0)] = 200.0
    """Height of an elevation band, in metres."""
    distances: bool = True
    """Distances between the outlines."""
    glaciers: bool = True
    """Areas by glacier, scores by size class."""

    @field_validator("draws")
    @classmethod
    def _none_or_enough(cls, value: int) -> int:
        if value != 0 and value < 20:
            raise ValueError(f"must be 0 or at least 20 (got {value})")
        return value
