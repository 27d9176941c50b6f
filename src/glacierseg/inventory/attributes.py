"""The tables of an inventory: what is measured of every glacier, and which glacier of another it is."""

import math
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import cv2
import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize

from glacierseg.errors import RequestError
from glacierseg.inventory.relief import BAND_M, SECTORS, Relief, measure_relief, pixels_inside
from glacierseg.inventory.sources import LocalRaster, utm_of
from glacierseg.predict.calibrated import is_calibrated
from glacierseg.predict.calibration import NEAR_M, Calibration
from glacierseg.raster.bounds import wrap_towards
from glacierseg.raster.facts import days_in_words
from glacierseg.raster.outlines import DATE_COLUMN, contradictions
from glacierseg.settings.outlines import as_date

_TERRAIN = (
    "zmin_m", "zmax_m", "zmed_m", "zmean_m", "slope_deg", "aspect_deg", "aspect_sec", "lmax_m",
    "termlon", "termlat",
)  # fmt: skip
# Less common ground than this (100 m2) is rounding, not a link.
_LEAST_KM2 = 1e-4


def inventory_ids(cenlon: NDArray[Any], cenlat: NDArray[Any], prefix: str) -> list[str]:
    """Names glaciers by their place, as GLIMS does: `<prefix>-G086932E27925N`.

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


def add_date(
    glaciers: gpd.GeoDataFrame, path: Path, days: Sequence[date], asked: str | None
) -> tuple[gpd.GeoDataFrame, list[str]]:
    """Adds the column `src_date` where the day is known: that of the earliest image, as RGI 7 writes it.

    Args:
        glaciers: A row for each glacier, with its id first.
        path: The mask or the outlines.
        days: Of their images, as far as the file tells.
        asked: What the user says instead.

    Returns:
        The table, and what a user should know.
    """
    if asked is not None:
        notes, day = contradictions(f"--src-date {asked}", asked, path, days), as_date(asked)
    elif not days:
        return glaciers, []
    else:
        notes, day = [], min(days)
        if max(days) != day:
            notes.append(f"{path}: is of {days_in_words(days)}; `{DATE_COLUMN}` is the first day")
    dated = glaciers.copy()
    dated.insert(1, DATE_COLUMN, f"{day.isoformat()}T00:00:00")
    return dated, notes


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
            "the glaciers lie too far apart for one projection in metres, so they have no uncertainty; make "
            "an inventory of each part"
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


def add_area_bounds(
    glaciers: gpd.GeoDataFrame, probability: LocalRaster, calibration: Calibration
) -> gpd.GeoDataFrame:
    """Adds `area_lower_km2` and `area_upper_km2`, see `evaluate.glacier_bounds`; NaN without probabilities.

    Raises:
        RasterError: The probability cannot be read.
    """
    stored = is_calibrated(probability.path)
    outlines = wrap_towards(glaciers.geometry.to_crs(probability.crs).to_numpy(), probability.grid)
    tree, bounds = shapely.STRtree(outlines), []
    pixel_m, pixel_km2 = min(probability.grid.pixel_size_m), probability.grid.pixel_area_km2
    for number, (outline, mapped_km2) in enumerate(zip(outlines, glaciers["area_km2"], strict=True)):
        grid = probability.window(outline.bounds, margin_px=math.ceil(NEAR_M / pixel_m) + 1)
        own = _distance_px(pixels_inside(outline, grid))
        near = [other for other in tree.query(shapely.box(*grid.bounds)) if other != number]
        ground = own * pixel_m <= NEAR_M
        if near:
            others = rasterize(outlines[near], grid.shape, transform=grid.transform, dtype="uint8")
            ground &= (own < _distance_px(others)) | ~others.any()
        values = probability.read(grid)[ground]
        values = values[np.isfinite(values)]
        chance = values if stored else calibration.apply(values).astype(np.float64)
        ends = calibration.bound_glacier(
            mapped_km2, float(chance.sum()), float((chance * (1 - chance)).sum())
        )
        bounds.append([end * pixel_km2 if chance.size else math.nan for end in ends])
    lower, upper = np.array(bounds, float).reshape(-1, 2).T
    return glaciers.assign(area_lower_km2=lower, area_upper_km2=upper)


def _distance_px(inside: NDArray[Any]) -> NDArray[np.float32]:
    outside = (inside == 0).astype(np.uint8)
    return np.asarray(cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_5))


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


def buffer_uncertainty(outlines: NDArray[Any], buffer_m: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns by how much areas change when the boundary of the ice moves.

    Half the difference between the area grown and the area shrunk by `buffer_m`, as in Granshaw and Fountain
    (2006), Journal of Glaciology 52, 251-256, and Bolch, Menounos and Wheate (2010), Remote Sensing of
    Environment 114, 127-137. A line between two glaciers that touch is no boundary of the ice, so it does not
    move (the sum over all glaciers then says something about the ice).

    Args:
        outlines: `(N,)` polygons in metres that do not overlap.
        buffer_m: How uncertain the boundary is, `(N,)` where it differs.

    Returns:
        `(N,)` in square metres.
    """
    tree = shapely.STRtree(outlines)
    found = np.zeros(len(outlines))
    reaches = np.broadcast_to(buffer_m, len(outlines))
    for number, (outline, reach) in enumerate(zip(outlines, reaches, strict=True)):
        near = tree.query(outline, predicate="dwithin", distance=reach)
        others: Any = shapely.Polygon()
        rim = outline.boundary
        if len(near) > 1:
            west, south, east, north = outline.bounds
            box = west - 2 * reach, south - 2 * reach, east + 2 * reach, north + 2 * reach
            others = shapely.union_all(shapely.clip_by_rect(outlines[near[near != number]], *box))
            # Outlines of other people do not always touch to the last digit.
            rim = rim.difference(others.buffer(1e-3 * reach))
        ribbon = rim.buffer(reach)
        inner = ribbon.intersection(outline).area
        outer = ribbon.difference(outline).difference(others).area
        found[number] = (inner + outer) / 2
    return found


