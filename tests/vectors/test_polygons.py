import json
import sys
from datetime import date
from functools import partialmethod
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.features
import shapely
from affine import Affine
from geopandas.testing import assert_geodataframe_equal
from numpy.typing import NDArray
from rasterio.crs import CRS
from scipy import ndimage

from glacierseg.errors import GridMismatchError, RequestError, TruthError
from glacierseg.raster.facts import SceneFacts
from glacierseg.raster.grid import Grid
from glacierseg.raster.outlines import dates_of
from glacierseg.raster.write import write_raster
from glacierseg.settings.outlines import VectorizeSettings
from glacierseg.vectors.polygons import draw_outlines, vectorize_mask
from glacierseg.vectors.trace import PixelOutlines

GRID = Grid(CRS.from_epsg(32645), Affine(10, 0, 478_000, 0, -10, 3_108_140), 120, 150)


@pytest.mark.parametrize("ice", [0, 1])
@pytest.mark.parametrize("name", ["out.gpkg", "out.shp", "out.geojson"])
def test_outlines_have_the_day_that_the_mask_tells(tmp_path: Path, ice: int, name: str) -> None:
    facts = SceneFacts(first_date=date(2024, 9, 30), last_date=date(2024, 10, 2))
    values = np.zeros(GRID.shape, np.uint8)
    values[10:30, 10:30] = ice
    for tags in (facts.tags, {}):
        write_raster(tmp_path / "m.tif", values, GRID, bands=["glacier"], nodata=255, tags=tags, cog=False)
        found = vectorize_mask(tmp_path / "m.tif", tmp_path / name)
        assert ("src_date" in found) == bool(tags)
        written = gpd.read_file(tmp_path / name)
        # A GeoJSON of nothing has no columns.
        if ice or name != "out.geojson":
            assert ("src_date" in written) == bool(tags)
        assert set(dates_of(written)) == ({date(2024, 9, 30)} if ice and tags else set())


def shapes_with_holes() -> NDArray[np.uint8]:
    random = np.random.default_rng(7)
    mask = (ndimage.gaussian_filter(random.random(GRID.shape), 2) > 0.5).astype(np.uint8)
    mask[:4] = 255
    result: NDArray[np.uint8] = mask
    return result


@pytest.fixture
def mask_path(tmp_path: Path) -> Path:
    return write_mask(tmp_path / "mask.tif", shapes_with_holes())


def write_mask(path: Path, mask: NDArray[np.uint8], grid: Grid = GRID) -> Path:
    write_raster(path, mask, grid, bands=["glacier"], nodata=255)
    return path


def test_a_geopackage_holds_both_layers(tmp_path: Path, mask_path: Path) -> None:
    mask = shapes_with_holes()
    returned = vectorize_mask(mask_path, tmp_path / "out.gpkg")
    assert pyogrio.list_layers(tmp_path / "out.gpkg").tolist() == [
        ["raw", "Polygon"],
        ["smooth", "Polygon"],
        ["layer_styles", None],
    ]
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


def test_raw_outlines_run_along_pixel_edges_and_smooth_ones_do_not(tmp_path: Path, mask_path: Path) -> None:
    vectorize_mask(mask_path, tmp_path / "out.gpkg")
    for layer, on_edges in (("raw", True), ("smooth", False)):
        points = shapely.get_coordinates(gpd.read_file(tmp_path / "out.gpkg", layer=layer).geometry.values)
        assert (points % 10 == 0).all() == on_edges


@pytest.mark.parametrize("suffix", [".shp", ".geojson"])
def test_formats_of_one_layer_take_a_file_for_each(tmp_path: Path, mask_path: Path, suffix: str) -> None:
    vectorize_mask(mask_path, tmp_path / f"out{suffix}")
    for name in ("out", "out_smooth"):
        table = gpd.read_file(tmp_path / f"{name}{suffix}")
        assert table.columns.tolist() == ["glacier_id", "area_km2", "cenlon", "cenlat", "geometry"]
        # GeoJSON knows degrees of WGS84 only, with seven decimals: a centimetre.
        assert table.crs.to_epsg() == (4326 if suffix == ".geojson" else 32645)
        assert table.is_valid.all()
        rel = 1e-5 if suffix == ".geojson" else 1e-9
        area = table.to_crs(32645).area.sum()
        assert area == pytest.approx((shapes_with_holes() == 1).sum() * 100, rel=rel)


