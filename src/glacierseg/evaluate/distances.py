"""How far two outlines lie apart.

The outlines of a mask run along the pixel edges between glacier and background. Neither the scene border nor
an edge to an ignored pixel belongs to them. Outlines are densified evenly, and the distance of every point to
the nearest place of the other outline (not to its nearest point) is exact.

PoLiS (Avbelj et al. 2015) is the mean of two means: over the points of either outline, of the distance to the
other. The Hausdorff distance is the largest distance of either. `mean` and `p95` are of the points of both
outlines together, so that the longer one weighs more.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

_AT_ONCE = 2**18
_TILE_PX = 1024
# Single precision holds squares of half pixels exactly up to the widest.
_MARGINS_PX = (64, 512)


@dataclass(frozen=True)
class OutlineDistances:
    """Distances between two outlines, as the module says; all NaN where either has no line."""

    polis_m: float
    mean_m: float
    p95_m: float
    hausdorff_m: float
    predicted_to_truth_m: float
    truth_to_predicted_m: float


def mask_distances(
    predicted: NDArray[np.uint8], truth: NDArray[np.uint8], pixel_size_m: tuple[float, float]
) -> OutlineDistances:
    """Measures between the outlines of mask and truth, with a point every half pixel.

    Pixels that are 255 in either belong to no outline.
    """
    if math.isclose(*pixel_size_m, rel_tol=1e-9):
        return _square_distances((predicted, truth), pixel_size_m[0])
    known = (predicted | truth) < 2
    lines = [_edges(mask, known, pixel_size_m) for mask in (predicted, truth)]
    return line_distances(lines[0], lines[1], min(pixel_size_m) / 2)


def line_distances(predicted: NDArray[Any], truth: NDArray[Any], step_m: float) -> OutlineDistances:
    """Measures between shapely lines of any kind in metres, such as the boundaries of polygons.

    Points are set at most `step_m` apart: in the middle of equal pieces of every straight part, and at its
    ends.
    """
    segments = [_segments(lines) for lines in (predicted, truth)]
    if not all(len(one) for one in segments):
        return OutlineDistances(*[math.nan] * 6)
    trees = [shapely.STRtree(np.asarray(shapely.linestrings(one))) for one in segments]
    far: list[NDArray[np.float64]] = []
    weights: list[NDArray[np.float64]] = []
    for own, other in ((0, 1), (1, 0)):
        points, weight = _densify(segments[own], step_m)
        far.append(_to_nearest(points, trees[other]))
        weights.append(weight)
    return _summary(far, weights)


def _square_distances(masks: tuple[NDArray[np.uint8], ...], side_m: float) -> OutlineDistances:
    """Does for square pixels what `line_distances` does, many times faster and in memory of a few tiles.

    Every half pixel is a lattice point. Points of outlines lie on the lattice, and so does the nearest place
    of a pixel edge from any lattice point, because it is the foot of a perpendicular or an end. So an exact
    distance transform of the lattice gives the exact distance, and its square is a whole number, by which
    points are counted. It is made tile by tile; for what lies farther than the margin of a tile again with
    wider ones, and what lies farther than the widest is looked up among the lines.
    """
    height, width = masks[0].shape
    counted = (_Squares(), _Squares())
    beyond: tuple[list[_Points], list[_Points]] = ([], [])
    for top, left in product(range(0, height, _TILE_PX), range(0, width, _TILE_PX)):
        # The lattice points of this tile: its upper and left rim belong to it, the others to the next one.
        tile = top, left, min(top + _TILE_PX, height), min(left + _TILE_PX, width)
        ends = 2 * tile[2] + (tile[2] == height), 2 * tile[3] + (tile[3] == width)
        weights = _Lattices(masks, tile, 1)
        for own, other in ((0, 1), (1, 0)):
            points = weights.points(own, (2 * top, 2 * left), ends)
            for margin_px in _MARGINS_PX:
                if not len(points.y):
                    break
                found = _Lattices(masks, points.window_px, margin_px).squares(other, points)
                # A point is at least so far from what the lattice does not show.
                sure = found <= (2 * margin_px) ** 2
                counted[own].add(found[sure], points.weight[sure])
                points = points[~sure]
            beyond[own].append(points)
    left_over = [_Points.joined(one) for one in beyond]
    if not all(counted[own].total + left_over[own].weight.sum() for own in (0, 1)):
        return OutlineDistances(*[math.nan] * 6)
    known = (masks[0] | masks[1]) < 2
    for own, other in ((0, 1), (1, 0)):
        points = left_over[own]
        if len(points.y):
            segments = _segments(_edges(masks[other], known, (2.0, 2.0)))
            tree = shapely.STRtree(np.asarray(shapely.linestrings(segments)))
            far = _to_nearest(np.stack([points.x, points.y], axis=1).astype(np.float64), tree)
            counted[own].add(np.rint(far**2), points.weight)
    return _summary([np.sqrt(one.squares) / 2 * side_m for one in counted], [one.weights for one in counted])


@dataclass(frozen=True, eq=False)
class _Points:
    """Lattice points of an outline `(N,)`, and the length each stands for, in quarter pixels."""

    y: NDArray[np.intp]
    x: NDArray[np.intp]
    weight: NDArray[np.int64]

    def __getitem__(self, chosen: NDArray[np.bool_]) -> "_Points":
        return _Points(self.y[chosen], self.x[chosen], self.weight[chosen])

    @classmethod
    def joined(cls, parts: Sequence["_Points"]) -> "_Points":
        """Returns the points of several, of which there is at least one."""
        return cls(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in ("y", "x", "weight"))
        )

    @property
    def window_px(self) -> tuple[int, int, int, int]:
        """The pixels around them: first row and column, and the end of each."""
        y, x = self.y // 2, self.x // 2
        return int(y.min()), int(x.min()), int(y.max()) + 1, int(x.max()) + 1


class _Squares:
    """How much of an outline lies at which distance: its square in half pixels, which is a whole number."""

    def __init__(self) -> None:
        self.squares = np.zeros(0, np.int64)
        self.weights = np.zeros(0, np.int64)

    @property
    def total(self) -> int:
        """The length of all points, in quarter pixels."""
        return int(self.weights.sum())

    def add(self, squares: NDArray[np.floating], weights: NDArray[np.int64]) -> None:
        """Adds points."""
        every = np.concatenate([self.squares, squares.astype(np.int64)])
        self.squares, place = np.unique(every, return_inverse=True)
        sums = np.bincount(place, np.concatenate([self.weights, weights]), len(self.squares))
        self.weights = sums.astype(np.int64)


class _Lattices:
    """The lattices of two masks over some pixels and a margin: the length each point stands for."""

    def __init__(
        self, masks: tuple[NDArray[np.uint8], ...], window: tuple[int, int, int, int], margin_px: int
    ) -> None:
        top, left, bottom, right = window
        self._first, self._begin = max(top - margin_px, 0), max(left - margin_px, 0)
        part = np.s_[self._first : bottom + margin_px, self._begin : right + margin_px]
        self._masks = [mask[part] for mask in masks]
        self._known = (self._masks[0] | self._masks[1]) < 2

    def points(self, own: int, starts: tuple[int, int], ends: tuple[int, int]) -> _Points:
        """Returns the points of one mask from a lattice row and column on, before others."""
        up, left = 2 * self._first, 2 * self._begin
        weight = self._lattice(own)[starts[0] - up : ends[0] - up, starts[1] - left : ends[1] - left]
        y, x = np.nonzero(weight)
        return _Points(y + starts[0], x + starts[1], weight[y, x].astype(np.int64))

    def squares(self, other: int, points: _Points) -> NDArray[np.float64]:
        """Returns how far points lie from the outline of one mask; infinitely where it has none here."""
        lattice = self._lattice(other)
        if not lattice.any():
            return np.full(len(points.y), np.inf)
        near = cv2.distanceTransform((lattice == 0).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        far = near[points.y - 2 * self._first, points.x - 2 * self._begin]
        return np.asarray(np.rint(far.astype(np.float64) ** 2))

    def _lattice(self, number: int) -> NDArray[np.uint8]:
        """Returns `(2 h + 1, 2 w + 1)` of the length that each point stands for, in quarter pixels."""
        mask, known = self._masks[number], self._known
        height, width = mask.shape
        lattice = np.zeros((2 * height + 1, 2 * width + 1), np.uint8)
        level = ((mask[:-1] != mask[1:]) & known[:-1] & known[1:]).view(np.uint8)
        upright = ((mask[:, :-1] != mask[:, 1:]) & known[:, :-1] & known[:, 1:]).view(np.uint8)
        lattice[2:-2:2, 1::2] += 2 * level
        lattice[2:-2:2, :-2:2] += level
        lattice[2:-2:2, 2::2] += level
        lattice[1::2, 2:-2:2] += 2 * upright
        lattice[:-2:2, 2:-2:2] += upright
        lattice[2::2, 2:-2:2] += upright
        return lattice


def _summary(far: Sequence[NDArray[np.float64]], weights: Sequence[NDArray[Any]]) -> OutlineDistances:
    """Sums up the distances of points of both outlines, each by the length that it stands for."""
    means = [float(np.average(d, weights=w)) for d, w in zip(far, weights, strict=True)]
    both, weight = np.concatenate(far), np.concatenate(weights)
    return OutlineDistances(
        polis_m=sum(means) / 2,
        mean_m=float(np.average(both, weights=weight)),
        p95_m=_weighted_quantile(both, weight, 0.95),
        hausdorff_m=float(both.max()),
        predicted_to_truth_m=means[0],
        truth_to_predicted_m=means[1],
    )


def _edges(
    mask: NDArray[np.uint8], known: NDArray[np.bool_], pixel_size_m: tuple[float, float]
) -> NDArray[Any]:
    """Returns the straight parts of the outline of a mask."""
    width_m, height_m = pixel_size_m
    level = (mask[:-1] != mask[1:]) & known[:-1] & known[1:]
    upright = (mask[:, :-1] != mask[:, 1:]) & known[:, :-1] & known[:, 1:]
    row, begin, end = _runs(level)
    column, top, bottom = _runs(upright.T)
    y, x = (row + 1) * height_m, (column + 1) * width_m
    parts = np.concatenate(
        [
            np.stack([begin * width_m, y, end * width_m, y], axis=1),
            np.stack([x, top * height_m, x, bottom * height_m], axis=1),
        ]
    )
    return np.asarray(shapely.linestrings(parts.reshape(-1, 2, 2)))


def _runs(
    edges: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Returns line, first and last place (exclusive) of every run of True along the rows."""
    padded = np.zeros((edges.shape[0], edges.shape[1] + 2), np.int8)
    padded[:, 1:-1] = edges
    change = np.diff(padded, axis=1)
    row, begin = np.nonzero(change == 1)
    _, end = np.nonzero(change == -1)
    return row, begin, end


