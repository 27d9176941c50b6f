"""Scores by kind of ground: size class of the glacier, elevation band, or any layer that is given."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import RequestError
from glacierseg.evaluate.counts import Counts, cache_strips, counts_of
from glacierseg.evaluate.glaciers import TrueGlaciers
from glacierseg.raster.grid import require_one_shape
from glacierseg.raster.truth import GLACIER

SIZE_EDGES_KM2 = (0.01, 0.1, 0.5, 1.0, 5.0, 10.0)
SIZE_NAMES = ("<0.01", "0.01-0.1", "0.1-0.5", "0.5-1", "1-5", "5-10", ">10")


@dataclass(frozen=True, eq=False)
class Zoning:
    """A division of a scene.

    Attributes:
        kind: What divides it: `size_km2`, `elevation_m` or `layer`.
        names: Of the zones.
        labels: `(H, W)`, index of the zone of each pixel, -1 for none.
    """

    kind: str
    names: tuple[str, ...]
    labels: NDArray[np.int16]


def size_zones(glaciers: TrueGlaciers) -> Zoning:
    """Divides a scene by the size class of the true glacier.

    A pixel outside every glacier belongs to the class of the nearest one, so that false alarms are counted
    too and the zones together are the scene. Classes hold their lower bound and not their upper one.
    """
    classes = np.digitize(glaciers.areas_km2 * (1 + 1e-12), SIZE_EDGES_KM2)
    by_number = np.concatenate([[-1], classes]).astype(np.int16)
    return Zoning("size_km2", SIZE_NAMES, by_number[glaciers.nearest])


def elevation_zones(elevation_m: NDArray[np.floating], band_m: float = 200.0) -> Zoning:
    """Divides a scene into bands of elevation, from multiples of their height.

    Args:
        elevation_m: `(H, W)`, NaN where unknown.
        band_m: Height of a band.

    Raises:
        RequestError: The height is not positive, or there would be more than a thousand bands.
    """
    if not band_m > 0:
        raise RequestError(f"elevation bands of {band_m:g} m make no sense; give more than 0 m")
    known = np.isfinite(elevation_m)
    if not known.any():
        return Zoning("elevation_m", (), np.full(elevation_m.shape, -1, np.int16))
    low = math.floor(float(elevation_m[known].min()) / band_m)
    number = math.floor(float(elevation_m[known].max()) / band_m) - low + 1
    if number > 1000:
        raise RequestError(
            f"bands of {band_m:g} m would be {number}; give higher bands, or an elevation model in metres "
            "with its nodata value declared"
        )
    labels = np.full(elevation_m.shape, -1, np.int16)
    labels[known] = np.floor(elevation_m[known] / band_m).astype(np.int64) - low
    names = tuple(f"{(low + i) * band_m:g}-{(low + i + 1) * band_m:g}" for i in range(number))
    return Zoning("elevation_m", names, labels)


def layer_zones(layers: Mapping[str, NDArray[np.uint8]]) -> tuple[Zoning, ...]:
    """Makes a zone of each layer, and one of the glacier that lies in none: clean ice, if they are its kinds.

    Layers may overlap (debris in shadow). The rest, `no layer`, is what no layer covers.

    Args:
        layers: Masks `(H, W)` of 0, 1 and 255 by name, such as debris-covered ice or shadow.
    """
    if not layers:
        return ()
    zonings = []
    covered: NDArray[np.bool_] = np.zeros(next(iter(layers.values())).shape, bool)
    for name, mask in layers.items():
        inside = mask == GLACIER
        covered |= inside
        zonings.append(Zoning("layer", (name,), np.where(inside, 0, -1).astype(np.int16)))
    rest = Zoning("layer", ("no layer",), np.where(covered, -1, 0).astype(np.int16))
    return (*zonings, rest)


def count_zones(predicted: NDArray[np.uint8], truth: NDArray[np.uint8], zoning: Zoning) -> dict[str, Counts]:
    """Counts by zone, leaving out pixels where either mask is 255 and those of no zone.

    Args:
        predicted: `(H, W)` of 0, 1 and 255.
        truth: `(H, W)` of 0, 1 and 255.
        zoning: Of the same shape.

    Returns:
        Counts by name of the zone; zones without a pixel are left out.

    Raises:
        GridMismatchError: The shapes differ.
    """
    require_one_shape({"grid of zones": zoning.labels.shape, "truth": truth.shape})
    table = np.zeros((len(zoning.names), 4), np.int64)
    for rows in cache_strips(truth.shape):
        found, glacier, zone = predicted[rows], truth[rows], zoning.labels[rows]
        counted = ((found | glacier) < 2) & (zone >= 0)
        # tp, fp, fn, tn
        place = 4 * zone[counted].astype(np.int64) + 3 - 2 * found[counted] - glacier[counted]
        table += np.bincount(place, minlength=table.size).reshape(table.shape)
    # 3 - 2 found - truth: found and true 0, found only 1, true only 2, neither 3.
    return {name: counts_of(row) for name, row in zip(zoning.names, table, strict=True) if row.any()}
