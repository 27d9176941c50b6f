"""Masks with their corrections.gpkg, and edits as QGIS leaves them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from glacierseg.raster.grid import Grid
from glacierseg.raster.write import write_raster
from glacierseg.review.corrections import write_corrections
from glacierseg.vectors.trace import to_crs

UTM = Grid(CRS.from_epsg(32643), Affine(10, 0, 7e5, 0, -10, 36e5), 24, 30)
DEGREES = Grid(CRS.from_epsg(4326), Affine(2e-4, 0, 77.0123, 0, -1.5e-4, 61.0371), 24, 30)
TURNED = Grid(CRS.from_epsg(32643), Affine(7, 3, 7e5, 3, -7, 36e5), 24, 30)
SOUTH_UP = Grid(CRS.from_epsg(32643), Affine(10, 0, 7e5, 0, 10, 36e5), 24, 30)
KM2 = 1e-4
"""Of a pixel of `UTM`."""


def two_glaciers() -> NDArray[np.uint8]:
    """A glacier of 8 x 10 pixels with a hole, one of 6 x 6, and a corner without data."""
    mask = np.zeros(UTM.shape, np.uint8)
    mask[2:10, 2:12] = 1
    mask[5, 5] = 0
    mask[14:20, 18:24] = 1
    mask[:, 28:] = 255
    return mask


def write_mask(folder: Path, mask: NDArray[np.uint8], grid: Grid = UTM) -> Path:
    write_raster(folder / "mask.tif", mask, grid, bands=["glacier"], nodata=255)
    return folder / "mask.tif"


def drawn(
    folder: Path, mask: NDArray[np.uint8] | None = None, grid: Grid = UTM, **more: Any
) -> tuple[Path, Path]:
    """A mask and the file to correct it in."""
    file = write_mask(folder, two_glaciers() if mask is None else mask, grid)
    assert write_corrections(folder / "corrections.gpkg", file, **more)
    return file, folder / "corrections.gpkg"


def box(top: float, bottom: float, left: float, right: float, grid: Grid = UTM) -> Any:
    """The ground of rows and columns."""
    return to_crs(np.array([shapely.box(left, top, right, bottom)]), grid.transform)[0]


def layer(path: Path, name: str = "outlines") -> gpd.GeoDataFrame:
    return pyogrio.read_dataframe(path, layer=name)


def save(path: Path, table: gpd.GeoDataFrame, name: str = "outlines", kind: str = "MultiPolygon") -> None:
    pyogrio.write_dataframe(table, path, layer=name, driver="GPKG", geometry_type=kind, promote_to_multi=True)


def check(path: Path, shapes: Sequence[Any], grid: Grid = UTM, **columns: Sequence[Any]) -> None:
    """Draws the ground that was looked at."""
    save(path, gpd.GeoDataFrame(columns, geometry=list(shapes), crs=grid.crs.to_wkt()), "checked")


def check_all(path: Path, grid: Grid = UTM) -> None:
    check(path, [box(0, grid.height, 0, grid.width, grid)], grid)


def with_rows(table: gpd.GeoDataFrame, *rows: dict[str, Any]) -> gpd.GeoDataFrame:
    more = gpd.GeoDataFrame(list(rows), crs=table.crs)
    return gpd.GeoDataFrame(
        gpd.pd.concat([table, more], ignore_index=True), geometry="geometry", crs=table.crs
    )
