"""What the terrain says about one glacier: heights, slope, aspect, length and hypsometry."""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize

from glacierseg.inventory.paths import walk
from glacierseg.inventory.sources import LocalRaster
from glacierseg.raster.bounds import move_points
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import degrees_of
from glacierseg.raster.terrain import terrain_of

SECTORS = ("N", "NE", "E", "SE", "S", "SW", "W", "NW")
"""Names of the aspect sectors 1 to 8; 9 is no direction, "flat"."""
BAND_M = 50


@dataclass(frozen=True)
class Bands:
    """Elevation bands of one glacier, from the lowest to the highest without gaps.

    Attributes:
        from_m: `(N,)` lower bounds, multiples of 50 m; they belong to the band.
        area_km2: `(N,)`, together the area of the glacier.
        permille: `(N,)` whole thousandths of the area, together 1000, as in RGI 7.0.
    """

    from_m: NDArray[np.int64]
    area_km2: NDArray[np.float64]
    permille: NDArray[np.int64]


@dataclass(frozen=True)
class Relief:
    """Terrain of one glacier.

    Attributes:
        dem_share: Share of the outline that the elevation model covers, 0-1.
        zmin_m: Lowest elevation. All that follows is None below the coverage asked for.
        zmax_m: Highest elevation.
        zmed_m: Median elevation.
        zmean_m: Mean elevation.
        slope_deg: Mean slope.
        aspect_deg: Mean aspect, clockwise from true north; None where no direction prevails.
        aspect_sec: Its sector, 1 (north) to 8 (north-west), 9 without direction.
        lmax_m: About the length along the longest way up.
        termlon: Longitude of the lowest point.
        termlat: Latitude of the lowest point.
        bands: Hypsometry.
    """

    dem_share: float
    zmin_m: float | None = None
    zmax_m: float | None = None
    zmed_m: float | None = None
    zmean_m: float | None = None
    slope_deg: float | None = None
    aspect_deg: float | None = None
    aspect_sec: int | None = None
    lmax_m: float | None = None
    termlon: float | None = None
    termlat: float | None = None
    bands: Bands | None = None


def measure_relief(
    outline: Any, area_km2: float, elevation: LocalRaster, *, least_share: float = 0.95
) -> Relief:
    """Measures the terrain under one outline.

    Pixels count when their centre lies inside; an outline that holds no centre counts all it touches.

    Args:
        outline: A polygon in the CRS of the elevation model.
        area_km2: Its area, which the hypsometry adds up to.
        elevation: The open elevation model.
        least_share: Nothing but the coverage is said when less of the outline is covered, because what is
            missing may hold the lowest or the highest point.

    Raises:
        RasterError: The elevation cannot be read.
    """
    grid = elevation.metric_window(outline.bounds, margin_px=2)
    if grid.crs != elevation.grid.crs:
        outline = shapely.transform(outline, lambda xy: move_points(xy, elevation.grid.crs, grid.crs))
    inside = pixels_inside(outline, grid)
    z = elevation.read(grid)
    known = inside & np.isfinite(z)
    share = float(known.sum() / inside.sum())
    if share < least_share or not known.any():
        return Relief(share)
    heights_m = z[known]
    lowest = _first_of(known, z, np.nanmin(heights_m))
    median_m = float(np.median(heights_m))
    direction, sector = _mean_aspect(z, known, grid)
    slopes = terrain_of(z, grid, 1, 1, ["slope"])["slope"][known[1:-1, 1:-1]].astype(np.float64)
    slopes = slopes[np.isfinite(slopes)]
    longitude, latitude = _degrees(grid, lowest)
    return Relief(
        dem_share=share,
        zmin_m=float(heights_m.min()),
        zmax_m=float(heights_m.max()),
        zmed_m=median_m,
        zmean_m=float(heights_m.mean()),
        slope_deg=float(slopes.mean()) if slopes.size else None,
        aspect_deg=direction,
        aspect_sec=sector,
        lmax_m=_length_m(inside, z, *grid.pixel_size_m),
        termlon=longitude,
        termlat=latitude,
        bands=elevation_bands(heights_m, area_km2),
    )


