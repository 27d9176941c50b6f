import sys

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio.features
import shapely
from affine import Affine
from rasterio.crs import CRS
from scipy import ndimage

from glacierseg.errors import GridMismatchError, RequestError, TruthError
from glacierseg.raster.grid import Grid
from glacierseg.raster.write import write_raster
from glacierseg.vectors.polygons import vectorize_mask

GRID = Grid(CRS.from_epsg(32645), Affine(10, 0, 478_000, 0, -10, 3_108_140), 120, 150)


def shapes_with_holes():
    random = np.random.default_rng(7)
    mask = (ndimage.gaussian_filter(random.random(GRID.shape), 2) > 0.5).astype(np.uint8)
    mask[:4] = 255
    return mask


@pytest.fixture
def mask_path(tmp_path):
    return write_mask(tmp_path / "mask.tif", shapes_with_holes())


def write_mask(path, mask, grid=GRID):
    write_raster(path, mask, grid, bands=["glacier"], nodata=255)
    return path


def test_a_geopackage_holds_both_layers(tmp_path, mask_path):
    mask = shapes_with_holes()
    returned = vectorize_mask(mask_path, tmp_path / "out.gpkg")
    assert pyogrio.list_layers(tmp_path / "out.gpkg").tolist() == [["raw", "Polygon"], ["smooth", "Polygon"]]
    number = ndimage.label(mask == 1)[1]
    for layer in ("raw", "smooth"):
        table = gpd.read_file(tmp_path / "out.gpkg", layer=layer)
        assert table.crs.to_epsg() == 32645
        assert table.is_valid.all()
        assert table.area.sum() == pytest.approx((mask == 1).sum() * 100, rel=1e-9)
        assert table["glacier_id"].tolist() == list(range(1, number + 1))
        assert table["area_km2"].sum() == pytest.approx(table.area.sum() / 1e6, rel=1e-3)
        assert np.all(np.diff(table.area) < 1e-6)  # numbered from the largest down
    raw = gpd.read_file(tmp_path / "out.gpkg", layer="raw")
    assert shapely.equals_identical(returned.geometry.values, raw.geometry.values).all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mask.tif", "out.gpkg"]


def test_raw_outlines_run_along_pixel_edges_and_smooth_ones_do_not(tmp_path, mask_path):
    vectorize_mask(mask_path, tmp_path / "out.gpkg")
    for layer, on_edges in (("raw", True), ("smooth", False)):
        points = shapely.get_coordinates(gpd.read_file(tmp_path / "out.gpkg", layer=layer).geometry.values)
        assert (points % 10 == 0).all() == on_edges


@pytest.mark.parametrize("suffix", [".shp", ".geojson"])
def test_formats_of_one_layer_take_a_file_for_each(tmp_path, mask_path, suffix):
    vectorize_mask(mask_path, tmp_path / f"out{suffix}")
    for name in ("out", "out_smooth"):
        table = gpd.read_file(tmp_path / f"{name}{suffix}")
        assert table.columns.tolist() == ["glacier_id", "area_km2", "cenlon", "cenlat", "geometry"]
        assert table.crs.to_epsg() == 32645
        assert table.is_valid.all()
        assert table.area.sum() == pytest.approx((shapes_with_holes() == 1).sum() * 100, rel=1e-9)


def test_parquet(tmp_path, mask_path):
    pytest.importorskip("pyarrow")
    vectorize_mask(mask_path, tmp_path / "out.parquet")
    assert gpd.read_parquet(tmp_path / "out.parquet").crs.to_epsg() == 32645
    assert gpd.read_parquet(tmp_path / "out_smooth.parquet").is_valid.all()


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, mask_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(RequestError, match="pip install pyarrow"):
        vectorize_mask(mask_path, tmp_path / "out.parquet")


def test_a_refined_mask_adds_its_own_layers_and_smooth_ones_may_be_left_out(tmp_path, mask_path):
    block = np.zeros(GRID.shape, np.uint8)
    block[20:60, 30:90] = 1
    refined = write_mask(tmp_path / "refined.tif", block)
    vectorize_mask(mask_path, tmp_path / "both.gpkg", refined_path=refined)
    layers = ("raw", "smooth", "refined", "refined_smooth")
    assert tuple(pyogrio.list_layers(tmp_path / "both.gpkg")[:, 0]) == layers
    tables = {layer: gpd.read_file(tmp_path / "both.gpkg", layer=layer) for layer in layers}
    for layer in ("raw", "smooth"):
        assert tables[layer].area.sum() == pytest.approx((shapes_with_holes() == 1).sum() * 100, rel=5e-3)
    for layer in ("refined", "refined_smooth"):
        assert tables[layer].area.tolist() == pytest.approx([240_000])
    vectorize_mask(mask_path, tmp_path / "raw.gpkg", smooth_layer=False)
    assert pyogrio.list_layers(tmp_path / "raw.gpkg")[:, 0].tolist() == ["raw"]


