"""The table of glaciers: names, places, terrain, uncertainty and probability of every outline."""

import math
from collections import Counter
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyproj import CRS

from glacierseg.errors import RequestError
from glacierseg.inventory.elevation import LocalRaster
from glacierseg.inventory.hypsometry import BAND_M
from glacierseg.inventory.relief import SECTORS, Relief, measure_relief, pixels_inside
from glacierseg.inventory.uncertainty import buffer_uncertainty
from glacierseg.raster.bounds import middle_of_shapes, utm_at, wrap_towards

_TERRAIN = (
    "zmin_m", "zmax_m", "zmed_m", "zmean_m", "slope_deg", "aspect_deg", "aspect_sec", "lmax_m",
    "termlon", "termlat",
)  # fmt: skip


def inventory_ids(cenlon: NDArray[Any], cenlat: NDArray[Any], prefix: str) -> list[str]:
    """Names glaciers by their place, in the way of GLIMS: `<prefix>-G086932E27925N`.

    Longitude (0-360 degrees east) and latitude are in thousandths of a degree, so a name stays the same when
    the same outline is named again. Glaciers with one name get `-2`, `-3` and so on, in the order given.

    Args:
        cenlon: `(N,)` degrees.
        cenlat: `(N,)` degrees.
        prefix: What names begin with; may be empty.
    """
    names = []
    seen: Counter[str] = Counter()
    for longitude, latitude in zip(cenlon, cenlat, strict=True):
        east, north = round(float(longitude) % 360 * 1000) % 360_000, round(abs(float(latitude)) * 1000)
        name = f"G{east:06d}E{north:05d}{'S' if latitude < 0 else 'N'}"
        seen[name] += 1
        again = f"-{seen[name]}" if seen[name] > 1 else ""
        names.append(f"{prefix}-{name}{again}" if prefix else name + again)
    return names


def utm_zones(cenlon: NDArray[Any], cenlat: NDArray[Any]) -> list[str]:
    """Returns zones of six degrees with their hemisphere, such as `45N`.

    The exceptions for south-western Norway and Svalbard are not made.
    """
    return [
        f"{min(int((longitude + 180) // 6) + 1, 60)}{'S' if latitude < 0 else 'N'}"
        for longitude, latitude in zip(cenlon, cenlat, strict=True)
    ]


def add_relief(
    glaciers: gpd.GeoDataFrame, elevation: LocalRaster, *, least_share: float
) -> tuple[gpd.GeoDataFrame, pd.DataFrame]:
    """Measures the terrain of every glacier.

    Args:
        glaciers: With `inv_id` and `area_km2`.
        elevation: The elevation model.
        least_share: See `measure_relief`.

    Returns:
        The glaciers with the columns of `Relief` and `aspect_dir`; and their hypsometry: `inv_id`,
        `from_m`, `to_m`, `area_km2` and `permille`.

    Raises:
        RasterError: The elevation cannot be read.
    """
    outlines = wrap_towards(glaciers.geometry.to_crs(elevation.crs).to_numpy(), elevation.grid)
    reliefs = [
        measure_relief(outline, area_km2, elevation, least_share=least_share)
        for outline, area_km2 in zip(outlines, glaciers["area_km2"], strict=True)
    ]
    columns: dict[str, Any] = {"dem_share": [relief.dem_share for relief in reliefs]}
    for name in _TERRAIN:
        values = [getattr(relief, name) for relief in reliefs]
        columns[name] = pd.array(values, "Int64") if name == "aspect_sec" else np.array(values, float)
    columns["aspect_dir"] = pd.array([_direction(relief) for relief in reliefs], "string")
    return glaciers.assign(**columns), _hypsometry(glaciers["inv_id"], reliefs)


def add_uncertainty(glaciers: gpd.GeoDataFrame, buffer_m: float) -> gpd.GeoDataFrame:
    """Adds `uncertainty_km2` and `uncertainty_pct`, see `buffer_uncertainty`.

    Raises:
        RequestError: The glaciers lie too far apart for one projection.
    """
    metric = utm_of(glaciers)
    outlines = glaciers.geometry.to_crs(metric)
    areas = outlines.area.to_numpy()
    # Far from the middle of the table UTM stretches lengths, by the root of what it does to areas.
    reach = buffer_m * np.sqrt(areas / (glaciers["area_km2"].to_numpy() * 1e6))
    if not np.isfinite(reach).all():
        raise RequestError(
            "the glaciers lie too far apart for one projection in metres, so their uncertainty cannot be "
            "told; make an inventory of each part"
        )
    share = buffer_uncertainty(outlines.to_numpy(), reach) / areas
    return glaciers.assign(uncertainty_km2=share * glaciers["area_km2"], uncertainty_pct=share * 100)


def add_probability(glaciers: gpd.GeoDataFrame, probability: LocalRaster) -> gpd.GeoDataFrame:
    """Adds `probability_mean` and `probability_std` of the pixels whose centre lies inside.

    Raises:
        RasterError: The probability cannot be read.
    """
    found = []
    for outline in wrap_towards(glaciers.geometry.to_crs(probability.crs).to_numpy(), probability.grid):
        grid = probability.window(outline.bounds, margin_px=0)
        values = probability.read(grid)[pixels_inside(outline, grid)]
        values = values[np.isfinite(values)]
        found.append((values.mean(), values.std()) if values.size else (math.nan, math.nan))
    means, deviations = np.array(found, float).reshape(-1, 2).T
    return glaciers.assign(probability_mean=means, probability_std=deviations)


def utm_of(table: gpd.GeoDataFrame) -> CRS:
    """Returns the UTM zone of the middle of a table, near the poles the CRS that takes its place."""
    return CRS.from_wkt(utm_at(*middle_of_shapes(table.geometry)).to_wkt())


def _direction(relief: Relief) -> str | None:
    if relief.aspect_sec is None:
        return None
    return (*SECTORS, "flat")[relief.aspect_sec - 1]


def _hypsometry(ids: Any, reliefs: list[Relief]) -> pd.DataFrame:
    tables = [
        pd.DataFrame(
            {
                "inv_id": name,
                "from_m": relief.bands.from_m,
                "to_m": relief.bands.from_m + BAND_M,
                "area_km2": relief.bands.area_km2,
                "permille": relief.bands.permille,
            }
        )
        for name, relief in zip(ids, reliefs, strict=True)
        if relief.bands is not None
    ]
    if tables:
        return pd.concat(tables, ignore_index=True)
    return pd.DataFrame(
        {
            "inv_id": pd.Series(dtype=str),
            "from_m": pd.Series(dtype="int64"),
            "to_m": pd.Series(dtype="int64"),
            "area_km2": pd.Series(dtype=float),
            "permille": pd.Series(dtype="int64"),
        }
    )