def link_table(ours: gpd.GeoDataFrame, existing: Any, column: str | None) -> pd.DataFrame:
    """Lists every pair of glaciers that share ground.

    Args:
        ours: With `inv_id`, `area_km2` and polygons.
        existing: Polygons in the same CRS.
        column: Its column of ids; row numbers from 1 when None.

    Returns:
        Columns `inv_id`, `existing_id`, `overlap_km2` (on the ellipsoid), `share_of_ours` and
        `share_of_existing` (0-1), sorted by our glaciers and then by overlap, the largest first.
    """
    mine = ours.geometry.to_numpy()
    theirs = shapely.make_valid(existing.geometry.to_numpy())
    names = existing[column].astype(str).to_numpy() if column else np.arange(1, len(theirs) + 1).astype(str)
    left, right = shapely.STRtree(theirs).query(mine, predicate="intersects")
    shared = shapely.area(shapely.intersection(mine[left], theirs[right]))
    share_of_ours = shared / shapely.area(mine[left])
    links = pd.DataFrame(
        {
            "inv_id": ours["inv_id"].to_numpy()[left],
            "existing_id": names[right],
            # A ratio of two areas at one place is the same in every projection.
            "overlap_km2": share_of_ours * ours["area_km2"].to_numpy()[left],
            "share_of_ours": np.minimum(share_of_ours, 1),
            "share_of_existing": np.minimum(shared / shapely.area(theirs[right]), 1),
            "_order": left,
        }
    )
    links = links[links["overlap_km2"] >= _LEAST_KM2]
    links = links.sort_values(["_order", "overlap_km2"], ascending=[True, False], kind="stable")
    return links.drop(columns="_order").reset_index(drop=True)
