"""Polygons as people deliver them, made fit to be measured: repaired, identified and counted once.

Each function also returns what it changed, as clauses of the sentence that the reader warns with.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer

INVENTORY_IDS = (
    "rgi_id", "rgiid", "glims_id", "glimsid", "sgi-id", "inv_id", "glacier_id", "glac_id",
)  # fmt: skip
"""Columns in which inventories keep the ids of glaciers, the best known first; capitals do not matter."""
_NO_ID = frozenset({"", "0", "none", "null", "nan", "<na>", "<null>", "n/a", "-"})
_GLIMS_TYPES = frozenset(
    {"glac_bound", "intrnl_rock", "debris_cov", "supra_lake", "pro_lake", "basin_bound", "snowline"}
)
_GLIMS_DATES = ("src_date", "anlys_time", "release_dt")
_REACH_M = 1000.0
_LEAST_KM2, _LEAST_WIDTH_M, _LEAST_SHARE = 1e-4, 1.0, 0.05
_GEOD = Geod(ellps="WGS84")
_POLYGONS, _LINES, _COLLECTION = (3, 6), (1, 2, 5), 7


def count_of(number: int, thing: str) -> str:
    """Returns `1 outline`, `2 outlines`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def areas_km2(shapes: Any, crs: Any) -> NDArray[np.float64]:
    """Areas of valid polygons on the WGS 84 ellipsoid, holes taken out, however they are wound.

    Args:
        shapes: `(N,)`.
        crs: Their CRS.
    """
    return np.array([area for area, _ in _measures(shapes, crs)], np.float64) / 1e6


def _measures(shapes: Any, crs: Any) -> list[tuple[float, float]]:
    """Area in m2 and length of the outline in m, of each."""
    to_degrees = Transformer.from_crs(CRS.from_user_input(crs), 4326, always_xy=True)
    moved = shapely.transform(
        np.asarray(shapes, object), lambda points: np.column_stack(to_degrees.transform(*points.T))
    )
    # pyproj takes the hole of a polygon for added ground when it runs the same way round as the outer ring.
    found = [_GEOD.geometry_area_perimeter(shape) for shape in shapely.orient_polygons(moved)]
    return [(abs(area), length) for area, length in found]


@np.errstate(all="ignore")
def polygons_of(shapes: Any) -> NDArray[Any]:
    """Takes the polygons out of any geometries: flat, valid, with holes that run against the outer ring.

    Rings that cross or overlap themselves enclose all that they run around, parts that overlap become one, a
    hole takes away only what lies in its polygon, and corners that are no numbers are left out (the
    `structure` method of GEOS).

    Args:
        shapes: `(N,)` of any kind, also None.

    Returns:
        `(N,)` of Polygon and MultiPolygon; None where no area is left.
    """
    found = _only(shapely.force_2d(np.array(shapes, object)), _POLYGONS)
    # Once is not always enough: a new corner is rounded, and may end up on the wrong side of a line.
    for _ in range(3):
        broken = ~shapely.is_valid(found) & ~shapely.is_missing(found)
        if not broken.any():
            break
        repaired = shapely.make_valid(found[broken], method="structure", keep_collapsed=False)
        found[broken] = _only(repaired, _POLYGONS)
    found[~(shapely.area(found) > 0)] = None
    return np.asarray(shapely.orient_polygons(found), object)


def lines_of(shapes: Any) -> NDArray[Any]:
    """Takes the lines out of any geometries, without heights; None where there is none."""
    return _only(shapely.force_2d(np.array(shapes, object)), _LINES)


def _only(shapes: NDArray[Any], kinds: Sequence[int]) -> NDArray[Any]:
    """Keeps what is of some kinds of geometry, also inside collections; None where nothing is."""
    found = shapes.copy()
    type_ids = shapely.get_type_id(shapes)
    for i in np.flatnonzero(type_ids == _COLLECTION):
        parts = _simple(shapes[i : i + 1])
        parts = parts[np.isin(shapely.get_type_id(parts), kinds) & ~shapely.is_empty(parts)]
        build = shapely.multipolygons if kinds is _POLYGONS else shapely.multilinestrings
        found[i] = (build(parts) if len(parts) > 1 else parts[0]) if len(parts) else None
    found[(~np.isin(type_ids, (*kinds, _COLLECTION))) | shapely.is_empty(shapes)] = None
    return found


def _simple(shapes: NDArray[Any]) -> NDArray[Any]:
    """The points, lines and polygons in collections, however deep."""
    while (shapely.get_type_id(shapes) >= 4).any():
        shapes = shapely.get_parts(shapes)
    return shapes


