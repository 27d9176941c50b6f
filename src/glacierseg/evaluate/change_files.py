"""Change between two files: masks or inventories, of any CRS."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import rasterio.crs
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Geod

from glacierseg.errors import RequestError, TruthError
from glacierseg.evaluate.change import Change, measure_change, years_between
from glacierseg.evaluate.detail import without_nan
from glacierseg.evaluate.glaciers import glaciers_by_part, outline_ids
from glacierseg.evaluate.terminus import (
    TerminusShift,
    run_down,
    shift_along_line,
    shift_of_lowest_part,
)
from glacierseg.raster.blocks import Block
from glacierseg.raster.elevation import open_terrain
from glacierseg.raster.grid import Grid
from glacierseg.raster.scene import grid_of, open_raster
from glacierseg.raster.truth import is_vector, read_mask
from glacierseg.raster.warp import metric_grid, read_grid
from glacierseg.raster.write import atomic_path, write_json
from glacierseg.vectors.trace import to_crs, trace_polygons

VECTOR_ERROR_M = 10.0
"""How far outlines from a file are taken to be off when nothing is said; rasters half a pixel."""


@dataclass(frozen=True, eq=False)
class FileChange:
    """Change between two files.

    Attributes:
        change: Areas, advance and retreat.
        termini: Shift of the terminus by glacier id.
        old_error_m: How far the old outlines were taken to be off.
        new_error_m: The same for the new ones.
        crs: Of all polygons.
        old: `(N,)` outlines of the old date.
    """

    change: Change
    termini: dict[str, TerminusShift]
    old_error_m: float
    new_error_m: float
    crs: CRS
    old: NDArray[Any]

    def rows(self) -> list[dict[str, Any]]:
        """Returns one flat record for each glacier."""
        rows = []
        for glacier in self.change.glaciers:
            row = glacier.to_dict()
            if (terminus := self.termini.get(glacier.glacier_id)) is not None:
                row["terminus_shift_m"] = terminus.shift_m
                row["terminus_method"] = terminus.method
                row["terminus_at_end_of_line"] = terminus.at_end_of_line
            rows.append(row)
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Returns it for JSON."""
        record: dict[str, Any] = without_nan(
            {
                "old_error_m": self.old_error_m,
                "new_error_m": self.new_error_m,
                "total": self.change.total.to_dict(),
                "glaciers": self.rows(),
            }
        )
        return record


def change_between_files(
    old: Path,
    new: Path,
    *,
    old_date: str | None = None,
    new_date: str | None = None,
    old_layer: str | None = None,
    new_layer: str | None = None,
    old_error_m: float | None = None,
    new_error_m: float | None = None,
    centre_lines: Path | None = None,
    dem: Path | None = None,
) -> FileChange:
    """Measures the change between two masks or inventories.

    Two rasters should cover the same ground; ground that only one of them knows is left out. Outlines of a
    file are cut to the ground of the raster when only one of both is a raster.

    Args:
        old: A mask raster or outlines.
        new: A mask raster or outlines.
        old_date: For rates, such as 2000-10-30 or 2000; give both or neither.
        new_date: The same.
        old_layer: Of an old vector file with several.
        new_layer: Of a new one.
        old_error_m: How far the old outlines may be off; half a pixel of a raster, 10 m of outlines if None.
        new_error_m: The same for the new ones.
        centre_lines: Lines for the shift of the termini, from the head down (as in RGI 7.0); turned by the
            elevation model when that is given.
        dem: Elevation, for glaciers without a centre line and to tell which end of a line is the lower one.

    Raises:
        RasterError: A raster cannot be read.
        TruthError: Outlines cannot be read, or none is there.
        RequestError: Dates or numbers make no sense.
    """
    if (old_date is None) != (new_date is None):
        raise RequestError("a rate needs both dates; give --old-date and --new-date")
    years = years_between(old_date, new_date) if old_date and new_date else None
    rasters = [read_grid(path) for path in (old, new) if not is_vector(path)]
    crs = CRS.from_wkt(metric_grid(rasters[0]).crs.to_wkt()) if rasters else _utm_of(old, old_layer)
    old_shapes, ids, old_size = _read(old, crs, old_layer)
    new_shapes, _, new_size = _read(new, crs, new_layer)
    for path in (old, new):
        if not is_vector(path):
            known = _known_ground(path, crs)
            old_shapes, new_shapes = (shapely.intersection(one, known) for one in (old_shapes, new_shapes))
    here = shapely.area(old_shapes) > 0
    old_shapes, ids = old_shapes[here], [one for one, is_here in zip(ids, here, strict=True) if is_here]
    new_shapes = new_shapes[shapely.area(new_shapes) > 0]
    if not len(old_shapes) and not len(new_shapes):
        raise TruthError(
            f"{old}: no glacier lies on the ground of both files; check that they are of one place"
        )
    errors = (
        old_size / 2 if old_error_m is None else old_error_m,
        new_size / 2 if new_error_m is None else new_error_m,
    )
    change = measure_change(
        old_shapes,
        new_shapes,
        ids,
        old_error_m=errors[0],
        new_error_m=errors[1],
        years=years,
        scales=_scales(old_shapes, crs),
    )
    termini = _termini(old_shapes, new_shapes, ids, crs, centre_lines, dem)
    return FileChange(change, termini, *errors, crs, old_shapes)


