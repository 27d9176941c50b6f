import math
from collections.abc import Iterable, Sequence
from functools import cache, partial

import numpy as np
import pytest
from affine import Affine
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pyproj import Geod, Transformer
from rasterio.crs import CRS

from glacierseg.errors import RasterError
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import even_pixel_m, pixel_areas_km2, pixel_axes, unevenness

GEOD = Geod(ellps="WGS84")
# CRS by kind, with the degrees (west, south, east, north) in which places are tried.
WORLD = {
    "EPSG:32645": (84, 1, 90, 83),
    "EPSG:32745": (80, -79, 94, -1),
    "EPSG:2056": (6, 45.9, 10.4, 47.7),
    "EPSG:2272": (-80, 39.8, -75, 41),
    "EPSG:3857": (-179, -80, 179, 80),
    "EPSG:4326": (-179, -85, 179, 85),
    "EPSG:4269": (-170, 30, -60, 80),
    "EPSG:3413": (-179, 55, 179, 89),
    "EPSG:3031": (-179, -89, 179, -60),
    "EPSG:3338": (-175, 52, -130, 71),
    "ESRI:102001": (-140, 42, -60, 80),
    "EPSG:3035": (-25, 35, 40, 71),
    "EPSG:6931": (-179, 50, 179, 89),
    "EPSG:6933": (-179, -75, 179, 75),
    "+proj=stere +lat_0=90 +lat_ts=71 +lon_0=0 +units=km +datum=WGS84": (-179, 60, 179, 89),
}


way = cache(partial(Transformer.from_crs, always_xy=True))


def grid_at(crs: str, longitude: float, latitude: float, side: float, turn: float = 0, size: int = 9) -> Grid:
    """A small square grid around a place, with sides in units of the CRS."""
    reference = CRS.from_user_input(crs)
    x, y = Transformer.from_crs("EPSG:4326", reference.to_wkt(), always_xy=True).transform(
        longitude, latitude
    )
    transform = Affine.translation(x, y) * Affine.rotation(turn) * Affine.scale(side, -side)
    return Grid(reference, transform * Affine.translation(-size / 2, -size / 2), size, size)


def degrees(grid: Grid, corners: Iterable[Sequence[float]]) -> list[tuple[float, float]]:
    to = way(grid.crs.to_wkt(), "EPSG:4326")
    return [to.transform(*(grid.transform * (x, y))) for x, y in corners]


@st.composite
def places(draw: st.DrawFn) -> Grid:
    crs = draw(st.sampled_from(sorted(WORLD)))
    west, south, east, north = WORLD[crs]
    reference = CRS.from_user_input(crs)
    unit_m = 111_000 if reference.is_geographic else reference.linear_units_factor[1]
    metres = draw(st.floats(2, 200))
    return grid_at(
        crs,
        draw(st.floats(west, east)),
        draw(st.floats(south, north)),
        metres / unit_m,
        draw(st.floats(0, 360)),
    )


@settings(max_examples=60, deadline=None)
@given(places())
def test_pixels_have_the_sides_and_the_area_that_geodesics_say(grid: Grid) -> None:
    n = grid.height
    width_m, height_m = grid.pixel_size_m
    corners = np.array(degrees(grid, [(0, 0), (n, 0), (n, n), (0, n)]))
    area_m2 = abs(GEOD.polygon_area_perimeter(*corners.T)[0]) / n**2
    middle = n / 2
    along = [degrees(grid, ends) for ends in ([(0, middle), (n, middle)], [(middle, 0), (middle, n)])]
    true_m = [GEOD.inv(*ends[0], *ends[1])[2] / n for ends in along]
    slant = area_m2 / math.prod(true_m)
    assert width_m * height_m == pytest.approx(area_m2, rel=0.0045)
    assert width_m == pytest.approx(true_m[0] * math.sqrt(slant), rel=0.0025)
    assert height_m == pytest.approx(true_m[1] * math.sqrt(slant), rel=0.0025)


@pytest.mark.parametrize("crs", ["EPSG:32645", "EPSG:2056", "EPSG:26934"])
def test_where_a_projection_is_true_to_scale_its_own_metres_count(crs: str) -> None:
    place = {"EPSG:32645": (87, 28), "EPSG:2056": (8, 46.5), "EPSG:26934": (-150, 61)}[crs]
    assert grid_at(crs, *place, 10).pixel_size_m == (10, 10)
    assert grid_at(crs, *place, 10, turn=30).pixel_size_m == pytest.approx((10, 10), rel=1e-12)


