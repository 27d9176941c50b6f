"""Vector files: one way to read them, with one rule for files with several layers.

A layer that is named is taken. Without a name a file with one layer of the wanted shapes is taken as it is,
whatever tables, styles and layers of other shapes it holds besides. Of several such layers none is taken
unasked, except where a command has names that it prefers; the error lists them and the option to say which.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rasterio.crs import CRS

from glacierseg.errors import RequestError, TruthError, did_you_mean
from glacierseg.raster.bounds import boxes_in, near_boxes, wrap_towards
from glacierseg.raster.grid import Grid, name_of_crs

VECTOR_SUFFIXES = frozenset(
    {".gpkg", ".shp", ".geojson", ".json", ".fgb", ".parquet", ".kml", ".gml", ".gdb", ".sqlite", ".zip"}
)
Shapes = Literal["polygons", "lines"]
PIXEL_EXACT = ("raw",)
"""The layer of this package's own files that gives back the very pixels it was drawn from."""
_GEOMETRIES = {"polygons": ("Polygon", "MultiPolygon"), "lines": ("LineString", "MultiLineString")}
_WORDS = {"polygons": ("Polygon", "Surface"), "lines": ("String", "Curve"), "points": ("Point",)}


def is_vector(path: Path) -> bool:
    """Whether a path names outlines rather than a raster."""
    return path.suffix.lower() in VECTOR_SUFFIXES


def read_shapes(
    path: Path,
    *,
    layer: str | None = None,
    shapes: Shapes = "polygons",
    option: str = "--layer",
    prefer: Sequence[str] = (),
) -> Any:
    """Reads polygons or lines of a vector file of any format, in its own CRS.

    Args:
        path: Any vector format that GDAL reads, or GeoParquet.
        layer: Which layer; see the rule above when None.
        shapes: Which shapes are wanted; others are left out, as are empty ones.
        option: Where the user says which layer, for the error.
        prefer: Of several layers the first of these names is taken when none is asked for.

    Returns:
        A GeoDataFrame of at least one shape, numbered from 0.

    Raises:
        TruthError: The file is missing, unreadable, has no such layer, no CRS or no such shape, or has
            several layers and nothing says which is meant.
    """
    import geopandas as gpd  # noqa: PLC0415  (takes half a second)

    path = Path(path)
    if not path.exists():
        raise TruthError(f"{path}: no such file; check the path")
    try:
        if path.suffix.lower() == ".parquet":
            _refuse_layer(path, layer, "is GeoParquet", option)
            table = gpd.read_parquet(path)
        else:
            table = gpd.read_file(path, layer=_layer_of(path, layer, shapes, option, prefer))
    except ImportError as error:
        raise RequestError(f"{path}: GeoParquet needs pyarrow; pip install 'glacierseg[parquet]'") from error
    except (RuntimeError, ValueError, OSError) as error:
        raise TruthError(f"{path}: {shapes} cannot be read ({error}); give a vector file") from error
    what = "outlines, not points or lines" if shapes == "polygons" else "lines, not points or outlines"
    if not isinstance(table, gpd.GeoDataFrame):
        raise TruthError(f"{path}: holds no {shapes}; give {what}")
    if table.crs is None:
        raise TruthError(f"{path}: {shapes} have no CRS; assign the right one, for example in QGIS")
    wanted = table.geom_type.isin(_GEOMETRIES[shapes]) & ~table.geometry.is_empty
    if not wanted.any():
        raise TruthError(f"{path}: holds no {shapes}; give {what}")
    return table[wanted].reset_index(drop=True)


def read_outlines(
    path: Path,
    grid: Grid,
    *,
    layer: str | None = None,
    option: str = "--truth-layer",
    prefer: Sequence[str] = PIXEL_EXACT,
) -> Any:
    """Reads the outlines that meet a grid, in the grid's CRS.

    Args:
        path: As for `read_shapes`.
        grid: The scene's grid.
        layer: As for `read_shapes`.
        option: As for `read_shapes`.
        prefer: As for `read_shapes`; here they become pixels.

    Returns:
        A GeoDataFrame of polygons.

    Raises:
        TruthError: As `read_shapes`, or no polygon meets the grid.
    """
    return outlines_near(read_shapes(path, layer=layer, option=option, prefer=prefer), grid, path)


