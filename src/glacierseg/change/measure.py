"""What became of glaciers between two dates: area, advance and retreat.

Everything happens in one projection in metres; areas are then scaled to the ellipsoid glacier by glacier.
Glaciers are those of the old inventory. What both dates have of a glacier stays with it; ground that is new
(advance) goes to the old glacier with which it shares the longest border, and to none where it touches none.
So a glacier that broke up keeps all its parts, and the areas of all add up to the totals.

Uncertainty. Each outline is taken to be wrong by a distance all along its line (the buffer method, Paul et
al. 2017): an area errs by half the difference between the outline grown and shrunk by that distance. The two
dates err independently, so a change errs by the root of the sum of squares. In a total the errors of the
glaciers of one date are not taken to cancel: the buffer runs around all of them together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

SLIVER_M2 = 1e-3
"""Overlays leave behind parts that are smaller."""
_TILE_POINTS = 2000


@dataclass(frozen=True)
class AreaChange:
    """Change of one glacier, or of all.

    Attributes:
        glacier_id: Of the old inventory.
        old_km2: Area at the old date.
        new_km2: Area at the new date.
        advance_km2: Ground gained.
        retreat_km2: Ground lost.
        old_error_km2: Uncertainty of the old area (one standard deviation).
        new_error_km2: Uncertainty of the new area.
        years: Between the dates, None when they are not given.
    """

    glacier_id: str
    old_km2: float
    new_km2: float
    advance_km2: float
    retreat_km2: float
    old_error_km2: float
    new_error_km2: float
    years: float | None = None

    @property
    def change_km2(self) -> float:
        """New less old area."""
        return self.new_km2 - self.old_km2

    @property
    def change_error_km2(self) -> float:
        """Uncertainty of the change (one standard deviation)."""
        return math.hypot(self.old_error_km2, self.new_error_km2)

    @property
    def change_percent(self) -> float:
        """Change in percent of the old area; NaN without old area."""
        return 100 * self.change_km2 / self.old_km2 if self.old_km2 else math.nan

    @property
    def is_noise(self) -> bool:
        """Whether the change is less than twice its uncertainty."""
        return abs(self.change_km2) < 2 * self.change_error_km2

    def to_dict(self) -> dict[str, Any]:
        """Returns one flat record; with rates where the dates are given."""
        record: dict[str, Any] = {
            "glacier_id": self.glacier_id,
            "old_km2": self.old_km2,
            "new_km2": self.new_km2,
            "change_km2": self.change_km2,
            "change_error_km2": self.change_error_km2,
            "change_percent": self.change_percent,
            "advance_km2": self.advance_km2,
            "retreat_km2": self.retreat_km2,
            "old_error_km2": self.old_error_km2,
            "new_error_km2": self.new_error_km2,
            "more_than_noise": not self.is_noise,
        }
        if self.years is not None:
            record |= {
                "years": self.years,
                "km2_per_year": self.change_km2 / self.years,
                "km2_per_year_error": self.change_error_km2 / self.years,
                "percent_per_year": self.change_percent / self.years,
            }
        return record


@dataclass(frozen=True, eq=False)
class Change:
    """Change of all glaciers of a scene.

    Attributes:
        glaciers: In the order of the old inventory.
        total: Of all together, with what is new beside every old glacier.
        advance: `(N,)` polygons of ground gained.
        advance_of: Index of the glacier of each, -1 for none.
        retreat: `(M,)` polygons of ground lost.
        retreat_of: Index of the glacier of each.
    """

    glaciers: tuple[AreaChange, ...]
    total: AreaChange
    advance: NDArray[Any]
    advance_of: NDArray[np.int64]
    retreat: NDArray[Any]
    retreat_of: NDArray[np.int64]


def measure_change(
    old: NDArray[Any],
    new: NDArray[Any],
    ids: Sequence[str],
    *,
    old_error_m: float,
    new_error_m: float,
    years: float | None = None,
    scales: NDArray[np.float64] | None = None,
) -> Change:
    """Measures how glaciers changed.

    Args:
        old: `(N,)` valid polygons in metres, one for each glacier. Where they overlap the earlier one wins.
        new: `(M,)` valid polygons in metres, of whatever division.
        ids: Of the old glaciers.
        old_error_m: Uncertainty of the old outlines.
        new_error_m: Uncertainty of the new outlines.
        years: Between the dates, more than 0.
        scales: `(N,)` true area of ground over its area in the projection; 1 when None.
    """
    old = _apart(np.asarray(old, object))
    # Apart from one another, so that each glacier is cut with the few that it meets: cutting it with all of
    # them at once takes minutes where a mask is speckled.
    united = (shapely.union_all(one) for one in (old, np.asarray(new, object)))
    old_parts, new_parts = (_parts(np.array([one], object))[0] for one in united)
    factor = np.ones(len(old)) if scales is None else scales
    mean_factor = float(factor.mean()) if len(factor) else 1.0
    met = _meeting(old, new_parts)
    kept, lost = shapely.intersection(old, met), shapely.difference(old, met)
    gained = _parts(shapely.difference(new_parts, _meeting(new_parts, old_parts)))[0]
    gained_of = _owners(gained, old)
    retreat, retreat_of = _parts(lost)
    old_m2 = shapely.area(old)
    kept_m2 = shapely.area(kept)
    gained_m2 = np.bincount(gained_of[gained_of >= 0], shapely.area(gained[gained_of >= 0]), len(old))
    # What a glacier has at the new date: its own ground, and what it gained.
    pieces: list[list[Any]] = [[part] for part in kept]
    for part, owner in zip(gained, gained_of, strict=True):
        if owner >= 0:
            pieces[owner].append(part)
    now = np.array([shapely.union_all(own) if len(own) > 1 else own[0] for own in pieces], object)
    old_error, new_error = _buffer_error(old, old_error_m), _buffer_error(now, new_error_m)
    glaciers = tuple(
        AreaChange(
            glacier_id=str(ids[i]),
            old_km2=float(old_m2[i] * factor[i]) / 1e6,
            new_km2=float((kept_m2[i] + gained_m2[i]) * factor[i]) / 1e6,
            advance_km2=float(gained_m2[i] * factor[i]) / 1e6,
            retreat_km2=float((old_m2[i] - kept_m2[i]) * factor[i]) / 1e6,
            old_error_km2=float(old_error[i] * factor[i]) / 1e6,
            new_error_km2=float(new_error[i] * factor[i]) / 1e6,
            years=years,
        )
        for i in range(len(old))
    )
    beside_km2 = float(shapely.area(gained[gained_of < 0]).sum()) * mean_factor / 1e6
    whole = np.array([shapely.multipolygons(parts) for parts in (old_parts, new_parts)], object)
    errors = [
        float(_buffer_error(whole[i : i + 1], reach)[0]) * mean_factor / 1e6
        for i, reach in enumerate((old_error_m, new_error_m))
    ]
    total = AreaChange(
        glacier_id="all",
        old_km2=math.fsum(one.old_km2 for one in glaciers),
        new_km2=math.fsum(one.new_km2 for one in glaciers) + beside_km2,
        advance_km2=math.fsum(one.advance_km2 for one in glaciers) + beside_km2,
        retreat_km2=math.fsum(one.retreat_km2 for one in glaciers),
        old_error_km2=errors[0],
        new_error_km2=errors[1],
        years=years,
    )
    return Change(glaciers, total, gained, gained_of, retreat, retreat_of)


def _apart(polygons: NDArray[Any]) -> NDArray[Any]:
    """Takes from every polygon what an earlier one has already."""
    result = polygons.copy()
    tree = shapely.STRtree(polygons)
    for i, j in sorted(zip(*tree.query(polygons, predicate="intersects"), strict=True)):
        if j < i and shapely.area(shapely.intersection(result[i], result[j])) > SLIVER_M2:
            result[i] = shapely.difference(result[i], result[j])
    return result


def _meeting(shapes: NDArray[Any], parts: NDArray[Any]) -> NDArray[Any]:
    """Returns for each shape the multipolygon of the parts that it meets; parts must not share sides."""
    found = np.full(len(shapes), shapely.MultiPolygon(), object)
    shape, part = shapely.STRtree(parts).query(shapes, predicate="intersects")
    if len(shape):
        order = np.argsort(shape, kind="stable")
        owners, index = np.unique(shape[order], return_inverse=True)
        found[owners] = shapely.multipolygons(parts[part[order]], indices=index)
    return found


def _owners(parts: NDArray[Any], glaciers: NDArray[Any]) -> NDArray[np.int64]:
    """Returns the glacier that each part shares the longest border with, -1 where it touches none."""
    owners = np.full(len(parts), -1, np.int64)
    if not len(parts) or not len(glaciers):
        return owners
    # Overlays move corners by fractions of a micrometre, so that lines hardly ever coincide exactly. Borders
    # are looked up side by side of the outlines: a glacier may have thousands of parts beside it, and asking
    # its whole outline for each would take minutes.
    near = 0.01
    sides, of = _sides(glaciers)
    grown = shapely.buffer(shapely.boundary(parts), near)
    part, side = shapely.STRtree(sides).query(grown, predicate="intersects")
    shared = shapely.length(shapely.intersection(sides[side], grown[part]))
    pairs, index = np.unique(np.stack([part, of[side]]), axis=1, return_inverse=True)
    (part, glacier), border = pairs, np.bincount(index.ravel(), shared, pairs.shape[1])
    for i in np.argsort(border, kind="stable"):
        if border[i] > 2 * near:
            owners[part[i]] = glacier[i]
    return owners


def _sides(shapes: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Cuts the outlines of polygons into their straight sides; also says whose each is."""
    parts, part_of = shapely.get_parts(shapes, return_index=True)
    rings, ring_of = shapely.get_rings(parts, return_index=True)
    points, point_of = shapely.get_coordinates(rings, return_index=True)
    within = point_of[1:] == point_of[:-1]
    sides = shapely.linestrings(np.stack([points[:-1], points[1:]], axis=1)[within])
    return sides, part_of[ring_of[point_of[:-1][within]]].astype(np.int64)


