import math
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from shapely import Polygon

from glacierseg.inventory.attributes import add_relief
from glacierseg.inventory.relief import measure_relief, sector_of
from glacierseg.inventory.sources import open_local
from glacierseg.raster.grid import Grid
from tests.helpers import present
from tests.inventory.ground import grid_of, write_dem


def box_of(grid: Grid, top: int, left: int, bottom: int, right: int) -> Polygon:
    """The outline of pixel rows and columns."""
    west, north = grid.transform * (left, top)
    east, south = grid.transform * (right, bottom)
    return shapely.box(west, south, east, north)


def tilted(grid: Grid, towards_deg: int, slope_deg: int, base: float = 5000.0) -> NDArray[np.float64]:
    """A plane that falls towards a direction."""
    row, column = np.mgrid[: grid.height, : grid.width]
    width_m, height_m = grid.pixel_size_m
    angle = math.radians(towards_deg)
    along = column * width_m * math.sin(angle) - row * height_m * math.cos(angle)
    result: NDArray[np.float64] = base - along * math.tan(math.radians(slope_deg))
    return result


@pytest.mark.parametrize("towards", [0, 45, 100, 180, 225, 270, 359])
def test_a_plane_has_its_slope_and_aspect(tmp_path: Path, towards: int) -> None:
    grid = grid_of(60, 60, west=499_100)  # at the central meridian, where grid north is true north
    z = tilted(grid, towards, 20)
    with open_local(write_dem(tmp_path / "dem.tif", z, grid)) as dem:
        relief = measure_relief(box_of(grid, 10, 12, 40, 50), 1.0, dem)
    inner = z[10:40, 12:50]
    assert relief.slope_deg == pytest.approx(20, abs=0.01)
    assert abs((present(relief.aspect_deg) - towards + 180) % 360 - 180) < 0.01
    assert relief.aspect_sec == sector_of(towards)
    assert relief.dem_share == 1
    for name, value in (("zmin_m", inner.min()), ("zmax_m", inner.max()), ("zmean_m", inner.mean())):
        assert getattr(relief, name) == pytest.approx(value, abs=0.01)
    assert relief.zmed_m == pytest.approx(np.median(inner), abs=0.01)


def test_aspect_counts_from_true_north(tmp_path: Path) -> None:
    """In polar stereographic coordinates grid north may point anywhere."""
    crs = rasterio.CRS.from_epsg(3413)  # grid north is true north along 45 degrees west only
    grid = Grid(crs, Affine(30, 0, 700_000, 0, -30, -1_500_000), 60, 60)
    with open_local(write_dem(tmp_path / "dem.tif", tilted(grid, 0, 15), grid)) as dem:
        relief = measure_relief(box_of(grid, 20, 20, 40, 40), 1.0, dem)
    # Downhill is towards +y. The point lies at (700900, -1500900), so the pole is towards (-x, -y).
    true_north = math.degrees(math.atan2(-700_900, 1_500_900))
    expected = (0 - true_north) % 360
    assert abs((present(relief.aspect_deg) - expected + 180) % 360 - 180) < 0.3


def test_slopes_in_degrees_and_web_mercator_are_those_of_the_ground(tmp_path: Path) -> None:
    latitude = 60.0
    for crs, step in (("EPSG:4326", 0.0005), ("EPSG:3857", 60.0)):
        x, y = (10.0, latitude) if crs == "EPSG:4326" else (1_113_195.0, 8_399_738.0)
        grid = Grid(rasterio.CRS.from_string(crs), Affine(step, 0, x, 0, -step, y), 80, 80)
        row = np.mgrid[:80, :80][0]
        metres = step * (111_412 if crs == "EPSG:4326" else 0.5) * row
        z = 1000 - metres * math.tan(math.radians(25))
        with open_local(write_dem(tmp_path / "dem.tif", z, grid)) as dem:
            relief = measure_relief(box_of(grid, 20, 20, 60, 60), 1.0, dem)
        assert relief.slope_deg == pytest.approx(25, abs=0.3)
        assert relief.aspect_deg == pytest.approx(180, abs=0.5)


@pytest.mark.parametrize(("height", "width"), [(200, 10), (12, 150)])
def test_a_straight_glacier_is_as_long_as_it_is(tmp_path: Path, height: int, width: int) -> None:
    grid = grid_of(height + 10, width + 10)
    z = tilted(grid, 180 if height > width else 90, 10)
    with open_local(write_dem(tmp_path / "dem.tif", z, grid)) as dem:
        relief = measure_relief(box_of(grid, 5, 5, 5 + height, 5 + width), 1.0, dem)
    long, wide = 30 * max(height, width), 30 * min(height, width)
    # The farthest pixel may lie in the other corner, and a way between two of the sixteen directions zigzags.
    assert long <= present(relief.lmax_m) <= math.hypot(long, wide) * 1.028


def test_a_bent_glacier_is_measured_around_the_bend(tmp_path: Path) -> None:
    grid = grid_of(120, 120)
    row, column = np.mgrid[:120, :120]
    z = 4000 + 5.0 * (100 - row) + 5.0 * (column - 10)
    arms = shapely.union_all([box_of(grid, 10, 10, 110, 16), box_of(grid, 10, 10, 16, 110)])
    with open_local(write_dem(tmp_path / "dem.tif", z, grid)) as dem:
        relief = measure_relief(arms, 1.0, dem)
    assert relief.lmax_m == pytest.approx((94 + 94) * 30, rel=0.03)


