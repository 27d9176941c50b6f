"""Dividing ice bodies into glaciers, along the terrain or as another inventory does."""

import math
from dataclasses import dataclass, field
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize

from glacierseg.inventory.basins import BasinRules, label_basins, merge_slivers, separate
from glacierseg.inventory.cutting import cut_polygon
from glacierseg.inventory.elevation import LocalRaster, coarser
from glacierseg.inventory.paths import walk
from glacierseg.inventory.relief import pixels_inside
from glacierseg.raster.grid import Grid

# Larger bodies are labelled on a coarser grid: the arrays of one body stay below a gigabyte.
_MOST_PX = 9_000_000
_MARGIN_PX = 6


@dataclass(frozen=True)
class Divider:
    """How ice bodies are divided.

    Attributes:
        lattice: The grid whose pixels bodies are labelled on; it goes on beyond its rim.
        elevation: For divides along the terrain.
        existing: Polygons of another inventory in the lattice's CRS, whose divides are to be taken over.
            Where both are given, the inventory counts, and the terrain for bodies that it does not know.
        rules: For divides along the terrain.
        smooth: Whether to round the stairs of the lines off.
        min_area_km2: No piece is smaller; what would be joins its neighbour.
        terrain_px: Pixels of the lattice on a side of one on which terrain is divided.
    """

    lattice: Grid
    elevation: LocalRaster | None = None
    existing: gpd.GeoDataFrame | None = None
    rules: BasinRules = field(default_factory=BasinRules)
    smooth: bool = True
    min_area_km2: float = 0.01
    terrain_px: int = 1

    def divide(self, bodies: NDArray[Any]) -> tuple[NDArray[Any], list[str]]:
        """Divides ice bodies.

        Args:
            bodies: `(N,)` polygons in the lattice's CRS that do not touch.

        Returns:
            `(M,)` polygons, and for each whence its divides are: `existing`, `terrain`, or `none` where the
            body stayed whole.

        Raises:
            RasterError: The elevation cannot be read.
        """
        theirs = np.empty(0, object) if self.existing is None else self.existing.geometry.to_numpy()
        tree = shapely.STRtree(theirs)
        pieces: list[Any] = []
        origins: list[str] = []
        for body in bodies:
            near = theirs[np.sort(tree.query(body, predicate="intersects"))]
            least = self._least_area(body)
            # A neighbour whose outline is drawn a little differently does not know this body.
            near = near[shapely.area(shapely.intersection(near, body)) >= least] if len(near) else near
            parts, origin = self._divide_one(body, near, least)
            pieces += parts
            origins += [origin if len(parts) > 1 else "none"] * len(parts)
        return np.array(pieces, dtype=object), origins

    def _least_area(self, body: Any) -> float:
        """The least area in units of the CRS, and a little more, since the ellipsoid decides in the end."""
        grid = self._around(body, 0.0)
        unit_area = abs(grid.transform.determinant) / grid.pixel_area_km2
        return 1.01 * self.min_area_km2 * unit_area

    def _divide_one(self, body: Any, near: NDArray[Any], least: float) -> tuple[list[Any], str]:
        if len(near) or self.elevation is not None:
            origin = "existing" if len(near) else "terrain"
            along_terrain = origin == "terrain"
            grid = self._around(
                body, *((self.rules.surround_m, self.terrain_px) if along_terrain else (0.0,))
            )
            ice = pixels_inside(body, grid)
            if along_terrain and self.elevation is not None:
                labels = label_basins(ice, self.elevation.read(grid), grid.pixel_size_m, self.rules)
            else:
                labels = self._transfer(ice, near, grid)
            if labels.max() > 1:
                return cut_polygon(body, labels, grid.transform, smooth=self.smooth, least_area=least), origin
        return [body], "none"

    def _transfer(self, ice: NDArray[np.bool_], near: NDArray[Any], grid: Grid) -> NDArray[np.int32]:
        """Each ice pixel goes to the glacier that holds it, the others to the nearest along the ice."""
        numbered = [(shape, number) for number, shape in enumerate(near, 1)]
        known = rasterize(numbered, grid.shape, transform=grid.transform, dtype="int32")
        labels = walk(ice, np.where(ice, known, 0), *grid.pixel_size_m)[1]
        only_small = BasinRules(sliver_km2=self.min_area_km2, thin_km2=0)
        return merge_slivers(separate(labels), grid.pixel_size_m, only_small)

    def _around(self, body: Any, margin_m: float, pixels: int = 1) -> Grid:
        lattice = coarser(self.lattice, pixels) if pixels > 1 else self.lattice
        margin_px = math.ceil(margin_m / min(lattice.pixel_size_m)) + _MARGIN_PX
        west, south, east, north = body.bounds
        corners = [~lattice.transform * (x, y) for x in (west, east) for y in (south, north)]
        columns, rows = zip(*corners, strict=True)
        column, row = math.floor(min(columns)) - margin_px, math.floor(min(rows)) - margin_px
        height, width = math.ceil(max(rows)) + margin_px - row, math.ceil(max(columns)) + margin_px - column
        grid = lattice.crop(row, column, height, width)
        factor = math.ceil(math.sqrt(height * width / _MOST_PX))
        return coarser(grid, factor) if factor > 1 else grid