def _segments(lines: NDArray[Any]) -> NDArray[np.float64]:
    """Returns the straight parts `(N, 2, 2)` of lines of any kind."""
    parts = shapely.get_parts(np.asarray(lines, object))
    points, owner = shapely.get_coordinates(parts, return_index=True)
    same = owner[:-1] == owner[1:]
    pieces = np.stack([points[:-1][same], points[1:][same]], axis=1)
    moves = (pieces[:, 0] != pieces[:, 1]).any(axis=1)
    kept: NDArray[np.float64] = pieces[moves]
    return kept


def _densify(segments: NDArray[np.float64], step_m: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns points `(N, 2)` and what length each stands for, by the trapezoid rule."""
    length = np.hypot(*(segments[:, 1] - segments[:, 0]).T)
    pieces = np.maximum(np.ceil(length / step_m * (1 - 1e-9)), 1).astype(np.int64)
    owner = np.repeat(np.arange(len(segments)), pieces + 1)
    first = np.cumsum(pieces + 1) - (pieces + 1)
    place = np.arange(len(owner)) - first[owner]
    share = (place / pieces[owner])[:, None]
    points = segments[owner, 0] * (1 - share) + segments[owner, 1] * share
    ends = (place == 0) | (place == pieces[owner])
    return points, np.where(ends, 0.5, 1.0) * (length / pieces)[owner]


def _to_nearest(points: NDArray[np.float64], tree: shapely.STRtree) -> NDArray[np.float64]:
    found = np.empty(len(points))
    for begin in range(0, len(points), _AT_ONCE):
        part = shapely.points(points[begin : begin + _AT_ONCE])
        (place, _), distance = tree.query_nearest(part, return_distance=True, all_matches=False)
        found[begin + place] = distance
    return found


def _weighted_quantile(values: NDArray[np.float64], weights: NDArray[Any], share: float) -> float:
    """Returns the least value that a share of the weight does not exceed."""
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    place = int(np.searchsorted(total, share * total[-1] * (1 - 1e-12)))
    return float(values[order][min(place, len(values) - 1)])
