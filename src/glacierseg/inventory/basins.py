"""Basins of an ice body: which parts of it drain to one terminus, from the terrain."""

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from glacierseg.inventory.paths import drain, walk
from glacierseg.settings.outlines import InventorySettings

_BRIDGED_KM2 = 1.0


def label_basins(
    ice: NDArray[np.bool_],
    elevation_m: NDArray[np.float64],
    pixel_size_m: tuple[float, float],
    rules: InventorySettings,
) -> NDArray[np.int32]:
    """Labels the basins of one ice body.

    Args:
        ice: `(H, W)` the body, with room for `surround_m` around it.
        elevation_m: `(H, W)`, NaN where missing. Voids of up to a square kilometre are bridged. A larger
            one is not cut: with the ice that drains into it, it is one basin.
        pixel_size_m: Width and height of a pixel.
        rules: How to cut.

    Returns:
        `(H, W)` 1, 2, ... on ice, 0 elsewhere; all 0 when no ice has elevation.
    """
    width_m, height_m = pixel_size_m
    area_km2 = width_m * height_m / 1e6
    level_m = _smooth(
        _bridge(elevation_m, _BRIDGED_KM2 / area_km2),
        rules.smooth_dem_m / width_m,
        rules.smooth_dem_m / height_m,
    )
    known = np.isfinite(level_m)
    away_m = walk(np.ones_like(ice), ice.astype(np.int32), width_m, height_m)[0]
    outlet = drain(np.where(known, level_m, 0), known & (away_m <= rules.surround_m), width_m, height_m)
    wet = ice & (outlet >= 0)
    if not wet.any():
        return np.zeros(ice.shape, np.int32)
    outlets, basin, sizes = np.unique(outlet[wet], return_inverse=True, return_counts=True)
    positions_m = np.column_stack(np.unravel_index(outlets, ice.shape)) * (height_m, width_m)
    numbers = _join(positions_m, sizes * area_km2, rules) + 1
    # Voids are numbered on from there; water that ends beside one flows into it.
    voids = cv2.connectedComponents((ice & ~known).astype(np.uint8), connectivity=8)[1]
    void_m, nearest = walk(np.ones_like(ice), voids.astype(np.int32), width_m, height_m)
    at_void = cv2.dilate((~known).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    beside = np.where(at_void & (void_m <= rules.surround_m), nearest, 0).ravel()[outlets]
    numbers = np.where(beside > 0, len(outlets) + beside, numbers)
    labels = np.where(voids > 0, len(outlets) + voids, 0).astype(np.int32)
    labels[wet] = numbers[basin]
    labels = walk(ice, labels, width_m, height_m)[1]
    labels = merge_slivers(separate(labels), pixel_size_m, rules)
    return merge_parallel(labels, level_m, pixel_size_m, rules)


def separate(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Gives each 4-connected part of each label a number of its own, 1, 2, ...

    Args:
        labels: `(H, W)`, 0 outside.
    """
    apart = np.zeros_like(labels)
    number = 0
    for label in np.unique(labels[labels > 0]):
        rows, columns = np.nonzero(labels == label)
        box = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
        found, parts = cv2.connectedComponents((labels[box] == label).astype(np.uint8), connectivity=4)
        apart[box][parts > 0] = parts[parts > 0] + number
        number += found - 1
    return apart


def merge_slivers(
    labels: NDArray[np.int32], pixel_size_m: tuple[float, float], rules: InventorySettings
) -> NDArray[np.int32]:
    """Joins what is too small or too thin to its neighbour, the smallest first.

    Args:
        labels: `(H, W)`, 0 outside.
        pixel_size_m: Width and height of a pixel.
        rules: Which areas and which compactness are too small.

    Returns:
        `(H, W)` with fewer labels, again 1, 2, ...
    """
    areas_km2, shared_m, perimeters_m = _measure(labels, pixel_size_m)
    owner = np.arange(len(areas_km2))
    alive = [label for label in range(1, len(areas_km2)) if areas_km2[label] > 0]

    def too_small(label: int) -> bool:
        area_km2 = float(areas_km2[label])
        # Along pixel edges a perimeter is 4 / pi times too long on average.
        compactness = 4 * math.pi * area_km2 * 1e6 / (math.pi / 4 * float(perimeters_m[label])) ** 2
        return area_km2 < rules.sliver_km2 or (
            area_km2 < rules.thin_km2 and compactness < rules.thin_compactness
        )

    while small := [label for label in alive if shared_m[label] and too_small(label)]:
        least = min(small, key=lambda label: (areas_km2[label], label))
        into = max(shared_m[least], key=lambda label: (shared_m[least][label], -label))
        common_m = shared_m[least].pop(into)
        areas_km2[into] += areas_km2[least]
        perimeters_m[into] += perimeters_m[least] - 2 * common_m
        del shared_m[into][least]
        for other, length_m in shared_m[least].items():
            del shared_m[other][least]
            shared_m[other][into] = shared_m[other].get(into, 0.0) + length_m
            shared_m[into][other] = shared_m[into].get(other, 0.0) + length_m
        shared_m[least] = {}
        owner[owner == least] = into
        alive.remove(least)
    _, numbers = np.unique(owner, return_inverse=True)
    return numbers.astype(np.int32)[labels]


def merge_parallel(
    labels: NDArray[np.int32],
    level_m: NDArray[np.float64],
    pixel_size_m: tuple[float, float],
    rules: InventorySettings,
) -> NDArray[np.int32]:
    """Joins neighbours between which ice flows side by side rather than apart, the most parallel ones first.

    Directions are compared one and a half `smooth_dem_m` away on either side of a divide, where the smoothing
    has left the flanks of a ridge.

    Args:
        labels: `(H, W)`, 0 outside.
        level_m: `(H, W)` smoothed elevation, NaN where unknown.
        pixel_size_m: Width and height of a pixel.
        rules: By which angle ice must part, and the smoothing.

    Returns:
        `(H, W)` with fewer labels, again 1, 2, ...
    """
    parting = _parting(labels, level_m, pixel_size_m, 1.5 * rules.smooth_dem_m)
    least = math.sin(math.radians(rules.min_parting_deg / 2))
    owner = np.arange(int(labels.max(initial=0)) + 1)
    medians = {pair: float(np.median(values)) for pair, values in parting.items()}
    while medians:
        one, other = min(medians, key=lambda pair: (medians[pair], pair))
        if medians[one, other] >= least:
            break
        owner[owner == other] = one
        for pair in [pair for pair in parting if other in pair]:
            values = parting.pop(pair)
            del medians[pair]
            if (third := pair[0] + pair[1] - other) != one:
                joined = min(one, third), max(one, third)
                parting[joined] = np.concatenate([values, parting.get(joined, values[:0])])
                medians[joined] = float(np.median(parting[joined]))
    _, numbers = np.unique(owner, return_inverse=True)
    return numbers.astype(np.int32)[labels]


def _parting(
    labels: NDArray[np.int32], level_m: NDArray[np.float64], pixel_size_m: tuple[float, float], away_m: float
) -> dict[tuple[int, int], NDArray[np.float64]]:
    """By pair of neighbours, for each pixel edge between them: half the sum of the sines of flowing away."""
    width_m, height_m = pixel_size_m
    if min(labels.shape) < 2:
        return {}
    rise = np.gradient(level_m, height_m, width_m)
    steep = np.hypot(rise[0], rise[1])
    pairs, values = [], []
    for axis, side_m in ((0, height_m), (1, width_m)):
        with np.errstate(invalid="ignore", divide="ignore"):
            down = np.where(steep == 0, 0.0, -rise[axis] / steep)
        ours, down = (np.moveaxis(array, axis, 0) for array in (labels, down))
        rows, columns = np.nonzero((ours[:-1] != ours[1:]) & (ours[:-1] > 0) & (ours[1:] > 0))
        reach = max(round(away_m / side_m), 1)
        before = down[np.maximum(rows + 1 - reach, 0), columns]
        after = down[np.minimum(rows + reach, len(down) - 1), columns]
        pairs.append(np.sort(np.column_stack([ours[rows, columns], ours[rows + 1, columns]]), axis=1))
        values.append((after - before) / 2)
    pair, value = np.concatenate(pairs).astype(np.int64), np.concatenate(values)
    known = np.isfinite(value)
    number = int(labels.max()) + 1
    codes = pair[known, 0] * number + pair[known, 1]
    order = np.argsort(codes, kind="stable")
    found, begin = np.unique(codes[order], return_index=True)
    parts = np.split(value[known][order], begin[1:]) if len(found) else []
    return {divmod(int(code), number): part for code, part in zip(found, parts, strict=True)}


def _smooth(elevation_m: NDArray[np.float64], columns_px: float, rows_px: float) -> NDArray[np.float64]:
    """Gaussian mean of what is known; fills gaps no wider than it reaches."""
    known = np.isfinite(elevation_m)
    if columns_px < 0.2 and rows_px < 0.2:
        return elevation_m
    base = float(np.mean(elevation_m[known])) if known.any() else 0.0
    values = np.where(known, elevation_m - base, 0.0)
    border = cv2.BORDER_REPLICATE
    total = cv2.GaussianBlur(values, (0, 0), columns_px, sigmaY=rows_px, borderType=border)
    weight = cv2.GaussianBlur(known.astype(float), (0, 0), columns_px, sigmaY=rows_px, borderType=border)
    with np.errstate(invalid="ignore", divide="ignore"):
        smooth: NDArray[np.float64] = np.where(weight > 1e-3, total / weight + base, np.nan)
    return smooth


def _bridge(elevation_m: NDArray[np.float64], most_px: float) -> NDArray[np.float64]:
    """Fills small voids with the nearest elevation; the smoothing that follows rounds the seams off."""
    known = np.isfinite(elevation_m)
    if known.all() or not known.any():
        return elevation_m
    _, voids, statistics, _ = cv2.connectedComponentsWithStats((~known).astype(np.uint8), connectivity=4)
    small = statistics[:, cv2.CC_STAT_AREA] <= most_px
    small[0] = False
    _, nearest = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    heights_m = np.zeros(int(nearest.max()) + 1)
    heights_m[nearest[known]] = elevation_m[known]
    bridged: NDArray[np.float64] = np.where(small[voids], heights_m[nearest], elevation_m)
    return bridged


def _join(positions_m: NDArray[Any], areas_km2: NDArray[Any], rules: InventorySettings) -> NDArray[np.int64]:
    """Which outlets are one: each, from the largest down, takes in what lies near enough."""
    joined = np.full(len(areas_km2), -1)
    for first in np.lexsort((np.arange(len(areas_km2)), -areas_km2)):
        if joined[first] >= 0:
            continue
        radius_m = min(rules.max_join_m, rules.join_share * math.sqrt(areas_km2[first]) * 1000)
        near = np.hypot(*(positions_m - positions_m[first]).T) <= radius_m
        joined[near & (joined < 0)] = first
    return joined


def _measure(
    labels: NDArray[np.int32], pixel_size_m: tuple[float, float]
) -> tuple[NDArray[Any], list[dict[int, float]], NDArray[np.float64]]:
    """Areas, lengths of common borders by neighbour, and perimeters, all by label."""
    width_m, height_m = pixel_size_m
    number = int(labels.max()) + 1
    areas_km2 = np.bincount(labels.ravel(), minlength=number) * (width_m * height_m / 1e6)
    areas_km2[0] = 0
    shared_m: list[dict[int, float]] = [{} for _ in range(number)]
    perimeters_m = np.zeros(number)
    padded = np.pad(labels, 1).astype(np.int64)
    for one, other, side_m in (
        (padded[:, :-1], padded[:, 1:], height_m),
        (padded[:-1], padded[1:], width_m),
    ):
        differ = one != other
        pairs, counts = np.unique(
            np.sort(np.column_stack([one[differ], other[differ]]), axis=1), axis=0, return_counts=True
        )
        for (a, b), count in zip(pairs.tolist(), counts.tolist(), strict=True):
            for mine, its in ((a, b), (b, a)):
                perimeters_m[mine] += count * side_m
                if mine and its:
                    shared_m[mine][its] = shared_m[mine].get(its, 0.0) + count * side_m
    return areas_km2, shared_m, perimeters_m
