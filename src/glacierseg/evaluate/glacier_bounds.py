"""Bounds of the areas of single glaciers, by how far those of other massifs were off.

Of a glacier on the map all ground counts that is within 100 m of it and nearer to it than to other glaciers.
There the calibrated probabilities p have the sum E, and p (1 - p) the sum V. A shift of all logits by d
moves E by d V, so (T - E) / V is the shift that would have been right, with T the true area. Shifts of
glaciers of a size are compared, as small ones are found less reliably, and the bounds of a new glacier are

    E + (m - q) V   and   E + (m + q) V

with m the median shift and q the conformal quantile of |shift - m| (Vovk and others 2005; by classes,
Mondrian: Vovk and others 2003). Glaciers of one massif err together, so it is massifs that are exchangeable
and not glaciers: each of K massifs has the weight 1 / (K + 1), shared by its glaciers, and the rest is that
of the new one, whose shift may be any (Lee, Barber and Willett 2023). So bounds at 90 % need 9 massifs.
A class seen in fewer is joined with the next smaller one, whose shifts are larger.

The true area T is that of all true bodies that meet glaciers on the map; a pixel belongs to the nearest one,
however far it is. A massif is a square of 10 km of a validation raster.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from glacierseg.evaluate.glaciers import SMALLEST_KM2, nearest_glacier
from glacierseg.predict.calibration import GLACIER_CONFIDENCE, NEAR_M, GlacierClass, LogitScale
from glacierseg.raster.ground import even_pixel_m
from glacierseg.raster.probability import open_probability
from glacierseg.raster.truth import GLACIER, IGNORE
from glacierseg.settings.predict import THRESHOLD

CLASSES_KM2 = (0.0, 0.1, 0.5, 2.0, 10.0)
MASSIF_M = 10_000.0
_AROUND_MASSIF_M = 5_000.0


@dataclass(frozen=True, eq=False)
class MappedGlaciers:
    """Glaciers on a map, `(N,)` each.

    Attributes:
        mapped_km2: Their areas on the map.
        massif: Number of the massif.
        expected_px: Sum of the calibrated probabilities of their ground.
        variance_px: Sum of p (1 - p) there.
        true_px: True area.
    """

    mapped_km2: NDArray[np.float64]
    massif: NDArray[np.int64]
    expected_px: NDArray[np.float64]
    variance_px: NDArray[np.float64]
    true_px: NDArray[np.int64]

    @property
    def shift(self) -> NDArray[np.float64]:
        """Shift of the logits that would have been right; 0 of glaciers without any doubt or error."""
        error = self.true_px - self.expected_px
        return np.asarray(error / np.maximum(self.variance_px, 1e-9))

    def __getitem__(self, chosen: NDArray[np.bool_]) -> "MappedGlaciers":
        return MappedGlaciers(**{name: values[chosen] for name, values in vars(self).items()})

    @classmethod
    def joined(cls, parts: list["MappedGlaciers"]) -> "MappedGlaciers":
        """Returns those of several massifs, which get numbers in their order."""
        numbers = [np.full(len(part.massif), number) for number, part in enumerate(parts)]
        return cls(
            **{
                name: np.concatenate([np.zeros(0, np.int64), *(vars(part)[name] for part in parts)])
                for name in cls.__dataclass_fields__
            }
            | {"massif": np.concatenate([np.zeros(0, np.int64), *numbers])}
        )


@dataclass(frozen=True, eq=False)
class GlacierGround:
    """Ground of the glaciers on a map, whatever the calibration.

    Attributes:
        mapped_km2: `(N,)` areas on the map.
        true_px: `(N,)` true areas.
        owner: `(P,)` for each pixel of that ground the number of its glacier, from 0 on.
        raw: `(P,)` its probability, not calibrated.
    """

    mapped_km2: NDArray[np.float64]
    true_px: NDArray[np.int64]
    owner: NDArray[np.int64]
    raw: NDArray[np.float32]

    def measured(self, scale: LogitScale) -> MappedGlaciers:
        """Returns the glaciers with sums of calibrated probabilities."""
        number, chance = len(self.true_px), scale.apply(self.raw).astype(np.float64)
        return MappedGlaciers(
            self.mapped_km2,
            np.zeros(number, np.int64),
            np.bincount(self.owner, chance, number).astype(np.float64),
            np.bincount(self.owner, chance * (1 - chance), number).astype(np.float64),
            self.true_px,
        )


def find_glaciers(path: Path, truth: NDArray[np.uint8]) -> Iterator[GlacierGround]:
    """Finds the glaciers on the map of a probability raster, massif by massif.

    Args:
        path: The raster, not calibrated.
        truth: `(H, W)`, 255 where it must not be used.

    Yields:
        Those of each square with any.

    Raises:
        RasterError: The raster is damaged.
    """
    with open_probability(path) as probability:
        pixel_m = float(np.sqrt(np.prod(even_pixel_m(probability.grid, str(path), [path]))))
        side, rim = round(MASSIF_M / pixel_m), round(_AROUND_MASSIF_M / pixel_m)
        height, width = truth.shape
        for top, left in product(range(0, height, side), range(0, width, side)):
            if (truth[top : top + side, left : left + side] == IGNORE).all():
                continue
            rows = slice(max(top - rim, 0), min(top + side + rim, height))
            columns = slice(max(left - rim, 0), min(left + side + rim, width))
            raw = probability.read(Window.from_slices(rows, columns))
            square = (top - rows.start, left - columns.start, side)
            found = glaciers_of_square(raw, truth[rows, columns], square, pixel_m)
            if len(found.true_px):
                yield found


def glaciers_of_square(
    raw: NDArray[np.float32], truth: NDArray[np.uint8], square: tuple[int, int, int], pixel_m: float
) -> GlacierGround:
    """Finds the glaciers on a map whose middle lies in a square of it.

    Args:
        raw: `(h, w)` probabilities, not calibrated, NaN where there are none.
        truth: `(h, w)`, 255 where it must not be used.
        square: Row and column where it begins, and its side.
        pixel_m: Side of a pixel.
    """
    known = (truth != IGNORE) & ~np.isnan(raw)
    pixel_km2 = pixel_m**2 / 1e6
    mapped = (np.nan_to_num(raw) >= THRESHOLD) & known
    _, labels, statistics, middles = cv2.connectedComponentsWithStats(mapped.astype(np.uint8), connectivity=8)
    sizes = statistics[:, cv2.CC_STAT_AREA]
    large = sizes * pixel_km2 >= SMALLEST_KM2
    large[0] = False
    inside = np.where(large, np.cumsum(large), 0).astype(np.int32)[labels]
    nearest = nearest_glacier(inside)
    true = known & (truth == GLACIER)
    _, bodies = cv2.connectedComponents((true | (inside > 0)).astype(np.uint8), connectivity=8)
    met = np.zeros(int(bodies.max()) + 1, bool)
    met[bodies[inside > 0]] = True
    true_px = np.bincount(nearest[true & met[bodies]], minlength=int(large.sum()) + 1)[1:]
    row, column, side = square
    begins = np.array([column, row])
    here = ((middles[large] >= begins - 0.5) & (middles[large] < begins + side - 0.5)).all(axis=1)
    # Those of other squares are left out.
    numbers = np.concatenate([[-1], np.where(here, np.cumsum(here) - 1, -1)])
    far = cv2.distanceTransform((inside == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    owner = numbers[nearest]
    ground = known & (far <= NEAR_M / pixel_m) & (owner >= 0)
    return GlacierGround(sizes[large][here] * pixel_km2, true_px[here], owner[ground], raw[ground])


def measure_glaciers(
    glaciers: MappedGlaciers, confidence: float = GLACIER_CONFIDENCE
) -> tuple[GlacierClass, ...]:
    """Measures the bounds of single glaciers by size class; empty where too few massifs show them."""
    measured: list[GlacierClass] = []
    sizes = np.digitize(glaciers.mapped_km2, CLASSES_KM2) - 1
    for number, from_km2 in enumerate(CLASSES_KM2):
        # The other classes are joined in turn, from the next smaller one on.
        for least in range(number, -1, -1):
            one = glaciers[(sizes <= number) & (sizes >= least)]
            middle = float(np.median(one.shift)) if len(one.massif) else 0.0
            reach = massif_quantile(np.abs(one.shift - middle), one.massif, confidence)
            if reach is not None:
                massifs = len(np.unique(one.massif))
                measured.append(
                    GlacierClass(from_km2, middle - reach, middle + reach, len(one.massif), massifs)
                )
                break
    return tuple(measured)


def massif_quantile(
    scores: NDArray[np.float64], massif: NDArray[np.int64], confidence: float
) -> float | None:
    """Returns what the score of a glacier of another massif exceeds with the rest of a probability at most.

    Args:
        scores: `(N,)` of glaciers.
        massif: `(N,)` number of the massif of each.
        confidence: The probability.

    Returns:
        None where there are too few massifs for it.
    """
    numbers, places, counts = np.unique(massif, return_inverse=True, return_counts=True)
    order = np.argsort(scores)
    weights = 1 / ((len(numbers) + 1) * counts[places.ravel()[order]])
    reached = np.cumsum(weights) >= confidence - 1e-9
    return float(scores[order][np.argmax(reached)]) if reached.any() else None
