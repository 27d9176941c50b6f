"""The cheaper way to predict: large windows of which only the core counts, and what that changes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import RequestError
from glacierseg.models.registry import model_spec
from glacierseg.predict.ensemble import Ensemble
from glacierseg.predict.samples import CroppedScene, predicted
from glacierseg.raster.scene import Scene
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
                "no halo; leave halo_px out (a smaller overlap takes as few passes)"
            )


def halo_agreement(ensemble: Ensemble, scene: Scene, settings: PredictSettings) -> Agreement:
    """Predicts samples of a scene with a halo, and blended in windows of the training patch's size.

    The samples are squares, evenly spread, that together take up to a tenth of the scene, but at least one.
    """
    halo = ensemble.resolved(settings)
    blend = ensemble.resolved(settings.replaced(halo_px=0, window_px=None, overlap=halo.overlap))
    tiling = ensemble.tiling(halo)
    check_halo(ensemble, tiling.window_px, tiling.halo_px)
    samples = list(_samples(scene, max(2 * ensemble.tiling(blend).window_px, tiling.core_px)))
    maps = [
        np.concatenate([found.ravel() for found in predicted(ensemble, samples, way)])
        for way in (halo, blend)
    ]
    one, other = (probability[~np.isnan(probability)] for probability in maps)
    if not one.size:
        return Agreement(0, 1.0, None, 0.0)
    return _compare(one, other, halo.threshold or THRESHOLD)


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
            yield CroppedScene.of(
                scene, min(max(row, 0), height - side_rows), min(max(column, 0), width - side_columns),
                side_rows, side_columns,
            )  # fmt: skip
