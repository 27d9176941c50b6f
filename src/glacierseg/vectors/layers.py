"""Tables of outlines, and the vector files that hold them, with styles for QGIS."""

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer

from glacierseg.errors import RequestError
from glacierseg.raster.write import atomic_path

_GEOD = Geod(ellps="WGS84")
_DRIVERS = {".gpkg": "GPKG", ".shp": "ESRI Shapefile", ".geojson": "GeoJSON", ".parquet": "Parquet"}
_LONGEST_NAME = 10
SHAPEFILE_NAMES = {
    "uncertainty_km2": "unc_km2",
    "uncertainty_pct": "unc_pct",
    "probability_mean": "prob_mean",
    "probability_std": "prob_std",
}
"""Names of columns in a Shapefile, of those that are longer than its ten characters."""


def outline_table(
    polygons: NDArray[Any], crs: CRS, min_area_km2: float = 0.0, *, first_id: int = 1
) -> gpd.GeoDataFrame:
    """Makes a table of outlines.

    Args:
        polygons: `(N,)` in a CRS, also of several parts, in the order in which they shall be numbered.
        crs: That CRS.
        min_area_km2: Smaller ones are left out.
        first_id: Where the numbers begin.

    Returns:
        Columns `glacier_id` (from `first_id` up), `area_km2` (on the WGS84 ellipsoid, holes taken out),
        `cenlon` and `cenlat` (degrees, of a point inside the outline) and `geometry`.
    """
    areas = areas_km2(polygons, crs)
    large = areas >= min_area_km2
    polygons, areas = polygons[large], areas[large]
    inside = shapely.get_coordinates(shapely.point_on_surface(polygons))
    longitudes, latitudes = Transformer.from_crs(crs, 4326, always_xy=True).transform(*inside.T)
    columns = pd.DataFrame(
        {
            "glacier_id": np.arange(first_id, first_id + len(polygons), dtype=np.int32),
            "area_km2": areas,
            "cenlon": np.asarray(longitudes, float),
            "cenlat": np.asarray(latitudes, float),
        }
    )
    return gpd.GeoDataFrame(columns, geometry=gpd.GeoSeries(polygons, crs=crs), crs=crs)


def areas_km2(shapes: NDArray[Any], crs: CRS) -> NDArray[np.float64]:
    """Returns areas on the WGS84 ellipsoid, holes taken out whichever way round their rings run."""
    parts, owners = shapely.get_parts(shapes, return_index=True)
    if not len(parts):
        return np.zeros(len(shapes))
    _, points, (ring_offsets, polygon_offsets) = shapely.to_ragged_array(parts)
    longitudes, latitudes = Transformer.from_crs(crs, 4326, always_xy=True).transform(*points.T)
    areas_m2 = np.array(
        [
            abs(_GEOD.polygon_area_perimeter(longitudes[begin:end], latitudes[begin:end])[0])
            for begin, end in pairwise(ring_offsets)
        ]
    )
    exteriors = polygon_offsets[:-1]
    signs = np.full(len(areas_m2), -1.0)
    signs[exteriors] = 1
    of_parts = np.add.reduceat(signs * areas_m2, exteriors) / 1e6
    return np.bincount(owners, of_parts, len(shapes)).astype(np.float64)


def polygons_only(shapes: NDArray[Any], sliver: float = 0.0) -> NDArray[Any]:
    """Returns shapes as multipolygons, without the points, lines and slivers that overlays leave behind.

    Args:
        shapes: `(N,)` of any kind, also collections.
        sliver: Parts of no more than this area are left out, in square units of the coordinates.

    Returns:
        `(N,)`, empty where nothing is left.
    """
    found = np.full(len(shapes), shapely.MultiPolygon(), object)
    pieces, owner = shapely.get_parts(shapes, return_index=True)
    # A collection may hold multipolygons.
    parts, piece = shapely.get_parts(pieces, return_index=True)
    areal = (shapely.get_dimensions(parts) == 2) & (shapely.area(parts) > sliver)
    owners, index = np.unique(owner[piece[areal]], return_inverse=True)
    if len(owners):
        found[owners] = shapely.multipolygons(parts[areal], indices=index)
    return found