def write_change(found: FileChange, out: Path) -> Path:
    """Writes advance, retreat and glaciers as layers of a GeoPackage, and the numbers as JSON beside it.

    Args:
        found: From `change_between_files`.
        out: A `.gpkg` file, or a folder for `change.gpkg`.

    Returns:
        The path of the GeoPackage.
    """
    path = out if out.suffix.lower() == ".gpkg" else out / "change.gpkg"
    change = found.change
    ids = [one.glacier_id for one in change.glaciers]
    layers = {}
    for name, parts, owners in (
        ("advance", change.advance, change.advance_of),
        ("retreat", change.retreat, change.retreat_of),
    ):
        columns = {
            "glacier_id": [ids[i] if i >= 0 else None for i in owners],
            "area_km2": shapely.area(parts) / 1e6,
        }
        layers[name] = gpd.GeoDataFrame(columns, geometry=list(parts), crs=found.crs)
    rows = without_nan(found.rows())
    layers["glaciers"] = gpd.GeoDataFrame(rows, geometry=list(found.old), crs=found.crs)
    with atomic_path(path) as part:
        for name, table in layers.items():
            pyogrio.write_dataframe(
                table, part, layer=name, driver="GPKG", geometry_type="MultiPolygon", promote_to_multi=True
            )
    write_json(path.with_suffix(".json"), found.to_dict())
    return path


def _read(path: Path, crs: CRS, layer: str | None) -> tuple[NDArray[Any], list[str], float]:
    """Returns valid polygons in a CRS, their ids, and twice how far they may be off."""
    if not is_vector(path):
        with open_raster(path) as dataset:
            grid = grid_of(dataset)
        mask = read_mask(path)
        traced = to_crs(_parts_of(mask), grid.transform) if (mask == 1).any() else np.empty(0, object)
        shapes = _moved(traced, CRS.from_wkt(grid.crs.to_wkt()), crs)
        return shapes, [str(i + 1) for i in range(len(shapes))], max(grid.pixel_size_m)
    table = _table(path, layer)
    ids = list(outline_ids(table))
    valid = shapely.make_valid(table.geometry.to_crs(crs).to_numpy())
    return valid, ids, 2 * VECTOR_ERROR_M


def _parts_of(mask: NDArray[np.uint8]) -> NDArray[Any]:
    """Returns the glaciers of a mask in pixels, largest first; what touches at a corner is one."""
    polygons = trace_polygons(mask)
    inside = shapely.get_coordinates(shapely.point_on_surface(polygons)).astype(np.int64)
    glaciers = glaciers_by_part(mask, 1.0)
    whose = glaciers.inside[inside[:, 1], inside[:, 0]] - 1
    parts: list[list[Any]] = [[] for _ in glaciers.ids]
    for polygon, number in zip(polygons, whose, strict=True):
        parts[number].append(polygon)
    return np.array([shapely.multipolygons(own) if len(own) > 1 else own[0] for own in parts], object)


def _table(path: Path, layer: str | None = None) -> Any:
    if not path.exists():
        raise TruthError(f"{path}: no such file; check the path")
    try:
        if path.suffix == ".parquet":
            table = gpd.read_parquet(path)
        else:
            table = gpd.read_file(path, layer=_layer_of(path, layer))
    except (ValueError, OSError, RuntimeError) as error:
        raise TruthError(f"{path}: cannot be read ({error}); give a vector file") from error
    if table.crs is None:
        raise TruthError(f"{path}: has no CRS; assign the right one, for example in QGIS")
    return table[table.geometry.notna() & ~table.geometry.is_empty]


