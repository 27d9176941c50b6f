"""Parts of a scene, predicted in memory: what ways to predict are compared on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from glacierseg.predict.ensemble import Ensemble
from glacierseg.predict.stream import blended_strips
from glacierseg.raster.scene import Scene
from glacierseg.settings.predict import PredictSettings


def predicted(
    ensemble: Ensemble, parts: Sequence[Scene], settings: PredictSettings
) -> Iterator[NDArray[np.float32]]:
    """Predicts scenes or parts of them.

    Args:
        ensemble: The networks.
        parts: From `Ensemble.matching_scene`.
        settings: From `Ensemble.resolved`.

    Yields:
        Mean probability `(H, W)` of each part, NaN where it has no data.
    """
    tiling, count = ensemble.tiling(settings), ensemble.windows_at_once(settings)

    def kind(part: Scene) -> tuple[object, ...]:
        # What predictors depend on; with symmetries also on how the bands' files turn directions.
        transform = part.grid.transform
        return transform.a > 0, transform.e < 0, part.name if settings.symmetries else ""

    for _, alike in groupby(parts, kind):
        group = list(alike)
        members = ensemble.predictors(group[0], settings)
        for part in group:
            strips = blended_strips(part, members, tiling, batch_size=count)
            yield np.concatenate([layers.mean(0) for _, _, layers in strips])


@dataclass(frozen=True)
class CroppedScene(Scene):
    """A rectangle of a scene; what is read beyond its rim is the scene's own ground."""

    whole: Scene | None = None
    row: int = 0
    column: int = 0

    @classmethod
    def of(cls, scene: Scene, row: int, column: int, height: int, width: int) -> "CroppedScene":
        """Cuts out a rectangle that lies in the scene, in pixels."""
        moved = scene.grid.transform * Affine.translation(column, row)
        grid = replace(scene.grid, transform=moved, height=height, width=width)
        return cls(scene.name, grid, scene.bands, scene, row, column)

    @contextmanager
    def open(self) -> Iterator[Any]:
        """Opens the whole scene for reading."""
        assert self.whole is not None  # noqa: S101  (`of` gives one)
        with self.whole.open() as reader:
            yield _MovedReader(reader, self.row, self.column)


class _MovedReader:
    def __init__(self, reader: Any, row: int, column: int) -> None:
        self._reader, self._row, self._column = reader, row, column

    def read(self, row: int, column: int, height: int, width: int) -> Any:
        return self._reader.read(row + self._row, column + self._column, height, width)
