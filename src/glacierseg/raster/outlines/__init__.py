"""The one reader of vector files: outlines of glaciers, other polygons, and lines.

`outlines.files` opens them and says which layer is read.

Accepted: every format that GDAL reads, GeoParquet, zip archives with one vector file in them, folders of
Shapefiles; any CRS with a place on Earth; holes wound either way; curves (straightened), heights and
measures (dropped).

Corrected, and counted in one warning (a `GlaciersegWarning`): polygons are taken out of
GeometryCollections; outlines that cross or overlap themselves are repaired before any area is taken; what is
NULL, empty, of other shapes or without area is left out. For glaciers also: GLIMS files
(`repair.glacier_boundaries`), rows that are parts of one glacier and ids that are none (`repair.join_parts`),
ground that lies in two outlines (`repair.count_once`).

Refused, in one line: what is no vector file; a CRS that is missing or only a name; coordinates that cannot be
of the CRS; a file without the wanted shapes.
"""

import re
import shlex
import warnings
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, Literal

from rasterio.crs import CRS

from glacierseg.errors import GlaciersegWarning, RequestError, TruthError, did_you_mean
from glacierseg.raster.bounds import boxes_in, near_boxes, wrap_towards
from glacierseg.raster.facts import days_in_words
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import name_of_crs
from glacierseg.raster.outlines.files import (
    VECTOR_SUFFIXES,
    Kind,
    is_open_elsewhere,
    is_vector,
    one_layer_each,
    own_layers,
    read_largest,
    read_own,
    read_table,
    refuse_layer_of_raster,
    shown_layer,
)
from glacierseg.settings.outlines import as_date, is_year

Shapes = Literal["glaciers", "polygons", "edits", "lines"]
"""Glaciers are polygons with ids of their own; other polygons are areas, such as a zone; of edits none may be
left."""
PIXEL_EXACT = ("raw",)
"""The layer of this package's own files that gives back the very pixels it was drawn from."""
OUTLINE_ID = "_outline_id"
"""The column that `read_shapes` gives glaciers: an id for each, there once."""
DATE_COLUMN = "src_date"
"""RGI 7, GLIMS and our inventories: day of the image."""
# Those of RGI 3 to 6 are written 20000721, with 99 for a month or a day that is not known.
_COLUMNS = (DATE_COLUMN, "bgndate", "enddate")
_DAY = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})")
_YEARS = range(1800, 2200)


def read_shapes(
    path: Path,
    *,
    layer: str | None = None,
    shapes: Shapes = "glaciers",
    option: str = "--layer",
    prefer: Sequence[str] = (),
    id_column: str | None = None,
    grid: Grid | None = None,
    notes: list[str] | None = None,
) -> Any:
    """Reads the polygons or lines of a vector file, in its own CRS, by the rules of this module.

    Args:
        path: The file.
        layer: Which layer; see the rule above when None.
        shapes: Which shapes are wanted.
        option: Where the user says which layer, for the error.
        prefer: Of several layers the first of these names is taken when none is asked for.
        id_column: Of glaciers the column of ids; see `repair.join_parts` when None.
        grid: Only what meets this one, in its CRS.
        notes: Where the sentence about what was corrected goes; it is a warning when None.

    Returns:
        A GeoDataFrame, of at least one shape but for edits, numbered from 0. Glaciers have the column
        `OUTLINE_ID`, valid polygons and no ground in common but slivers.

    Raises:
        TruthError: The file is missing, unreadable, has no such layer, no usable CRS or no such shape, has
            several layers and nothing says which is meant, or no shape meets the grid.
        RequestError: It has no layers but one is asked for, or no such column.
    """
    import numpy as np  # noqa: PLC0415

    from glacierseg.raster.outlines import repair  # noqa: PLC0415  (takes half a second)

    path = Path(path)
    kind: Kind = "lines" if shapes == "lines" else "polygons"
    table, said, call = read_table(path, layer, kind, option, prefer)
    given = table.geometry.to_numpy()
    found = repair.lines_of(given) if kind == "lines" else repair.polygons_of(given)
    said += repair.about_shapes(given, found, kind)
    table = table.set_geometry(found, crs=table.crs)[np.array([shape is not None for shape in found], bool)]
    if table.empty and shapes != "edits":
        what = "outlines, not points or lines" if kind == "polygons" else "lines, not points or outlines"
        raise TruthError(f"{path}: holds no {kind}; give {what}")
    table = _with_place(table, path, call)
    if shapes == "glaciers":
        table, clauses = repair.glacier_boundaries(table)
        said += clauses
        if table.empty:
            raise TruthError(
                f"{path}: none of its GLIMS line types is glac_bound, the boundary of a glacier; give the "
                "file that holds the boundaries"
            )
        table, ids, clauses = repair.join_parts(table, _asked_column(path, table, id_column))
        table = table.assign(**{OUTLINE_ID: np.asarray(ids, object)})
        said += clauses
    if grid is not None:
        table = outlines_near(table, grid, path)
    if shapes == "glaciers":
        table, clauses = repair.count_once(table)
        said += clauses
    if said:
        sentence = f"{path}: {'; '.join(said)}"
        if notes is None:
            warnings.warn(sentence, GlaciersegWarning, stacklevel=2)
        else:
            notes.append(sentence)
    return table.reset_index(drop=True)