def refuse_unknown_format(path: Path) -> None:
    """Raises RequestError when no vector file of that name can be written."""
    if path.suffix.lower() not in _DRIVERS:
        raise RequestError(
            f"{path}: outlines cannot be written in this format; end the name in {', '.join(_DRIVERS)}"
        )
    if path.suffix.lower() == ".parquet" and find_spec("pyarrow") is None:
        raise RequestError(
            f'{path}: Parquet needs pyarrow; run `pip install "glacierseg[parquet]"`, or write .gpkg instead'
        )


def write_layers(
    path: Path,
    layers: Mapping[str, gpd.GeoDataFrame | Iterable[gpd.GeoDataFrame]],
    *,
    replaceable: Collection[str] | None = None,
) -> None:
    """Writes tables of polygons as layers that are whole or absent, each with a style for QGIS.

    A GeoPackage holds them all, and their styles. Other formats hold one layer a file: the first goes to the
    file of the given name, the others beside it, for example `outlines.shp` and `outlines_smooth.shp`, each
    with its style as `.qml`. GeoJSON is written by RFC 7946, in degrees of WGS84.

    Args:
        path: Final path; its suffix decides on the format.
        layers: Tables by layer name, or their rows in several tables one after the other, of which a
            GeoPackage and a Shapefile hold only one in memory. An empty table makes an empty layer.
        replaceable: Layers of an existing GeoPackage that may be lost; None for all.

    Raises:
        RequestError: The format is unknown, a column has no short name for a Shapefile, or the file holds
            layers of others.
        OutputError: The folder cannot be written to.
    """
    refuse_unknown_format(path)
    driver = _DRIVERS[path.suffix.lower()]
    labels: dict[str, str | None] = {}
    with atomic_path(path, tables=replaceable) as part:
        for name, tables in layers.items():
            rows = iter([tables] if isinstance(tables, gpd.GeoDataFrame) else tables)
            first = next(rows)
            labels[name] = next((column for column in ("glacier_id", "id") if column in first), None)
            every = chain([first], rows)
            if driver == "GPKG":
                _append(every, part, driver, layer=name)
                continue
            alone = part if len(labels) == 1 else part.with_name(f"{path.stem}_{name}{path.suffix}")
            if driver == "ESRI Shapefile":
                _append(_shortened(every, path), alone, driver)
            elif driver == "GeoJSON":
                table = joined(every).to_crs(4326)
                pyogrio.write_dataframe(table, alone, driver=driver, geometry_type="Polygon", RFC7946="YES")
            else:
                joined(every).to_parquet(alone)
            alone.with_suffix(".qml").write_text(qml(name, labels[name]), encoding="utf-8")
        if driver == "GPKG":
            style_geopackage(part, labels)


def add_layer(path: Path, name: str, table: Any, **options: Any) -> None:
    """Adds one layer, or a table without shapes, to a GeoPackage that is being written."""
    pyogrio.write_dataframe(table, path, layer=name, driver="GPKG", **options)


def _append(tables: Iterable[gpd.GeoDataFrame], path: Path, driver: str, layer: str | None = None) -> None:
    for number, table in enumerate(tables):
        pyogrio.write_dataframe(
            table, path, layer=layer, driver=driver, geometry_type="Polygon", append=number > 0
        )


def joined(tables: Iterable[gpd.GeoDataFrame]) -> gpd.GeoDataFrame:
    """Returns the rows of several tables, of which there is at least one, in one."""
    parts = list(tables)
    filled = [part for part in parts if len(part)] or parts[:1]
    return gpd.GeoDataFrame(pd.concat(filled, ignore_index=True), crs=filled[0].crs)


def _shortened(tables: Iterable[gpd.GeoDataFrame], path: Path) -> Iterator[gpd.GeoDataFrame]:
    for table in tables:
        short = table.rename(columns=SHAPEFILE_NAMES)
        for column in short.columns.drop(short.geometry.name):
            if len(column) > _LONGEST_NAME:
                raise RequestError(
                    f"{path}: column {column!r} is longer than the {_LONGEST_NAME} characters of a Shapefile "
                    "and has no short name; write .gpkg instead"
                )
        yield short


@dataclass(frozen=True)
class Style:
    """Colour `(red, green, blue)`, width of the line, and its dashes as QGIS names them."""

    colour: tuple[int, int, int]
    width_mm: float
    dashes: str = "solid"


