from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from glacierseg.errors import GridMismatchError
from glacierseg.raster.grid import Grid
from glacierseg.raster.open import open_raster
from glacierseg.raster.warp import metric_grid, on_grid, require_overlap, utm_crs


def degrees(size: float = 0.0003, height: int = 60, width: int = 80) -> Grid:
    return Grid(rasterio.CRS.from_epsg(4326), Affine(size, 0, 78.8, 0, -size, 30.9), height, width)


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic", "average"])
@pytest.mark.parametrize("size", [10.0, 90.0])
def test_values_do_not_depend_on_the_blocks_they_are_read_in(
    make_raster: Callable[..., Path], make_grid: Callable[..., Grid], resampling: str, size: float
) -> None:
    source = degrees()
    values = np.random.default_rng(0).random(source.shape).astype(np.float32)
    path = make_raster("a.tif", values, source)
    target = metric_grid(source, size)
    results = []
    for step in (7, 50, 10_000):
        with open_raster(path) as dataset, on_grid(dataset, target, resampling) as aligned:
            whole = np.empty(target.shape, np.float32)
            for row in range(0, target.height, step):
                for column in range(0, target.width, step):
                    window = Window(
                        column, row, min(step, target.width - column), min(step, target.height - row)
                    )
                    part = aligned.read(1, window=window)
                    whole[row : row + part.shape[0], column : column + part.shape[1]] = part
            results.append(whole)
    assert np.isfinite(results[0]).mean() > 0.8
    np.testing.assert_array_equal(results[0], results[2])
    np.testing.assert_array_equal(results[1], results[2])


def test_raster_on_the_grid_is_taken_as_it_is(
    make_raster: Callable[..., Path], make_grid: Callable[..., Grid]
) -> None:
    path = make_raster("a.tif", np.ones((4, 4), np.uint8))
    with open_raster(path) as dataset, on_grid(dataset, make_grid(4, 4), "cubic") as aligned:
        assert aligned is dataset


def test_bilinear_position_is_exact(make_raster: Callable[..., Path], make_grid: Callable[..., Grid]) -> None:
    """A ramp keeps its values at the same places, half a pixel further and on pixels of another size."""
    row, column = np.mgrid[0:40, 0:40] + 0.5
    path = make_raster("a.tif", (column * 10 + row * 1000).astype(np.float64))
    target = make_grid(40, 40, size=5, left=300103, top=3399896)
    with open_raster(path) as dataset, on_grid(dataset, target, "bilinear") as aligned:
        read = aligned.read(1)
    row, column = np.mgrid[0:40, 0:40] + 0.5
    np.testing.assert_allclose(read, 103 + column * 5 + (104 + row * 5) * 100, rtol=1e-9)


@settings(deadline=None)
@given(longitude=st.floats(-179, 178), latitude=st.floats(-79, 79))
def test_metric_grid_covers_the_ground_in_its_utm_zone(longitude: float, latitude: float) -> None:
    source = Grid(rasterio.CRS.from_epsg(4326), Affine(0.001, 0, longitude, 0, -0.001, latitude), 30, 40)
    grid = metric_grid(source)
    middle = longitude + 0.02
    assert grid.crs.to_epsg() % 100 == min(int((middle + 180) // 6) + 1, 60)
    assert grid.crs.to_epsg() // 100 == (326 if latitude - 0.015 >= 0 else 327)
    size = grid.transform.a
    assert size == int(size)
    assert size**2 == pytest.approx(source.pixel_area_km2 * 1e6, rel=0.04)
    assert grid.transform.c % size == 0
    west, south, east, north = transform_bounds(source.crs, grid.crs, *source.bounds)
    left, bottom, right, top = grid.bounds
    slack = 1.01 * size
    assert left <= west + 1e-3 < left + slack
    assert right >= east - 1e-3 > right - slack
    assert bottom <= south + 1e-3 < bottom + slack
    assert top >= north - 1e-3 > top - slack


def test_metric_grid_with_a_given_pixel_size() -> None:
    assert metric_grid(degrees(), 12.5).pixel_size_m == (12.5, 12.5)
    assert utm_crs(degrees()).to_epsg() == 32644


def test_rasters_of_different_places(
    make_raster: Callable[..., Path], make_grid: Callable[..., Grid]
) -> None:
    path = make_raster("a.tif", np.ones((4, 4), np.uint8))
    with open_raster(path) as dataset:
        require_overlap(dataset, degrees(0.1), path)
        for elsewhere in (make_grid(4, 4, left=300040), make_grid(4, 4, top=300000), degrees()):
            with pytest.raises(GridMismatchError, match="does not overlap"):
                require_overlap(dataset, elsewhere, path)


def test_a_source_over_many_degrees_is_averaged_by_its_pixels_where_the_target_lies(
    make_raster: Callable[..., Path],
) -> None:
    """Columns of 0.01 degrees are 1113 m wide at the equator, in the middle, and 382 m at 70 degrees."""
    source = Grid(rasterio.CRS.from_epsg(4326), Affine(0.01, 0, 14, 0, -0.05, 71), 2840, 200)
    stripes = np.tile(np.arange(200) % 2 * 100.0, (2840, 1)).astype(np.float32)
    target = metric_grid(
        Grid(rasterio.CRS.from_epsg(4326), Affine(0.01, 0, 14.8, 0, -0.01, 70.2), 30, 40), 1000
    )
    with (
        rasterio.open(make_raster("s.tif", stripes, source)) as dataset,
        on_grid(dataset, target, "bilinear") as aligned,
    ):
        assert aligned.read(1).std() < 12
