"""The glaciers of two dates from masks or inventories of any CRS, and which dates these are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from glacierseg.errors import RequestError, TruthError
from glacierseg.evaluate.glaciers import glaciers_by_part, outline_ids
from glacierseg.inventory.sources import ends_of_data
from glacierseg.raster.bounds import middle_of_shapes, utm_at
from glacierseg.raster.facts import SEASON_DAYS, days_apart_in_year, days_in_words, facts_of
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import even_pixel_m
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.outlines import (
    contradictions,
    dates_of,
    is_vector,
    mean_date,
    read_shapes,
    refuse_layer_of_raster,
)
from glacierseg.raster.truth import GLACIER, IGNORE, read_mask
from glacierseg.raster.warp import metric_grid
from glacierseg.settings.outlines import ChangeSettings, as_date, is_year
from glacierseg.vectors.layers import areas_km2
from glacierseg.vectors.trace import to_crs, trace_polygons

LEAST_DAYS = 365 - SEASON_DAYS
"""From which rates per year are given: a mass-balance year, from one end of summer to about the next."""
_SPREAD_DAYS = 366
_NAMES = ("old_date", "new_date")
# Between places so far apart, straight lines in one projection are straight in another to within a pixel.
_STEP_PX = 4
VECTOR_ERROR_M = 10.0
"""Default uncertainty of outlines from a file; of rasters it is half a pixel."""


@dataclass(frozen=True, eq=False)
class Side:
    """The glaciers of one date.

    Attributes:
        shapes: `(N,)` valid polygons, one for each glacier.
        ids: Of each.
        crs: Of the polygons.
        error_m: Their uncertainty by default.
        grid: Of the mask; None for outlines.
        frame: All ground of the mask; None for outlines.
        known: Its ground without ignored pixels, `shapes` lie in it.
        ends: `(M,)` lines where its data end.
        median_px: How many pixels half of its glaciers have at most; None for outlines.
        days: Of its images, as far as the file tells.
    """

    shapes: NDArray[Any]
    ids: tuple[str, ...]
    crs: CRS
    error_m: float
    grid: Grid | None = None
    frame: Any = None
    known: Any = None
    ends: Any = None
    median_px: float | None = None
    days: tuple[date, ...] = ()

    def in_crs(self, crs: CRS) -> "Side":
        """Returns the same in another CRS.

        Raises:
            TruthError: Some glacier has no place in it.
        """
        if crs == self.crs:
            return replace(self, known=None if self.known is None else shapely.union_all(self.known))
        shapes = moved(self.shapes, self.crs, crs)
        if np.isinf(shapely.get_coordinates(shapes)).any():
            raise TruthError(
                "the glaciers of both dates lie too far apart for one projection in metres; compare files "
                "that hold one region each"
            )
        changes: dict[str, Any] = {"shapes": shapely.make_valid(shapes), "crs": crs}
        if self.grid is not None:
            # Straight lines bend in another projection: glaciers and the ends of the data must bend alike.
            a, b, _, d, e, _ = self.grid.transform[:6]
            step = _STEP_PX * min(math.hypot(a, d), math.hypot(b, e))
            bent = {
                name: moved(shapely.segmentize(np.atleast_1d(getattr(self, name)), step), self.crs, crs)
                for name in ("shapes", "frame", "known", "ends")
            }
            changes |= {
                "shapes": shapely.make_valid(bent["shapes"]),
                "frame": shapely.union_all(shapely.make_valid(bent["frame"])),
                "known": shapely.union_all(shapely.make_valid(bent["known"])),
                "ends": bent["ends"],
            }
        return replace(self, **changes)


def read_side(path: Path, layer: str | None, option: str) -> Side:
    """Reads a date in the CRS of its file.

    Args:
        path: A mask raster or outlines.
        layer: Of a vector file with several.
        option: Where the user says which layer.

    Raises:
        RasterError: The raster cannot be read.
        TruthError: The mask has other values than 0, 1 and 255, or the outlines cannot be used.
        RequestError: A layer is asked for of a raster.
    """
    if is_vector(path):
        table = read_shapes(path, layer=layer, option=option)
        shapes = table.geometry.to_numpy()
        crs = CRS.from_user_input(table.crs)
        return Side(shapes, outline_ids(table), crs, VECTOR_ERROR_M, days=dates_of(table))
    refuse_layer_of_raster(path, layer, option)
    with open_raster(path) as dataset:
        grid = grid_of(dataset)
    mask = read_mask(path)
    parts = _parts_of(mask) if (mask == GLACIER).any() else np.empty(0, object)
    height, width = mask.shape
    frame = np.array([shapely.box(0, 0, width, height)], object)
    known = frame if (mask != IGNORE).all() else trace_polygons((mask != IGNORE).astype(np.uint8))
    return Side(
        to_crs(parts, grid.transform),
        tuple(str(number) for number in range(1, len(parts) + 1)),
        CRS.from_wkt(grid.crs.to_wkt()),
        max(even_pixel_m(grid, str(path))) / 2,
        grid,
        to_crs(frame, grid.transform)[0],
        to_crs(known, grid.transform),
        ends_of_data(mask, grid.transform),
        float(np.median(shapely.area(parts))) if len(parts) else None,
        facts_of(path).dates,
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
    return areas_km2(shapes, crs) * 1e6 / shapely.area(shapes)


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


def with_dates(
    settings: ChangeSettings, dates: Sequence[tuple[Path, Side]]
) -> tuple[ChangeSettings, list[str]]:
    """Fills in the dates that are not given, and says what is odd about them.

    Args:
        settings: As the user gave them; what they say wins.
        dates: The file and the glaciers of the old and the new date.

    Returns:
        Settings with both dates or none, and notes; also why there are no rates (`rate_years`).

    Raises:
        RequestError: One date is given and the other one is not known, or the new date is not after the old.
    """
    found: dict[str, str | None] = {}
    days: list[tuple[date, ...]] = []
    notes: list[str] = []
    for name, (path, side) in zip(_NAMES, dates, strict=True):
        option: str | None = getattr(settings, name)
        if option is None:
            middle = mean_date(side.days)
            found[name] = middle.isoformat() if middle else None
            days.append(side.days)
            notes += _about_spread(path, side.days)
        else:
            found[name] = option
            days.append(() if is_year(option) else (as_date(option),))
            notes += contradictions(f"--{name.replace('_', '-')} {option}", option, path, side.days)
    if all(days):
        notes += _about_season(days)
    given = settings.old_date is not None or settings.new_date is not None
    unknown = [path for text, (path, _) in zip(found.values(), dates, strict=True) if text is None]
    if unknown and given:
        raise RequestError(
            f"a rate needs both dates, and {unknown[0]} has none; give --old-date and --new-date"
        )
    if len(unknown) == 1:
        notes.append(f"{unknown[0]}: has no date; rates per year need --old-date and --new-date")
    if not unknown and not given and found["old_date"] == found["new_date"]:
        notes.append(f"both files are of {found['old_date']}, so there are no rates per year")
        return settings, notes
    if unknown:
        return settings, notes
    dated = settings.replaced(**found)
    if dated.years is not None and rate_years(dated) is None:
        notes.append(
            f"the two dates ({dated.old_date}, {dated.new_date}) are less than a mass-balance year apart, "
            f"{LEAST_DAYS} days at least, so there are no rates per year: what changed may be snow"
        )
    return dated, notes


def rate_years(settings: ChangeSettings) -> float | None:
    """Returns the years that a rate counts by; None without dates, and within one mass-balance year.

    Within a year snow comes and goes, and a few months times three are no year: of two masks 106 days apart
    the total was -242 % per year.
    """
    years = settings.years
    return years if years is not None and round(years * 365.25) >= LEAST_DAYS else None


def _about_spread(path: Path, days: tuple[date, ...]) -> list[str]:
    if not days or (max(days) - min(days)).days <= _SPREAD_DAYS:
        return []
    return [f"{path}: is of {days_in_words(days)}; rates count from the mean, {mean_date(days)}"]


def _about_season(days: Sequence[tuple[date, ...]]) -> list[str]:
    apart = min(days_apart_in_year(old, new) for old in set(days[0]) for new in set(days[1]))
    if apart <= SEASON_DAYS:
        return []
    line = (
        f"the two dates ({', '.join(map(days_in_words, days))}) are {apart} days of the year apart: snow "
        "makes glaciers look larger, so a part of the change may be the season"
    )
    return [line]