def test_pixels_of_web_mercator_shrink_with_the_cosine_of_the_latitude() -> None:
    size_m = grid_at("EPSG:3857", -147, 61, 10 / math.cos(math.radians(61))).pixel_size_m
    assert size_m == pytest.approx((10.0257, 10.0094), abs=2e-3)


def test_a_crs_that_is_not_tied_to_the_earth_has_no_sizes() -> None:
    crs = CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]')
    with pytest.raises(RasterError, match=r"not tied to the Earth.*edit-info"):
        _ = Grid(crs, Affine(10, 0, 0, 0, -10, 0), 5, 5).pixel_size_m


def test_a_crs_that_is_no_map_has_no_sizes() -> None:
    with pytest.raises(RasterError, match="EPSG:4978 is no map"):
        _ = Grid(CRS.from_epsg(4978), Affine(10, 0, 5e5, 0, -10, 3e6), 5, 5).pixel_size_m


def test_a_grid_whose_middle_lies_beyond_the_globe_has_no_sizes() -> None:
    crs = CRS.from_user_input("+proj=ortho +lat_0=60 +lon_0=10 +datum=WGS84")
    with pytest.raises(RasterError, match="no place on Earth"):
        _ = Grid(crs, Affine(10, 0, 7e6, 0, -10, 0), 5, 5).pixel_size_m


@pytest.mark.parametrize(
    "grid",
    [
        grid_at("EPSG:32643", 77, 32, 20, size=200),
        grid_at("EPSG:4326", 86.8, 28, 2.5e-4, size=256),
        grid_at("EPSG:4326", 20, 79, 1e-4, size=1000),
        grid_at("EPSG:3857", 86, 28, 10, size=10_000),
        grid_at("EPSG:3413", -30, 62, 30, size=5000),
        grid_at("EPSG:3413", 0, 90, 30, size=10_000),
        grid_at("EPSG:6933", 10, 61, 30, size=1000),
        grid_at("EPSG:32643", 77, 32, 20, turn=33),
    ],
)
def test_one_size_serves_a_scene_of_usual_extent(grid: Grid) -> None:
    assert even_pixel_m(grid, "m.tif") == grid.pixel_size_m


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        (grid_at("EPSG:4326", 70, 45, 0.01, size=2000), r"m\.tif.*to .* m wide on the ground, by place"),
        (grid_at("EPSG:3857", 15, 70, 100, size=5000), "by place"),
        (grid_at("ESRI:54009", 80, 35, 30), "slanted"),
        (Grid(CRS.from_epsg(32643), Affine(10, 4, 5e5, 0, -10, 36e5), 50, 50), "slanted"),
    ],
    ids=["tall", "mercator", "mollweide", "sheared"],
)
def test_one_size_that_would_be_wrong_is_refused_with_its_cure(grid: Grid, words: str) -> None:
    with pytest.raises(RasterError, match=f"{words}.*prepare stack m.tif .*nearest --out UTM.tif"):
        even_pixel_m(grid, "m.tif")
    with pytest.raises(RasterError, match=r"prepare stack 'a b.tif' c.tif --pixel-size-m [\d.e+]+ --out"):
        even_pixel_m(grid, "region x", ["a b.tif", "c.tif"])


def test_a_scene_that_is_too_wide_for_utm_as_well_has_to_be_cut() -> None:
    with pytest.raises(RasterError, match=r"by more than 5 %, so cut it into smaller scenes$"):
        even_pixel_m(grid_at("EPSG:3413", 0, 90, 1000, size=6000), "m.tif")


@pytest.mark.parametrize(
    ("crs", "place", "side"),
    [("EPSG:4326", (20, 70), 1e-3), ("EPSG:3857", (20, 70), 100), ("EPSG:3413", (20, 85), 100)],
)
def test_unevenness_is_what_pixels_at_the_corners_say(crs: str, place: tuple[int, int], side: float) -> None:
    grid = grid_at(crs, *place, side, size=500)
    size_m = grid.pixel_size_m
    worst = 0.0
    for row, column in ((0, 0), (0, 499), (499, 0), (499, 499)):
        corner_m = grid.crop(row, column, 1, 1).pixel_size_m
        worst = max(worst, *(abs(one / said - 1) for one, said in zip(corner_m, size_m, strict=True)))
        worst = max(worst, abs(math.prod(corner_m) / math.prod(size_m) - 1))
    assert unevenness(grid) == pytest.approx(worst, rel=0.01, abs=0.002)


