"""What was mapped on a scene, at the size that it is shown at: masks, probabilities, changes of any grid."""

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.windows import Window

from glacierseg.errors import DataError, GridMismatchError, RequestError
from glacierseg.raster.bounds import boxes_in, near_boxes, wrap_towards
from glacierseg.raster.environment import bounded_gdal
from glacierseg.raster.grid import Grid, require_one_shape
from glacierseg.raster.ground import name_of_crs
from glacierseg.raster.outlines import own_layers, read_own
from glacierseg.raster.probability import open_probability
from glacierseg.raster.truth import clean_mask, plain_mask
from glacierseg.raster.warp import on_grid, require_overlap
from glacierseg.vectors.layers import polygons_only

LEFT_OUT = "left_out"
CHANGES = ("glaciers", "retreat", "advance", LEFT_OUT)
"""Layers of a change, in the order in which they are drawn."""


def shown_mask(mask: NDArray[Any] | Path | str, grid: Grid, shown: Grid) -> NDArray[np.uint8]:
    """Reads a mask at the size that its scene is shown at.

    Args:
        mask: An array on the scene's grid, or a file on any.
        grid: The scene's grid.
        shown: The same ground in pixels as shown.

    Returns:
        `(h, w)` of 0, 1 and 255.

    Raises:
        RasterError: The file cannot be read.
        GridMismatchError: The array has another shape than the scene, or the file lies elsewhere.
        TruthError: The mask has other values.
    """
    if not isinstance(mask, Path | str):
        values = np.asarray(mask)
        require_one_shape({"the mask": values.shape, "the scene": grid.shape})
        clean = clean_mask(values, "the mask")
        rows, columns = (
            ((np.arange(few) + 0.5) * many / few).astype(int)
            for few, many in zip(shown.shape, grid.shape, strict=True)
        )
        return np.asarray(clean[np.ix_(rows, columns)])
    path = Path(mask)
    with bounded_gdal(), plain_mask(path) as plain:
        require_overlap(plain, grid, path)
        # What most of a pixel is: its middle alone would lose or widen narrow tongues by chance.
        with on_grid(plain, shown, "mode") as seen:
            return np.asarray(seen.read(1))


def shown_probability(path: Path, shown: Grid) -> NDArray[np.float32]:
    """Reads a probability at the size that a scene is shown at.

    Args:
        path: The raster, on any grid.
        shown: The ground of the scene in pixels as shown.

    Returns:
        `(h, w)` means of its pixels, NaN where there are none.

    Raises:
        RasterError: It cannot be read, or holds no probabilities.
        GridMismatchError: It lies elsewhere.
    """
    with bounded_gdal(), open_probability(path) as probability:
        require_overlap(probability.dataset, shown, path)
        with on_grid(probability.dataset, shown, "average") as seen:
            moved = replace(probability, grid=shown, dataset=seen)
            return moved.read(Window(0, 0, shown.width, shown.height))


def read_change(path: Path, grid: Grid) -> dict[str, gpd.GeoDataFrame]:
    """Reads what `glacierseg change` wrote, as far as it lies on a grid.

    Args:
        path: The GeoPackage, or the folder of its `change.gpkg`.
        grid: The scene's grid.

    Returns:
        `glaciers` (ice at both dates), `retreat`, `advance` and `left_out`: polygons in the grid's CRS, with
        `area_km2`.

    Raises:
        RequestError: It is missing, or no change.
        GridMismatchError: Nothing of it lies on the grid.
    """
    path = path / "change.gpkg" if path.is_dir() else path
    if not path.exists():
        raise RequestError(f"{path}: no such file; check the path")
    layers: tuple[str, ...] = ()
    with suppress(DataError):
        layers = own_layers(path)
    if missing := [name for name in CHANGES if name not in layers]:
        raise RequestError(
            f"{path}: has no layer {missing[0]!r}, so it is no change; give what "
            "`glacierseg change OLD NEW --out CHANGE.gpkg` writes"
        )
    tables = {name: read_own(path, name) for name in CHANGES}
    tables["glaciers"] = _without(tables["glaciers"], tables["retreat"])
    boxes = {name: boxes_in(grid, CRS.from_wkt(table.crs.to_wkt())) for name, table in tables.items()}
    found = {}
    for name, table in tables.items():
        near = table[near_boxes(table.bounds.to_numpy(), boxes[name])].to_crs(grid.crs.to_wkt())
        found[name] = near.set_geometry(wrap_towards(near.geometry.to_numpy(), grid), crs=near.crs)
    if not any(len(table) for table in found.values()):
        left, bottom, right, top = grid.bounds
        raise GridMismatchError(
            f"{path}: no glacier of it lies on the scene ({name_of_crs(grid.crs)}, "
            f"{left:g} {bottom:g} {right:g} {top:g}); check that both are of the same place"
        )
    return found


def dates_of_change(path: Path) -> str:
    """Returns the two dates of a change in words, from the JSON beside it; empty where it has none."""
    beside = (path / "change.gpkg" if path.is_dir() else path).with_suffix(".json")
    with suppress(OSError, ValueError):
        record = json.loads(beside.read_text(encoding="utf-8"))
        if isinstance(record, dict) and {"total", "old_date", "new_date"} <= record.keys():
            return f"{record['old_date']} to {record['new_date']}"
    return ""


def _without(glaciers: gpd.GeoDataFrame, retreat: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """The old glaciers less what they lost, with its area."""
    lost = shapely.union_all(retreat.geometry.to_numpy())
    kept = shapely.difference(glaciers.geometry.to_numpy(), lost)
    columns = {"area_km2": glaciers["old_km2"] - glaciers["retreat_km2"]}
    table = gpd.GeoDataFrame(columns, geometry=polygons_only(kept), crs=glaciers.crs)
    return table[~table.geometry.is_empty]
