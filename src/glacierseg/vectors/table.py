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
        polygons: `(N,)` in a CRS, in the order in which they shall be numbered.
        crs: That CRS.
        min_area_km2: Smaller ones are left out.
        first_id: Where the numbers begin.

    Returns:
        Columns `glacier_id` (from `first_id` up), `area_km2` (on the WGS84 ellipsoid, holes taken out),
        `cenlon` and `cenlat` (degrees, of a point inside the outline) and `geometry`.
    """
    to_degrees = Transformer.from_crs(crs, 4326, always_xy=True)
    areas_km2 = _areas_km2(polygons, to_degrees)
    large = areas_km2 >= min_area_km2
    polygons, areas_km2 = polygons[large], areas_km2[large]
    inside = shapely.get_coordinates(shapely.point_on_surface(polygons))
    longitudes, latitudes = to_degrees.transform(*inside.T)
    columns = pd.DataFrame(
        {
            "glacier_id": np.arange(first_id, first_id + len(polygons), dtype=np.int32),
            "area_km2": areas_km2,
            "cenlon": np.asarray(longitudes, float),
            "cenlat": np.asarray(latitudes, float),
        }
    )
    return gpd.GeoDataFrame(columns, geometry=gpd.GeoSeries(polygons, crs=crs), crs=crs)


def _areas_km2(polygons: NDArray[Any], to_degrees: Transformer) -> NDArray[np.float64]:
    if not len(polygons):
        return np.zeros(0)
    _, points, (ring_offsets, polygon_offsets) = shapely.to_ragged_array(polygons)
    longitudes, latitudes = to_degrees.transform(*points.T)
    areas_m2 = np.array(
        [
            abs(_GEOD.polygon_area_perimeter(longitudes[begin:end], latitudes[begin:end])[0])
            for begin, end in pairwise(ring_offsets)
        ]
    )
    exteriors = polygon_offsets[:-1]
    signs = np.full(len(areas_m2), -1.0)
    signs[exteriors] = 1
    areas_km2: NDArray[np.float64] = np.add.reduceat(signs * areas_m2, exteriors) / 1e6
    return areas_km2
