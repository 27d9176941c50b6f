import math
from collections.abc import Callable

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod, Transformer

from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import name_of_crs


def grid_of(epsg: int, transform: Affine, height: int = 20, width: int = 30) -> Grid:
    return Grid(rasterio.CRS.from_epsg(epsg), transform, height, width)


def test_pixel_size_of_projected_grid_is_nominal(make_grid: Callable[..., Grid]) -> None:
    grid = make_grid(20, 30, size=15)
    assert grid.pixel_size_m == (15.0, 15.0)
    assert grid.pixel_area_km2 == pytest.approx(225e-6)
    assert not grid.is_geographic


def test_pixel_size_in_feet_is_metres() -> None:
    grid = grid_of(2263, Affine(100, 0, 900000, 0, -100, 200000))
    assert grid.pixel_size_m == pytest.approx((30.48, 30.48), rel=1e-4)


def test_pixel_size_of_rotated_grid_is_its_side() -> None:
    grid = grid_of(32644, Affine.translation(3e5, 3e6) * Affine.rotation(30) * Affine.scale(20, -10))
    assert grid.pixel_size_m == pytest.approx((20, 10))


@settings(deadline=None)
@given(latitude=st.floats(-80, 80), longitude=st.floats(-179, 178), size=st.floats(1e-4, 1e-2))
def test_pixel_size_in_degrees_agrees_with_an_equal_area_projection(
    latitude: float, longitude: float, size: float
) -> None:
    grid = grid_of(4326, Affine(size, 0, longitude, 0, -size, latitude), 2, 2)
    west, south = longitude + size / 2, latitude - 1.5 * size
    to_metres = Transformer.from_crs("EPSG:4326", "ESRI:54034", always_xy=True)
    x0, y0 = to_metres.transform(west, south)
    x1, y1 = to_metres.transform(west + size, south + size)
    assert grid.pixel_area_km2 == pytest.approx((x1 - x0) * (y1 - y0) / 1e6, rel=1e-3)


def test_crop_lies_where_its_pixels_lie(make_grid: Callable[..., Grid]) -> None:
    grid = make_grid(20, 30)
    part = grid.crop(3, 5, 4, 6)
    assert part.shape == (4, 6)
    assert part.transform * (0, 0) == grid.transform * (5, 3)
    assert grid.crop(-1, -2, 5, 5).transform * (2, 1) == grid.transform * (0, 0)


def test_bounds(make_grid: Callable[..., Grid]) -> None:
    assert tuple(make_grid(20, 30).bounds) == (300000, 3399800, 300300, 3400000)


def test_same_grid_has_no_difference(make_grid: Callable[..., Grid]) -> None:
    grid = make_grid(20, 30)
    shifted = Grid(grid.crs, grid.transform * Affine.translation(0.001, 0), 20, 30)
    assert grid.difference(shifted) is None


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (grid_of(32643, Affine(10, 0, 300000, 0, -10, 3400000)), "EPSG:32643 instead of EPSG:32644"),
        (grid_of(32644, Affine(10, 0, 300000, 0, -10, 3400000), 21), "30 x 21 px instead of 30 x 20 px"),
        (grid_of(32644, Affine(10, 0, 300005, 0, -10, 3400000)), r"\+0.50 columns and \+0.00 rows"),
        (grid_of(32644, Affine(10.1, 0, 300000, 0, -10, 3400000)), r"\+0.30 columns"),
    ],
)
def test_difference_is_said_in_words(make_grid: Callable[..., Grid], other: Grid, words: str) -> None:
    import re

    assert re.search(words, make_grid(20, 30).difference(other) or "")


def test_name_of_crs_without_code() -> None:
    crs = rasterio.CRS.from_proj4("+proj=laea +lat_0=31 +lon_0=78 +datum=WGS84")
    assert name_of_crs(crs) == "laea"
    assert name_of_crs(rasterio.CRS.from_epsg(32643)) == "EPSG:32643"


def test_geographic_height_follows_the_ellipsoid() -> None:
    grid = grid_of(4326, Affine(0.001, 0, 77, 0, -0.001, 33), 10, 10)
    length = Geod(ellps="WGS84").inv(77, 32.9945, 77, 32.9955)[2]
    assert math.isclose(grid.pixel_size_m[1], length, rel_tol=1e-6)
    assert np.all(np.array(grid.pixel_size_m) > 0)


def test_a_grid_knows_where_another_begins() -> None:
    grid = grid_of(32643, Affine(10, 0, 500, 0, -20, 900))
    for left, top, place in ((530, 940, (-2, 3)), (534, 868, (2, 3))):
        assert grid.place_of(grid_of(32643, Affine(10, 0, left, 0, -20, top))) == place
