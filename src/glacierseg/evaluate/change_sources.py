"""The glaciers of one date, from a mask or an inventory of any CRS."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod

from glacierseg.errors import TruthError
from glacierseg.evaluate.glaciers import glaciers_by_part, outline_ids
from glacierseg.raster.bounds import middle_of_shapes, utm_at
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import even_pixel_m
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.outlines import is_vector, read_shapes, refuse_layer_of_raster
from glacierseg.raster.truth import GLACIER, IGNORE, read_mask
from glacierseg.raster.warp import metric_grid
from glacierseg.vectors.trace import to_crs, trace_polygons

VECTOR_ERROR_M = 10.0
"""How far outlines from a file are taken to be off when nothing is said; rasters half a pixel."""


@dataclass(frozen=True, eq=False)
class Side:
    """The glaciers of one date.

    Attributes:
        shapes: `(N,)` valid polygons, one for each glacier.
        ids: Of each.
        crs: Of the polygons.
        error_m: How far they may be off when nothing else is said.
        grid: Of the mask; None for outlines.
        known: Ground of the mask without its ignored pixels, `shapes` lie in it; None for outlines.
    """

    shapes: NDArray[Any]
    ids: tuple[str, ...]
    crs: CRS
    error_m: float
    grid: Grid | None = None
    known: Any = None

    def in_crs(self, crs: CRS) -> "Side":
        """Returns the same in another CRS.

        Raises:
            TruthError: Some glacier has no place in it.
        """
        known = None if self.known is None else shapely.union_all(moved(self.known, self.crs, crs))
        shapes = moved(self.shapes, self.crs, crs)
        if np.isinf(shapely.get_coordinates(shapes)).any():
            raise TruthError(
                "the glaciers of both dates lie too far apart for one projection in metres; compare files "
                "that hold one region each"
            )
        if crs != self.crs:
            shapes = shapely.make_valid(shapes)
        return Side(shapes, self.ids, crs, self.error_m, self.grid, known)


def read_side(path: Path, layer: str | None, option: str) -> Side:
    """Reads a date in the CRS of its file.

    Args:
        path: A mask raster or outlines.
        layer: Of a vector file with several.
        option: Where the user says which layer.

    Raises:
        RasterError: The raster cannot be read.
        TruthError: The mask has strange values, or the outlines cannot be used.
        RequestError: A layer is asked for of a raster.
    """
    if is_vector(path):
        table = read_shapes(path, layer=layer, option=option)
        shapes = table.geometry.to_numpy()
        return Side(shapes, outline_ids(table), CRS.from_user_input(table.crs), VECTOR_ERROR_M)
    refuse_layer_of_raster(path, layer, option)
    with open_raster(path) as dataset:
        grid = grid_of(dataset)
    mask = read_mask(path)
    shapes = to_crs(_parts_of(mask), grid.transform) if (mask == GLACIER).any() else np.empty(0, object)
    ids = tuple(str(number) for number in range(1, len(shapes) + 1))
    crs = CRS.from_wkt(grid.crs.to_wkt())
    return Side(
        shapes, ids, crs, max(even_pixel_m(grid, str(path))) / 2, grid, to_crs(_known(mask), grid.transform)
    )


def common_crs(old: Side, new: Side) -> CRS:
    """Returns a projection in metres for both: that of a mask where there is one, else UTM."""
    grid = old.grid or new.grid
    if grid is not None:
        return CRS.from_wkt(metric_grid(grid).crs.to_wkt())
    middle = middle_of_shapes(gpd.GeoSeries(list(old.shapes), crs=old.crs))
    return CRS.from_wkt(utm_at(*middle).to_wkt())


def moved(shapes: NDArray[Any], source: CRS, target: CRS) -> NDArray[Any]:
    """Brings shapes from one CRS to another."""
    if source == target or not len(shapes):
        return shapes
    found: NDArray[Any] = gpd.GeoSeries(list(shapes), crs=source).to_crs(target).to_numpy()
    return found


def true_scales(shapes: NDArray[Any], crs: CRS) -> NDArray[np.float64]:
    """Returns the area on the ellipsoid over that in the projection."""
    geod = Geod(ellps="WGS84")
    degrees = moved(shapes, crs, CRS.from_epsg(4326))
    true = np.array([abs(geod.geometry_area_perimeter(shape)[0]) for shape in degrees], float)
    return true / shapely.area(shapes) if len(shapes) else true


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


def _known(mask: NDArray[np.uint8]) -> NDArray[Any]:
    """Returns the ground of a mask without its ignored pixels, in pixels."""
    known = (mask != IGNORE).astype(np.uint8)
    if known.all():
        height, width = mask.shape
        return np.array([shapely.box(0, 0, width, height)], object)
    return trace_polygons(known) if known.any() else np.empty(0, object)
