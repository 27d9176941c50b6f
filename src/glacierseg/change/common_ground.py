"""The ground that both dates cover, and what is left out because one of them does not.

A mask says what it covers: its pixels with data. Outlines do not, so glaciers without a counterpart in a file
of outlines may have vanished or may never have been mapped there. Those that lie between the other date's
glaciers (half of them in the convex hull or more) count as vanished, or as new. Beyond, ground is taken for
not covered, and they are left out, unless they are small enough to vanish and all glaciers around them have
counterparts. Files are refused when much of the ice between the other date's glaciers has no counterpart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from glacierseg.change.measure import SLIVER_M2
from glacierseg.change.sources import Side
from glacierseg.errors import TruthError
from glacierseg.vectors.layers import areas_km2, polygons_only

# Outlines of one glacier share at least so much of the smaller one; neighbours that were digitised a little
# differently share less.
_LEAST_COMMON = 0.05
# Glaciers that vanish within decades are smaller (Paul and others 2020, doi:10.1017/aog.2020.9).
_VANISHING_KM2 = 0.1
_NEIGHBOURS = 5
_WORTH_SAYING_KM2 = 1e-6
_MOST_GONE = 0.35


@dataclass(frozen=True)
class Missing:
    """Glaciers of one date that could not be compared.

    Attributes:
        no_data_km2: Their area where one of the dates has no data.
        no_data: How many lie there with all that they have.
        not_covered_km2: Area of those on ground that the other date's outlines do not cover.
        not_covered: How many these are.
    """

    no_data_km2: float = 0.0
    no_data: int = 0
    not_covered_km2: float = 0.0
    not_covered: int = 0


@dataclass(frozen=True)
class LeftOut:
    """What was not compared.

    Attributes:
        ground_km2: Ground that only one of two masks shows, or none: beyond one of them, or without data.
        old: Of the old date.
        new: Of the new date.
        notes: The same in words, one line each.
        table: The polygons: `date` (old, new), `glacier_id`, `area_km2` and `why` (no data, not covered).
    """

    ground_km2: float = 0.0
    old: Missing = Missing()
    new: Missing = Missing()
    notes: tuple[str, ...] = ()
    table: gpd.GeoDataFrame | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Returns one flat record."""
        record: dict[str, Any] = {"ground_without_data_km2": self.ground_km2}
        for date, missing in (("old", self.old), ("new", self.new)):
            record |= {
                f"{date}_without_data_km2": missing.no_data_km2,
                f"{date}_glaciers_without_data": missing.no_data,
                f"{date}_not_covered_km2": missing.not_covered_km2,
                f"{date}_glaciers_not_covered": missing.not_covered,
            }
        return record


def on_common_ground(
    old: Side, new: Side, paths: tuple[Path, Path], crs: CRS
) -> tuple[NDArray[Any], NDArray[Any], LeftOut]:
    """Cuts the glaciers of both dates to the ground that both cover.

    Args:
        old: In the common CRS.
        new: The same.
        paths: Where they are from, for messages.
        crs: The common CRS, in metres.

    Returns:
        `(N,)` polygons, one for each old glacier, empty where nothing of it is compared; `(M,)` of the new
        ones; and what was left out.

    Raises:
        TruthError: It is not clear which ground both cover.
    """
    sides = old, new
    whole = [polygons_only(side.shapes, SLIVER_M2) for side in sides]
    ground_km2, cut = _without_data(sides, crs)
    shapes = [_on_known(one, sides) for one in whole] if cut else whole
    whole_km2 = [areas_km2(one, crs) for one in whole]
    found_km2 = [areas_km2(one, crs) for one in shapes] if cut else whole_km2
    notes = []
    lost = [(0.0, 0), (0.0, 0)]
    if cut:
        lost = [
            (float((all_km2 - rest_km2).clip(0).sum()), int(((rest_km2 == 0) & (all_km2 > 0)).sum()))
            for all_km2, rest_km2 in zip(whole_km2, found_km2, strict=True)
        ]
    if max(ground_km2, lost[0][0], lost[1][0]) > _WORTH_SAYING_KM2:
        notes.append(
            f"left out, since one of the dates has no data there: {ground_km2:.3f} km2 of ground of masks, "
            f"{lost[0][0]:.3f} km2 of glaciers of {paths[0]}, {lost[1][0]:.3f} km2 of glaciers of {paths[1]}"
        )
    beyond = []
    for this, other in ((0, 1), (1, 0)):
        if sides[other].grid is None and len(shapes[this]) and len(shapes[other]):
            reach_m = old.error_m + new.error_m
            names = paths[this], paths[other]
            judged = _judge(shapes[this], found_km2[this], shapes[other], reach_m, names, is_old=this == 0)
            beyond.append(judged[0])
            notes += judged[1]
        else:
            beyond.append(np.zeros(len(shapes[this]), bool))
    missing = [
        Missing(*lost[this], float(found_km2[this][beyond[this]].sum()), int(beyond[this].sum()))
        for this in (0, 1)
    ]
    # Ground of what is left out of one date is not compared in the other one either.
    kept = [one.copy() for one in shapes]
    for one, gone in zip(kept, beyond, strict=True):
        one[gone] = shapely.MultiPolygon()
    for this, other in ((0, 1), (1, 0)):
        if beyond[other].any():
            kept[this] = _less(kept[this], shapes[other][beyond[other]])
    tables = [
        _table(date, side.ids, one, rest, gone, crs)
        for date, side, one, rest, gone in zip(("old", "new"), sides, whole, kept, beyond, strict=True)
    ]
    table = gpd.GeoDataFrame(pd.concat(tables, ignore_index=True), crs=crs)
    return kept[0], kept[1], LeftOut(ground_km2, missing[0], missing[1], tuple(notes), table)


