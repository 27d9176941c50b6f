"""From a mask file to a file of outlines."""

from pathlib import Path

import geopandas as gpd
from pyproj import CRS

from glacierseg.raster.scene import grid_of, open_raster
from glacierseg.raster.truth import read_mask
from glacierseg.vectors.layers import refuse_unknown_format, write_layers
from glacierseg.vectors.smoothing import smooth_outlines
from glacierseg.vectors.table import outline_table
from glacierseg.vectors.trace import to_crs, trace_polygons


def vectorize_mask(
    mask_path: Path | str,
    out_path: Path | str,
    *,
    refined_path: Path | str | None = None,
    smooth_layer: bool = True,
    min_area_km2: float = 0.0,
) -> gpd.GeoDataFrame:
    """Draws the outlines of a mask and writes them as layers `raw` and `smooth`, in the CRS of the mask.

    `raw` runs along the pixel edges, and has exactly the area of the mask; `smooth` has the same area without
    the stairs. A refined mask adds the same two as `refined` and `refined_smooth`. Pixels that touch only at
    a corner belong to different outlines. A mask without glacier gives empty layers.

    Args:
        mask_path: A mask raster.
        out_path: `.gpkg` with all layers; or `.shp`, `.geojson` or `.parquet` with `raw`, and beside it
            `<stem>_smooth` and so on of the same kind.
        refined_path: The refined mask, on the same grid.
        smooth_layer: Whether to write smooth layers at all.
        min_area_km2: Smaller outlines are left out.

    Returns:
        The `raw` layer: `glacier_id`, numbered from the outline with the most pixels down, `area_km2`,
        `cenlon`, `cenlat` and `geometry`, see `glacierseg.vectors.table.outline_table`.

    Raises:
        RasterError: A mask cannot be read or has no CRS.
        GridMismatchError: The refined mask lies on another grid.
        TruthError: A mask has values other than 0, 1 and ignore.
        RequestError: The format is unknown.
        OutputError: The outlines cannot be written.
    """
    mask_path, out_path = Path(mask_path), Path(out_path)
    refuse_unknown_format(out_path)
    with open_raster(mask_path) as dataset:
        grid = grid_of(dataset)
    crs = CRS.from_wkt(grid.crs.to_wkt())
    layers: dict[str, gpd.GeoDataFrame] = {}
    for prefix, path in (("", mask_path), ("refined", refined_path)):
        if path is None:
            continue
        polygons = trace_polygons(read_mask(Path(path), grid))
        layers[prefix or "raw"] = outline_table(to_crs(polygons, grid.transform), crs, min_area_km2)
        if smooth_layer:
            smooth = to_crs(smooth_outlines(polygons), grid.transform)
            layers[f"{prefix}_smooth".lstrip("_")] = outline_table(smooth, crs, min_area_km2)
    write_layers(out_path, layers)
    return layers["raw"]
