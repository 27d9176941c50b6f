"""Ground in degrees, however its longitudes are counted: it may lie on both sides of 180 degrees."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

# Between two longitudes of an outline this far apart lies the line of 180 degrees, not the rest of the world.
_FAR_DEG = 180.0


def folded(shape: Any) -> Any:
    """Returns a shape with its longitudes from -180 to 180, in two parts where it lies across 180 degrees."""
    import shapely  # noqa: PLC0415

    west, _, east, _ = shape.bounds
    if west >= -180 and east <= 180:
        return shape
    first = math.floor((west + 180) / 360)
    turns = range(first, math.floor((east + 180) / 360) + 1)
    world = shapely.box(-180, -90, 180, 90)
    return shapely.union_all([shapely.intersection(_turned(shape, -360.0 * turn), world) for turn in turns])


def boxes_around(shape: Any) -> list[tuple[float, float, float, float]]:
    """Returns boxes from -180 to 180 degrees that hold a shape: two where it lies across 180 degrees."""
    import shapely  # noqa: PLC0415

    parts = np.asarray(shapely.get_parts(folded(shape)))
    bounds = shapely.bounds(parts)
    west, east = bounds[:, 0].min(), bounds[:, 2].max()
    is_east = (bounds[:, 0] + bounds[:, 2] >= 0) if east - west > _FAR_DEG else np.ones(len(bounds), bool)
    boxes = []
    for side in (bounds[is_east], bounds[~is_east]):
        if len(side):
            low, high = side[:, :2].min(axis=0), side[:, 2:].max(axis=0)
            boxes.append((float(low[0]), float(low[1]), float(high[0]), float(high[1])))
    return boxes


def share_ground(one: Any, other: Any) -> bool:
    """Whether two folded shapes share more than an edge."""
    import shapely  # noqa: PLC0415

    return bool(shapely.intersects(one, other)) and bool(shapely.intersection(one, other).area > 0)


def footprint_of(item: Mapping[str, Any]) -> Any:
    """Returns the footprint of an item, folded, or its box where it has no outline; None without either."""
    import shapely  # noqa: PLC0415

    shape = None
    try:
        shape = shapely.force_2d(shapely.geometry.shape(item["geometry"]))
        shape = shapely.make_valid(_across(shape))
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError, shapely.errors.ShapelyError):
        shape = None
    if shape is not None and shape.area > 0 and _is_on_earth(shape.bounds):
        return folded(shape)
    sides = item.get("bbox")
    try:
        numbers = [float(side) for side in sides] if isinstance(sides, list | tuple) else []
    except (TypeError, ValueError, OverflowError):
        numbers = []
    if len(numbers) == 6:
        # With heights.
        numbers = numbers[:2] + numbers[3:5]
    if len(numbers) != 4 or not _is_on_earth(numbers):
        return None
    west, south, east, north = numbers
    box = shapely.box(west, south, east + 360 if east < west else east, north)
    return folded(box) if box.area > 0 else None


def _across(shape: Any) -> Any:
    """Returns a shape that was drawn around the world instead of across 180 degrees as it was meant."""
    import shapely  # noqa: PLC0415

    def turned(part: Any) -> Any:
        west, _, east, _ = part.bounds
        if not east - west > _FAR_DEG:
            return part
        return shapely.transform(part, lambda xy: xy + np.column_stack([360 * (xy[:, 0] < 0), 0 * xy[:, 1]]))

    parts = [turned(part) for part in shapely.get_parts(shape)]
    return parts[0] if len(parts) == 1 else shapely.union_all(parts)


def _turned(shape: Any, degrees: float) -> Any:
    import shapely  # noqa: PLC0415

    return shapely.transform(shape, lambda xy: xy + np.array([degrees, 0.0]))


def _is_on_earth(bounds: Any) -> bool:
    west, south, east, north = bounds
    return (
        all(math.isfinite(side) for side in bounds)
        and min(west, east) >= -540
        and max(west, east) <= 540
        and -90 <= south <= north <= 90
    )
