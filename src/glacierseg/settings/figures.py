"""What pictures of a scene show besides it."""

from pathlib import Path
from typing import ClassVar

from glacierseg.settings.base import Settings


class FigureInputs(Settings):
    """What was mapped on a scene; each on any grid, in any CRS."""

    panel: ClassVar[str | None] = "Inputs"

    mask: Path | None = None
    """Mask whose outlines are drawn over the scene."""
    probability: Path | None = None
    """Probability raster, for a map of it."""
    inventory: Path | None = None
    """Inventory or other outlines, for a map with the largest glaciers numbered."""
    inventory_layer: str | None = None
    """Layer of the inventory."""
    change: Path | None = None
    """GeoPackage of `glacierseg change`, for a map of advance and retreat."""
