"""The line along which a probability is one half, between the centres of pixels.

contourpy draws it strip by strip. On the whole array at once it would need no joining, but 3.8 GB instead of
0.35 GB for 10 954 x 10 954 pixels (120 million).
"""

from collections.abc import Iterable
from typing import Any

import contourpy
import numpy as np
import shapely
from numpy.typing import NDArray

Points = NDArray[np.float64]


def contour_strips(strips: Iterable[NDArray[np.float32]], width: int, threshold: float = 0.5) -> NDArray[Any]:
    """Draws outlines where a probability reaches a threshold, to fractions of a pixel.

    Along the line between two pixel centres the probability is taken for linear. Pixels without a
    probability, and those around the scene, count as 0, so that outlines end about where the data do. The
    result does not depend on where the strips begin; besides it, memory holds one strip.

    Args:
        strips: `(h, W)` each, probabilities from top to bottom, NaN where there are none.
        width: W.
        threshold: Above 0 and below 1.

    Returns:
        Valid polygons with holes, in pixels, x the column and y the row: the largest first.
    """
    joiner, top = _Joiner(), 0
    last = np.zeros((1, width + 2), np.float32)
    for strip in strips:
        padded = np.pad(np.nan_to_num(strip, nan=0.0), ((0, 0), (1, 1)))
        joiner.add(_lines(np.concatenate([last, padded]), top, threshold), top, top + len(strip))
        last, top = padded[-1:], top + len(strip)
    joiner.add(_lines(np.concatenate([last, np.zeros_like(last)]), top, threshold), top, top + 1)
    # A value belongs to the centre of its pixel, and a ring of pixels was added.
    return _with_holes([ring - 0.5 for ring in joiner.rings])


def _lines(values: NDArray[np.float32], top: int, threshold: float) -> list[Points]:
    """Returns lines `(N, 2)` with the higher values on one side, the first row of values being row `top`."""
    # A probability may be the threshold itself, and a line through the very centre of a pixel may touch
    # another there. The mask counts such a pixel as glacier, and so does a level between it and the number
    # below.
    level = (float(np.float32(threshold)) + float(np.nextafter(np.float32(threshold), np.float32(0)))) / 2
    generator = contourpy.contour_generator(z=values, name="serial", line_type=contourpy.LineType.Separate)
    lines: list[Points] = [np.array(line) for line in generator.lines(level)]
    for line in lines:
        if not _is_closed(line):
            # Such ends lie on the first or the last row, but for rounding.
            line[[0, -1], 1] = np.rint(line[[0, -1], 1])
    return [line + np.array([0.0, top]) for line in lines]


def _is_closed(line: Points) -> bool:
    return bool((line[0] == line[-1]).all())


class _Joiner:
    """Joins lines that end where a strip ends with those of the next one.

    Both strips hold the row between them, so both cross it at the same places; they are matched by their
    order along the row, which rounding does not change.
    """

    def __init__(self) -> None:
        self.rings: list[Points] = []
        self._open: list[list[Points]] = []

    def add(self, lines: list[Points], top: int, bottom: int) -> None:
        """Adds the lines between two rows."""
        pieces = [*self._open, *([line] for line in lines if not _is_closed(line))]
        self.rings += [line[:-1] for line in lines if _is_closed(line)]
        begins = self._on_row(pieces, top, 0)
        ends = self._on_row(pieces, top, -1)
        # What comes down through the row goes on below it, and the other way round; along the row the
        # two sorts are mixed, but each has its order.
        follower: dict[int, int] = {}
        above = range(len(self._open))
        for enders, beginners in (
            ([i for i in ends if i in above], [i for i in begins if i not in above]),
            ([i for i in ends if i not in above], [i for i in begins if i in above]),
        ):
            follower |= dict(zip(enders, beginners, strict=True))
        self._open = []
        preceded = set(follower.values())
        for start in [i for i in range(len(pieces)) if i not in preceded] + list(follower):
            chain: list[Points] = []
            at: int | None = start
            while at is not None and pieces[at]:
                chain += pieces[at]
                pieces[at] = []
                at = follower.pop(at, None)
            if chain and at is not None:
                self.rings.append(_joined(chain)[:-1])
            elif chain:
                self._open.append(chain)
        # Lines may only end on the row that is still to come.
        assert all(chain[0][0, 1] >= bottom - 1e-3 for chain in self._open)  # noqa: S101

    @staticmethod
    def _on_row(pieces: list[list[Points]], row: int, end: int) -> list[int]:
        """Returns which pieces begin or end on a row, from left to right."""
        found = [(pieces[i][end][end], i) for i in range(len(pieces))]
        return [i for _, i in sorted((point[0], i) for point, i in found if point[1] == row)]


def _joined(chain: list[Points]) -> Points:
    """Puts pieces behind one another; the first point of each is the last of the one before."""
    return np.concatenate([chain[0], *(piece[1:] for piece in chain[1:])])


def _with_holes(rings: list[Points]) -> NDArray[Any]:
    """Gives every hole to the smallest exterior around it."""
    if not rings:
        return np.array([], dtype=object)
    offsets = np.cumsum([0, *(len(ring) + 1 for ring in rings)])
    closed = np.concatenate([np.concatenate([ring, ring[:1]]) for ring in rings])
    shapes: NDArray[Any] = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, closed, (offsets, np.arange(len(rings) + 1))
    )
    following = np.roll(closed, -1, axis=0)
    steps = closed[:, 0] * following[:, 1] - closed[:, 1] * following[:, 0]
    steps[offsets[1:] - 1] = 0
    is_hole = np.add.reduceat(steps, offsets[:-1]) < 0
    exteriors, holes = shapes[~is_hole], shapes[is_hole]
    areas = shapely.area(exteriors)
    first_points = shapely.points(closed[offsets[:-1]][is_hole])
    hole, exterior = shapely.STRtree(exteriors).query(first_points, predicate="within")
    order = np.lexsort((areas[exterior], hole))
    hole, first = np.unique(hole[order], return_index=True)
    owner = exterior[order][first]
    polygons = exteriors.copy()
    by_owner = np.argsort(owner, kind="stable")
    for number, own in zip(*_groups(owner[by_owner], hole[by_owner]), strict=True):
        polygons[number] = shapely.Polygon(
            shapely.get_exterior_ring(exteriors[number]), [shapely.get_exterior_ring(holes[i]) for i in own]
        )
    left, top, _, _ = shapely.bounds(polygons).T
    ordered: NDArray[Any] = polygons[np.lexsort((left, top, -shapely.area(polygons)))]
    return ordered


def _groups(keys: NDArray[Any], values: NDArray[Any]) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    unique, first = np.unique(keys, return_index=True)
    return unique, np.split(values, first[1:]) if len(unique) else []