def _table(
    date: str,
    ids: Sequence[str],
    whole: NDArray[Any],
    kept: NDArray[Any],
    beyond: NDArray[np.bool_],
    crs: CRS,
) -> gpd.GeoDataFrame:
    lost = np.flatnonzero(shapely.area(whole) > shapely.area(kept))
    parts = polygons_only(shapely.difference(whole[lost], kept[lost]), SLIVER_M2)
    there = ~shapely.is_empty(parts)
    lost, parts = lost[there], parts[there]
    columns = {
        "date": np.full(len(lost), date, object),
        "glacier_id": np.asarray(ids, dtype=object)[lost],
        "area_km2": areas_km2(parts, crs),
        "why": np.where(beyond[lost], "not covered", "no data").astype(object),
    }
    return gpd.GeoDataFrame(columns, geometry=gpd.GeoSeries(list(parts), crs=crs), crs=crs)


def _without_data(sides: tuple[Side, Side], crs: CRS) -> tuple[float, bool]:
    """How much ground of the masks is not known at both dates, and whether anything may have been cut."""
    masks = [side for side in sides if side.known is not None]
    if not masks:
        return 0.0, False
    every = shapely.union_all([side.frame for side in masks])
    common = shapely.intersection_all([side.known for side in masks])
    of_all, of_common = areas_km2(polygons_only(np.array([every, common], object)), crs)
    ground_km2 = max(float(of_all - of_common), 0.0)
    one_mask = len(masks) == 1
    # Beside one mask the other date may reach beyond it.
    return ground_km2, one_mask or ground_km2 > 1e-9 * of_all


def _on_known(shapes: NDArray[Any], sides: tuple[Side, Side]) -> NDArray[Any]:
    """Cuts shapes to the ground that all masks know; most lie wholly on it, which costs little."""
    for side in sides:
        if side.known is None:
            continue
        shapely.prepare(side.known)
        beyond = ~shapely.covers(side.known, shapes)
        shapes = shapes.copy()
        shapes[beyond] = polygons_only(shapely.intersection(shapes[beyond], side.known), SLIVER_M2)
    return shapes


def _judge(
    mine: NDArray[Any],
    mine_km2: NDArray[np.float64],
    theirs: NDArray[Any],
    reach_m: float,
    names: tuple[Path, Path],
    *,
    is_old: bool,
) -> tuple[NDArray[np.bool_], list[str]]:
    """Says which glaciers of one date lie on ground that the other date's outlines do not cover."""
    there = mine_km2 > 0
    alone = there & ~_have_counterpart(mine, theirs)
    hull = shapely.convex_hull(shapely.multipoints(shapely.get_coordinates(theirs)))
    common = shapely.intersection(mine, shapely.buffer(hull, reach_m))
    within = shapely.area(common) >= 0.5 * shapely.area(mine)
    beyond = alone & ~within
    centres = shapely.get_coordinates(shapely.centroid(mine[there]))
    followed = ~alone[there]
    for number in np.flatnonzero(beyond & (mine_km2 < _VANISHING_KM2)):
        away = np.hypot(*(centres - shapely.get_coordinates(shapely.centroid(mine[number]))).T)
        # The first is the glacier itself.
        near = np.argsort(away, kind="stable")[1 : _NEIGHBOURS + 1]
        beyond[number] = not (len(near) and followed[near].all())
    gone = alone & ~beyond
    gone_km2, all_km2 = float(mine_km2[gone].sum()), float(mine_km2[there & ~beyond].sum())
    this, other = names
    make = f"glacierseg prepare rasterize {quote(str(other))} --like SCENE --out MASK.tif"
    cure = f"if {other} covers them, give a mask instead of it (`{make}`)"
    if gone_km2 > _MOST_GONE * all_km2:
        raise TruthError(
            f"{other}: has no counterpart for {gone_km2:.3f} of {all_km2:.3f} km2 of the glaciers of {this} "
            f"that lie between its own; outlines do not say which ground they cover: {cure}, else leave "
            f"those glaciers out of {this}"
        )
    notes = []
    if beyond.any():
        notes.append(
            f"left out: {beyond.sum()} of {there.sum()} glaciers of {this} ({mine_km2[beyond].sum():.3f} "
            f"km2), without counterpart beyond those of {other}, as on ground that it does not cover; {cure}"
        )
    if gone.any():
        notes.append(
            f"counted as {'vanished' if is_old else 'new'}: {gone.sum()} of {there.sum()} glaciers of {this} "
            f"({gone_km2:.3f} km2), without counterpart among those of {other}"
        )
    return beyond, notes


def _have_counterpart(mine: NDArray[Any], theirs: NDArray[Any]) -> NDArray[np.bool_]:
    found = np.zeros(len(mine), bool)
    one, other = shapely.STRtree(theirs).query(mine, predicate="intersects")
    common = shapely.area(shapely.intersection(mine[one], theirs[other]))
    smaller = np.minimum(shapely.area(mine)[one], shapely.area(theirs)[other])
    found[one[common >= _LEAST_COMMON * smaller]] = True
    return found


def _less(shapes: NDArray[Any], taken: NDArray[Any]) -> NDArray[Any]:
    """Takes ground away from the shapes that meet it."""
    one, _ = shapely.STRtree(taken).query(shapes, predicate="intersects")
    shapes = shapes.copy()
    met = np.unique(one)
    if len(met):
        shapes[met] = polygons_only(shapely.difference(shapes[met], shapely.union_all(taken)), SLIVER_M2)
    return shapes