def _parts(shapes: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    found, owner = shapely.get_parts(shapes, return_index=True)
    large = (shapely.get_dimensions(found) == 2) & (shapely.area(found) > SLIVER_M2)
    return found[large], owner[large].astype(np.int64)


def _buffer_error(shapes: NDArray[Any], reach_m: float) -> NDArray[np.float64]:
    """Returns half the difference between the areas grown and shrunk by a distance, m2.

    The time for a buffer grows with the square of the rings, of which a speckled mask has thousands: 4 600
    rings on 600 x 600 pixels take 11 s. So long outlines are buffered in tiles, here in 1.2 s.
    """
    error = np.zeros(len(shapes))
    if not reach_m:
        return error
    small = shapely.get_num_coordinates(shapes) <= _TILE_POINTS
    grown, shrunk = (shapely.area(shapely.buffer(shapes[small], reach)) for reach in (reach_m, -reach_m))
    error[small] = (grown - shrunk) / 2
    for i in np.flatnonzero(~small):
        left, bottom, right, top = shapely.bounds(shapes[i])
        tile = (left - reach_m, bottom - reach_m, right + reach_m, top + reach_m)
        error[i] = _rim_in_tile(_areal(shapely.get_parts(shapes[i])), reach_m, tile) / 2
    return error


def _rim_in_tile(parts: NDArray[Any], reach_m: float, tile: tuple[float, float, float, float]) -> float:
    """Returns by how much the area of a shape in a tile is larger grown than shrunk.

    Whether a place lies in the grown or shrunk shape is decided within the distance around it.

    Args:
        parts: `(N,)` polygons of the shape, the whole of it in the tile and around.
        reach_m: The distance.
        tile: Left, bottom, right and top.
    """
    left, bottom, right, top = tile
    width, height = right - left, top - bottom
    if shapely.get_num_coordinates(parts).sum() <= _TILE_POINTS or max(width, height) < 16 * reach_m:
        shape = shapely.multipolygons(parts)
        both = shapely.buffer(np.array([shape, shape], object), [reach_m, -reach_m])
        grown, shrunk = shapely.area(shapely.intersection(both, shapely.box(*tile)))
        return float(grown - shrunk)
    # Not in the middle, where sides of pixels might lie along the cut.
    if width > height:
        middle = left + 0.4987 * width
        halves = (left, bottom, middle, top), (middle, bottom, right, top)
    else:
        middle = bottom + 0.4987 * height
        halves = (left, bottom, right, middle), (left, middle, right, top)
    # The cut becomes an outline that is shrunk from; twice the distance keeps that out of the tile.
    around = 2 * reach_m
    return sum(
        _rim_in_tile(_within(parts, (x0 - around, y0 - around, x1 + around, y1 + around)), reach_m, half)
        for half in halves
        for x0, y0, x1, y1 in [half]
    )


def _within(parts: NDArray[Any], frame: tuple[float, float, float, float]) -> NDArray[Any]:
    """Cuts polygons to a frame; most lie wholly inside or outside, which costs nothing."""
    x0, y0, x1, y1 = shapely.bounds(parts).T
    left, bottom, right, top = frame
    near = (x1 > left) & (x0 < right) & (y1 > bottom) & (y0 < top)
    inside = (x0 >= left) & (x1 <= right) & (y0 >= bottom) & (y1 <= top)
    cut = shapely.get_parts(shapely.intersection(parts[near & ~inside], shapely.box(*frame)))
    return np.concatenate([parts[near & inside], _areal(cut)])


def _areal(parts: NDArray[Any]) -> NDArray[Any]:
    """Leaves out the points and lines that overlays leave behind."""
    found: NDArray[Any] = parts[shapely.get_dimensions(parts) == 2]
    return found
