"""The grid of a raster: where its pixels lie and how large they are on the ground."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from affine import Affine
from rasterio.coords import BoundingBox
from rasterio.crs import CRS
from rasterio.transform import array_bounds
from rasterio.windows import Window
from rasterio.windows import transform as window_transform

from glacierseg.errors import GridMismatchError, RasterError
from glacierseg.raster.ground import name_of_crs, sides_m


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
        """Left, bottom, right and top in CRS units, also where rows run northward or columns westward."""
        left, bottom, right, top = array_bounds(self.height, self.width, self.transform)
        return BoundingBox(min(left, right), min(bottom, top), max(left, right), max(bottom, top))

    @property
    def is_geographic(self) -> bool:
        """Whether coordinates are degrees rather than lengths."""
        return bool(self.crs.is_geographic)

    @property
    def in_words(self) -> str:
        """Size, pixels and CRS, for people."""
        sides = math.hypot(self.transform.a, self.transform.d), math.hypot(self.transform.b, self.transform.e)
        unit, digits = ("degrees", 3) if self.is_geographic else ("m", 6)
        if self.crs.is_projected and self.crs.linear_units_factor[1] != 1:
            unit = self.crs.linear_units
        size = " x ".join(dict.fromkeys(f"{side:.{digits}g}" for side in sides))
        return f"{self.width} x {self.height} px of {size} {unit}, {name_of_crs(self.crs)}"

    def __repr__(self) -> str:
        turned = ", turned" if self.transform.b or self.transform.d else ""
        return f"Grid({self.in_words}, from {self.transform.c:.10g} {self.transform.f:.10g}{turned})"

    def place_of(self, other: "Grid") -> tuple[int, int]:
        """Returns the row and column of this grid, also beyond it, where another with such pixels begins."""
        column, row = ~self.transform * (other.transform.c, other.transform.f)
        return round(row), round(column)

    @cached_property
    def pixel_size_m(self) -> tuple[float, float]:
        """Width and height of a pixel on the ground in metres, in the middle of the grid.

        Where the projection is true to scale there these are the grid's own numbers, see
        `glacierseg.raster.ground.sides_m`; `even_pixel_m` there says whether one size serves all pixels.

        Raises:
            RasterError: The middle of the grid has no place on Earth.
        """
        size_m = sides_m(self.crs, self.transform, self.width / 2, self.height / 2)
        if not all(math.isfinite(side) for side in size_m):
            raise RasterError(
                f"the middle of a grid has no place on Earth in {name_of_crs(self.crs)}, so its pixels have "
                "no size on the ground; check that its CRS is the right one, or cut it into smaller scenes"
            )
        return size_m

    @property
    def pixel_area_km2(self) -> float:
        """Area of one pixel on the ground, in the middle of the grid."""
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


def require_one_shape(shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Checks that arrays are of one shape, as those on one grid are.

    Args:
        shapes: By name; the last one is what the others are to fit.

    Raises:
        GridMismatchError: They are not.
    """
    *others, (last, wanted) = shapes.items()
    for name, shape in others:
        if shape != wanted:
            raise GridMismatchError(
                f"{name} of shape {shape} does not fit {last} of shape {wanted}; "
                "bring both onto one grid with `glacierseg prepare align`"
            )
