"""What an inventory is made from: ice bodies of a mask or outlines, and other people's inventories."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from glacierseg.inventory.attributes import utm_of
from glacierseg.inventory.links import has_ids, is_inventory
from glacierseg.inventory.unseen import ends_of_data, observed_shares
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import even_pixel_m
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.outlines import is_vector, read_shapes, refuse_layer_of_raster
from glacierseg.raster.truth import GLACIER, read_mask
from glacierseg.vectors.layers import polygons_only
from glacierseg.vectors.smoothing import smooth_outlines
from glacierseg.vectors.trace import to_crs, trace_polygons

LAYERS = ("glaciers", "refined_smooth", "smooth", "refined", "raw")
"""Of a file with several layers the first of these is taken: the best of what `vectorize` wrote."""


@dataclass(frozen=True)
class Ice:
    """Outlines to make an inventory of.

    Attributes:
        polygons: `(N,)`; of outlines also multipolygons, one glacier in several parts.
        crs: Their CRS.
        lattice: Grid on which bodies can be labelled, in a CRS that `polygons` can be moved to.
        half_pixel_m: Half a pixel of the mask; None for outlines.
        divided: Whether they are from an inventory.
        ends: Lines where ice of the mask borders on pixels without data or on the rim of the mask.
    """

    polygons: NDArray[Any]
    crs: CRS
    lattice: Grid
    half_pixel_m: float | None
    divided: bool = False
    ends: NDArray[Any] = field(default_factory=lambda: np.empty(0, object))

    def at_rim(self, outlines: NDArray[Any]) -> NDArray[np.bool_]:
        """Says which lie within a pixel of the mask's rim, where the ice may go on; never so for outlines."""
        if self.half_pixel_m is None:
            return np.zeros(len(outlines), bool)
        rows, columns = self.lattice.shape
        inner = shapely.Polygon(
            [
                self.lattice.transform * corner
                for corner in ((1, 1), (columns - 1, 1), (columns - 1, rows - 1), (1, rows - 1))
            ]
        )
        near: NDArray[np.bool_] = ~shapely.within(outlines, inner)
        return near

    def observed_shares(self, outlines: NDArray[Any]) -> NDArray[np.float64]:
        """Returns how much of each outline the data show, see `observed_shares`; NaN for outlines."""
        if self.half_pixel_m is None:
            return np.full(len(outlines), np.nan)
        # Smooth outlines lie within half a pixel of those along pixel edges.
        return observed_shares(outlines, self.ends, 0.5 * abs(self.lattice.transform.determinant) ** 0.5)


def read_ice(path: Path, *, layer: str | None, smooth: bool, pixel_m: float) -> Ice:
    """Reads a mask or outlines.

    Args:
        path: A mask raster, or a vector file.
        layer: Of a file with several.
        smooth: Whether to smooth the outlines of a mask.
        pixel_m: Pixels of the lattice for outlines, which have none of their own.

    Raises:
        RasterError: The mask cannot be read.
        RequestError: A layer is asked for of a mask.
        TruthError: The mask has strange values, or the outlines cannot be used.
    """
    refuse_layer_of_raster(path, layer, "--layer")
    if not is_vector(path):
        with open_raster(path) as dataset:
            grid = grid_of(dataset)
        mask = read_mask(path, grid)
        traced = trace_polygons(mask)
        polygons = smooth_outlines(traced) if smooth else traced
        half_pixel_m = float(np.sqrt(np.prod(even_pixel_m(grid, str(path))))) / 2
        ends = ends_of_data(mask, grid.transform, mask == GLACIER)
        crs = CRS.from_wkt(grid.crs.to_wkt())
        return Ice(to_crs(polygons, grid.transform), crs, grid, half_pixel_m, ends=ends)
    table = read_shapes(path, layer=layer, prefer=LAYERS)
    polygons = polygons_only(shapely.make_valid(table.geometry.to_numpy()))
    parts, owners = shapely.get_parts(polygons, return_index=True)
    # Without ids a shape of several parts may be all the ice of a region.
    single = np.bincount(owners, minlength=len(polygons)) == 1
    if has_ids(table):
        parts = np.concatenate([parts[single[owners]], polygons[~single & ~shapely.is_empty(polygons)]])
    polygons = parts
    crs = CRS.from_user_input(table.crs)
    lattice = _lattice(table, crs, pixel_m)
    if crs.is_geographic or lattice.pixel_size_m != (pixel_m, pixel_m):
        # Their own projection is in other units or not true to scale where they are.
        lattice = _lattice(table, utm_of(table), pixel_m)
    return Ice(polygons, crs, lattice, None, is_inventory(table))


def _lattice(table: Any, crs: CRS, pixel_m: float) -> Grid:
    """A grid with lines at multiples of a pixel, in the middle of a table."""
    west, south, east, north = table.to_crs(crs).total_bounds
    column, row = round((west + east) / 2 / pixel_m), round((south + north) / 2 / pixel_m)
    transform = Affine(pixel_m, 0, column * pixel_m, 0, -pixel_m, row * pixel_m)
    return Grid(rasterio.CRS.from_wkt(crs.to_wkt()), transform, 1, 1)
