"""Shapes in degrees that may lie on both sides of 180 degrees, and the footprints of items."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import shapely
from shapely.affinity import translate

_GLOBE = shapely.box(-180, -90, 180, 90)
# Longitudes may be counted beyond 180 degrees, by up to one turn.
_LIMITS = shapely.box(-540, -90, 540, 90)
_FAULTS = (LookupError, TypeError, ValueError, OverflowError, AttributeError, shapely.errors.ShapelyError)


def folded(shape: Any) -> Any:
    """Returns a shape with its longitudes from -180 to 180, in two parts where it lies across 180 degrees."""
    west, _, east, _ = shape.bounds
    if west >= -180 and east <= 180:
        return shape
    turned = [translate(shape, turn) for turn in (-720, -360, 0, 360, 720)]
    return shapely.union_all([shapely.intersection(one, _GLOBE) for one in turned])


def beyond_180(shape: Any) -> Any:
    """Returns a shape with longitudes from 0 to 360: those below 0 are counted on beyond 180 degrees."""
    return shapely.transform(shape, lambda xy: np.column_stack([xy[:, 0] + 360 * (xy[:, 0] < 0), xy[:, 1]]))


def boxes_around(shape: Any) -> list[tuple[float, float, float, float]]:
    """Returns boxes from -180 to 180 degrees that hold a shape: two where it lies across 180 degrees."""
    shape = folded(shape)
    west, _, east, _ = shape.bounds
    if east - west <= 180:
        return [shape.bounds]
    halves = shapely.box(0, -90, 180, 90), shapely.box(-180, -90, 0, 90)
    return [part.bounds for half in halves if not (part := shape.intersection(half)).is_empty]


def footprint_of(item: Mapping[str, Any]) -> Any:
    """Returns the footprint of an item, folded, or its box where it has no outline; None without either."""
    for made in (_outline, _box):
        try:
            shape = made(item)
        except _FAULTS:
            continue
        if shape.area > 0 and _LIMITS.covers(shape):
            return folded(shape)
    return None


def _outline(item: Mapping[str, Any]) -> Any:
    parts = shapely.get_parts(shapely.force_2d(shapely.geometry.shape(item["geometry"])))
    # Wider than 180 degrees is one that was drawn around the world in place of across 180 degrees.
    whole = [beyond_180(part) if part.bounds[2] - part.bounds[0] > 180 else part for part in parts]
    return shapely.union_all([shapely.make_valid(part) for part in whole])


def _box(item: Mapping[str, Any]) -> Any:
    sides = [float(side) for side in item["bbox"]]
    # With heights there are six.
    west, south, east, north = (*sides[:2], *sides[3:5]) if len(sides) == 6 else sides
    return shapely.box(west, south, east + 360 * (east < west), north)
