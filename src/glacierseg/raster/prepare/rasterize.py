"""Outlines to a mask, on scenes of any size."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.features import rasterize

from glacierseg.errors import TruthError
from glacierseg.log import Progress
from glacierseg.raster.blocks import iterate_blocks, open_writer
from glacierseg.raster.bounds import wrap_towards
from glacierseg.raster.environment import bounded_gdal
from glacierseg.raster.grid import Grid
from glacierseg.raster.outlines import read_outlines
from glacierseg.raster.outputs import TIFF, writes
from glacierseg.raster.truth import BACKGROUND, GLACIER, IGNORE
from glacierseg.raster.warp import read_grid, utm_crs
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.prepare import RasterizeSettings

# A mask has one small layer: larger blocks mean fewer searches among the outlines.
_BLOCK_PX = 2048


@fields_as_keywords(settings=RasterizeSettings)
@writes(out=TIFF)
def rasterize_file(
    outlines: Path | str,
    like: Path | str,
    out: Path | str,
    settings: RasterizeSettings | None = None,
    *,
    progress: Progress | None = None,
) -> Path:
    """Burns outlines of any format and CRS into a mask on the grid of a raster.

    Args:
        outlines: A vector file.
        like: A raster on the wanted grid.
        out: The GeoTIFF to write: 0 background, 1 glacier, 255 ignore (also declared as its nodata).
        settings: Or its fields as keywords.
        progress: Called with the share done, 0-1.

    Returns:
        The path of the result.

    Raises:
        RasterError: The raster cannot be read.
        TruthError: The outlines cannot be used, or none is left.
        OutputError: The result cannot be written.
    """
    from glacierseg.raster.outlines.repair import areas_km2  # noqa: PLC0415  (with geopandas, half a second)

    settings, outlines, out = settings or RasterizeSettings(), Path(outlines), Path(out)
    grid = read_grid(Path(like))
    # The rim of a glacier beside the scene may reach into it.
    margin_px = math.ceil(settings.ignore_rim_m / min(grid.pixel_size_m))
    around = grid.crop(-margin_px, -margin_px, grid.height + 2 * margin_px, grid.width + 2 * margin_px)
    table = read_outlines(outlines, around, layer=settings.layer, option="--layer")
    if (least_km2 := settings.min_area_km2) > 0:
        areas = areas_km2(table.geometry, table.crs)
        table = table[areas >= least_km2]
        if table.empty:
            raise TruthError(
                f"{outlines}: no outline in the scene has {least_km2:g} km2 or more (the largest has "
                f"{areas.max():.3g} km2); lower the least area"
            )
    burn_outlines(table, grid, out, settings, progress=progress)
    return out


def burn_outlines(
    table: Any,
    grid: Grid,
    out: Path,
    settings: RasterizeSettings | None = None,
    *,
    progress: Progress | None = None,
) -> None:
    """Burns outlines into a mask file block by block.

    Args:
        table: GeoDataFrame of polygons in the grid's CRS.
        grid: Where the mask shall lie.
        out: As for `rasterize_file`.
        settings: How; all outlines of the table count.
        progress: As for `rasterize_file`.

    Raises:
        OutputError: The result cannot be written.
    """
    import shapely  # noqa: PLC0415

    settings = settings or RasterizeSettings()
    shapes = table.geometry.to_numpy()
    rim = _rim(table, grid, settings.ignore_rim_m) if settings.ignore_rim_m > 0 else np.empty(0, object)
    trees = shapely.STRtree(shapes), shapely.STRtree(rim)
    with (
        bounded_gdal(),
        open_writer(out, grid, ["mask"], "uint8", IGNORE, compress=settings.compress) as writer,
    ):
        for block in iterate_blocks(grid.shape, progress, height_px=_BLOCK_PX, width_px=_BLOCK_PX):
            part = grid.crop(block.row, block.column, block.height, block.width)
            box = shapely.box(*part.bounds)
            mask = np.full(part.shape, BACKGROUND, np.uint8)
            inside = shapes[np.sort(trees[0].query(box))]
            _burn(mask, part, inside, GLACIER, all_touched=settings.all_touched)
            _burn(mask, part, rim[np.sort(trees[1].query(box))], IGNORE, all_touched=False)
            writer.write(block, mask[None], np.ones((1, *mask.shape), bool))


def _burn(mask: NDArray[np.uint8], grid: Grid, shapes: Any, value: int, *, all_touched: bool) -> None:
    if len(shapes):
        rasterize(shapes, out=mask, transform=grid.transform, default_value=value, all_touched=all_touched)


def _rim(table: Any, grid: Grid, distance_m: float) -> Any:
    """Pieces of the ground within a distance of the boundary of all glaciers together, in the grid's CRS."""
    import geopandas as gpd  # noqa: PLC0415
    import shapely  # noqa: PLC0415

    metric = utm_crs(grid).to_wkt()
    united = shapely.union_all(shapely.make_valid(table.geometry.to_crs(metric).to_numpy()))
    lines = shapely.get_parts(shapely.boundary(shapely.get_parts(united)))
    rim = gpd.GeoSeries(shapely.buffer(lines, distance_m), crs=metric)
    return wrap_towards(rim.to_crs(grid.crs.to_wkt()).to_numpy(), grid)
