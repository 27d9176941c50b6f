"""Vector files with the layers of an outline map."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pyogrio

from glacierseg.errors import RequestError
from glacierseg.raster.write import atomic_path
from glacierseg.vectors.styles import qml, style_geopackage

_DRIVERS = {".gpkg": "GPKG", ".shp": "ESRI Shapefile", ".geojson": "GeoJSON", ".parquet": "Parquet"}
_LONGEST_NAME = 10
SHAPEFILE_NAMES = {
    "uncertainty_km2": "unc_km2",
    "uncertainty_pct": "unc_pct",
    "probability_mean": "prob_mean",
    "probability_std": "prob_std",
}
"""Names of columns in a Shapefile, of those that are longer than its ten characters."""


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
        replaceable: Layers of a GeoPackage that is there which may be lost; None for all.

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
                table = _whole(every).to_crs(4326)
                pyogrio.write_dataframe(table, alone, driver=driver, geometry_type="Polygon", RFC7946="YES")
            else:
                _whole(every).to_parquet(alone)
            alone.with_suffix(".qml").write_text(qml(name, labels[name]), encoding="utf-8")
        if driver == "GPKG":
            style_geopackage(part, labels)


def add_layer(path: Path, name: str, table: Any, **options: Any) -> None:
    """Adds one layer, or a table without shapes, to a GeoPackage that is being written.

    Args:
        path: Where `atomic_path` says.
        name: Of the layer.
        table: GeoDataFrame, or DataFrame without shapes.
        options: Of pyogrio, such as the type of the shapes.
    """
    pyogrio.write_dataframe(table, path, layer=name, driver="GPKG", **options)


def _append(tables: Iterable[gpd.GeoDataFrame], path: Path, driver: str, layer: str | None = None) -> None:
    for number, table in enumerate(tables):
        pyogrio.write_dataframe(
            table, path, layer=layer, driver=driver, geometry_type="Polygon", append=number > 0
        )


def _whole(tables: Iterable[gpd.GeoDataFrame]) -> gpd.GeoDataFrame:
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