def read_outlines(
    path: Path,
    grid: Grid,
    *,
    layer: str | None = None,
    option: str = "--truth-layer",
    prefer: Sequence[str] = PIXEL_EXACT,
    shapes: Shapes = "glaciers",
    notes: list[str] | None = None,
) -> Any:
    """Reads the outlines that meet a grid, in the grid's CRS.

    Args:
        path: As for `read_shapes`.
        grid: The scene's grid.
        layer: As for `read_shapes`.
        option: As for `read_shapes`.
        prefer: As for `read_shapes`; here they become pixels.
        shapes: As for `read_shapes`.
        notes: As for `read_shapes`.

    Returns:
        A GeoDataFrame of polygons.

    Raises:
        TruthError: As `read_shapes`, or no polygon meets the grid.
    """
    return read_shapes(path, layer=layer, shapes=shapes, option=option, prefer=prefer, grid=grid, notes=notes)


def outlines_near(table: Any, grid: Grid, path: Path) -> Any:
    """Returns the outlines of a table that meet a grid, in the grid's CRS.

    Args:
        table: GeoDataFrame of polygons.
        grid: The scene's grid.
        path: The file that they are from, for the error.

    Raises:
        TruthError: No polygon meets the grid.
    """
    near = near_grid(table, grid)
    if near.empty:
        left, bottom, right, top = grid.bounds
        raise TruthError(
            f"{path}: no outline meets the scene ({name_of_crs(grid.crs)}, "
            f"{left:g} {bottom:g} {right:g} {top:g}); check that both are of the same place"
        )
    return near


def near_grid(table: Any, grid: Grid) -> Any:
    """Returns the outlines of a table that meet a grid, if any, in the grid's CRS."""
    # Cut in the outlines' own CRS first: far from the scene a projection may not even be defined.
    boxes = boxes_in(grid, CRS.from_wkt(table.crs.to_wkt()))
    near = table[near_boxes(table.bounds.to_numpy(), boxes)].to_crs(grid.crs.to_wkt())
    near = near.set_geometry(wrap_towards(near.geometry.to_numpy(), grid), crs=near.crs)
    left, bottom, right, top = grid.bounds
    return near.cx[left:right, bottom:top]


def dates_of(table: Any) -> tuple[date, ...]:
    """Returns the days of the images that the outlines of a table are from, as many as the table tells.

    A day that is not known counts as the 15th of its month, and without the month as 1 July.

    Args:
        table: GeoDataFrame; capitals in the names of its columns do not matter.
    """
    names = {str(name).lower(): name for name in table.columns}
    texts = [str(value) for name in _COLUMNS if name in names for value in table[names[name]]]
    return tuple(day for text in texts if (day := _as_date(text)))


