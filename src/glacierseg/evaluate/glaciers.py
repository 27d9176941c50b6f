"""Areas by glacier: which pixels belong to which true glacier, and how many of them are found."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
import rasterio.features
from numpy.typing import ArrayLike, NDArray

from glacierseg.raster.grid import Grid
from glacierseg.raster.outlines import OUTLINE_ID
from glacierseg.raster.truth import GLACIER, IGNORE

CLOSE_SHARE = 0.05
_STRIP_ROWS = 512
SMALLEST_KM2 = 0.01
"""Smaller ones are not glaciers of an inventory (RGI 7.0) and count in no share."""


@dataclass(frozen=True, eq=False)
class TrueGlaciers:
    """The true glaciers of a scene.

    Attributes:
        inside: `(H, W)` int32, number of the glacier that a pixel belongs to, 0 for none.
        nearest: `(H, W)` int32, number of the nearest glacier; all 0 without any.
        ids: Of glacier 1, 2, ...
        areas_km2: Of glacier 1, 2, ..., with what lies beyond the scene where outlines tell.
        cut: Of glacier 1, 2, ...: whether the scene cuts it, or may do so, since it reaches the rim.
    """

    inside: NDArray[np.int32]
    nearest: NDArray[np.int32]
    ids: tuple[str, ...]
    areas_km2: NDArray[np.float64]
    cut: NDArray[np.bool_]


@dataclass(frozen=True)
class GlacierArea:
    """One true glacier and what was predicted of it, where both mask and truth have data.

    `found_km2` is what both have in common. It is not `whole` where scene or role cut it.
    """

    glacier_id: str
    truth_km2: float
    predicted_km2: float
    found_km2: float
    whole: bool

    @property
    def deviation_percent(self) -> float:
        """Predicted less true area, in percent of the true one; NaN without true area."""
        return 100 * (self.predicted_km2 / self.truth_km2 - 1) if self.truth_km2 else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Returns one record."""
        return {**asdict(self), "deviation_percent": self.deviation_percent}


@dataclass(frozen=True)
class GlacierAreas:
    """All glaciers of a scene.

    Attributes:
        glaciers: One by one, in the order of `TrueGlaciers`; those without a pixel to compare are left out.
        elsewhere_km2: Predicted in fragments that touch no true glacier.
    """

    glaciers: tuple[GlacierArea, ...]
    elsewhere_km2: float

    @property
    def truth_km2(self) -> float:
        """True area of all."""
        return math.fsum(one.truth_km2 for one in self.glaciers)

    @property
    def predicted_km2(self) -> float:
        """Predicted area, also elsewhere."""
        return math.fsum(one.predicted_km2 for one in self.glaciers) + self.elsewhere_km2

    @property
    def deviation_percent(self) -> float:
        """Total predicted less true area in percent of the true one; NaN without true area."""
        return 100 * (self.predicted_km2 / self.truth_km2 - 1) if self.truth_km2 else math.nan

    @property
    def share_close(self) -> float:
        """Share of the whole glaciers of 0.01 km2 or more whose area is right within 5 %; NaN without any."""
        counted = [one for one in self.glaciers if one.whole and one.truth_km2 >= SMALLEST_KM2]
        close = sum(abs(one.deviation_percent) <= 100 * CLOSE_SHARE + 1e-9 for one in counted)
        return close / len(counted) if counted else math.nan

    @property
    def counted(self) -> int:
        """How many glaciers `share_close` is of."""
        return sum(one.whole and one.truth_km2 >= SMALLEST_KM2 for one in self.glaciers)

    def to_dict(self) -> dict[str, Any]:
        """Returns it for JSON."""
        return {
            "number": len(self.glaciers),
            "truth_km2": self.truth_km2,
            "predicted_km2": self.predicted_km2,
            "elsewhere_km2": self.elsewhere_km2,
            "deviation_percent": self.deviation_percent,
            "share_within_5_percent": self.share_close,
            "share_is_of": self.counted,
            "glaciers": [one.to_dict() for one in self.glaciers],
        }


def glaciers_by_part(truth: NDArray[np.uint8], pixel_area_km2: float) -> TrueGlaciers:
    """Makes a glacier of every connected part of the truth, the largest first; corners connect too."""
    glacier = (truth == GLACIER).astype(np.uint8)
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(glacier, connectivity=8)
    areas_px = statistics[1:, cv2.CC_STAT_AREA]
    order = np.argsort(-areas_px, kind="stable")
    numbers = np.zeros(len(areas_px) + 1, np.int32)
    numbers[1 + order] = np.arange(1, len(order) + 1)
    inside = _renumbered(labels, numbers)
    ids = tuple(str(number) for number in range(1, len(order) + 1))
    areas_km2 = areas_px[order] * pixel_area_km2
    return TrueGlaciers(inside, nearest_glacier(inside), ids, areas_km2, _at_rim(inside, len(ids)))


