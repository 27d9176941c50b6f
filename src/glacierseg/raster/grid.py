"""The grid of a raster: where its pixels lie and how large they are on the ground."""

import math
from dataclasses import dataclass
from functools import cached_property

from affine import Affine
from pyproj import Geod
from rasterio.coords import BoundingBox
from rasterio.crs import CRS
from rasterio.transform import array_bounds
from rasterio.windows import Window
from rasterio.windows import transform as window_transform


@dataclass(frozen=True)
class Grid:
    """CRS, affine transform and shape of a raster.

    Attributes:
        crs: Coordinate reference system.
        transform: From (column, row) to CRS coordinates, upper left corner of a pixel.
        height: Rows.
        width: Columns.
    """

    crs: CRS
    transform: Affine
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    @property
    def bounds(self) -> BoundingBox:
        """Left, bottom, right and top in CRS units, whichever way the rows run."""
        left, bottom, right, top = array_bounds(self.height, self.width, self.transform)
        return BoundingBox(min(left, right), min(bottom, top), max(left, right), max(bottom, top))

    @property
    def is_geographic(self) -> bool:
        """Whether coordinates are degrees rather than lengths."""
        return bool(self.crs.is_geographic)

    def place_of(self, other: "Grid") -> tuple[int, int]:
        """Returns the row and column of this grid, also beyond it, where another with such pixels begins."""
        column, row = ~self.transform * (other.transform.c, other.transform.f)
        return round(row), round(column)

    @cached_property
    def pixel_size_m(self) -> tuple[float, float]:
        """Width and height of a pixel in metres; of a geographic grid at its centre, on the ellipsoid."""
        a, b, _, d, e, _ = self.transform[:6]
        if not self.is_geographic:
            metres_per_unit = float(self.crs.linear_units_factor[1])
            return math.hypot(a, d) * metres_per_unit, math.hypot(b, e) * metres_per_unit
        column, row = self.width / 2, self.height / 2
        geod = Geod(ellps="WGS84")
        sides = []
        for step_column, step_row in ((0.5, 0.0), (0.0, 0.5)):
            west, south = self.transform * (column - step_column, row - step_row)
            east, north = self.transform * (column + step_column, row + step_row)
            sides.append(float(geod.inv(west, south, east, north)[2]))
        return sides[0], sides[1]

    @property
    def pixel_area_km2(self) -> float:
        """Area of one pixel (at the centre of a geographic grid)."""
        width_m, height_m = self.pixel_size_m
        return width_m * height_m / 1e6

    def crop(self, row: int, column: int, height: int, width: int) -> "Grid":
        """Returns the grid of a part of this one.

        Args:
            row: First row of the part.
            column: First column of the part.
            height: Rows of the part.
            width: Columns of the part.
        """
        transform = window_transform(Window(column, row, width, height), self.transform)
        return Grid(self.crs, transform, height, width)

    def difference(self, other: "Grid", tolerance_px: float = 0.01) -> str | None:
        """Says in words how another grid differs, or None when both are the same.

        Args:
            other: The grid to compare with.
            tolerance_px: Largest distance between corresponding corners, in pixels of this grid.
        """
        if self.crs != other.crs:
            return f"CRS {name_of_crs(other.crs)} instead of {name_of_crs(self.crs)}"
        if self.shape != other.shape:
            return f"{other.width} x {other.height} px instead of {self.width} x {self.height} px"
        for corner in ((0, 0), (self.width, 0), (0, self.height)):
            column, row = ~self.transform * (other.transform * corner)
            if math.hypot(column - corner[0], row - corner[1]) > tolerance_px:
                return (
                    f"shifted or scaled by {column - corner[0]:+.2f} columns and {row - corner[1]:+.2f} rows"
                )
        return None


def name_of_crs(crs: CRS) -> str:
    """Returns a short name of a CRS: its EPSG code, else its own name."""
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else str(crs.to_dict().get("proj", crs.to_wkt()[:40]))
