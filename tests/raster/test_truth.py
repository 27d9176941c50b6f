import geopandas as gpd
import numpy as np
import pytest
from shapely.geometry import LineString, box

from glacierseg.errors import GridMismatchError, RasterError, TruthError
from glacierseg.raster.outlines import read_outlines
from glacierseg.raster.truth import clean_mask, load_truth, rasterize_outlines, read_mask


@pytest.fixture
def square(tmp_path, make_grid):
    """Outlines in degrees: one of 10 x 8 pixels in the scene, one far away."""
    shapes = gpd.GeoSeries([box(300050, 3399900, 300150, 3399980)], crs="EPSG:32644").to_crs(4326)
    far = gpd.GeoSeries([box(10, 46, 10.1, 46.1)], crs=4326)
    path = tmp_path / "outlines.gpkg"
    gpd.GeoDataFrame(geometry=[*shapes, *far], crs=4326).to_file(path, layer="glaciers")
    return path


def test_outlines_in_another_crs_become_a_mask(square, make_grid):
    grid = make_grid(20, 30)
    mask = load_truth(square, grid, layer="glaciers")
    expected = np.zeros((20, 30), np.uint8)
    expected[2:10, 5:15] = 1
    np.testing.assert_array_equal(mask, expected)
    assert len(read_outlines(square, grid)) == 1


def test_all_touched_covers_more(make_grid):
    table = gpd.GeoDataFrame(geometry=[box(300051, 3399901, 300153, 3399981)], crs="EPSG:32644")
    grid = make_grid(20, 30)
    assert rasterize_outlines(table, grid).sum() == 10 * 8
    assert rasterize_outlines(table, grid, all_touched=True).sum() == 11 * 9


def test_declared_nodata_is_ignored_except_zero(make_raster):
    values = np.array([[0, 1], [2, 255]], np.uint8)
    np.testing.assert_array_equal(read_mask(make_raster("a.tif", values, nodata=2)), [[0, 1], [255, 255]])
    values[1, 0] = 0
    np.testing.assert_array_equal(read_mask(make_raster("b.tif", values, nodata=0)), [[0, 1], [0, 255]])


def test_nan_is_ignored():
    values = np.array([[0, 1, np.nan]], np.float32)
    np.testing.assert_array_equal(clean_mask(values, None, "m"), [[0, 1, 255]])


def test_strange_values_are_refused(make_raster):
    with pytest.raises(TruthError, match="holds 7 in 2 pixels"):
        read_mask(make_raster("a.tif", np.array([[0, 7], [7, 1]], np.uint8)))


def test_mask_on_another_grid_is_refused(make_raster, make_grid):
    path = make_raster("a.tif", np.zeros((5, 5), np.uint8))
    with pytest.raises(GridMismatchError, match="prepare align"):
        load_truth(path, make_grid(5, 6))


def test_unusable_outlines(tmp_path, square, make_grid):
    grid = make_grid(20, 30)
    with pytest.raises(TruthError, match="has no layer 'lakes'"):
        read_outlines(square, grid, layer="lakes")
    with pytest.raises(TruthError, match="no outline meets the scene"):
        read_outlines(square, make_grid(20, 30, left=500000))
    lines = tmp_path / "lines.gpkg"
    gpd.GeoDataFrame(geometry=[LineString([(80, 30), (81, 31)])], crs=4326).to_file(lines)
    with pytest.raises(TruthError, match="holds no polygons"):
        read_outlines(lines, grid)


def test_missing_mask(tmp_path):
    with pytest.raises(RasterError, match="no such file"):
        read_mask(tmp_path / "none.tif")


@pytest.mark.real
def test_everest_areas_agree_with_the_inventory(data_dir):
    """Rasterized RGI outlines have the published areas, for glaciers that lie wholly inside the scene."""
    from rasterio.features import rasterize
    from shapely.geometry import box as frame_of

    from glacierseg.raster.warp import read_grid

    folder = data_dir / "everest_landsat7"
    grid = read_grid(folder / "LE71400412000304SGS00_B4.tif")
    table = read_outlines(folder / "15_rgi60_glacier_outlines.gpkg", grid)
    table = table[table.within(frame_of(*grid.bounds))]
    numbers = rasterize(
        zip(table.geometry, range(1, len(table) + 1), strict=True),
        grid.shape,
        transform=grid.transform,
        dtype="uint16",
    )
    areas = np.bincount(numbers.ravel(), minlength=len(table) + 1)[1:] * grid.pixel_area_km2
    assert len(table) > 50
    assert areas.sum() == pytest.approx(table["Area"].sum(), rel=0.02)
    large = table["Area"].to_numpy() >= 1
    np.testing.assert_allclose(areas[large], table["Area"][large], rtol=0.02)
    mask = rasterize_outlines(table, grid)
    assert mask.sum() * grid.pixel_area_km2 == pytest.approx(table["Area"].sum(), rel=0.02)