def about_shapes(given: NDArray[Any], found: NDArray[Any], wanted: str) -> list[str]:
    """Counts what `polygons_of` or `lines_of` left out, took out of collections and repaired.

    Args:
        given: `(N,)` as read.
        found: `(N,)`, None where left out.
        wanted: `polygons` or `lines`.
    """
    left_out = shapely.is_missing(found)
    missing = shapely.is_missing(given) | shapely.is_empty(given)
    kinds = shapely.get_type_id(given)
    points, others = np.isin(kinds, (0, 4)), np.isin(kinds, _LINES if wanted == "polygons" else _POLYGONS)
    counts = [
        count_of(int(number), thing) + rest
        for thing, rest, number in (
            ("row", " without a shape", missing.sum()),
            ("point", "", (points & ~missing).sum()),
            ("line" if wanted == "polygons" else "polygon", "", (others & ~missing).sum()),
            ("shape", f" without {wanted}", (left_out & ~missing & ~points & ~others).sum()),
        )
        if number
    ]
    clauses = [f"{_listed(counts)} left out"] if counts else []
    collections = given[~left_out & (kinds == _COLLECTION)]
    if len(collections):
        wanted_kinds = _POLYGONS if wanted == "polygons" else _LINES
        others_in = int((~np.isin(shapely.get_type_id(_simple(collections)), wanted_kinds)).sum())
        clauses.append(
            f"{wanted} taken out of {count_of(len(collections), 'collection')}"
            + (f" ({count_of(others_in, 'part')} of another kind left out)" if others_in else "")
        )
    if wanted == "polygons":
        given_areal = given.copy()
        given_areal[left_out | ~np.isin(kinds, _POLYGONS)] = None
        if broken := int((~shapely.is_valid(given_areal) & ~shapely.is_missing(given_areal)).sum()):
            broken_ones = count_of(broken, "invalid outline")
            clauses.append(f"{broken_ones} repaired (lines that cross, parts that overlap)")
    return clauses


def glacier_boundaries(table: Any) -> tuple[Any, list[str]]:
    """Makes glaciers of the rows of a GLIMS file; other tables come back as they are.

    Of its `line_type` only `glac_bound` is ice; `intrnl_rock` is cut out of it; debris (which is part of the
    glacier already), lakes, snow lines and others are left out. Of several analyses (`anlys_id`) of a glacier
    (`glac_id`) the newest counts, by `src_date`, then `anlys_time`, then `release_dt`; analyses that no date
    separates stay, and become one glacier by their common id (`join_parts`).

    Args:
        table: GeoDataFrame of polygons from `polygons_of`.

    Returns:
        The table, empty when none of its GLIMS types is `glac_bound`, and what was done.
    """
    names = {str(name).lower(): name for name in table.columns}
    clauses: list[str] = []
    kinds = None
    if "line_type" in names:
        kinds = table[names["line_type"]].astype(str).str.strip().str.lower().to_numpy()
        if not np.isin(kinds, list(_GLIMS_TYPES)).any():
            kinds = None
    ice = np.ones(len(table), bool) if kinds is None else kinds == "glac_bound"
    current = np.ones(len(table), bool)
    if {"glac_id", "anlys_id"} <= names.keys():
        current = _newest_analyses(table, names, ice)
        if older := _pairs(table, names, ice & ~current):
            glaciers = {glacier for glacier, _ in older}
            clauses.append(
                f"{_listed_many(len(older), 'older analysis', 'older analyses')} of "
                f"{count_of(len(glaciers), 'glacier')} left out"
            )
    if kinds is None:
        return table[current], clauses
    rock = table.geometry.to_numpy()[(kinds == "intrnl_rock") & current]
    others = sorted(set(kinds[~np.isin(kinds, ("glac_bound", "intrnl_rock"))]))
    if others:
        number = int(np.isin(kinds, others).sum())
        clauses.append(f"{count_of(number, 'row')} of other line types left out ({', '.join(others)})")
    table = table[ice & current]
    if len(rock) and len(table):
        table = table.set_geometry(_without(table.geometry.to_numpy(), rock), crs=table.crs)
        table = table[table.geometry.notna()]
        clauses.append(f"{_listed_many(len(rock), 'area', 'areas')} of internal rock cut out")
    return table, clauses


