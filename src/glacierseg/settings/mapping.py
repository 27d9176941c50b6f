"""What a map of glaciers is made from besides the scene."""

from pathlib import Path
from typing import ClassVar

from glacierseg.settings.base import Settings


class MapInputs(Settings):
    """Files that a map uses besides the scene."""

    panel: ClassVar[str | None] = "Inputs"

    dem: Path | None = None
    """Elevation model in metres, on any grid."""
    existing: Path | None = None
    """Existing inventory, for links and divides."""
    existing_layer: str | None = None
    """Layer of the existing inventory."""
