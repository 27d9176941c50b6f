"""Rasters beside a scene: the classes of its pixels, and the days of their images."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glacierseg.products.classes import CLASS_NAMES, CLEAR, MISSING, OTHER, SNOW
from glacierseg.products.pixels import MASKED
from glacierseg.raster.blocks import Block, LayerWriter, open_writer
from glacierseg.raster.facts import SceneFacts
from glacierseg.raster.grid import Grid
from glacierseg.settings.prepare import ProductSettings

NO_DAY = 0
"""In the raster of days, a pixel without data."""


def layers_beside(out: Path, settings: ProductSettings) -> tuple[tuple[Path, bool], ...]:
    """Returns the rasters of classes and of days beside a scene, and whether settings ask for them."""
    named = (("classes", settings.write_classes), ("dates", settings.write_dates))
    return tuple((out.with_name(f"{out.stem}_{name}.tif"), is_written) for name, is_written in named)


class LayersBeside:
    """Writes the rasters beside a scene that are asked for.

    Attributes:
        classes: The raster of classes, uint8; None where none is asked for.
        dates: The raster of days, int32 as YYYYMMDD; None where none is asked for.
    """

    def __init__(
        self, stack: ExitStack, out: Path, grid: Grid, facts: SceneFacts, settings: ProductSettings
    ) -> None:
        """Opens them for the scene `out`; `stack` closes them."""

        def opened(path: Path | None, name: str, kind: str, nodata: int, **more: str) -> LayerWriter | None:
            if path is None:
                return None
            tags = {**facts.tags, **more}
            return stack.enter_context(open_writer(path, grid, [name], kind, nodata, tags=tags))

        self.classes, self.dates = (
            path if is_written else None for path, is_written in layers_beside(out, settings)
        )
        names = ", ".join(f"{number} {name}" for number, name in enumerate(CLASS_NAMES))
        self._classes = opened(self.classes, "class", "uint8", MISSING, CLASSES=names)
        self._dates = opened(self.dates, "date", "int32", NO_DAY)

    def write(
        self,
        block: Block,
        state: NDArray[np.uint8],
        days: NDArray[np.int32],
        asked: NDArray[np.bool_],
        valid: NDArray[np.bool_],
    ) -> None:
        """Writes one block.

        Args:
            block: Where.
            state: Classes `(h, w)`, with `MASKED` added where they became no data.
            days: Days `(h, w)` as YYYYMMDD.
            asked: Where ground is asked for.
            valid: Where the scene has data.
        """
        if self._classes:
            kind = state & np.uint8(MASKED - 1)
            # These were masked for a reason other than their class.
            kind[(state >= MASKED) & ((kind == CLEAR) | (kind == SNOW))] = OTHER
            kind[~asked] = MISSING
            self._classes.write(block, kind[None], (kind != MISSING)[None])
        if self._dates:
            self._dates.write(block, days[None], valid[None])