def outlines_near(table: Any, grid: Grid, path: Path) -> Any:
    """Returns the outlines of a table that meet a grid, in the grid's CRS.

    Args:
        table: GeoDataFrame of polygons.
        grid: The scene's grid.
        path: The file that they are from, for the error.

    Raises:
        TruthError: No polygon meets the grid.
    """
    # Cut in the outlines' own CRS first: far from the scene a projection may not even be defined.
    boxes = boxes_in(grid, CRS.from_wkt(table.crs.to_wkt()))
    near = table[near_boxes(table.bounds.to_numpy(), boxes)].to_crs(grid.crs.to_wkt())
    near = near.set_geometry(wrap_towards(near.geometry.to_numpy(), grid), crs=near.crs)
    left, bottom, right, top = grid.bounds
    near = near.cx[left:right, bottom:top]
    if near.empty:
        raise TruthError(
            f"{path}: no outline meets the scene ({name_of_crs(grid.crs)}, "
            f"{left:g} {bottom:g} {right:g} {top:g}); check that both are of the same place"
        )
    return near


def refuse_layer_of_raster(path: Path, layer: str | None, option: str = "--truth-layer") -> None:
    """Raises RequestError when a layer is asked for of a raster, which has none."""
    if not is_vector(path):
        _refuse_layer(path, layer, "is a raster", option)


def one_layer_each(
    paths: Sequence[Path], layers: Sequence[str | None] | None, option: str = "--truth-layer"
) -> list[str | None]:
    """Shares out layers among files: one for all vector files, or one for each of all files in their order.

    Args:
        paths: The files, rasters among them.
        layers: None, one, or as many as there are files.
        option: Where the user says which, for the error.

    Raises:
        RequestError: There are others, or one for rasters alone.
    """
    if not layers:
        return [None] * len(paths)
    if len(layers) == len(paths):
        return list(layers)
    if len(layers) != 1:
        raise RequestError(
            f"{len(layers)} x {option} for {len(paths)} files; give one for all, or one for each in order"
        )
    if paths and not any(is_vector(path) for path in paths):
        refuse_layer_of_raster(paths[0], layers[0], option)
    return [layers[0] if is_vector(path) else None for path in paths]


def _refuse_layer(path: Path, layer: str | None, what: str, option: str) -> None:
    if layer is not None:
        raise RequestError(f"{path}: {what} and has no layers; leave {option} {layer} out")


def _layer_of(path: Path, asked: str | None, shapes: Shapes, option: str, prefer: Sequence[str]) -> str:
    """Returns the layer to read, by the rule of this module."""
    import pyogrio  # noqa: PLC0415

    kinds = {str(name): kind for name, kind in pyogrio.list_layers(path)}
    fitting = [name for name, kind in kinds.items() if kind is not None and _may_hold(str(kind), shapes)]
    if asked is not None:
        if asked in kinds:
            return asked
        raise TruthError(
            f"{path}: has no layer {asked!r}{did_you_mean(asked, kinds)}; "
            f"its layers of {shapes} are {', '.join(fitting) or 'none'}"
        )
    if len(kinds) == 1:
        return next(iter(kinds))
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise TruthError(f"{path}: holds no {shapes} in its layers {', '.join(kinds) or '(none)'}")
    for name in prefer:
        if name in fitting:
            return name
    raise TruthError(f"{path}: has the layers {', '.join(fitting)}; say which with {option}")


def _may_hold(kind: str, shapes: Shapes) -> bool:
    """Whether a layer of some geometry type may hold polygons, or lines; one of unknown type may."""
    named = next((one for one, words in _WORDS.items() if any(word in kind for word in words)), shapes)
    return named == shapes


__all__ = [
    "VECTOR_SUFFIXES",
    "is_vector",
    "one_layer_each",
    "outlines_near",
    "read_outlines",
    "read_shapes",
    "refuse_layer_of_raster",
]