def mean_date(days: tuple[date, ...]) -> date | None:
    """Returns the day in the middle of some, weighed by how often each occurs; None without any."""
    return date.fromordinal(round(sum(day.toordinal() for day in days) / len(days))) if days else None


def contradictions(option: str, text: str, path: Path, days: Sequence[date]) -> list[str]:
    """Says that a day which the user gives is not one of a file's own.

    Args:
        option: The option as it was typed.
        text: The day, or the year alone.
        path: The file.
        days: Its own.
    """
    if not days:
        return []
    first, last, own = min(days), max(days), as_date(text)
    agrees = first.year <= own.year <= last.year if is_year(text) else first <= own <= last
    return [] if agrees else [f"{path}: says that it is of {days_in_words(days)}; {option} counts"]


def _with_place(table: Any, path: Path, call: str) -> Any:
    """Refuses a CRS without a place on Earth, and leaves heights out of one that has them.

    Args:
        table: As it is in the file.
        path: The file.
        call: What reads it, from `read_table`.
    """
    crs = table.crs
    calls = ("geopandas", call, 'set_crs("EPSG:32643", allow_override=True)', 'to_file("ASSIGNED.gpkg")')
    command = shlex.join(["python", "-c", f"import geopandas; {'.'.join(calls)}"])
    cure = f"assign the right one, for example with `{command}`, and give ASSIGNED.gpkg"
    if crs is None or crs.name.lower().startswith("undefined"):
        lost = ""
        if path.suffix.lower() == ".shp":
            lost = f"copy the .prj that belongs to it to {path.with_suffix('.prj')}, or "
        raise TruthError(f"{path}: has no CRS; {lost}{cure}")
    flat = crs.to_2d()
    if not (flat.is_geographic or flat.is_projected):
        raise TruthError(f"{path}: its CRS is only a name ({crs.name}) and says no place on Earth; {cure}")
    west, south, east, north = table.total_bounds
    degrees = flat.is_geographic and flat.axis_info[0].unit_name == "degree"
    far, high = (360, 90.001) if degrees else (1e9, 1e9)
    if max(-west, east) > far or max(-south, north) > high:
        raise TruthError(
            f"{path}: its coordinates ({west:.6g} {south:.6g} to {east:.6g} {north:.6g}) cannot be "
            f"{'degrees' if degrees else 'places'} of its CRS {flat.name}; "
            f"{cure if degrees else 'remove the outlines that have them'}"
        )
    return table if flat == crs else table.set_crs(flat, allow_override=True)


def _asked_column(path: Path, table: Any, wanted: str | None) -> str | None:
    if wanted is None:
        return None
    names = [str(name) for name in table.columns if name != table.geometry.name]
    found = next((name for name in names if name.lower() == wanted.lower()), None)
    if found is None:
        raise RequestError(
            f"{path}: has no column {wanted!r}{did_you_mean(wanted, names)}; "
            f"its columns are {', '.join(names)}"
        )
    return found


def _as_date(text: str) -> date | None:
    if not (found := _DAY.match(text)):
        return None
    year, month, day = map(int, found.groups())
    if year not in _YEARS:
        return None
    if month == 99:
        return date(year, 7, 1)
    try:
        return date(year, month, 15 if day == 99 else day)
    except ValueError:
        return None


__all__ = [
    "OUTLINE_ID",
    "VECTOR_SUFFIXES",
    "is_open_elsewhere",
    "is_vector",
    "near_grid",
    "one_layer_each",
    "outlines_near",
    "own_layers",
    "read_largest",
    "read_outlines",
    "read_own",
    "read_shapes",
    "refuse_layer_of_raster",
    "shown_layer",
]