def _newest_analyses(table: Any, names: dict[str, Any], ice: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Says of all rows whether no newer analysis of their glacier has a boundary."""
    current = np.ones(len(table), bool)
    glaciers = pd.Series(_texts(table[names["glac_id"]]))
    analyses = np.array(_texts(table[names["anlys_id"]]), object)
    dates = [
        pd.to_datetime(pd.Series(_texts(table[names[name]])), format="mixed", errors="coerce", utc=True)
        for name in _GLIMS_DATES
        if name in names
    ]
    for glacier, rows in glaciers.groupby(glaciers).groups.items():
        own = np.asarray(rows)
        if str(glacier).lower() in _NO_ID or len(set(analyses[own[ice[own]]])) < 2:
            continue
        left = set(analyses[own[ice[own]]])
        for column in dates:
            newest = {one: column[own[ice[own] & (analyses[own] == one)]].max() for one in left}
            known = [day for day in newest.values() if not pd.isna(day)]
            if known:
                left = {one for one, day in newest.items() if day == max(known)}
        beaten = set(analyses[own[ice[own]]]) - left
        current[own] = ~np.isin(analyses[own], list(beaten))
    return current


def _pairs(table: Any, names: dict[str, Any], rows: NDArray[np.bool_]) -> set[tuple[str, str]]:
    part = table[rows]
    return set(zip(_texts(part[names["glac_id"]]), _texts(part[names["anlys_id"]]), strict=True))


def _without(shapes: NDArray[Any], holes: NDArray[Any]) -> NDArray[Any]:
    """Cuts holes out of the shapes that they lie in; None where nothing is left."""
    result = shapes.copy()
    shape, hole = shapely.STRtree(holes).query(shapes, predicate="intersects")
    for i in np.unique(shape):
        result[i] = shapely.difference(shapes[i], shapely.union_all(holes[hole[shape == i]]))
    return polygons_of(result)


def join_parts(table: Any, column: Any | None = None) -> tuple[Any, NDArray[Any], list[str]]:
    """Finds the glaciers of a table: one row and one id for each.

    The ids are those of the first column of `INVENTORY_IDS`, then `id`, that is not entirely empty, else of
    `name` where every row has one of its own. Rows that share an id with a letter in it, in a column of
    `INVENTORY_IDS` or in the column asked for, are parts of one glacier where each lies within 1 km of
    another. A row whose id is NULL, 0, empty or shared otherwise gets its row number instead, and where such
    a number is the id of another row already all rows get theirs.

    Args:
        table: GeoDataFrame of polygons; its index says which row of the file each is, from 0.
        column: The column of ids that was asked for.

    Returns:
        The table, `(N,)` ids, each there once, and what was done.
    """
    known = {str(name).lower(): name for name in table.columns if name != table.geometry.name}
    rows = (np.asarray(table.index) + 1).astype(str).astype(object)
    candidates = [known[name] for name in (*INVENTORY_IDS, "id") if name in known]
    texts = {name: np.array(_texts(table[name]), object) for name in candidates}
    missing = {name: _is_missing(own) for name, own in texts.items()}
    chosen = column if column is not None else next((n for n in candidates if not missing[n].all()), None)
    if chosen is None:
        named = np.array(_texts(table[known["name"]]), object) if "name" in known else rows
        if named is not rows and not _is_missing(named).any() and len(set(named)) == len(named):
            return table, named, []
        if not candidates:
            return table, rows, []
        chosen = candidates[0]
    ids = np.array(_texts(table[chosen]), object)
    clauses: list[str] = []
    if column is not None or str(chosen).lower() in INVENTORY_IDS:
        table, ids, rows, clauses = _joined(table, ids, rows)
    absent = _is_missing(ids)
    repeated = pd.Series(ids).duplicated(keep=False).to_numpy() & ~absent
    faulty = absent | repeated
    if not faulty.any():
        return table, ids, clauses
    whole = bool(faulty.all() or np.isin(rows[faulty], ids[~faulty]).any())
    faults = [
        f"{number} {word}"
        for number, word in ((int(absent.sum()), "missing or 0"), (int(repeated.sum()), "repeated"))
        if number
    ]
    clauses.append(
        f"row numbers stand for {'all' if whole else int(faulty.sum())} of {count_of(len(ids), 'id')} "
        f"in column {str(chosen)!r} ({_listed(faults)})"
    )
    return table, np.where(faulty | whole, rows, ids), clauses


def _joined(
    table: Any, ids: NDArray[Any], rows: NDArray[Any]
) -> tuple[Any, NDArray[Any], NDArray[Any], list[str]]:
    """Makes one row of the parts of each glacier."""
    shapes = table.geometry.to_numpy().copy()
    kept = np.ones(len(ids), bool)
    joined, twice_km2 = [], 0.0
    usual = ~_is_missing(ids) & np.array([any(letter.isalpha() for letter in one) for one in ids], bool)
    for own in pd.Series(ids)[usual].groupby(ids[usual]).groups.values():
        part = np.asarray(own)
        if len(part) < 2 or not _near_one_another(shapes[part], table.crs):
            continue
        together = polygons_of([shapely.union_all(shapes[part])])
        if shapely.area(shapes[part]).sum() > (1 + 1e-6) * shapely.area(together[0]):
            twice_km2 += float(areas_km2(shapes[part], table.crs).sum() - areas_km2(together, table.crs)[0])
        shapes[part[0]] = together[0]
        kept[part[1:]] = False
        joined.append(len(part))
    if not joined:
        return table, ids, rows, []
    clause = f"{sum(joined)} rows that share an id joined to {count_of(len(joined), 'glacier')}"
    if twice_km2 > _LEAST_KM2:
        clause += f" (their overlap of {twice_km2:.3g} km2 counts once)"
    table = table.set_geometry(shapes, crs=table.crs)[kept]
    return table, ids[kept], rows[kept], [clause]


def _near_one_another(parts: NDArray[Any], crs: Any) -> bool:
    """Whether each part has another within 1 km."""
    crs = CRS.from_user_input(crs)
    scale = np.full(2, crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0)
    if crs.is_geographic:
        _, south, _, north = shapely.total_bounds(parts)
        scale = 111320 * np.array([max(np.cos(np.radians((south + north) / 2)), 0.01), 1.0])
    metric = shapely.transform(parts, lambda points: points * scale)
    tree = shapely.STRtree(metric)
    one, other = tree.query(metric, predicate="dwithin", distance=_REACH_M)
    return len(np.unique(one[one != other])) == len(parts)


def count_once(table: Any) -> tuple[Any, list[str]]:
    """Takes from every outline what an earlier one has already.

    Slivers stay as they are: less than 100 m2 or 1 m wide, and less than 5 % of the smaller outline.

    Args:
        table: GeoDataFrame of polygons from `polygons_of`.

    Returns:
        The table without outlines that earlier ones cover entirely, and what was done.
    """
    shapes = table.geometry.to_numpy()
    left, right = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    left, right = left[left < right], right[left < right]
    apart = shapely.touches(shapes[left], shapes[right])
    left, right = left[~apart], right[~apart]
    common = polygons_of(shapely.intersection(shapes[left], shapes[right]))
    there = ~shapely.is_missing(common)
    left, right, common = left[there], right[there], common[there]
    measures = np.array(_measures(common, table.crs), float).reshape(-1, 2)
    area_m2, length_m = measures.T
    share = shapely.area(common) / np.minimum(shapely.area(shapes[left]), shapely.area(shapes[right]))
    large = (area_m2 > _LEAST_KM2 * 1e6) & (2 * area_m2 > _LEAST_WIDTH_M * length_m)
    large |= share > _LEAST_SHARE
    if not large.any():
        return table, []
    result = shapes.copy()
    for j in np.unique(right[large]):
        result[j] = shapely.difference(shapes[j], shapely.union_all(shapes[left[large & (right == j)]]))
    result = polygons_of(result)
    changed = np.unique(right[large])
    after = result[changed]
    lost_km2 = areas_km2(shapes[changed], table.crs).sum()
    lost_km2 -= areas_km2(after[~shapely.is_missing(after)], table.crs).sum()
    pairs = int(large.sum())
    clause = (
        f"{lost_km2:.3g} km2 where {count_of(pairs, 'pair')} of outlines overlap{'s' if pairs == 1 else ''} "
        "count once, for the earlier row"
    )
    if gone := int(shapely.is_missing(result).sum()):
        clause += f", and {count_of(gone, 'outline')} entirely inside others left out"
    return table.set_geometry(result, crs=table.crs)[~shapely.is_missing(result)], [clause]


def _texts(values: Any) -> list[str]:
    """Values of a column as text; whole numbers without a point, as they read in the file."""
    column = pd.Series(values)
    return [
        "" if absent else str(int(one)) if isinstance(one, float) and one.is_integer() else str(one).strip()
        for one, absent in zip(column.tolist(), column.isna(), strict=True)
    ]


def _is_missing(texts: Iterable[str]) -> NDArray[np.bool_]:
    return np.array([one.lower() in _NO_ID for one in texts], bool)


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _listed_many(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