def _layer_of(path: Path, asked: str | None) -> str:
    """Returns the layer to read; of several with shapes none is taken unasked."""
    kinds = pyogrio.list_layers(path)
    names = [str(name) for name, kind in kinds if kind is not None]
    if asked is None and len(names) == 1:
        return names[0]
    if asked in names:
        return asked
    listed = ", ".join(names) or "none"
    if asked is not None:
        raise TruthError(f"{path}: has no layer {asked} of shapes; it has {listed}")
    raise TruthError(f"{path}: has the layers {listed}; say which with --old-layer or --new-layer")


def _utm_of(path: Path, layer: str | None) -> CRS:
    return CRS.from_user_input(_table(path, layer).estimate_utm_crs())


def _moved(shapes: NDArray[Any], source: CRS, target: CRS) -> NDArray[Any]:
    if source == target or not len(shapes):
        return shapes
    moved: NDArray[Any] = gpd.GeoSeries(list(shapes), crs=source).to_crs(target).to_numpy()
    return moved


def _known_ground(path: Path, crs: CRS) -> Any:
    """Returns the ground of a raster without its ignored pixels."""
    with open_raster(path) as dataset:
        grid = grid_of(dataset)
    known = (read_mask(path) != 255).astype(np.uint8)
    if known.all():
        corners = [(0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height)]
        traced = np.array([shapely.Polygon(corners)], object)
    else:
        traced = trace_polygons(known) if known.any() else np.empty(0, object)
    return shapely.union_all(_moved(to_crs(traced, grid.transform), CRS.from_wkt(grid.crs.to_wkt()), crs))


def _scales(shapes: NDArray[Any], crs: CRS) -> NDArray[np.float64]:
    """Returns the area on the ellipsoid over that in the projection."""
    geod = Geod(ellps="WGS84")
    degrees = _moved(shapes, crs, CRS.from_epsg(4326))
    true = np.array([abs(geod.geometry_area_perimeter(shape)[0]) for shape in degrees], float)
    return true / shapely.area(shapes) if len(shapes) else true


def _termini(
    old: NDArray[Any],
    new: NDArray[Any],
    ids: list[str],
    crs: CRS,
    centre_lines: Path | None,
    dem: Path | None,
) -> dict[str, TerminusShift]:
    found: dict[str, TerminusShift] = {}
    if (centre_lines is None and dem is None) or not len(old):
        return found
    elevation = _elevation(dem, old, new, crs) if dem is not None else None
    if centre_lines is not None:
        lines = _table(centre_lines).geometry.to_crs(crs).to_numpy()
        lines = shapely.get_parts(shapely.line_merge(lines[shapely.get_dimensions(lines) == 1]))
        if not len(lines):
            raise TruthError(f"{centre_lines}: holds no lines; give centre lines of the glaciers")
        all_new = shapely.union_all(new)
        for number, shape in enumerate(old):
            inside = shapely.length(shapely.intersection(lines, shape))
            # The longest line inside is the main one.
            if inside.max() > 0:
                line = lines[inside.argmax()]
                line = run_down(line, *elevation) if elevation is not None else line
                found[ids[number]] = shift_along_line(line, shape, all_new)
    if elevation is not None:
        tree = shapely.STRtree(new)
        for number, shape in enumerate(old):
            if ids[number] not in found:
                now = shapely.union_all(new[tree.query(shape, predicate="intersects")])
                found[ids[number]] = shift_of_lowest_part(shape, now, *elevation)
    return found


def _elevation(
    path: Path, old: NDArray[Any], new: NDArray[Any], crs: CRS
) -> tuple[NDArray[np.float32], Grid]:
    """Reads an elevation model in metres around all glaciers, at its own resolution."""
    side = max(*read_grid(path).pixel_size_m, 1.0)
    left, bottom, right, top = shapely.total_bounds(np.concatenate([old, new]))
    grid = Grid(
        rasterio.crs.CRS.from_wkt(crs.to_wkt()),
        Affine(side, 0, left, 0, -side, top),
        math.ceil((top - bottom) / side),
        math.ceil((right - left) / side),
    )
    with open_terrain(path, grid) as terrain:
        layers = terrain.read(Block(0, 0, grid.height, grid.width), ["elevation"])
    return layers["elevation"], grid


__all__ = ["FileChange", "change_between_files", "write_change"]
