"""From a mask file to a file of outlines."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from glacierseg.choices import OUTLINE_LAYERS, OutlineLayer
from glacierseg.errors import GridMismatchError, RequestError
from glacierseg.raster.environment import bounded_gdal
from glacierseg.raster.facts import facts_of
from glacierseg.raster.grid import Grid
from glacierseg.raster.outlines import DATE_COLUMN
from glacierseg.raster.outputs import require_output, writes
from glacierseg.raster.probability import probability_strips
from glacierseg.raster.truth import mask_strips
from glacierseg.raster.warp import read_grid
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.outlines import VectorizeSettings
from glacierseg.vectors.layers import joined, outline_table, refuse_unknown_format, write_layers
from glacierseg.vectors.smoothing import smooth_outlines
from glacierseg.vectors.trace import PixelOutlines, contour_strips, to_crs, trace_strips

_STRIP_PX = 2**24
_CONTOUR_STRIP_PX = 2**22


@dataclass
class LayerTotals:
    """How many outlines a layer has, and their area."""

    outlines: int = 0
    area_km2: float = 0.0
    tables: list[gpd.GeoDataFrame] = field(default_factory=list, repr=False)


@fields_as_keywords(settings=VectorizeSettings)
@writes(out_path=())
def vectorize_mask(
    mask_path: Path | str,
    out_path: Path | str,
    settings: VectorizeSettings | None = None,
    *,
    refined_path: Path | str | None = None,
    probability_path: Path | str | None = None,
    overwrite: bool = False,
) -> gpd.GeoDataFrame:
    """Draws the outlines of a mask as `draw_outlines` does, and returns those along the pixel edges.

    The arguments and the errors are those of `draw_outlines`.

    Returns:
        The first layer, which is `raw` unless others are asked for: `glacier_id`, numbered from the largest
        outline down, `area_km2`, `cenlon`, `cenlat` and `geometry`, see
        `glacierseg.vectors.layers.outline_table`.
    """
    totals = draw_outlines(
        mask_path,
        out_path,
        settings,
        refined_path=refined_path,
        probability_path=probability_path,
        overwrite=overwrite,
        keep_first=True,
    )
    return joined(next(iter(totals.values())).tables)


@fields_as_keywords(settings=VectorizeSettings)
@writes(out_path=())
def draw_outlines(
    mask_path: Path | str,
    out_path: Path | str,
    settings: VectorizeSettings | None = None,
    *,
    refined_path: Path | str | None = None,
    probability_path: Path | str | None = None,
    overwrite: bool = False,
    keep_first: bool = False,
) -> dict[OutlineLayer, LayerTotals]:
    """Draws the outlines of a mask and writes them in layers, in the CRS of the mask, in bounded memory.

    `raw` runs along the pixel edges, and has exactly the area of the mask; `smooth` has the same area without
    the stairs; `refined` and `refined_smooth` are the same two of a refined mask; `contour` runs where the
    probability is one half, to fractions of a pixel. Where the mask's tags tell a day, it is in the column
    `src_date`. Pixels that touch only at a corner belong to different
    outlines. A mask without glacier gives empty layers.

    Rasters are read strip by strip, and a GeoPackage or a Shapefile is written some outlines at a time.
    Memory holds eight bytes for each corner of the outlines besides.

    Args:
        mask_path: A mask raster.
        out_path: `.gpkg` with all layers; or `.shp`, `.geojson` or `.parquet` with the first one, and beside
            it `<stem>_smooth` and so on of the same kind.
        settings: Which outlines; the defaults when None. Its fields may be given as keywords.
        refined_path: The refined mask, on the same grid.
        probability_path: The probability raster, on the same grid.
        overwrite: Replace also a GeoPackage that holds other layers than these.
        keep_first: Return the tables of the first layer too.

    Returns:
        Numbers and areas by layer.

    Raises:
        RasterError: A raster cannot be read or has no CRS.
        GridMismatchError: The refined mask or the probability lies on another grid.
        TruthError: A mask has values other than 0, 1 and ignore.
        RequestError: The format is unknown, or what a layer needs was not given.
        OutputError: The outlines cannot be written.
    """
    mask_path, out_path, settings = Path(mask_path), Path(out_path), settings or VectorizeSettings()
    refuse_unknown_format(out_path)
    replaceable = None if overwrite else OUTLINE_LAYERS
    require_output(out_path, tables=replaceable)
    layers = _layers(settings, refined_path, probability_path)
    grid = read_grid(mask_path)
    crs = CRS.from_wkt(grid.crs.to_wkt())
    days = facts_of(mask_path).dates
    totals = {name: LayerTotals() for name in layers}
    sources = _Sources(mask_path, refined_path, probability_path, grid, settings.threshold)

    def tables(layer: OutlineLayer) -> Iterator[gpd.GeoDataFrame]:
        total = totals[layer]
        for polygons in sources.polygons(layer):
            placed = to_crs(polygons, grid.transform)
            table = outline_table(placed, crs, settings.min_area_km2, first_id=total.outlines + 1)
            if not len(table):
                continue
            _add_date(table, days)
            total.outlines += len(table)
            total.area_km2 += float(table["area_km2"].sum())
            if keep_first and layer == layers[0]:
                total.tables.append(table)
            yield table
        if not total.outlines:
            total.tables.append(outline_table(np.array([], dtype=object), crs))
            _add_date(total.tables[0], days)
            yield total.tables[0]

    with bounded_gdal():
        write_layers(out_path, {name: tables(name) for name in layers}, replaceable=replaceable)
    return totals


def _add_date(table: gpd.GeoDataFrame, days: Sequence[date]) -> None:
    """Adds the day of the earliest image as RGI 7 writes it, where the mask tells it."""
    if days:
        table.insert(1, DATE_COLUMN, f"{min(days).isoformat()}T00:00:00")


@dataclass
class _Sources:
    """Where polygons come from; the outlines of the mask traced last are kept for their smooth layer."""

    mask: Path
    refined: Path | str | None
    probability: Path | str | None
    grid: Grid
    threshold: float
    _traced: tuple[Path, PixelOutlines] | None = None

    def polygons(self, layer: str) -> Iterator[NDArray[Any]]:
        """Yields the polygons of a layer in pixels, the largest first, some at a time."""
        if layer == "contour":
            yield _contour(Path(self.probability or ""), self.grid, self.threshold)
            return
        outlines = self._trace(Path(self.refined or "") if layer.startswith("refined") else self.mask)
        for polygons in outlines.chunks():
            yield smooth_outlines(polygons) if layer.endswith("smooth") else polygons

    def _trace(self, path: Path) -> PixelOutlines:
        if self._traced is None or self._traced[0] != path:
            self._traced = None
            rows = max(1, _STRIP_PX // self.grid.width)
            strips = mask_strips(path, self.grid, rows=rows)
            self._traced = path, trace_strips(strips, self.grid.width)
        return self._traced[1]


def _layers(
    settings: VectorizeSettings, refined_path: Path | str | None, probability_path: Path | str | None
) -> list[OutlineLayer]:
    """Returns the layers to draw, each of which has its raster."""
    by_default: list[OutlineLayer] = ["raw", "smooth"]
    if refined_path is not None:
        by_default += ["refined", "refined_smooth"]
    layers = list(settings.layers or by_default)
    if settings.contour and "contour" not in layers:
        layers.append("contour")
    for name, path, option in (
        ("refined", refined_path, "--refined FILE"),
        ("contour", probability_path, "--probability FILE"),
    ):
        asked = next((layer for layer in layers if layer.startswith(name)), None)
        if asked and path is None:
            raise RequestError(f"layer {asked} needs a raster to draw; give {option}")
    return layers


def _contour(path: Path, grid: Grid, threshold: float) -> NDArray[Any]:
    if difference := grid.difference(read_grid(path)):
        raise GridMismatchError(
            f"{path}: lies on another grid than the mask ({difference}); give the probability that was "
            "predicted together with it"
        )
    rows = max(1, _CONTOUR_STRIP_PX // grid.width)
    return contour_strips((values for _, values in probability_strips(path, rows)), grid.width, threshold)
