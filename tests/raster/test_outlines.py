import geopandas as gpd
import pyogrio
import pytest
from shapely.geometry import LineString, Point, box

from glacierseg.errors import RequestError, TruthError
from glacierseg.raster.outlines import is_vector, one_layer_each, read_outlines, read_shapes
from glacierseg.raster.truth import load_truth

CRS = "EPSG:32644"


def write(path, shapes, layer="glaciers", crs=CRS, **columns):
    gpd.GeoDataFrame(columns, geometry=list(shapes), crs=crs).to_file(path, layer=layer)
    return path


def boxes(*sides):
    return [box(300000, 3400000 - side, 300000 + side, 3400000) for side in sides]


@pytest.fixture
def several(tmp_path):
    """Two layers of polygons, one of lines, and a table."""
    path = write(tmp_path / "several.gpkg", boxes(100), "raw")
    write(path, boxes(200), "smooth")
    write(path, [LineString([(0, 0), (9, 9)])], "flow_lines")
    pyogrio.write_dataframe(
        gpd.GeoDataFrame({"a": [1]}).drop(columns="geometry", errors="ignore"), path, "facts"
    )
    return path


def test_the_only_layer_of_the_wanted_shapes_is_taken(tmp_path):
    path = write(tmp_path / "a.gpkg", [Point(0, 0)], "places")
    write(path, boxes(100), "glaciers")
    write(path, [LineString([(0, 0), (9, 9)])], "flow_lines")
    assert read_shapes(path).area.tolist() == [10000]
    assert read_shapes(path, shapes="lines").length.tolist() == [pytest.approx(162**0.5)]


def test_of_several_layers_none_is_taken_unasked(several):
    with pytest.raises(TruthError, match=r"several\.gpkg: has the layers raw, smooth; say which with --old"):
        read_shapes(several, option="--old-layer")
    assert read_shapes(several, layer="smooth").area.tolist() == [40000]
    assert read_shapes(several, prefer=("glaciers", "smooth", "raw")).area.tolist() == [40000]
    assert len(read_shapes(several, shapes="lines")) == 1
    with pytest.raises(TruthError, match=r"no layer 'smoth' \(did you mean 'smooth'\?\).* are raw, smooth$"):
        read_shapes(several, layer="smoth")
    with pytest.raises(TruthError, match="holds no polygons"):
        read_shapes(several, layer="flow_lines")
    with pytest.raises(TruthError, match="holds no polygons"):
        read_shapes(several, layer="facts")


def test_what_has_no_layers(tmp_path, make_raster, make_grid):
    table = gpd.GeoDataFrame(geometry=boxes(100), crs=CRS)
    table.to_parquet(tmp_path / "a.parquet")
    assert read_shapes(tmp_path / "a.parquet").area.tolist() == [10000]
    with pytest.raises(RequestError, match="is GeoParquet and has no layers; leave --truth-layer raw out"):
        read_outlines(tmp_path / "a.parquet", make_grid(5, 5), layer="raw")
    import numpy as np

    mask = make_raster("a.tif", np.zeros((5, 5), np.uint8))
    with pytest.raises(RequestError, match="is a raster and has no layers; leave truth_layer raw out"):
        load_truth(mask, make_grid(5, 5), layer="raw", option="truth_layer")


@pytest.mark.parametrize("name", ["a.geojson", "a.shp", "a.fgb", "a.shp.zip"])
def test_formats_of_one_layer(tmp_path, name):
    table = gpd.GeoDataFrame({"id": [1, 2]}, geometry=[*boxes(100), Point(0, 0)], crs=CRS)
    if "shp" in name:
        table = table[:1]
    table.to_file(tmp_path / name)
    assert read_shapes(tmp_path / name).area.tolist() == [pytest.approx(10000)]


def test_empty_and_missing_shapes_are_left_out(tmp_path):
    path = write(tmp_path / "a.gpkg", [None, box(0, 0, 0, 0).buffer(-1), *boxes(100)], id=[1, 2, 3])
    table = read_shapes(path)
    assert (table["id"].tolist(), table.index.tolist()) == ([3], [0])


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(TruthError, match="no such file"):
        read_shapes(tmp_path / "none.gpkg")
    (tmp_path / "broken.gpkg").write_bytes(b"nothing of the kind")
    with pytest.raises(TruthError, match=r"broken\.gpkg: polygons cannot be read"):
        read_shapes(tmp_path / "broken.gpkg")
    gpd.GeoDataFrame(geometry=boxes(1)).to_file(tmp_path / "nowhere.shp")
    with pytest.raises(TruthError, match="no CRS"):
        read_shapes(tmp_path / "nowhere.shp")
    assert is_vector(tmp_path / "a.GPKG")
    assert not is_vector(tmp_path / "a.tif")


def test_layers_are_shared_out(tmp_path):
    vector, raster = tmp_path / "a.gpkg", tmp_path / "b.tif"
    assert one_layer_each([vector, raster], None) == [None, None]
    assert one_layer_each([vector, raster, vector], ["raw"]) == ["raw", None, "raw"]
    assert one_layer_each([vector, vector], ["raw", "smooth"]) == ["raw", "smooth"]
    with pytest.raises(RequestError, match="2 x --truth-layer for 3 files"):
        one_layer_each([vector] * 3, ["raw", "smooth"])
    with pytest.raises(RequestError, match=r"b\.tif: is a raster"):
        one_layer_each([raster, raster], ["raw"])