def test_terrain_is_not_told_where_much_of_it_is_missing(tmp_path: Path) -> None:
    grid = grid_of(60, 60)
    z = tilted(grid, 90, 10)
    z[:, 30:] = np.nan
    path = write_dem(tmp_path / "dem.tif", z, grid)
    with open_local(path) as dem:
        half = measure_relief(box_of(grid, 20, 20, 40, 40), 1.0, dem)
        forced = measure_relief(box_of(grid, 20, 20, 40, 40), 1.0, dem, least_share=0.5)
        beside = measure_relief(box_of(grid, 20, 100, 40, 120), 1.0, dem)
        beyond = measure_relief(box_of(grid, 20, -10, 40, 10), 1.0, dem)
    assert half.dem_share == pytest.approx(0.5)
    assert (half.zmin_m, half.bands, half.aspect_sec) == (None, None, None)
    assert forced.zmax_m == pytest.approx(z[20:40, 20:30].max(), abs=0.01)
    assert beside.dem_share == 0
    assert beside.zmin_m is None
    assert beyond.dem_share == pytest.approx(0.5)


@pytest.mark.parametrize("hole", [(slice(20, 23), slice(12, 15)), (slice(10, 11), slice(10, 20))])
def test_voids_do_not_change_what_is_known(tmp_path: Path, hole: tuple[slice, slice]) -> None:
    """Nine pixels in the middle, or some of the highest row."""
    grid = grid_of(100, 40)
    z = tilted(grid, 180, 10)
    outline = box_of(grid, 10, 10, 80, 30)
    with open_local(write_dem(tmp_path / "whole.tif", z, grid)) as dem:
        whole = measure_relief(outline, 1.0, dem)
    z[hole] = np.nan
    with open_local(write_dem(tmp_path / "voids.tif", z, grid)) as dem:
        found = measure_relief(outline, 1.0, dem)
    assert found.dem_share == pytest.approx(1 - np.isnan(z[10:80, 10:30]).mean())
    for name in ("zmin_m", "zmax_m", "lmax_m", "termlon", "termlat", "slope_deg", "aspect_deg"):
        assert getattr(found, name) == pytest.approx(getattr(whole, name), rel=1e-6)
    assert found.zmed_m == pytest.approx(whole.zmed_m, abs=3)
    assert present(found.bands).area_km2.sum() == pytest.approx(1.0)


def test_a_way_may_cross_a_void_but_does_not_begin_or_end_in_one(tmp_path: Path) -> None:
    grid = grid_of(100, 20)
    z = tilted(grid, 180, 10)
    z[40:44] = np.nan  # all across the glacier
    z[79] = np.nan  # the lowest row
    with open_local(write_dem(tmp_path / "dem.tif", z, grid)) as dem:
        found = measure_relief(box_of(grid, 10, 8, 80, 11), 1.0, dem, least_share=0.9)
    assert found.zmin_m == pytest.approx(np.nanmin(z[10:80, 8:11]))
    assert 69 * 30 <= present(found.lmax_m) < 71 * 30


def test_the_length_of_parts_is_that_of_the_longest(tmp_path: Path) -> None:
    """The lowest pixel lies in a small part, from which no way leads to the other."""
    grid = grid_of(100, 40)
    z = tilted(grid, 180, 10)
    parts = shapely.MultiPolygon([box_of(grid, 10, 10, 60, 14), box_of(grid, 70, 30, 72, 32)])
    with open_local(write_dem(tmp_path / "dem.tif", z, grid)) as dem:
        found = measure_relief(parts, 1.0, dem)
    assert 50 * 30 <= present(found.lmax_m) <= math.hypot(50, 4) * 30 * 1.028


def test_level_ground_and_tiny_outlines(tmp_path: Path) -> None:
    grid = grid_of(30, 30)
    path = write_dem(tmp_path / "dem.tif", np.full((30, 30), 5100.0), grid)
    x, y = grid.transform * (10.05, 10.05)
    with open_local(path) as dem:
        relief = measure_relief(shapely.box(x, y - 3, x + 3, y), 1e-5, dem)
    assert (relief.zmin_m, relief.slope_deg, relief.aspect_deg, relief.aspect_sec) == (5100, 0, None, 9)
    assert present(relief.bands).permille.tolist() == [1000]


def test_sectors_begin_half_way_between_directions() -> None:
    assert [sector_of(d) for d in (0, 22.4, 22.6, 90, 337.4, 337.6, 359.9, 202.5)] == [1, 1, 2, 3, 8, 1, 1, 6]


def test_a_glacier_at_the_date_line_has_the_terrain_of_both_ends_of_a_model(tmp_path: Path) -> None:
    """A model from -180 to 180 degrees ends in the middle of the glacier and begins again there."""
    grid = Grid(rasterio.CRS.from_epsg(4326), Affine(0.02, 0, -180, 0, -0.01, 71.1), 20, 18_000)
    east = (np.arange(18_000) + 0.5) * 0.02 - 180
    east = np.where(east < 0, east + 180, east - 180)  # degrees from the date line
    z = np.tile(1000 + np.clip(east, -1, 1) * 500, (20, 1))
    longitudes = shapely.box(179.9, 70.95, 180.1, 71.05)
    glaciers = gpd.GeoDataFrame({"inv_id": ["x"], "area_km2": [80.0]}, geometry=[longitudes], crs=4326)
    with open_local(write_dem(tmp_path / "dem.tif", z, grid)) as dem:
        found, _ = add_relief(glaciers.to_crs(32601), dem, least_share=0.95)
    glacier = found.iloc[0]
    assert glacier.dem_share == 1
    assert (glacier.zmin_m, glacier.zmax_m) == pytest.approx((950, 1050), abs=10)
    assert glacier.slope_deg == pytest.approx(math.degrees(math.atan(500 / 36_370)), rel=0.05)
    assert glacier.aspect_deg == pytest.approx(270, abs=1)
