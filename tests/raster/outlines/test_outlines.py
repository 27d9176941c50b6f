import json
import re
import shlex
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyogrio
import pyproj
import pytest
import shapely
from shapely import Polygon
from shapely.geometry import LineString, Point, box
from shapely.geometry.base import BaseGeometry

from glacierseg.errors import RequestError, TruthError
from glacierseg.raster.grid import Grid
from glacierseg.raster.outlines import OUTLINE_ID, is_vector, one_layer_each, read_outlines, read_shapes
from glacierseg.raster.truth import load_truth

CRS = "EPSG:32644"


def write(
    path: Path,
    shapes: Sequence[BaseGeometry | None],
    layer: str = "glaciers",
    crs: str = CRS,
    **columns: Any,
) -> Path:
    gpd.GeoDataFrame(columns, geometry=list(shapes), crs=crs).to_file(path, layer=layer)
    return path


def boxes(*sides: int) -> list[Polygon]:
    return [box(300000, 3400000 - side, 300000 + side, 3400000) for side in sides]


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """Two layers of polygons, one of lines, and a table."""
    path = write(tmp_path / "several.gpkg", boxes(100), "raw")
    write(path, boxes(200), "smooth")
    write(path, [LineString([(0, 0), (9, 9)])], "flow_lines")
    pyogrio.write_dataframe(
        gpd.GeoDataFrame({"a": [1]}).drop(columns="geometry", errors="ignore"), path, "facts"
    )
    return path


def test_the_only_layer_of_the_wanted_shapes_is_taken(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", [Point(0, 0)], "places")
    write(path, boxes(100), "glaciers")
    write(path, [LineString([(0, 0), (9, 9)])], "flow_lines")
    assert read_shapes(path).area.tolist() == [10000]
    assert read_shapes(path, shapes="lines").length.tolist() == [pytest.approx(162**0.5)]


def test_of_several_layers_none_is_taken_unasked(several: Path) -> None:
    with pytest.raises(TruthError, match=r"several\.gpkg: has the layers raw, smooth; say which with --old"):
        read_shapes(several, option="--old-layer")
    assert read_shapes(several, layer="smooth").area.tolist() == [40000]
    assert read_shapes(several, prefer=("glaciers", "smooth", "raw")).area.tolist() == [40000]
    assert len(read_shapes(several, shapes="lines")) == 1
    words = r"no layer 'smoth' \(did you mean 'smooth'\?\).* are raw, smooth; name one with --old-layer, or"
    with pytest.raises(TruthError, match=words):
        read_shapes(several, layer="smoth", option="--old-layer")
    with pytest.raises(TruthError, match="holds no polygons"):
        read_shapes(several, layer="flow_lines")
    with pytest.raises(TruthError, match="holds no polygons"):
        read_shapes(several, layer="facts")


def test_what_has_no_layers(
    tmp_path: Path, make_raster: Callable[..., Path], make_grid: Callable[..., Grid]
) -> None:
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
def test_formats_of_one_layer(tmp_path: Path, name: str) -> None:
    table = gpd.GeoDataFrame({"id": [1, 2]}, geometry=[*boxes(100), Point(0, 0)], crs=CRS)
    if "shp" in name:
        table = table[:1]
    table.to_file(tmp_path / name)
    notes: list[str] = []
    assert read_shapes(tmp_path / name, notes=notes).area.tolist() == [pytest.approx(10000)]
    assert notes == ([] if "shp" in name else [f"{tmp_path / name}: 1 point left out"])


def test_empty_and_missing_shapes_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", [None, box(0, 0, 0, 0).buffer(-1), *boxes(100)], id=[1, 2, 3])
    with pytest.warns(match=r"a\.gpkg: 2 rows without a shape left out$"):
        table = read_shapes(path)
    assert (table["id"].tolist(), table.index.tolist()) == ([3], [0])


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TruthError, match="no such file"):
        read_shapes(tmp_path / "none.gpkg")
    (tmp_path / "broken.gpkg").write_bytes(b"nothing of the kind")
    with pytest.raises(TruthError, match=r"broken\.gpkg: polygons cannot be read"):
        read_shapes(tmp_path / "broken.gpkg")
    assert is_vector(tmp_path / "a.GPKG")
    assert not is_vector(tmp_path / "a.tif")