def test_geojson_winds_as_its_standard_wants(tmp_path: Path, mask_path: Path) -> None:
    vectorize_mask(mask_path, tmp_path / "out.geojson")
    features = json.loads((tmp_path / "out.geojson").read_text())
    assert "crs" not in features
    holes = 0
    for feature in features["features"]:
        exterior, *interiors = feature["geometry"]["coordinates"]
        assert shapely.is_ccw(shapely.LinearRing(exterior))
        assert not any(shapely.is_ccw(shapely.LinearRing(ring)) for ring in interiors)
        holes += len(interiors)
    assert holes


def test_an_outline_file_is_the_same_however_it_is_cut(
    tmp_path: Path, mask_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = vectorize_mask(mask_path, tmp_path / "whole.gpkg")
    monkeypatch.setattr("glacierseg.vectors.polygons._STRIP_PX", 7 * GRID.width)
    monkeypatch.setattr(PixelOutlines, "chunks", partialmethod(PixelOutlines.chunks, 40))
    cut = vectorize_mask(mask_path, tmp_path / "cut.gpkg")
    assert_geodataframe_equal(whole, cut)
    for layer in ("raw", "smooth"):
        tables = [gpd.read_file(tmp_path / name, layer=layer) for name in ("whole.gpkg", "cut.gpkg")]
        assert_geodataframe_equal(*tables)


def probability_file(tmp_path: Path, values: NDArray[np.float64], *, grid: Grid = GRID) -> Path:
    path = tmp_path / "probability.tif"
    stored = np.where(np.isnan(values), 255, np.rint(values * 254)).astype(np.uint8)
    write_raster(path, stored, grid, bands=["glacier"], nodata=255)
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        dataset.scales = (1 / 254,)
    return path


def test_the_contour_of_a_probability_is_a_layer(tmp_path: Path, mask_path: Path) -> None:
    rows, columns = np.indices(GRID.shape)
    values = np.clip(0.5 + (30 - np.hypot(rows - 60, columns - 70)) / 20, 0, 1)
    path = probability_file(tmp_path, values)
    totals = draw_outlines(
        mask_path, tmp_path / "out.gpkg", VectorizeSettings(layers=("raw", "contour")), probability_path=path
    )
    table = gpd.read_file(tmp_path / "out.gpkg", layer="contour")
    assert len(table) == totals["contour"].outlines == 1
    # The circle, though 0.5 is no whole number of 254ths away from the centres of pixels.
    assert table.area[0] == pytest.approx(np.pi * 300**2, rel=2e-3)
    centre = table.geometry[0].centroid
    assert (centre.x, centre.y) == pytest.approx((478_000 + 705, 3_108_140 - 605), abs=0.5)


def test_layers_are_refused_without_what_they_need(tmp_path: Path, mask_path: Path) -> None:
    with pytest.raises(RequestError, match="--probability FILE"):
        draw_outlines(mask_path, tmp_path / "out.gpkg", VectorizeSettings(layers=("raw", "contour")))
    with pytest.raises(RequestError, match="--refined FILE"):
        draw_outlines(mask_path, tmp_path / "out.gpkg", VectorizeSettings(layers=("refined_smooth",)))
    with pytest.raises(RequestError, match=r"must be 'raw', 'smooth', .* \(got 'smoth'\)"):
        draw_outlines(mask_path, tmp_path / "out.gpkg", VectorizeSettings(layers=("smoth",)))  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="threshold must be less than 1"):
        draw_outlines(mask_path, tmp_path / "out.gpkg", VectorizeSettings(threshold=1.5))
    other = probability_file(tmp_path, np.ones((5, 5)), grid=GRID.crop(0, 0, 5, 5))
    with pytest.raises(GridMismatchError, match=r"probability\.tif"):
        draw_outlines(
            mask_path, tmp_path / "out.gpkg", VectorizeSettings(layers=("contour",)), probability_path=other
        )
    assert not (tmp_path / "out.gpkg").exists()


def test_parquet(tmp_path: Path, mask_path: Path) -> None:
    pytest.importorskip("pyarrow")
    vectorize_mask(mask_path, tmp_path / "out.parquet")
    assert gpd.read_parquet(tmp_path / "out.parquet").crs.to_epsg() == 32645
    assert gpd.read_parquet(tmp_path / "out_smooth.parquet").is_valid.all()


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, mask_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(RequestError, match=r'pip install "glacierseg\[parquet\]"'):
        vectorize_mask(mask_path, tmp_path / "out.parquet")


