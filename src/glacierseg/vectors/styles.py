"""How QGIS draws the layers: a style for each, in a GeoPackage or in a `.qml` file beside other formats.

Colours are from Okabe and Ito (2008), which colour-blind people tell apart, and lines differ in their
dashes too. The schema is that of QGIS 3: properties stand as options, for 3.20 and later, and as `prop`,
which all of them read.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

_LABEL_DOWN_TO = 100_000


@dataclass(frozen=True)
class Style:
    """Colour `(red, green, blue)`, width of the line, and its dashes as QGIS names them."""

    colour: tuple[int, int, int]
    width_mm: float
    dashes: str = "solid"


STYLES = {
    "raw": Style((213, 94, 0), 0.3),
    "smooth": Style((0, 114, 178), 0.5),
    "contour": Style((204, 121, 167), 0.5, "dash"),
    "refined": Style((230, 159, 0), 0.3),
    "refined_smooth": Style((0, 158, 115), 0.5),
    "glaciers": Style((0, 114, 178), 0.6),
}
_OTHER = Style((86, 180, 233), 0.5)


def qml(layer: str, label: str | None = "glacier_id") -> str:
    """Returns a QGIS style: an outline without filling, and labels at 1:100 000 and closer.

    Args:
        layer: Name of the layer; one that has no style of its own gets a common one.
        label: Column to label with; None for no labels.
    """
    style = STYLES.get(layer, _OTHER)
    colour = ",".join(map(str, (*style.colour, 255)))
    root = ET.Element(
        "qgis",
        {
            "version": "3.22.0",
            "styleCategories": "Symbology|Labeling",
            "labelsEnabled": str(int(bool(label))),
        },
    )
    renderer = ET.SubElement(
        root,
        "renderer-v2",
        {"type": "singleSymbol", "symbollevels": "0", "enableorderby": "0", "forceraster": "0"},
    )
    symbols = ET.SubElement(renderer, "symbols")
    symbol = ET.SubElement(
        symbols,
        "symbol",
        {"type": "fill", "name": "0", "alpha": "1", "clip_to_extent": "1", "force_rhr": "0"},
    )
    line = ET.SubElement(symbol, "layer", {"class": "SimpleLine", "enabled": "1", "locked": "0", "pass": "0"})
    properties = {
        "line_color": colour,
        "line_style": style.dashes,
        "line_width": str(style.width_mm),
        "line_width_unit": "MM",
        "joinstyle": "round",
        "capstyle": "round",
        "offset": "0",
        "offset_unit": "MM",
        "ring_filter": "0",
    }
    options = ET.SubElement(line, "Option", {"type": "Map"})
    for name, value in properties.items():
        ET.SubElement(options, "Option", {"name": name, "value": value, "type": "QString"})
    for name, value in properties.items():
        ET.SubElement(line, "prop", {"k": name, "v": value})
    ET.SubElement(renderer, "rotation")
    ET.SubElement(renderer, "sizescale")
    if label:
        _add_labels(root, label, colour)
    ET.SubElement(root, "blendMode").text = "0"
    ET.SubElement(root, "featureBlendMode").text = "0"
    ET.SubElement(root, "layerGeometryType").text = "2"
    ET.indent(root)
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ET.tostring(root, "unicode") + "\n"
    )


def _add_labels(root: ET.Element, column: str, colour: str) -> None:
    labeling = ET.SubElement(root, "labeling", {"type": "simple"})
    settings = ET.SubElement(labeling, "settings")
    text = ET.SubElement(
        settings,
        "text-style",
        {
            "fieldName": column,
            "isExpression": "0",
            "fontFamily": "Sans Serif",
            "fontSize": "8",
            "fontSizeUnit": "Point",
            "textColor": colour,
            "textOpacity": "1",
        },
    )
    ET.SubElement(
        text,
        "text-buffer",
        {"bufferDraw": "1", "bufferSize": "0.8", "bufferSizeUnits": "MM", "bufferColor": "255,255,255,255",
         "bufferOpacity": "1"},
    )  # fmt: skip
    # 1: over the centroid, which for polygons shall lie inside.
    ET.SubElement(
        settings,
        "placement",
        {"placement": "1", "centroidInside": "1", "centroidWhole": "1", "priority": "5"},
    )
    ET.SubElement(
        settings,
        "rendering",
        {"drawLabels": "1", "scaleVisibility": "1", "scaleMin": "1", "scaleMax": str(_LABEL_DOWN_TO),
         "obstacle": "1"},
    )  # fmt: skip


def style_geopackage(path: Path, layers: Mapping[str, str | None]) -> None:
    """Stores styles in a finished GeoPackage, in the table where QGIS looks for the default one.

    Args:
        path: The file.
        layers: By name of a layer, the column to label with.
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
