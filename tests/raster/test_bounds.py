from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.crs import CRS
from shapely import Polygon
from shapely.geometry.base import BaseGeometry

from glacierseg.raster.blocks import Block
from glacierseg.raster.bounds import (
    boxes_in,
    degree_box,
    footprint_on_grid,
    frame_polygon,
    may_meet,
    middle_of,
    middle_of_shapes,
    near_boxes,
    utm_at,
    wrap_towards,
)
from glacierseg.raster.elevation import open_terrain
from glacierseg.raster.grid import Grid
from glacierseg.raster.outlines import read_outlines
from glacierseg.raster.prepare.rasterize import rasterize_file
from glacierseg.raster.warp import metric_grid, on_grid, utm_crs
from tests.raster.test_ground import GEOD, degrees, grid_at, way


def spread_points(grid: Grid, count: int = 12) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places all over a grid in its CRS."""
    columns, rows = np.meshgrid(np.linspace(0, grid.width, count), np.linspace(0, grid.height, count))
    transform: Any = grid.transform  # affine knows no arrays by its types
    result: tuple[NDArray[np.float64], NDArray[np.float64]] = transform * (columns.ravel(), rows.ravel())
    return result


def holds(
    box: tuple[float, float, float, float],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    slack: float = 1e-6,
) -> NDArray[np.bool_]:
    west, south, east, north = box
    return (west - slack <= x) & (x <= east + slack) & (south - slack <= y) & (y <= north + slack)


GRIDS = {
    "utm": grid_at("EPSG:32645", 87, 28, 30, size=400),
    "turned": grid_at("EPSG:32645", 87, 28, 30, turn=40, size=400),
    "utm60": grid_at("EPSG:32660", 179.9, 70, 30, size=2000),
    "utm1": grid_at("EPSG:32601", -179.9, 70, 30, size=2000),
    "degrees180": grid_at("EPSG:4326", 180, 70, 0.001, size=900),
    "degrees360": grid_at("EPSG:4326", 359.9, 70, 0.001, size=900),
    "arctic": grid_at("EPSG:3413", 0, 90, 1000, turn=10, size=900),
    "beside the pole": grid_at("EPSG:3413", 20, 89, 100, size=900),
    "over 180 by the pole": grid_at("EPSG:3413", 180, 80, 1000, size=300),
    "antarctic": grid_at("EPSG:3031", 0, -90, 1000, size=3000),
    "mercator": grid_at("EPSG:3857", 15, 70, 100, size=3000),
}


@pytest.mark.parametrize("name", GRIDS)
def test_a_box_in_degrees_holds_the_grid_and_little_more(name: str) -> None:
    grid = GRIDS[name]
    longitudes, latitudes = way(grid.crs.to_wkt(), "EPSG:4326").transform(*spread_points(grid, 60))
    boxes = boxes_in(grid, CRS.from_epsg(4326))
    inside = np.any([holds(box, longitudes, latitudes, 1e-3) for box in boxes], axis=0)
    assert inside.all()
    west, south, east, north = degree_box(grid)
    if "arctic" not in name:
        gaps = np.diff(np.sort(longitudes), append=longitudes.min() + 360)
        assert east - west == pytest.approx(360 - gaps.max(), rel=0.01)
        assert (south, north) == pytest.approx((latitudes.min(), latitudes.max()), abs=0.02)
    assert -180 <= (west + east) / 2 <= 180


def test_a_grid_around_a_pole_holds_all_longitudes_up_to_it() -> None:
    assert degree_box(GRIDS["arctic"])[::2] == (-180, 180)
    assert degree_box(GRIDS["arctic"])[3] == 90
    assert degree_box(GRIDS["antarctic"])[1] == -90


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(GRIDS)), st.sampled_from([3413, 3857, 32660, 32601, 32645, 4326, 3031]))
def test_boxes_in_any_crs_hold_the_grid(name: str, code: int) -> None:
    grid, crs = GRIDS[name], CRS.from_epsg(code)
    x, y = way(grid.crs.to_wkt(), crs.to_wkt()).transform(*spread_points(grid))
    there = np.isfinite(x) & np.isfinite(y)
    slack = 1e-3 if crs.is_geographic else 50
    inside = np.any([holds(box, x[there], y[there], slack) for box in boxes_in(grid, crs)], axis=0)
    assert inside.all()


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("utm60", "utm1", True),
        ("utm60", "degrees180", True),
        ("utm1", "degrees180", True),
        ("degrees180", "over 180 by the pole", False),
        ("utm", "turned", True),
        ("utm", "utm60", False),
        ("utm", "arctic", False),
        ("arctic", "beside the pole", True),
        ("arctic", "antarctic", False),
        ("degrees360", "degrees180", False),
    ],
)
def test_grids_meet_where_they_share_ground(one: str, other: str, meet: bool) -> None:
    assert may_meet(GRIDS[one], GRIDS[other]) == meet
    assert may_meet(GRIDS[other], GRIDS[one]) == meet


def test_one_meridian_is_written_in_three_ways() -> None:
    grids = [grid_at("EPSG:4326", longitude, 70, 0.01, size=50) for longitude in (-179.9, 180.1, -539.9)]
    assert all(may_meet(one, other) for one in grids for other in grids)
    assert not may_meet(grids[0], grid_at("EPSG:4326", 179, 70, 0.01, size=50))


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ((87, 28), 32645), ((-179.5, 70), 32601), ((179.5, 70), 32660), ((180, 70), 32601),
        ((15, -70), 32733), ((15, 0), 32633), ((15, 84.5), 5041), ((15, -80.5), 5042), ((540, 10), 32601),
    ],
)  # fmt: skip
def test_zones_of_utm(place: tuple[float, float], code: int) -> None:
    assert utm_at(*place).to_epsg() == code


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("utm60", 32660),
        ("utm1", 32601),
        ("degrees180", 32601),
        ("arctic", 5041),
        ("antarctic", 5042),
        ("utm", 32645),
    ],
)
def test_a_grid_has_the_zone_of_its_middle(name: str, code: int) -> None:
    assert utm_crs(GRIDS[name]).to_epsg() == code


@pytest.mark.parametrize("name", ["utm60", "degrees180", "degrees360", "arctic", "beside the pole"])
def test_a_grid_in_metres_covers_the_same_ground(name: str) -> None:
    grid = GRIDS[name]
    metric = metric_grid(grid, 1000)
    columns, rows = ~metric.transform * way(grid.crs.to_wkt(), metric.crs.to_wkt()).transform(
        *spread_points(grid)
    )
    assert columns.min() >= -1e-6
    assert rows.min() >= -1e-6
    assert columns.max() <= metric.width + 1e-6
    assert rows.max() <= metric.height + 1e-6
    covered = metric.height * metric.width * metric.pixel_area_km2
    assert covered < 2.2 * grid.height * grid.width * grid.pixel_area_km2


def test_the_middle_of_glaciers_on_both_sides_of_180_degrees_lies_between_them() -> None:
    shapes = gpd.GeoSeries([shapely.box(178, 70, 179, 71), shapely.box(-179, 70, -178, 71)], crs=4326)
    longitude, latitude = middle_of_shapes(shapes)
    assert abs(longitude) == pytest.approx(180)
    assert latitude == pytest.approx(70.5, abs=0.02)
    assert middle_of(GRIDS["degrees360"])[0] == pytest.approx(-0.1)


# One glacier of 2 x 1 km, that is cut by 180 degrees, as people write it.
def glacier_at(longitude: int, latitude: float) -> tuple[Polygon, str]:
    """In metres of a projection around the place, and what leads to degrees."""
    local = f"+proj=laea +lon_0={longitude} +lat_0={latitude} +datum=WGS84"
    return shapely.segmentize(shapely.box(-1000, -500, 1000, 500), 50), local


def written(how: str, longitude: int, latitude: int) -> BaseGeometry:
    """A table of one glacier in degrees: cut at 180, running on beyond it, or torn apart."""
    shape, local = glacier_at(longitude, latitude)
    to = Transformer.from_crs(local, "EPSG:4326", always_xy=True)
    beyond = shapely.transform(shape, lambda xy: np.column_stack(to.transform(*xy.T)) % (360, 1000))
    if how == "beyond":
        return beyond
    west, east = (beyond.intersection(shapely.box(*box)) for box in ((0, -90, 180, 90), (180, -90, 361, 90)))
    if how == "cut":
        parts: list[Any] = [west, shapely.transform(east, lambda xy: xy - (360, 0))]
        return shapely.MultiPolygon(parts)
    return shapely.transform(beyond, lambda xy: np.column_stack([(xy[:, 0] + 180) % 360 - 180, xy[:, 1]]))


@pytest.mark.parametrize("how", ["cut", "beyond", "torn"])
@pytest.mark.parametrize(
    "grid",
    [
        grid_at("EPSG:32660", 180, 71, 20, size=200),
        grid_at("EPSG:32601", 180, 71, 20, size=200),
        grid_at("EPSG:3413", 180, 71, 20, turn=30, size=200),
        grid_at("EPSG:4326", 180, 71, 0.0004, size=200),
        grid_at("EPSG:4326", -180, 71, 0.0004, size=200),
    ],
    ids=["utm60", "utm1", "polar", "degrees", "west"],
)
def test_outlines_across_180_degrees_meet_a_scene_there(
    tmp_path: Path, make_raster: Callable[..., Path], grid: Grid, how: str
) -> None:
    """2 km2 of ice come out however the outline and the scene are written."""
    far = shapely.box(20, 70, 21, 71)
    table = gpd.GeoDataFrame(geometry=[written(how, 180, 71), far], crs=4326)
    table.to_file(tmp_path / "ice.gpkg")
    scene = make_raster("scene.tif", np.zeros(grid.shape, np.float32), grid)
    mask = rasterize_file(tmp_path / "ice.gpkg", scene, tmp_path / "mask.tif")
    with rasterio.open(mask) as dataset:
        assert (dataset.read(1) == 1).sum() * grid.pixel_area_km2 == pytest.approx(2, rel=0.02)
    assert len(read_outlines(tmp_path / "ice.gpkg", grid)) == 1


@pytest.mark.parametrize("place", [(10, 89.9), (-120, 89.99)])
def test_outlines_in_degrees_meet_a_scene_around_the_pole(tmp_path: Path, place: tuple[int, float]) -> None:
    shape, local = glacier_at(*place)
    to = Transformer.from_crs(local, "EPSG:4326", always_xy=True)
    ice = shapely.transform(shape, lambda xy: np.column_stack(to.transform(*xy.T)))
    gpd.GeoDataFrame(geometry=[ice], crs=4326).to_file(tmp_path / "ice.gpkg")
    found = read_outlines(tmp_path / "ice.gpkg", grid_at("EPSG:3413", 0, 90, 100, size=400))
    assert found.area.sum() == pytest.approx(2e6 / 1.0631, rel=0.01)


def test_longitudes_are_written_as_the_scene_writes_them() -> None:
    shapes = np.array([shapely.box(-180, 70, -179.5, 71)], object)
    moved = wrap_towards(shapes, GRIDS["degrees180"])
    assert moved[0].bounds == pytest.approx((180, 70, 180.5, 71))
    assert wrap_towards(shapes, GRIDS["utm"])[0] is shapes[0]


def test_boxes_that_touch_are_near() -> None:
    bounds = np.array([[0, 0, 1, 1], [2, 2, 3, 3], [9, 9, 10, 10]], float)
    assert near_boxes(bounds, ((1, 1, 2.5, 2.5), (-9, -9, -8, -8))).tolist() == [True, True, False]


def rising_eastward(
    west: float, width: int, step: float = 0.01, height: int = 60
) -> tuple[NDArray[np.float32], Grid]:
    """Longitudes from 0 to 360 as values, `(height, width)`, and where they lie."""
    longitudes = (west + (np.arange(width) + 0.5) * step) % 360
    grid = Grid(CRS.from_epsg(4326), Affine(step, 0, west, 0, -step, 71.3), height, width)
    return np.tile(longitudes, (height, 1)).astype(np.float32), grid


@pytest.mark.parametrize("west", [179.0, -181.0], ids=["beyond 180", "below -180"])
@pytest.mark.parametrize(
    "wanted",
    [
        grid_at("EPSG:32660", 180, 71, 500, size=40),
        grid_at("EPSG:3413", 180, 71, 500, size=40),
        grid_at("EPSG:4326", 180, 71, 0.01, size=40),
        grid_at("EPSG:4326", -180, 71, 0.01, size=40),
    ],
    ids=["utm", "polar", "east", "west"],
)
def test_a_raster_that_runs_on_beyond_180_degrees_is_read_whole(
    make_raster: Callable[..., Path], west: float, wanted: Grid
) -> None:
    values, grid = rising_eastward(west, 200)
    path = make_raster("dem.tif", values, grid, nodata=-1)
    with rasterio.open(path) as dataset, on_grid(dataset, wanted, "nearest") as aligned:
        found = aligned.read(1)
    columns, rows = np.meshgrid(np.arange(40) + 0.5, np.arange(40) + 0.5)
    longitudes = way(wanted.crs.to_wkt(), "EPSG:4326").transform(*(wanted.transform * (columns, rows)))[0]
    np.testing.assert_allclose(found, longitudes % 360, atol=0.011)


def test_terrain_of_a_model_beyond_180_degrees_reaches_all_of_a_scene(
    make_raster: Callable[..., Path],
) -> None:
    values, grid = rising_eastward(179, 200)
    path = make_raster("dem.tif", (values - 170) * 100, grid)
    scene = grid_at("EPSG:32601", 180, 71, 500, size=30)
    with open_terrain(path, scene) as terrain:
        slope = terrain.read(Block(0, 0, 30, 30), ["slope"])["slope"]
    metres_per_degree = 36_400
    np.testing.assert_allclose(slope, np.degrees(np.arctan(100 / metres_per_degree)), rtol=0.02)


def test_a_frame_around_the_pole_is_a_cap_in_degrees() -> None:
    degrees = Grid(CRS.from_epsg(4326), Affine(1, 0, -10, 0, -1, 90), 30, 60)
    cap = frame_polygon(GRIDS["arctic"], degrees)
    assert cap.bounds[0] == -160
    assert cap.bounds[2] == 200
    assert cap.bounds[3] == 90
    whole = footprint_on_grid(GRIDS["arctic"], degrees)
    assert whole[:4].all()
    assert not whole[8:].any()


def test_a_frame_across_180_degrees_lies_where_the_other_grid_does() -> None:
    for middle in (180, -180):
        degrees = grid_at("EPSG:4326", middle, 70, 0.01, size=400)
        west, _, east, _ = frame_polygon(GRIDS["utm60"], degrees).bounds
        assert middle - 2 < west < middle < east < middle + 2


def test_ground_is_found_where_a_frame_has_no_whole_image() -> None:
    """Most of a map of the Arctic has no place in a UTM zone, and a scene across 180 is torn in Mercator."""
    arctic = grid_at("EPSG:3413", 0, 90, 20_000, size=900)
    assert footprint_on_grid(arctic, grid_at("EPSG:32645", 87, 60, 3000, size=20)).all()
    mercator = grid_at("EPSG:3857", 178, 70, 12_000, size=40)
    columns, rows = np.meshgrid(np.arange(40) + 0.5, np.arange(40) + 0.5)
    scene = GRIDS["utm60"]
    there = way(mercator.crs.to_wkt(), scene.crs.to_wkt()).transform(*(mercator.transform * (columns, rows)))
    column, row = ~scene.transform * there
    expected = (column > 0) & (column < scene.width) & (row > 0) & (row < scene.height)
    np.testing.assert_array_equal(footprint_on_grid(scene, mercator), expected)


@pytest.mark.parametrize(
    "crs",
    [
        "EPSG:4807",  # grads from Paris
        "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18 +to_meter=0.0174532925199433",
    ],
    ids=["grads", "turned pole"],
)
def test_angles_that_are_no_longitudes_and_latitudes_are_not_taken_for_them(crs: str) -> None:
    grid = grid_at(crs, 7, 46, 0.001, size=100)
    beside = grid_at("EPSG:32632", 7, 46, 20, size=100)
    assert may_meet(grid, beside)
    assert may_meet(beside, grid)
    x, y = way(beside.crs.to_wkt(), grid.crs.to_wkt()).transform(*spread_points(beside))
    (box,) = boxes_in(beside, grid.crs)
    assert holds(box, x, y).all()
    corners: list[tuple[float, float]] = [(0, 0), (100, 0), (100, 100), (0, 100)]
    area_m2 = abs(GEOD.polygon_area_perimeter(*np.transpose(degrees(grid, corners)))[0])
    assert grid.pixel_area_km2 == pytest.approx(area_m2 / 1e10, rel=1e-3)


def test_a_shape_across_the_seam_of_a_map_stays_in_one_piece() -> None:
    world = Grid(CRS.from_epsg(4326), Affine(1, 0, -180, 0, -1, 90), 180, 360)
    (shape,) = wrap_towards(np.array([written("torn", 180, 71)], object), world)
    west, _, east, _ = shape.bounds
    assert 179 < west < 180 < east < 181