def glaciers_by_outline(outlines: Any, grid: Grid, areas_km2: ArrayLike | None = None) -> TrueGlaciers:
    """Makes a glacier of every outline of a table in the grid's CRS; where they overlap the later one wins.

    Without areas of the whole outlines, those of their pixels in the scene count.
    """
    ids = outline_ids(outlines)
    shapes = [(shape, number) for number, shape in enumerate(outlines.geometry, start=1)]
    inside: NDArray[np.int32] = rasterio.features.rasterize(
        shapes, out_shape=grid.shape, transform=grid.transform, fill=0, dtype="int32"
    )
    if areas_km2 is None:
        found = np.bincount(inside.ravel(), minlength=len(ids) + 1)[1:] * grid.pixel_area_km2
    else:
        found = np.asarray(areas_km2, float)
    # In pixels, so that a turned grid is cut along its own sides; a rounding error is not a cut.
    turn = ~grid.transform
    placed = outlines.geometry.affine_transform([turn.a, turn.b, turn.d, turn.e, turn.c, turn.f])
    left, top, right, bottom = placed.bounds.to_numpy().T
    tolerance = 1e-6
    cut = (
        (left < -tolerance)
        | (top < -tolerance)
        | (right > grid.width + tolerance)
        | (bottom > grid.height + tolerance)
    )
    return TrueGlaciers(inside, nearest_glacier(inside), ids, np.asarray(found, np.float64), cut)


def outline_ids(outlines: Any) -> tuple[str, ...]:
    """Returns the ids that the reader gave to outlines, else numbers from 1."""
    given = outlines[OUTLINE_ID] if OUTLINE_ID in outlines else range(1, len(outlines) + 1)
    return tuple(map(str, given))


def glacier_areas(
    predicted: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    glaciers: TrueGlaciers,
    pixel_area_km2: float,
) -> GlacierAreas:
    """Compares areas glacier by glacier.

    Predicted pixels belong to the nearest true glacier, unless their fragment (8-connected) touches no true
    glacier at all: such fragments are counted as `elsewhere`.
    """
    found = ((predicted == GLACIER) & (truth != IGNORE)).view(np.uint8)
    number = len(glaciers.ids) + 1
    everywhere, compared, true_px, common_px, predicted_px = np.zeros((5, number), np.int64)
    fragments = cv2.connectedComponents(found, connectivity=8)[1]
    touches = np.zeros(int(fragments.max(initial=0)) + 1, bool)
    for rows in _strips(truth.shape):
        inside, known = glaciers.inside[rows], (predicted[rows] != IGNORE) & (truth[rows] != IGNORE)
        true, both = known & (truth[rows] == GLACIER), (found[rows] == 1) & (truth[rows] == GLACIER)
        everywhere += np.bincount(inside.ravel(), minlength=number)
        compared += np.bincount(inside[known], minlength=number)
        true_px += np.bincount(inside[true], minlength=number)
        common_px += np.bincount(inside[both], minlength=number)
        touches[fragments[rows][both]] = True
    for rows in _strips(truth.shape):
        owned = touches[fragments[rows]] & (found[rows] == 1)
        predicted_px += np.bincount(glaciers.nearest[rows][owned], minlength=number)
    areas = tuple(
        GlacierArea(
            glaciers.ids[i - 1],
            float(true_px[i] * pixel_area_km2),
            float(predicted_px[i] * pixel_area_km2),
            float(common_px[i] * pixel_area_km2),
            bool(compared[i] == everywhere[i] and not glaciers.cut[i - 1]),
        )
        for i in range(1, number)
        if true_px[i] or predicted_px[i]
    )
    elsewhere_px = int(found.sum()) - int(predicted_px[1:].sum())
    return GlacierAreas(areas, elsewhere_px * pixel_area_km2)


def _at_rim(inside: NDArray[np.int32], number: int) -> NDArray[np.bool_]:
    """Says of glaciers 1 to `number` whether they have a pixel in the first or last row or column."""
    cut = np.zeros(number + 1, bool)
    for rim in (inside[:1], inside[-1:], inside[:, :1], inside[:, -1:]):
        cut[rim] = True
    return cut[1:]


def nearest_glacier(inside: NDArray[np.int32]) -> NDArray[np.int32]:
    """Gives every pixel the number of the nearest glacier.

    Distances are counted in pixels, by OpenCV's 5 x 5 chamfer metric, whose error is below 3 %: near the
    line half way between two glaciers the farther one may win.
    """
    free = (inside == 0).astype(np.uint8)
    if not inside.size or free.all():
        return np.zeros(inside.shape, np.int32)
    labels: NDArray[np.int32] = cv2.distanceTransformWithLabels(
        free, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )[1]
    own = free == 0
    numbers = np.zeros(int(labels.max()) + 1, np.int32)
    numbers[labels[own]] = inside[own]
    return _renumbered(labels, numbers)


def _renumbered(labels: NDArray[np.int32], numbers: NDArray[np.int32]) -> NDArray[np.int32]:
    """Replaces labels by their numbers in place, which spares as much memory as they take."""
    for rows in _strips(labels.shape):
        labels[rows] = numbers[labels[rows]]
    return labels


def _strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yields rows from top to bottom: whole scenes at once would take eight bytes a pixel to count."""
    return (slice(top, top + _STRIP_ROWS) for top in range(0, shape[0], _STRIP_ROWS))