def test_a_refined_mask_on_another_grid_is_refused(tmp_path, mask_path):
    moved = write_mask(tmp_path / "moved.tif", np.ones((5, 5), np.uint8), GRID.crop(0, 0, 5, 5))
    with pytest.raises(GridMismatchError, match=r"moved\.tif"):
        vectorize_mask(mask_path, tmp_path / "out.gpkg", refined_path=moved)
    assert not (tmp_path / "out.gpkg").exists()


@pytest.mark.parametrize("suffix", [".gpkg", ".shp", ".geojson"])
def test_a_mask_without_glacier_gives_empty_layers(tmp_path, suffix):
    path = write_mask(tmp_path / "empty.tif", np.zeros(GRID.shape, np.uint8))
    out = tmp_path / f"out{suffix}"
    assert len(vectorize_mask(path, out)) == 0
    first, second = ({"layer": "raw"}, {"layer": "smooth"}) if suffix == ".gpkg" else ({}, {})
    other = out if suffix == ".gpkg" else out.with_name(f"out_smooth{suffix}")
    for table in (gpd.read_file(out, **first), gpd.read_file(other, **second)):
        assert len(table) == 0
        assert table.crs.to_epsg() == 32645
        if suffix != ".geojson":  # GeoJSON has no place for columns without rows
            assert {"glacier_id", "area_km2", "cenlon", "cenlat"} <= set(table.columns)


def test_small_outlines_can_be_left_out(tmp_path, mask_path):
    everything = vectorize_mask(mask_path, tmp_path / "all.gpkg")
    large = vectorize_mask(mask_path, tmp_path / "large.gpkg", min_area_km2=0.01)
    assert 0 < len(large) < len(everything)
    assert len(large) == (everything["area_km2"] >= 0.01).sum()
    assert (gpd.read_file(tmp_path / "large.gpkg", layer="smooth")["area_km2"] >= 0.01).all()


def test_an_earlier_file_is_replaced_whole(tmp_path, mask_path):
    for _ in range(2):
        vectorize_mask(str(mask_path), str(tmp_path / "out.gpkg"))
    number = ndimage.label(shapes_with_holes() == 1)[1]
    assert len(gpd.read_file(tmp_path / "out.gpkg", layer="smooth")) == number


def test_an_unknown_format_is_refused_before_any_work(tmp_path):
    with pytest.raises(RequestError, match=r"out\.dwg: outlines cannot be written"):
        vectorize_mask(tmp_path / "missing.tif", tmp_path / "out.dwg")


def test_a_raster_that_is_no_mask_is_refused(tmp_path):
    path = tmp_path / "scene.tif"
    write_raster(path, np.full(GRID.shape, 77, np.uint8), GRID, bands=["red"], nodata=None)
    with pytest.raises(TruthError, match="holds 77"):
        vectorize_mask(path, tmp_path / "out.gpkg")


@pytest.mark.real
def test_a_real_mask_in_degrees(tmp_path, data_dir):
    path = data_dir / "khumbu_sentinel2" / "khumbu_rgi60_mask.tif"
    vectorize_mask(path, tmp_path / "out.gpkg")
    with rasterio.open(path) as dataset:
        glacier = dataset.read(1) == 1
        pixel_area = abs(dataset.transform.determinant)
        crs = dataset.crs
    raw, smooth = (gpd.read_file(tmp_path / "out.gpkg", layer=layer) for layer in ("raw", "smooth"))
    for table in (raw, smooth):
        assert table.crs == crs
        assert table.is_valid.all()
        with pytest.warns(UserWarning, match="geographic CRS"):
            assert table.area.sum() == pytest.approx(glacier.sum() * pixel_area, rel=1e-9)
        back = rasterio.features.rasterize(table.geometry, glacier.shape, transform=dataset.transform)
        np.testing.assert_array_equal(back, glacier)
    # 36 % of a scene of 38 km2; an equal-area projection is the independent measure.
    equal_area = raw.to_crs("ESRI:54034").area.sum() / 1e6
    assert raw["area_km2"].sum() == pytest.approx(equal_area, rel=1e-4)
    assert smooth["area_km2"].sum() == pytest.approx(raw["area_km2"].sum(), rel=1e-4)