@settings(max_examples=40, deadline=None)
@given(places(), st.integers(0, 8), st.integers(0, 8))
def test_axes_point_where_the_ground_lies(grid: Grid, row: int, column: int) -> None:
    axes = pixel_axes(grid, row, column, 1, 1, true_north=True)
    for (east, north), step in (
        ((axes.column_east_m, axes.column_north_m), (1, 0)),
        ((axes.row_east_m, axes.row_north_m), (0, 1)),
    ):
        middle = column + 0.5, row + 0.5
        ends = [tuple(m + side * s / 2 for m, s in zip(middle, step, strict=True)) for side in (-1, 1)]
        before, after = degrees(grid, ends)
        step_m = np.asarray(east)[0, 0], np.asarray(north)[0, 0]
        azimuth, back, length = GEOD.inv(*before, *after)
        assume(abs(before[1]) < 88)
        assert math.hypot(*step_m) == pytest.approx(length, rel=1e-5)
        found = math.degrees(math.atan2(*step_m))
        towards = azimuth + ((back + 180 - azimuth + 180) % 360 - 180) / 2
        assert abs((found - towards + 180) % 360 - 180) < 0.01


@pytest.mark.parametrize(
    "grid",
    [grid_at("EPSG:4326", 20, 70, 1e-3, size=700), grid_at("EPSG:3413", 10, 89.5, 300, turn=20, size=700)],
    ids=["degrees", "pole"],
)
def test_axes_between_the_nodes_are_those_of_single_pixels_and_of_any_block(grid: Grid) -> None:
    whole = pixel_axes(grid, 0, 0, *grid.shape)
    part = pixel_axes(grid, 301, 17, 40, 90)
    for name in ("column_east_m", "column_north_m", "row_east_m", "row_north_m"):
        everywhere = np.broadcast_to(getattr(whole, name), grid.shape)
        found = np.broadcast_to(getattr(part, name), (40, 90))
        np.testing.assert_array_equal(found, everywhere[301:341, 17:107])
        for row, column in ((0, 0), (123, 456), (350, 351), (699, 12)):
            alone = getattr(pixel_axes(grid.crop(row, column, 1, 1), 0, 0, 1, 1), name)[0, 0]
            assert everywhere[row, column] == pytest.approx(alone, rel=1e-5, abs=1e-3)


def test_axes_of_utm_are_its_own_and_those_of_polar_grids_true() -> None:
    utm = pixel_axes(grid_at("EPSG:32645", 89.5, 60, 10), 0, 0, 9, 9)
    assert (utm.column_east_m, utm.column_north_m, utm.row_east_m, utm.row_north_m) == (10, 0, 0, -10)
    # On 45 degrees east the pole lies in the direction of -y, so a step down is one to the north.
    polar = pixel_axes(grid_at("EPSG:3413", 135, 70, 10), 0, 0, 9, 9)
    assert np.asarray(polar.row_north_m)[4, 4] == pytest.approx(10, rel=1e-3)
    assert np.asarray(polar.column_east_m)[4, 4] == pytest.approx(-10, rel=1e-3)


@settings(max_examples=40, deadline=None)
@given(places(), st.integers(0, 8), st.integers(0, 8))
def test_areas_of_pixels_are_those_of_their_ground(grid: Grid, row: int, column: int) -> None:
    corners = [(column, row), (column + 1, row), (column + 1, row + 1), (column, row + 1)]
    longitudes, latitudes = np.transpose(degrees(grid, corners))
    assume(np.abs(latitudes).max() < 88)
    assume(np.ptp(longitudes) < 180)
    area_m2, _ = GEOD.polygon_area_perimeter(longitudes, latitudes)
    areas = np.broadcast_to(pixel_areas_km2(grid), grid.shape)
    assert areas[row, column] == pytest.approx(abs(area_m2) / 1e6, rel=5e-3)