def pixels_inside(outline: Any, grid: Grid) -> NDArray[np.bool_]:
    """Returns `(H, W)` True where a pixel's centre lies inside, or all touched where none does."""
    for touched in (False, True):
        burnt = rasterize([outline], grid.shape, transform=grid.transform, all_touched=touched, dtype="uint8")
        if burnt.any():
            break
    inside: NDArray[np.bool_] = burnt > 0
    return inside


def sector_of(direction_deg: float) -> int:
    """Returns the sector of a direction: 1 is north, from 337.5 to 22.5 degrees, then clockwise to 8."""
    return int(((direction_deg + 22.5) % 360) // 45) + 1


def _mean_aspect(z: NDArray[Any], known: NDArray[np.bool_], grid: Grid) -> tuple[float | None, int | None]:
    """Mean direction and its sector; the share of pixels must outweigh rounding to count as one."""
    names = "aspect_sin", "aspect_cos"
    east, north = (
        layer.astype(np.float64) for layer in terrain_of(z, grid, 1, 1, names, true_north=True).values()
    )
    there = known[1:-1, 1:-1] & np.isfinite(east)
    if not there.any():
        return None, None
    mean_east, mean_north = float(east[there].mean()), float(north[there].mean())
    if math.hypot(mean_east, mean_north) < 1e-6:
        return None, 9
    direction = math.degrees(math.atan2(mean_east, mean_north)) % 360
    return direction, sector_of(direction)


def _degrees(grid: Grid, pixel: tuple[float, float]) -> tuple[float, float]:
    longitude, latitude = degrees_of(grid.crs, *(grid.transform * (pixel[1] + 0.5, pixel[0] + 0.5)))
    return float(longitude), float(latitude)


def _first_of(known: NDArray[np.bool_], z: NDArray[Any], level_m: float) -> tuple[int, int]:
    index = int(np.argmax((known & (z == level_m)).ravel()))
    return index // z.shape[1], index % z.shape[1]


def _length_m(inside: NDArray[np.bool_], z: NDArray[Any], width_m: float, height_m: float) -> float:
    """The longest way from the lowest pixel of a part to one above its median; it may cross voids."""
    count, parts = cv2.connectedComponents(inside.astype(np.uint8), connectivity=8)
    seeds = np.zeros(inside.shape, np.int32)
    upper = np.zeros(inside.shape, bool)
    for part in range(1, count):
        known = (parts == part) & np.isfinite(z)
        if known.any():
            seeds[_first_of(known, z, float(z[known].min()))] = part
            upper |= known & (z >= np.median(z[known]))
    away_m, reached = walk(inside, seeds, width_m, height_m)
    # From rim to rim: half a pixel at both ends.
    return float(away_m[(reached > 0) & upper].max(initial=0.0)) + math.sqrt(width_m * height_m)


def elevation_bands(heights_m: NDArray[np.float64], area_km2: float) -> Bands:
    """Counts the pixels of a glacier in bands of 50 m.

    Args:
        heights_m: `(N,)` elevation of its pixels, at least one.
        area_km2: Its area. Where elevation is missing, it is taken to be spread as where it is known.
    """
    steps = np.floor(heights_m / BAND_M).astype(np.int64)
    counts = np.bincount(steps - steps.min())
    shares = counts / counts.sum()
    return Bands(
        from_m=(steps.min() + np.arange(len(counts))) * BAND_M,
        area_km2=shares * area_km2,
        permille=_thousandths(shares),
    )


def _thousandths(shares: NDArray[Any]) -> NDArray[np.int64]:
    """Rounds shares so that they add up to 1000: what is left goes to the largest remainders."""
    exact = shares * 1000
    whole: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    whole[np.argsort(whole - exact, kind="stable")[: 1000 - whole.sum()]] += 1
    return whole
