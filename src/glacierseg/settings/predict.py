"""How scenes are predicted."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from glacierseg.choices import Engine, FloatPrecision
from glacierseg.settings.base import RARE, Settings


class PredictSettings(Settings):
    """How scenes are predicted."""

    section: ClassVar[str | None] = "prediction"

    regions: Annotated[Literal["all", "scored"], RARE] = "all"
    """In a run: all regions, or scored for those that validate or test."""
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of a window that the next one covers too, 0-1."""
    window_px: Annotated[int, Field(ge=8)] | None = None
    """Side of a window; null for the training patch, or 512 with a halo."""
    batch_size: Annotated[int, RARE, Field(ge=1)] = 16
    """Windows of the training patch's size in one pass."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Probability from which a pixel is glacier, 0-1."""
    symmetries: bool = False
    """Mean over the eight flips and turns; their spread is a second band."""
    engine: Engine = "auto"
    """Library that runs the network; auto for torch."""
    precision: FloatPrecision = "auto"
    """Number format: float32 or bfloat16; auto for bfloat16 where the hardware has it."""
    halo_px: Annotated[int, Field(ge=0)] = 0
    """Use what lies so far inside large windows instead of blending, for the networks that can
    (docs/scale.md).
    """
