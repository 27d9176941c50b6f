"""How the importance of bands is measured."""

from typing import Annotated, ClassVar

from pydantic import Field

from glacierseg.choices import Measure
from glacierseg.settings.base import RARE, Cli, Settings


class ImportanceSettings(Settings):
    """How band importance is measured on scenes with truth."""

    panel: ClassVar[str | None] = "Importance"

    measure: Measure = "gradient"
    """Measure that ranks the bands: size of the gradient, or IoU lost by permutation."""
    check: bool = False
    """Check by the other measure, and how far the two agree."""
    top: Annotated[int, Field(ge=1)] = 6
    """Number of best bands to name."""
    patches: Annotated[int, Field(ge=1)] = 64
    """Most patches to measure on, of all scenes."""
    batch_size: Annotated[int, RARE, Field(ge=1)] = 8
    """Patches in one pass."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the permutation."""
    truth_layers: Annotated[tuple[str, ...], Cli("--truth-layer")] = ()
    """Layer of outlines with several: one for all, or one for each."""
