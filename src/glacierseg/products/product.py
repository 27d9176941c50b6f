"""What every product is to the stage that makes a scene of it, whichever agency made it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal

from glacierseg.raster.units import is_reflected_light


@dataclass(frozen=True)
class ProductBand:
    """One band of a product, with what makes its digital numbers a physical value.

    Attributes:
        role: Part of the spectrum that it sees, a value of `raster.sensors.SENSORS`.
        path: Name by which GDAL opens it; of an archive's member it begins with `/vsizip/` or `/vsitar/`.
        scale: Digital numbers times this ...
        offset: ... plus this are reflectance x 10000, or kelvin for heat.
        saturated: Digital number of a saturated pixel; None where no number means that.
    """

    role: str
    path: str
    scale: float
    offset: float
    saturated: int | None = None


@dataclass(frozen=True)
class Product:
    """A product as its own metadata describe it.

    Attributes:
        source: The path that was given.
        name: The product's own name, without suffix.
        sensor: Key of `raster.sensors.SENSORS`.
        acquired: Day of the image, UTC.
        baseline: Processing baseline (`05.11`) or collection (`02`).
        tile: Tile (`T45RVL`) or path and row (`140041`).
        bands: Its bands, at their finest resolution.
        classes: Name by which GDAL opens the raster of classes.
        classes_kind: `scl` for Sentinel-2's scene classification, `qa_pixel` for Landsat's bits.
        saturation: Name by which GDAL opens Landsat's `QA_RADSAT`; None where there is none.
        require_whole: Called with GDAL's name of an image, raises a `ProductError` if a checksum shows that
            it is damaged.
        nodata: Digital number of pixels without data, in all bands.
    """

    source: Path
    name: str
    sensor: str
    acquired: date
    baseline: str
    tile: str
    bands: tuple[ProductBand, ...]
    classes: str
    classes_kind: Literal["scl", "qa_pixel"]
    require_whole: Callable[[str], None] = field(compare=False, repr=False)
    saturation: str | None = None
    nodata: int = 0

    @property
    def tells_saturation(self) -> bool:
        """Whether it says which pixels are saturated."""
        return self.classes_kind == "scl" or self.saturation is not None

    def lack_of(self, role: str, name: str, otherwise: str) -> str:
        """Says that a band is missing, and what to do.

        Args:
            role: The band.
            name: The band of a scene that is made from it.
            otherwise: What to do without it.
        """
        purpose = f"{role}, which {name} is made from" if name != role else role
        cures = [] if is_reflected_light(role) else [f"give its file with --layer {role}=FILE"]
        if role == "thermal" and "_L2SR_" in self.name:
            cures.insert(0, "take the L2SP product of the same scene")
        return (
            f"{self.source}: has no band for {purpose} (its bands are "
            f"{', '.join(band.role for band in self.bands)}); {', or '.join([*cures, otherwise])}"
        )

    def is_reprocessed(self, other: "Product") -> bool:
        """Whether this and another product are of one image, which was processed twice.

        Two products of one tile, day and baseline of Sentinel-2 are parts of a datastrip that was split.
        """
        if (self.sensor, self.tile, self.acquired) != (other.sensor, other.tile, other.acquired):
            return False
        times = [name.split("_")[2:3] for name in (self.name, other.name)]
        return self.sensor != "sentinel2" or (self.baseline != other.baseline and times[0] == times[1])
