"""What a map is corrected with, and how a model is trained again on corrections."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from glacierseg.settings.base import RARE, Settings


class CorrectInputs(Settings):
    """Files and words of an analyst, besides the scene and the mask that is corrected."""

    panel: ClassVar[str | None] = "Corrections"

    outlines: Path | None = None
    """Corrected outlines: `corrections.gpkg`, or a vector file of any format."""
    layer: str | None = None
    """Layer of the outlines; null for `outlines`, or the only one."""
    checked: str = "checked"
    """Ground that was looked at: a layer of that file, or a vector file of its own."""
    analyst: str | None = None
    """Name of the analyst; null for that in the file."""
    suggest: Annotated[int, Field(ge=1)] | None = None
    """Number of places where to look next, written as polygons instead of learning."""
    probability: Path | None = None
    """Probability of the scene, for --suggest; null for that beside the mask, else it is predicted."""
    replay: Path | None = None
    """Run that trained the model, whose ground is replayed; null for that of the model's folder."""


class CorrectSettings(Settings):
    """How a model learns from corrections, and what it must show before it is replaced."""

    panel: ClassVar[str | None] = "Training again"

    epochs: Annotated[int, Field(ge=1)] = 5
    """Epochs of the training on corrections and old ground."""
    learning_rate: Annotated[float, RARE, Field(gt=0)] = 0.001
    """Largest learning rate; it falls along a cosine."""
    patches_per_epoch: Annotated[int, RARE, Field(ge=1)] = 960
    """Patches drawn for each epoch."""
    batch_size: Annotated[int, RARE, Field(ge=2)] = 32
    """Patches per step."""
    replay_share: Annotated[float, RARE, Field(ge=0, lt=1)] = 0.4
    """Share of the patches that show old ground, 0-1."""
    unchecked_share: Annotated[float, RARE, Field(ge=0, lt=1)] = 0.35
    """Share of the patches that show unchecked ground of the corrected scenes, 0-1."""
    holdout_share: Annotated[float, RARE, Field(gt=0, le=0.5)] = 1 / 3
    """Share of the checked places that judges and is not trained on, up to 0.5."""
    confidence: Annotated[float, RARE, Field(gt=0, lt=1)] = 0.9
    """Confidence level of the interval that the gain must exceed, 0-1."""
    seed: Annotated[int, RARE, Field(ge=0)] = 0
    """Seed of order, augmentation and bootstrap."""

    @model_validator(mode="after")
    def _some_is_left_for_corrections(self) -> "CorrectSettings":
        if (together := self.replay_share + self.unchecked_share) >= 1:
            raise ValueError(
                f"replay_share and unchecked_share must leave some for corrections (got {together:g})"
            )
        return self