def test_layers_are_shared_out(tmp_path: Path) -> None:
    vector, raster = tmp_path / "a.gpkg", tmp_path / "b.tif"
    assert one_layer_each([vector, raster], None) == [None, None]
    assert one_layer_each([vector, raster, vector], ["raw"]) == ["raw", None, "raw"]
    assert one_layer_each([vector, vector], ["raw", "smooth"]) == ["raw", "smooth"]
    with pytest.raises(RequestError, match="2 x --truth-layer for 3 files"):
        one_layer_each([vector] * 3, ["raw", "smooth"])
    with pytest.raises(RequestError, match=r"b\.tif: is a raster"):
        one_layer_each([raster, raster], ["raw"])


def assigned(path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> gpd.GeoDataFrame:
    """Types the command that the refusal of a file proposes; gives what it wrote."""
    with pytest.raises(TruthError) as refused:
        read_shapes(path, **options)
    assert "\n" not in str(refused.value)
    monkeypatch.chdir(path.parent)
    program, option, code = shlex.split(str(refused.value).split("`")[1])
    assert (program, option) == ("python", "-c")
    exec(code, {})  # noqa: S102  (as `python -c` does, without the seconds that imports take)
    assert "and give ASSIGNED.gpkg" in str(refused.value)
    return read_shapes(Path("ASSIGNED.gpkg"))


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
@pytest.mark.parametrize("name", ["no where.shp", "nowhere.gpkg", "nowhere.parquet", "no where.zip"])
def test_a_missing_crs_is_refused_with_a_command_that_assigns_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path, table = tmp_path / name, gpd.GeoDataFrame({"glacier": ["a"]}, geometry=boxes(100))
    layer = None
    if path.suffix == ".parquet":
        table.to_parquet(path)
    elif path.suffix == ".gpkg":
        gpd.GeoDataFrame(geometry=boxes(50)).to_file(path, layer="first")
        layer = "it's the second"
        table.to_file(path, layer=layer)
    else:
        table.to_file(tmp_path / "no where.shp")
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for one in tmp_path.glob("no where.[sd]*"):
                archive.write(one, f"in a folder/{one.name}")
    found = assigned(path, monkeypatch, layer=layer)
    assert found.crs.to_epsg() == 32643
    assert found.area.tolist() == [10000]
    assert found["glacier"].tolist() == ["a"]


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_a_missing_prj_is_named(tmp_path: Path) -> None:
    path, other = tmp_path / "nowhere.shp", tmp_path / "other.shp"
    gpd.GeoDataFrame(geometry=boxes(100)).to_file(path)
    gpd.GeoDataFrame(geometry=boxes(100), crs=CRS).to_file(other)
    with pytest.raises(TruthError, match=r"has no CRS; copy the \.prj that belongs to it to ") as refused:
        read_shapes(path)
    wanted = re.search(r"to it to (.*\.prj), or", str(refused.value))
    assert wanted is not None
    shutil.copy(other.with_suffix(".prj"), wanted[1])
    assert read_shapes(path).crs == read_shapes(other).crs


@pytest.mark.parametrize("name", ["metres.geojson", "metres.shp"])
def test_coordinates_that_cannot_be_degrees_are_refused_with_a_cure_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / name
    if path.suffix == ".shp":
        gpd.GeoDataFrame(geometry=boxes(100), crs=4326).to_file(path)
    else:
        # Without a CRS of its own a GeoJSON is in degrees.
        content = json.loads(gpd.GeoDataFrame(geometry=boxes(100), crs=CRS).to_json(drop_id=True))
        content.pop("crs")
        path.write_text(json.dumps(content))
    with pytest.raises(TruthError, match=rf"{name}: its coordinates \(300000 .* cannot be degrees"):
        read_shapes(path)
    assert assigned(path, monkeypatch).area.tolist() == [10000]


def test_coordinates_that_cannot_be_anywhere_are_refused(tmp_path: Path) -> None:
    broken = shapely.Polygon([(300000, 3400000), (-1.7e308, 3400000), (300000, 3500000)])
    gpd.GeoDataFrame(geometry=[broken], crs=CRS).to_file(tmp_path / "broken.gpkg")
    with pytest.raises(TruthError, match=r"broken\.gpkg: .* cannot be places of its CRS .*; remove"):
        read_shapes(tmp_path / "broken.gpkg")


@pytest.mark.parametrize("name", ["a.gpkg", "a.shp"])
def test_a_crs_that_is_only_a_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    local = 'LOCAL_CS["UTM 44N",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
    gpd.GeoDataFrame(geometry=boxes(100), crs=pyproj.CRS.from_wkt(local)).to_file(tmp_path / name)
    with pytest.raises(TruthError, match=r"its CRS is only a name \(UTM 44N\) and says no place on Earth"):
        read_shapes(tmp_path / name)
    assert assigned(tmp_path / name, monkeypatch).crs.to_epsg() == 32643


@pytest.mark.parametrize(("crs", "flat"), [("EPSG:32644+5773", "EPSG:32644"), ("EPSG:4979", "EPSG:4326")])
def test_heights_are_left_out_of_a_crs(tmp_path: Path, crs: str, flat: str) -> None:
    table = gpd.GeoDataFrame(geometry=boxes(100), crs=CRS).to_crs(flat).set_crs(crs, allow_override=True)
    table.to_parquet(tmp_path / "a.parquet")
    assert read_shapes(tmp_path / "a.parquet").crs == flat


def test_glaciers_are_told_apart_and_other_polygons_are_not(
    tmp_path: Path, make_grid: Callable[..., Grid]
) -> None:
    path = write(
        tmp_path / "debris.gpkg",
        [*boxes(100), *boxes(100)],
        line_type=["debris_cov", "debris_cov"],
        rgi_id=["a", None],
    )
    with pytest.raises(TruthError, match="none of its GLIMS line types is glac_bound"):
        read_shapes(path)
    notes: list[str] = []
    areas = read_shapes(path, shapes="polygons", notes=notes)
    assert (len(areas), OUTLINE_ID in areas, notes) == (2, False, [])
    mask = load_truth(path, make_grid(12, 12), shapes="polygons")
    assert mask.sum() == 100


def test_ids_of_glaciers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", [*boxes(100), *(one.buffer(9) for one in boxes(50))], k=["x", "y"])
    with pytest.warns(match=r"a\.gpkg: .*1 pair of outlines overlaps"):
        assert read_shapes(path)[OUTLINE_ID].tolist() == ["1", "2"]
    with pytest.warns(match="overlaps"):
        assert read_shapes(path, id_column="K")[OUTLINE_ID].tolist() == ["x", "y"]
    with pytest.raises(RequestError, match=r"a\.gpkg: has no column 'kk' .*; its columns are k$"):
        read_shapes(path, id_column="kk")


def test_what_lies_beyond_the_scene_is_not_said_to_overlap(
    tmp_path: Path, make_grid: Callable[..., Grid]
) -> None:
    far = shapely.transform(boxes(100), lambda points: points + 50000).tolist()
    path = write(tmp_path / "a.gpkg", [*far, *far, *boxes(100)], id=[1, 2, 3])
    notes: list[str] = []
    found = read_outlines(path, make_grid(20, 20), notes=notes)
    assert (found[OUTLINE_ID].tolist(), found.index.tolist(), notes) == (["3"], [0], [])