def test_a_refined_mask_adds_its_own_layers_and_smooth_ones_may_be_left_out(
    tmp_path: Path, mask_path: Path
) -> None:
    block = np.zeros(GRID.shape, np.uint8)
    block[20:60, 30:90] = 1
    refined = write_mask(tmp_path / "refined.tif", block)
    vectorize_mask(mask_path, tmp_path / "both.gpkg", refined_path=refined)
    layers = ("raw", "smooth", "refined", "refined_smooth")
    assert (*layers, "layer_styles") == tuple(pyogrio.list_layers(tmp_path / "both.gpkg")[:, 0])
    tables = {layer: gpd.read_file(tmp_path / "both.gpkg", layer=layer) for layer in layers}
    for layer in ("raw", "smooth"):
        assert tables[layer].area.sum() == pytest.approx((shapes_with_holes() == 1).sum() * 100, rel=5e-3)
    for layer in ("refined", "refined_smooth"):
        assert tables[layer].area.tolist() == pytest.approx([240_000])
    vectorize_mask(mask_path, tmp_path / "raw.gpkg", VectorizeSettings(layers=("raw",)))
    assert pyogrio.list_layers(tmp_path / "raw.gpkg")[:, 0].tolist() == ["raw", "layer_styles"]


def test_a_refined_mask_on_another_grid_is_refused(tmp_path: Path, mask_path: Path) -> None:
    moved = write_mask(tmp_path / "moved.tif", np.ones((5, 5), np.uint8), GRID.crop(0, 0, 5, 5))
    with pytest.raises(GridMismatchError, match=r"moved\.tif"):
        vectorize_mask(mask_path, tmp_path / "out.gpkg", refined_path=moved)
    assert not (tmp_path / "out.gpkg").exists()


@pytest.mark.parametrize("suffix", [".gpkg", ".shp", ".geojson"])
def test_a_mask_without_glacier_gives_empty_layers(tmp_path: Path, suffix: str) -> None:
    path = write_mask(tmp_path / "empty.tif", np.zeros(GRID.shape, np.uint8))
    out = tmp_path / f"out{suffix}"
    assert len(vectorize_mask(path, out)) == 0
    first, second = ({"layer": "raw"}, {"layer": "smooth"}) if suffix == ".gpkg" else ({}, {})
    other = out if suffix == ".gpkg" else out.with_name(f"out_smooth{suffix}")
    for table in (gpd.read_file(out, **first), gpd.read_file(other, **second)):
        assert len(table) == 0
        assert table.crs.to_epsg() == (4326 if suffix == ".geojson" else 32645)
        if suffix != ".geojson":  # GeoJSON has no place for columns without rows
            assert {"glacier_id", "area_km2", "cenlon", "cenlat"} <= set(table.columns)


def test_small_outlines_can_be_left_out(tmp_path: Path, mask_path: Path) -> None:
    everything = vectorize_mask(mask_path, tmp_path / "all.gpkg")
    large = vectorize_mask(mask_path, tmp_path / "large.gpkg", VectorizeSettings(min_area_km2=0.01))
    assert 0 < len(large) < len(everything)
    assert len(large) == (everything["area_km2"] >= 0.01).sum()
    assert (gpd.read_file(tmp_path / "large.gpkg", layer="smooth")["area_km2"] >= 0.01).all()


def test_an_earlier_file_is_replaced_whole(tmp_path: Path, mask_path: Path) -> None:
    for _ in range(2):
        vectorize_mask(str(mask_path), str(tmp_path / "out.gpkg"))
    number = ndimage.label(shapes_with_holes() == 1)[1]
    assert len(gpd.read_file(tmp_path / "out.gpkg", layer="smooth")) == number


def test_an_unknown_format_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"out\.dwg: outlines cannot be written"):
        vectorize_mask(tmp_path / "missing.tif", tmp_path / "out.dwg")


def test_a_raster_that_is_no_mask_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    write_raster(path, np.full(GRID.shape, 77, np.uint8), GRID, bands=["red"], nodata=None)
    with pytest.raises(TruthError, match="holds 77"):
        vectorize_mask(path, tmp_path / "out.gpkg")


@pytest.mark.real
def test_a_real_mask_in_degrees(tmp_path: Path, data_dir: Path) -> None:
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
