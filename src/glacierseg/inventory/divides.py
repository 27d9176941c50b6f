"""Dividing ice bodies into glaciers, along the terrain or as another inventory does."""

import math
from dataclasses import dataclass, field
from typing import Any

import cv2
import geopandas as gpd
import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize

from glacierseg.inventory.basins import label_basins, merge_slivers, separate
from glacierseg.inventory.paths import walk
from glacierseg.inventory.relief import pixels_inside
from glacierseg.inventory.sources import LocalRaster, coarser
from glacierseg.raster.grid import Grid
from glacierseg.settings.outlines import InventorySettings

# Larger bodies are labelled on a coarser grid: the arrays of one body stay below a gigabyte.
_MOST_PX = 9_000_000
_MARGIN_PX = 6
# Outlines differ from the pixels they were drawn from by less than this.
_BEYOND_PX = 3
_CUTS = 2


@dataclass(frozen=True)
class Divider:
    """How ice bodies are divided.

    Attributes:
        lattice: The grid whose pixels bodies are labelled on; it goes on beyond its rim.
        elevation: For divides along the terrain.
        existing: Polygons of another inventory in the lattice's CRS, whose divides are to be taken over.
            Where both are given, the inventory counts, and the terrain for bodies that it does not know.
        settings: Rules for terrain divides, the least area of a piece, and whether lines are smooth.
        terrain_px: Pixels of the lattice on a side of one on which terrain is divided.
    """

    lattice: Grid
    elevation: LocalRaster | None = None
    existing: gpd.GeoDataFrame | None = None
    settings: InventorySettings = field(default_factory=InventorySettings)
    terrain_px: int = 1

    def divide(self, bodies: NDArray[Any]) -> tuple[NDArray[Any], list[str]]:
        """Divides ice bodies.

        Args:
            bodies: `(N,)` polygons in the lattice's CRS that do not touch.

        Returns:
            `(M,)` polygons, and the origin of the divides of each: `existing`, `terrain`, or `none` where the
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
        return 1.01 * self.settings.min_area_km2 * unit_area

    def _divide_one(self, body: Any, near: NDArray[Any], least: float) -> tuple[list[Any], str]:
        if len(near) or self.elevation is not None:
            origin = "existing" if len(near) else "terrain"
            along_terrain = origin == "terrain"
            grid = self._around(
                body, *((self.settings.surround_m, self.terrain_px) if along_terrain else (0.0,))
            )
            ice = pixels_inside(body, grid)
            if along_terrain and self.elevation is not None:
                labels = label_basins(ice, self.elevation.read(grid), grid.pixel_size_m, self.settings)
            else:
                labels = self._transfer(ice, near, grid)
            if labels.max() > 1:
                return cut_polygon(
                    body, labels, grid.transform, smooth=self.settings.smooth, least_area=least
                ), origin
        return [body], "none"

    def _transfer(self, ice: NDArray[np.bool_], near: NDArray[Any], grid: Grid) -> NDArray[np.int32]:
        """Each ice pixel goes to the glacier that holds it, the others to the nearest along the ice."""
        numbered = [(shape, number) for number, shape in enumerate(near, 1)]
        known = rasterize(numbered, grid.shape, transform=grid.transform, dtype="int32")
        labels = walk(ice, np.where(ice, known, 0), *grid.pixel_size_m)[1]
        only_small = self.settings.replaced(sliver_km2=self.settings.min_area_km2, thin_km2=0)
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


def cut_polygon(
    body: shapely.Polygon,
    labels: NDArray[np.int32],
    transform: Affine,
    *,
    smooth: bool,
    least_area: float = 0.0,
) -> list[shapely.Polygon]:
    """Cuts a polygon where labels meet.

    The lines between labels are drawn a little beyond the polygon, noded with its boundary, and what they
    enclose is put together by label. So pieces share their corners: they cannot overlap, and they add up to
    the body.

    Args:
        body: In the coordinates of a CRS.
        labels: `(H, W)` 1, 2, ... on the pixels of the body, 0 elsewhere; at least three pixels of 0 around.
        transform: Of the labels, from (column, row) to coordinates.
        smooth: Round the stairs of the lines off.
        least_area: Smaller pieces, in square units of the coordinates, join the neighbour with the longest
            common line.

    Returns:
        The pieces, in no particular order; the body alone when nothing cuts it.
    """
    near = cv2.dilate((labels > 0).astype(np.uint8), np.ones((2 * _BEYOND_PX + 1,) * 2, np.uint8)) > 0
    wide = walk(near, labels, 1.0, 1.0)[1]
    lines = _lines(wide, transform, smooth=smooth)
    if not len(lines):
        return [body]
    noded = shapely.unary_union([body.boundary, *lines])
    faces = shapely.get_parts(shapely.polygonize([noded]))
    inner = shapely.point_on_surface(faces)
    shapely.prepare(body)
    kept = shapely.contains(body, inner)
    faces, inner = faces[kept], inner[kept]
    columns, rows = ~transform * shapely.get_coordinates(inner).T
    owners = wide[
        np.clip(np.floor(rows).astype(int), 0, wide.shape[0] - 1),
        np.clip(np.floor(columns).astype(int), 0, wide.shape[1] - 1),
    ]
    pieces = [
        part
        for owner in np.unique(owners)
        for part in shapely.get_parts(shapely.unary_union(faces[owners == owner]))
    ]
    return _absorb(pieces, least_area)


def _lines(labels: NDArray[np.int32], transform: Affine, *, smooth: bool) -> NDArray[Any]:
    """The borders between labels, as lines from one junction to the next."""
    edges = []
    for axis in (0, 1):
        one, other = (labels[:-1], labels[1:]) if axis == 0 else (labels[:, :-1], labels[:, 1:])
        rows, columns = np.nonzero((one != other) & (one > 0) & (other > 0))
        ends = np.column_stack([columns, rows + 1] if axis == 0 else [columns + 1, rows])
        along = np.array([1, 0] if axis == 0 else [0, 1])
        edges.append(np.stack([ends, ends + along], axis=1))
    segments = np.concatenate(edges).astype(float)
    if not len(segments):
        return np.empty(0, object)
    lines: NDArray[Any] = np.asarray(shapely.linestrings(segments))
    merged = shapely.get_parts(shapely.line_merge(shapely.multilinestrings(lines)))
    drawn = [
        _round(shapely.get_coordinates(line)) if smooth else shapely.get_coordinates(line) for line in merged
    ]
    a, b, c, d, e, f = transform[:6]
    return np.array(
        [
            shapely.LineString(np.column_stack([a * x + b * y + c, d * x + e * y + f]))
            for x, y in (points.T for points in drawn)
        ],
        dtype=object,
    )


def _round(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Runs through the middles of pixel edges, then cuts corners (Chaikin 1974); ends stay where they are."""
    points = np.concatenate([points[:1], (points[1:] + points[:-1]) / 2, points[-1:]])
    for _ in range(_CUTS):
        both = np.stack(
            [0.75 * points[:-1] + 0.25 * points[1:], 0.25 * points[:-1] + 0.75 * points[1:]], axis=1
        )
        points = np.concatenate([points[:1], both.reshape(-1, 2)[1:-1], points[-1:]])
    return points


def _absorb(pieces: list[Any], least_area: float) -> list[Any]:
    """Gives pieces below an area, the smallest first, to the neighbour with the longest common line."""
    stuck = 0
    pieces = sorted(pieces, key=lambda piece: float(piece.area))
    while len(pieces) - stuck > 1 and pieces[stuck].area < least_area:
        small = pieces[stuck]
        common = shapely.length(shapely.intersection(small.boundary, [piece.boundary for piece in pieces]))
        common[stuck] = 0
        into = int(np.argmax(common))
        joined = shapely.unary_union([small, pieces[into]]) if common[into] > 0 else None
        if joined is None or joined.geom_type != "Polygon":
            stuck += 1
            continue
        pieces = sorted(
            [joined, *(piece for k, piece in enumerate(pieces) if k not in {stuck, into})],
            key=lambda piece: float(piece.area),
        )
    return pieces
