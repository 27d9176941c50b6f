import sqlite3
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import CRS, Geod

from glacierseg.errors import RequestError
from glacierseg.vectors.layers import SHAPEFILE_NAMES, STYLES, outline_table, qml, write_layers


def table(**columns: Any) -> gpd.GeoDataFrame:
    boxes = [shapely.box(x, 0, x + 5, 5) for x in (0, 10)]
    return gpd.GeoDataFrame({"glacier_id": [1, 2], **columns}, geometry=boxes, crs=32645)


def test_columns_of_a_shapefile_get_the_names_that_are_documented(tmp_path: Path) -> None:
    write_layers(tmp_path / "out.shp", {"raw": table(uncertainty_km2=[0.5, 0.25])})
    assert gpd.read_file(tmp_path / "out.shp")["unc_km2"].tolist() == [0.5, 0.25]
    assert all(len(short) <= 10 < len(name) for name, short in SHAPEFILE_NAMES.items())
    assert len(set(SHAPEFILE_NAMES.values())) == len(SHAPEFILE_NAMES)


def test_a_column_is_never_cut_in_silence(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="'hypsometry_m2' is longer than the 10 characters"):
        write_layers(tmp_path / "out.shp", {"raw": table(hypsometry_m2=[1, 2])})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".gpkg", ".shp", ".geojson", ".parquet"])
def test_rows_may_come_in_several_tables(tmp_path: Path, suffix: str) -> None:
    parts = [table().iloc[:1], table().iloc[1:]]
    write_layers(tmp_path / f"out{suffix}", {"raw": iter(parts)})
    path = tmp_path / f"out{suffix}"
    read = gpd.read_parquet(path) if suffix == ".parquet" else gpd.read_file(path)
    assert read["glacier_id"].tolist() == [1, 2]


def test_a_geopackage_opens_with_its_styles(tmp_path: Path) -> None:
    write_layers(tmp_path / "out.gpkg", {"raw": table(), "other": table()})
    with sqlite3.connect(tmp_path / "out.gpkg") as database:
        rows = database.execute(
            "SELECT f_table_catalog, f_table_schema, f_table_name, f_geometry_column, useAsDefault, styleQML "
            "FROM layer_styles"
        ).fetchall()
        contents = dict(database.execute("SELECT table_name, data_type FROM gpkg_contents").fetchall())
    database.close()
    assert contents == {"raw": "features", "other": "features", "layer_styles": "attributes"}
    assert [row[:5] for row in rows] == [("", "", "raw", "geom", 1), ("", "", "other", "geom", 1)]
    assert rows[0][5] == qml("raw")


def test_other_formats_have_their_style_beside_them(tmp_path: Path) -> None:
    write_layers(tmp_path / "out.shp", {"raw": table(), "smooth": table()})
    assert (tmp_path / "out.qml").read_text() == qml("raw")
    assert (tmp_path / "out_smooth.qml").read_text() == qml("smooth")


@pytest.mark.parametrize("layer", [*STYLES, "something else"])
def test_a_style_draws_a_line_and_labels_it_when_near(layer: str) -> None:
    root = ET.fromstring(qml(layer))  # noqa: S314  (we wrote it)
    assert root.tag == "qgis"
    line = root.find("renderer-v2/symbols/symbol[@type='fill']/layer[@class='SimpleLine']")
    assert line is not None
    options = {option.get("name"): option.get("value") for option in line.findall("Option/Option")}
    assert options == {prop.get("k"): prop.get("v") for prop in line.findall("prop")}
    assert str(options["line_color"]).count(",") == 3
    text, rendering = root.find("labeling/settings/text-style"), root.find("labeling/settings/rendering")
    assert text is not None
    assert rendering is not None
    assert text.get("fieldName") == "glacier_id"
    # QGIS names them by the denominator: from 1:1 to 1:100 000.
    assert (rendering.get("scaleMin"), rendering.get("scaleMax")) == ("1", "100000")


def test_a_style_without_labels() -> None:
    root = ET.fromstring(qml("raw", label=None))  # noqa: S314
    assert root.get("labelsEnabled") == "0"
    assert root.find("labeling") is None


def test_areas_are_those_of_the_ellipsoid_without_holes() -> None:
    outer, hole = shapely.box(86.8, 27.9, 86.9, 28.0), shapely.box(86.82, 27.92, 86.84, 27.94)
    table = outline_table(np.array([outer.difference(hole), hole]), CRS.from_epsg(4326))
    geod = Geod(ellps="WGS84")
    areas_km2 = [abs(geod.geometry_area_perimeter(shape)[0]) / 1e6 for shape in (outer, hole)]
    assert table["area_km2"].tolist() == pytest.approx([areas_km2[0] - areas_km2[1], areas_km2[1]], rel=1e-12)


def test_a_projected_area_is_corrected_for_its_scale() -> None:
    # On the central meridian a UTM map is too small by 0.9996 in each direction.
    square = shapely.box(499_500, 3_099_500, 500_500, 3_100_500)
    table = outline_table(np.array([square]), CRS.from_epsg(32645))
    assert table["area_km2"][0] == pytest.approx(1 / 0.9996**2, rel=1e-6)


def test_the_centre_lies_inside_even_of_a_ring() -> None:
    ring = shapely.Point(500_000, 3_100_000).buffer(900) - shapely.Point(500_000, 3_100_000).buffer(800)
    table = outline_table(np.array([ring]), CRS.from_epsg(32645))
    degrees = table.to_crs(4326).geometry[0]
    assert degrees.contains(shapely.Point(table["cenlon"][0], table["cenlat"][0]))


def test_small_outlines_are_left_out_and_the_rest_numbered_through() -> None:
    squares = np.array(
        [
            shapely.box(5e5 + x, 3e6, 5e5 + x + side, 3e6 + side)
            for x, side in ((0, 1000), (2000, 100), (3000, 500))
        ]
    )
    table = outline_table(squares, CRS.from_epsg(32645), min_area_km2=0.05)
    assert table["glacier_id"].tolist() == [1, 2]
    assert table.geometry.area.tolist() == [1e6, 2.5e5]


def test_no_outlines_make_an_empty_table_with_all_columns() -> None:
    table = outline_table(np.array([], dtype=object), CRS.from_epsg(32645))
    assert table.columns.tolist() == ["glacier_id", "area_km2", "cenlon", "cenlat", "geometry"]
    assert table.crs.to_epsg() == 32645
    assert len(table) == 0
    assert all(len(name) <= 10 for name in table.columns)