# Colours are from Okabe and Ito (2008), which colour-blind people tell apart; dashes differ too.
STYLES = {
    "raw": Style((213, 94, 0), 0.3),
    "smooth": Style((0, 114, 178), 0.5),
    "contour": Style((204, 121, 167), 0.5, "dash"),
    "refined": Style((230, 159, 0), 0.3),
    "refined_smooth": Style((0, 158, 115), 0.5),
    "glaciers": Style((0, 114, 178), 0.6),
    "retreat": Style((213, 94, 0), 0.5),
    "advance": Style((0, 158, 115), 0.5),
    "outlines": Style((213, 94, 0), 0.5),
    "checked": Style((0, 158, 115), 0.8, "dash"),
    "places": Style((204, 121, 167), 0.9),
}
_OTHER = Style((86, 180, 233), 0.5)
# The schema of QGIS 3: properties stand as options, for 3.20 and later, and as `prop`, which all read.
_QML = """<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22.0" styleCategories="Symbology|Labeling" labelsEnabled="{labelled}">
  <renderer-v2 type="singleSymbol" symbollevels="0" enableorderby="0" forceraster="0">
    <symbols>
      <symbol type="fill" name="0" alpha="1" clip_to_extent="1" force_rhr="0">
        <layer class="SimpleLine" enabled="1" locked="0" pass="0">
          <Option type="Map">
{options}
          </Option>
{props}
        </layer>
      </symbol>
    </symbols>
    <rotation />
    <sizescale />
  </renderer-v2>{labels}
  <blendMode>0</blendMode>
  <featureBlendMode>0</featureBlendMode>
  <layerGeometryType>2</layerGeometryType>
</qgis>
"""
# Placement 1 is over the centroid, which for polygons shall lie inside.
_QML_LABELS = """
  <labeling type="simple">
    <settings>
      <text-style fieldName="{column}" isExpression="0" fontFamily="Sans Serif" fontSize="8" \
fontSizeUnit="Point" textColor="{colour}" textOpacity="1">
        <text-buffer bufferDraw="1" bufferSize="0.8" bufferSizeUnits="MM" bufferColor="255,255,255,255" \
bufferOpacity="1" />
      </text-style>
      <placement placement="1" centroidInside="1" centroidWhole="1" priority="5" />
      <rendering drawLabels="1" scaleVisibility="1" scaleMin="1" scaleMax="100000" obstacle="1" />
    </settings>
  </labeling>"""


def qml(layer: str, label: str | None = "glacier_id") -> str:
    """Returns a QGIS style: an outline without filling, and labels from a column at 1:100 000 and closer."""
    style = STYLES.get(layer, _OTHER)
    colour = ",".join(map(str, (*style.colour, 255)))
    properties = {
        "line_color": colour,
        "line_style": style.dashes,
        "line_width": style.width_mm,
        "line_width_unit": "MM",
        "joinstyle": "round",
        "capstyle": "round",
        "offset": 0,
        "offset_unit": "MM",
        "ring_filter": 0,
    }.items()
    return _QML.format(
        labelled=int(bool(label)),
        options="\n".join(
            f'            <Option name="{name}" value="{value}" type="QString" />'
            for name, value in properties
        ),
        props="\n".join(f'          <prop k="{name}" v="{value}" />' for name, value in properties),
        labels=_QML_LABELS.format(column=label, colour=colour) if label else "",
    )


def style_geopackage(path: Path, layers: Mapping[str, str | None]) -> None:
    """Stores styles in a finished GeoPackage, in the table where QGIS looks for the default one.

    Layers are given with the column to label them with.
    """
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "CREATE TABLE layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, "
            "f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256), "
            "f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT, "
            "useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30), "
            "update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))"
        )
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, description) "
            "VALUES ('layer_styles', 'attributes', 'layer_styles', '')"
        )
        geometry_columns = dict(
            database.execute("SELECT table_name, column_name FROM gpkg_geometry_columns").fetchall()
        )
        database.executemany(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, "
            "styleName, styleQML, styleSLD, useAsDefault, description, owner) "
            "VALUES ('', '', ?, ?, ?, ?, '', 1, 'by glacierseg', '')",
            [(name, geometry_columns[name], name, qml(name, label)) for name, label in layers.items()],
        )
