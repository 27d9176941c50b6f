"""Cutting one polygon along the borders of a raster of labels, without gaps or overlaps."""

from typing import Any

import cv2
import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from glacierseg.inventory.paths import walk

# Outlines differ from the pixels they were drawn from by less than this.
_BEYOND_PX = 3
_CUTS = 2


def cut_polygon(
    body: shapely.Polygon,
    labels: NDArray[np.int32],
    transform: Affine,
    *,
    smooth: bool,
    least_area: float = 0.0,
) -> list[shapely.Polygon]:
    """Cuts a polygon where labels meet.

    The lines between labels are drawn a little beyond the polygon, noded with its boundary, and what they
    enclose is put together by label. So pieces share their corners: they cannot overlap, and they add up to
    the body.

    Args:
        body: In the coordinates of a CRS.
        labels: `(H, W)` 1, 2, ... on the pixels of the body, 0 elsewhere; at least three pixels of 0 around.
        transform: Of the labels, from (column, row) to coordinates.
        smooth: Round the stairs of the lines off.
        least_area: Smaller pieces, in square units of the coordinates, join the neighbour with the longest
            common line.

    Returns:
        The pieces, in no particular order; the body alone when nothing cuts it.
    """
    near = cv2.dilate((labels > 0).astype(np.uint8), np.ones((2 * _BEYOND_PX + 1,) * 2, np.uint8)) > 0
    wide = walk(near, labels, 1.0, 1.0)[1]
    lines = _lines(wide, transform, smooth=smooth)
    if not len(lines):
        return [body]
    noded = shapely.unary_union([body.boundary, *lines])
    faces = shapely.get_parts(shapely.polygonize([noded]))
    inner = shapely.point_on_surface(faces)
    shapely.prepare(body)
    kept = shapely.contains(body, inner)
    faces, inner = faces[kept], inner[kept]
    columns, rows = ~transform * shapely.get_coordinates(inner).T
    owners = wide[
        np.clip(np.floor(rows).astype(int), 0, wide.shape[0] - 1),
        np.clip(np.floor(columns).astype(int), 0, wide.shape[1] - 1),
    ]
    pieces = [
        part
        for owner in np.unique(owners)
        for part in shapely.get_parts(shapely.unary_union(faces[owners == owner]))
    ]
    return _absorb(pieces, least_area)


def _lines(labels: NDArray[np.int32], transform: Affine, *, smooth: bool) -> NDArray[Any]:
    """The borders between labels, as lines from one junction to the next."""
    edges = []
    for axis in (0, 1):
        one, other = (labels[:-1], labels[1:]) if axis == 0 else (labels[:, :-1], labels[:, 1:])
        rows, columns = np.nonzero((one != other) & (one > 0) & (other > 0))
        ends = np.column_stack([columns, rows + 1] if axis == 0 else [columns + 1, rows])
        along = np.array([1, 0] if axis == 0 else [0, 1])
        edges.append(np.stack([ends, ends + along], axis=1))
    segments = np.concatenate(edges).astype(float)
    if not len(segments):
        return np.empty(0, object)
    lines: NDArray[Any] = np.asarray(shapely.linestrings(segments))
    merged = shapely.get_parts(shapely.line_merge(shapely.multilinestrings(lines)))
    drawn = [
        _round(shapely.get_coordinates(line)) if smooth else shapely.get_coordinates(line) for line in merged
    ]
    a, b, c, d, e, f = transform[:6]
    return np.array(
        [
            shapely.LineString(np.column_stack([a * x + b * y + c, d * x + e * y + f]))
            for x, y in (points.T for points in drawn)
        ],
        dtype=object,
    )


def _round(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Runs through the middles of pixel edges, then cuts corners (Chaikin 1974); ends stay where they are."""
    points = np.concatenate([points[:1], (points[1:] + points[:-1]) / 2, points[-1:]])
    for _ in range(_CUTS):
        both = np.stack(
            [0.75 * points[:-1] + 0.25 * points[1:], 0.25 * points[:-1] + 0.75 * points[1:]], axis=1
        )
        points = np.concatenate([points[:1], both.reshape(-1, 2)[1:-1], points[-1:]])
    return points


def _absorb(pieces: list[Any], least_area: float) -> list[Any]:
    """Gives pieces below an area, the smallest first, to the neighbour with the longest common line."""
    stuck = 0
    pieces = sorted(pieces, key=lambda piece: float(piece.area))
    while len(pieces) - stuck > 1 and pieces[stuck].area < least_area:
        small = pieces[stuck]
        common = shapely.length(shapely.intersection(small.boundary, [piece.boundary for piece in pieces]))
        common[stuck] = 0
        into = int(np.argmax(common))
        joined = shapely.unary_union([small, pieces[into]]) if common[into] > 0 else None
        if joined is None or joined.geom_type != "Polygon":
            stuck += 1
            continue
        pieces = sorted(
            [joined, *(piece for k, piece in enumerate(pieces) if k not in {stuck, into})],
            key=lambda piece: float(piece.area),
        )
    return pieces
