"""The table of outlines: polygons with their attributes."""

from itertools import pairwise
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer

_GEOD = Geod(ellps="WGS84")


def outline_table(
    polygons: NDArray[Any], crs: CRS, min_area_km2: float = 0.0, *, first_id: int = 1
) -> gpd.GeoDataFrame:
    """Makes a table of outlines.

    Args:
        polygons: `(N,)` in a CRS, also of several parts, in the order in which they shall be numbered.
        crs: That CRS.
        min_area_km2: Smaller ones are left out.
        first_id: Where the numbers begin.

    Returns:
        Columns `glacier_id` (from `first_id` up), `area_km2` (on the WGS84 ellipsoid, holes taken out),
        `cenlon` and `cenlat` (degrees, of a point inside the outline) and `geometry`.
    """
    areas = areas_km2(polygons, crs)
    large = areas >= min_area_km2
    polygons, areas = polygons[large], areas[large]
    inside = shapely.get_coordinates(shapely.point_on_surface(polygons))
    longitudes, latitudes = Transformer.from_crs(crs, 4326, always_xy=True).transform(*inside.T)
    columns = pd.DataFrame(
        {
            "glacier_id": np.arange(first_id, first_id + len(polygons), dtype=np.int32),
            "area_km2": areas,
            "cenlon": np.asarray(longitudes, float),
            "cenlat": np.asarray(latitudes, float),
        }
    )
    return gpd.GeoDataFrame(columns, geometry=gpd.GeoSeries(polygons, crs=crs), crs=crs)


def areas_km2(shapes: NDArray[Any], crs: CRS) -> NDArray[np.float64]:
    """Returns areas on the WGS84 ellipsoid, holes taken out whichever way round their rings run.

    Args:
        shapes: `(N,)` polygons, also of several parts.
        crs: Theirs.
    """
    parts, owners = shapely.get_parts(shapes, return_index=True)
    if not len(parts):
        return np.zeros(len(shapes))
    _, points, (ring_offsets, polygon_offsets) = shapely.to_ragged_array(parts)
    longitudes, latitudes = Transformer.from_crs(crs, 4326, always_xy=True).transform(*points.T)
    areas_m2 = np.array(
        [
            abs(_GEOD.polygon_area_perimeter(longitudes[begin:end], latitudes[begin:end])[0])
            for begin, end in pairwise(ring_offsets)
        ]
    )
    exteriors = polygon_offsets[:-1]
    signs = np.full(len(areas_m2), -1.0)
    signs[exteriors] = 1
    of_parts = np.add.reduceat(signs * areas_m2, exteriors) / 1e6
    return np.bincount(owners, of_parts, len(shapes)).astype(np.float64)


def polygons_only(shapes: NDArray[Any], sliver: float = 0.0) -> NDArray[Any]:
    """Returns shapes as multipolygons, without the points, lines and slivers that overlays leave behind.

    Args:
        shapes: `(N,)` of any kind, also collections.
        sliver: Parts of no more than this area are left out, in square units of the coordinates.

    Returns:
        `(N,)`, empty where nothing is left.
    """
    found = np.full(len(shapes), shapely.MultiPolygon(), object)
    pieces, owner = shapely.get_parts(shapes, return_index=True)
    # A collection may hold multipolygons.
    parts, piece = shapely.get_parts(pieces, return_index=True)
    areal = (shapely.get_dimensions(parts) == 2) & (shapely.area(parts) > sliver)
    owners, index = np.unique(owner[piece[areal]], return_inverse=True)
    if len(owners):
        found[owners] = shapely.multipolygons(parts[areal], indices=index)
    return found
