"""Vector files with the layers of an outline map."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import geopandas as gpd
import pyogrio

from glacierseg.errors import RequestError
from glacierseg.raster.write import atomic_path

_DRIVERS = {".gpkg": "GPKG", ".shp": "ESRI Shapefile", ".geojson": "GeoJSON", ".parquet": "Parquet"}


def refuse_unknown_format(path: Path) -> None:
    """Raises RequestError when no vector file of that name can be written."""
    if path.suffix.lower() not in _DRIVERS:
        raise RequestError(
            f"{path}: outlines cannot be written in this format; end the name in {', '.join(_DRIVERS)}"
        )
    if path.suffix.lower() == ".parquet" and find_spec("pyarrow") is None:
        raise RequestError(
            f"{path}: Parquet needs pyarrow; run `pip install pyarrow`, or write .gpkg instead"
        )


def write_layers(path: Path, layers: Mapping[str, gpd.GeoDataFrame]) -> None:
    """Writes tables of polygons as layers that are whole or absent.

    A GeoPackage holds them all. Other formats hold one layer a file: the first goes to the file of the given
    name, the others beside it, for example `outlines.shp` and `outlines_smooth.shp`.

    Args:
        path: Final path; its suffix decides on the format.
        layers: Tables by layer name. An empty one makes an empty layer.

    Raises:
        RequestError: The format is unknown.
        OutputError: The folder cannot be written to.
    """
    refuse_unknown_format(path)
    driver = _DRIVERS[path.suffix.lower()]
    with atomic_path(path) as part:
        for number, (name, table) in enumerate(layers.items()):
            alone = part if number == 0 else part.with_name(f"{path.stem}_{name}{path.suffix}")
            if driver == "GPKG":
                pyogrio.write_dataframe(table, part, layer=name, driver=driver, geometry_type="Polygon")
            elif driver == "Parquet":
                table.to_parquet(alone)
            else:
                pyogrio.write_dataframe(table, alone, driver=driver, geometry_type="Polygon")
