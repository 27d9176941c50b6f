"""Outlines of a GeoPackage as small vectors for the page, each glacier with its attributes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from glacierseg.raster.outlines import read_own
from glacierseg.report.views import RegionView

UNIT = 4
"""Coordinates are whole multiples of a quarter of a pixel as shown."""
PAGE_BUDGET = 4_000_000
"""Characters that the outlines of a whole page may take."""
_TOLERANCES_PX = (0.25, 0.5, 1.0, 2.0, 4.0)
_MOST_GLACIERS = 5000


@dataclass(frozen=True)
class GlacierLayer:
    """Outlines with attributes, largest first.

    Attributes:
        columns: Names of the attributes.
        rows: For each glacier its attributes, None where missing.
        paths: For each glacier an SVG path in quarters of a pixel as shown.
        left_out: Glaciers that are too small to be shown, or too many.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    paths: Sequence[str]
    left_out: int


def read_glaciers(path: Path, layer: str, view: RegionView, budget: int) -> GlacierLayer:
    """Reads a layer of outlines and makes it as coarse as its budget asks.

    Args:
        path: A vector file on the CRS of the region.
        layer: Name of the layer.
        view: The region at screen size.
        budget: Characters that paths and attributes may take together.

    Raises:
        DataError: The file is damaged.
    """
    table: gpd.GeoDataFrame = read_own(path, layer)
    shapes = shapely.force_2d(table.geometry.to_numpy())
    order = np.argsort(-shapely.area(shapes), kind="stable")
    order = order[shapely.area(shapes[order]) > 0]
    shown = order[:_MOST_GLACIERS]
    on_screen = to_screen(shapes[shown], view)
    columns = [str(name) for name in table.columns if name != table.geometry.name]
    values = [_plain(table[name].to_numpy()[shown]) for name in columns]
    rows = list(zip(*values, strict=True)) if columns else [()] * len(shown)
    costs = [sum(len(str(value)) + 3 for value in row) for row in rows]
    paths: list[str] = []
    for tolerance in _TOLERANCES_PX:
        paths = encode(on_screen, tolerance)
        if sum(map(len, paths)) + sum(costs) <= budget:
            break
    kept, used = [], 0
    for number, text in enumerate(paths):
        used += len(text) + costs[number]
        if used > budget:
            break
        if text:
            kept.append(number)
    return GlacierLayer(columns, [rows[i] for i in kept], [paths[i] for i in kept], len(shapes) - len(kept))


def to_screen(shapes: NDArray[Any], view: RegionView) -> NDArray[Any]:
    """Moves shapes from the CRS to quarters of pixels as shown."""
    inverse = ~view.grid.transform
    rows, columns = view.frame.shape
    scale = np.array([columns / view.grid.width, rows / view.grid.height]) * UNIT
    turn = np.array([[inverse.a, inverse.b], [inverse.d, inverse.e]]).T
    moved: NDArray[Any] = shapely.transform(
        shapes, lambda points: (points @ turn + np.array([inverse.c, inverse.f])) * scale
    )
    return moved


def encode(shapes: NDArray[Any], tolerance_px: float) -> list[str]:
    """Writes polygons as SVG paths of whole numbers.

    Args:
        shapes: Polygons and multipolygons in quarters of a pixel.
        tolerance_px: How far an outline may be moved.

    Returns:
        A path for each shape, empty where nothing is left of it.
    """
    simple = shapely.simplify(shapes, tolerance_px * UNIT, preserve_topology=False)
    # What the simplification removes entirely is still a glacier: a small one keeps all its corners.
    gone = shapely.is_empty(simple)
    simple[gone] = shapes[gone]
    paths = [""] * len(shapes)
    parts, owners = shapely.get_parts(simple, return_index=True)
    rings, ring_owners = shapely.get_rings(parts, return_index=True)
    points, point_owners = shapely.get_coordinates(rings, return_index=True)
    whole = np.rint(points).astype(np.int64)
    ends = np.searchsorted(point_owners, np.arange(len(rings) + 1))
    for ring, (begin, end) in enumerate(pairwise(ends)):
        paths[owners[ring_owners[ring]]] += ring_path(whole[begin:end])
    return paths


def ring_path(points: NDArray[np.int64]) -> str:
    """Writes a closed ring with steps from corner to corner, which is half as long as with coordinates.

    Args:
        points: `(N, 2)`, the last the same as the first.

    Returns:
        An SVG path; empty when fewer than three corners are left.
    """
    steps = np.diff(points, axis=0)[:-1]
    steps = steps[(steps != 0).any(axis=1)]
    if len(steps) < 2:
        return ""
    x, y = points[0]
    return f"M{x} {y}l{' '.join(map(str, steps.ravel().tolist()))}z"


def _plain(values: NDArray[Any]) -> list[Any]:
    return [_value(value) for value in values.tolist()]


def _value(value: Any) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, float):
        # Enough for degrees, which need more digits than areas.
        return float(f"{value:.7g}")
    return value if isinstance(value, int | bool) else str(value)
