"""Training patches that show more or less ground than they have pixels."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from glacierseg.raster.truth import GLACIER, IGNORE


def widest_px(patch_px: int, zoom: float) -> int:
    """Returns the side of the largest square of ground that a patch may show."""
    return max(round(patch_px * (1 + zoom)), patch_px)


def draw_side_px(patch_px: int, zoom: float, rng: np.random.Generator) -> int:
    """Draws the side of the square of ground that a patch shows.

    Args:
        patch_px: Side of the patch.
        zoom: The ground's side is drawn between `1 / (1 + zoom)` and `1 + zoom` times that, each ratio as
            likely as its inverse.
        rng: Decides.
    """
    most = np.log1p(zoom)
    return max(round(patch_px * float(np.exp(rng.uniform(-most, most)))), 1)


def resample(
    values: NDArray[Any], valid: NDArray[np.bool_], target: NDArray[np.uint8], side_px: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.uint8]]:
    """Brings a square of ground to another number of pixels.

    What is shrunk is averaged over area, what grows is interpolated between pixel centres; pixels without
    data have no weight in it. A pixel has data, or a label, where at least half of that weight has, and the
    label of the greater part.

    Args:
        values: `(S, S, C)`; whatever stands where nothing is valid.
        valid: `(S, S)`.
        target: `(S, S)` of 0, 1 and 255.
        side_px: Its new side P.

    Returns:
        Values `(P, P, C)`, 0 where nothing is valid; valid `(P, P)`; target `(P, P)`, 255 there.
    """
    how = cv2.INTER_AREA if side_px < len(values) else cv2.INTER_LINEAR
    known = target != IGNORE
    layers = np.dstack([np.where(valid[..., None], values, 0), valid, known, target == GLACIER])
    # OpenCV averages no more than four layers at once.
    parts = np.split(layers.astype(np.float32), range(4, layers.shape[2], 4), axis=2)
    found = np.dstack([cv2.resize(part, (side_px, side_px), interpolation=how) for part in parts])
    shown, labelled, glacier = found[..., -3], found[..., -2], found[..., -1]
    seen = shown >= 0.5
    scaled = np.where(seen[..., None], found[..., :-3] / np.maximum(shown, 0.5)[..., None], np.float32(0))
    labels = np.where(glacier * 2 >= labelled, np.uint8(GLACIER), np.uint8(0))
    return scaled, seen, np.where(seen & (labelled >= 0.5), labels, np.uint8(IGNORE))
