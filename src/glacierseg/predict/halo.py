"""The cheaper way to predict: large windows of which only the core counts, and what that changes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from glacierseg.errors import RequestError
from glacierseg.models.registry import model_spec
from glacierseg.predict.ensemble import Ensemble
from glacierseg.predict.stream import blended_strips
from glacierseg.raster.scene import Scene
from glacierseg.raster.tiling import Tiling
from glacierseg.settings.predict import THRESHOLD, PredictSettings

_PLACES = 9
_MOST_OF_SCENE = 0.1
_GOOD_IOU = 0.99


@dataclass(frozen=True)
class Agreement:
    """How a prediction with a halo compares with the blended one, on samples of a scene."""

    pixels: int
    equal: float
    iou: float | None
    largest_difference: float

    def __str__(self) -> str:
        iou = "no glacier in the samples" if self.iou is None else f"IoU {self.iou:.4f}"
        # Trained on small patches, a network has never seen what lies farther off and knows no answer to it.
        far = self.iou is not None and self.iou < _GOOD_IOU
        advice = "; that is another map: leave the halo out, or train on larger patches" if far else ""
        return (
            f"halo against blend: {iou}, {self.equal:.2%} of {self.pixels / 1e6:.2g} Mpx of samples equal, "
            f"probabilities differ by up to {self.largest_difference:.2g}{advice}"
        )


def check_halo(ensemble: Ensemble, window_px: int, halo_px: int) -> None:
    """Makes sure that a halo fits, and that networks see the surroundings of a pixel, not a whole window."""
    if not 0 <= 2 * halo_px < window_px:
        raise RequestError(f"the halo must be less than half the window of {window_px} px (got {halo_px} px)")
    for card in ensemble.cards:
        if card is not None and not model_spec(card.architecture).convolutional:
            raise RequestError(
                f"{card.architecture} looks at whole windows of the size that it was trained on, so it takes "
                "no halo; leave halo_px out"
            )


def halo_agreement(ensemble: Ensemble, scene: Scene, settings: PredictSettings) -> Agreement:
    """Predicts samples of a scene with a halo, and blended in windows of the training patch's size.

    The samples are squares, evenly spread, that together take up to a tenth of the scene, but at least one.
    """
    ways = [
        ensemble.resolved(settings),
        ensemble.resolved(settings.replaced(halo_px=0, window_px=None)),
    ]
    tilings = [
        Tiling(way.window_px or ensemble.window_px, 0.0 if way.halo_px else way.overlap, way.halo_px)
        for way in ways
    ]
    halo, blend = tilings
    check_halo(ensemble, halo.window_px, halo.halo_px)
    side = max(2 * blend.window_px, halo.core_px)
    maps = []
    for way, tiling in zip(ways, tilings, strict=True):
        members = ensemble.predictors(scene, way)
        # As many pixels at once with either window.
        count = max(1, way.batch_size * blend.window_px**2 // tiling.window_px**2)
        maps.append(
            np.concatenate(
                [
                    layers.mean(0).ravel()
                    for sample in _samples(scene, side)
                    for _, _, layers in blended_strips(sample, members, tiling, batch_size=count)
                ]
            )
        )
    one, other = (probability[~np.isnan(probability)] for probability in maps)
    if not one.size:
        return Agreement(0, 1.0, None, 0.0)
    return _compare(one, other, ways[0].threshold or THRESHOLD)


def _compare(one: NDArray[np.float32], other: NDArray[np.float32], threshold: float) -> Agreement:
    first, second = one >= threshold, other >= threshold
    either = int((first | second).sum())
    return Agreement(
        pixels=one.size,
        equal=float((first == second).mean()),
        iou=int((first & second).sum()) / either if either else None,
        largest_difference=float(np.abs(one - other).max()),
    )


def _samples(scene: Scene, side_px: int) -> Iterator[Scene]:
    height, width = scene.grid.shape
    side_rows, side_columns = min(side_px, height), min(side_px, width)
    places = int(_MOST_OF_SCENE * height * width / (side_rows * side_columns))
    across = int(max(1, min(places, _PLACES)) ** 0.5)
    for i in range(across):
        for j in range(across):
            row = round((i + 0.5) / across * height - side_rows / 2)
            column = round((j + 0.5) / across * width - side_columns / 2)
            yield _CroppedScene.of(
                scene, min(max(row, 0), height - side_rows), min(max(column, 0), width - side_columns),
                side_rows, side_columns,
            )  # fmt: skip


@dataclass(frozen=True)
class _CroppedScene(Scene):
    """A rectangle of a scene; what is read beyond its rim is the scene's own ground."""

    whole: Scene | None = None
    row: int = 0
    column: int = 0

    @classmethod
    def of(cls, scene: Scene, row: int, column: int, height: int, width: int) -> "_CroppedScene":
        moved = scene.grid.transform * Affine.translation(column, row)
        grid = replace(scene.grid, transform=moved, height=height, width=width)
        return cls(scene.name, grid, scene.bands, scene, row, column)

    @contextmanager
    def open(self) -> Iterator[Any]:
        assert self.whole is not None  # noqa: S101  (`of` gives one)
        with self.whole.open() as reader:
            yield _MovedReader(reader, self.row, self.column)


class _MovedReader:
    def __init__(self, reader: Any, row: int, column: int) -> None:
        self._reader, self._row, self._column = reader, row, column

    def read(self, row: int, column: int, height: int, width: int) -> Any:
        return self._reader.read(row + self._row, column + self._column, height, width)
