"""An image that a catalogue offers: its name, its time, and where its files lie."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from glacierseg.products.contents import Checksum


@dataclass(frozen=True)
class Asset:
    """A file that a catalogue offers.

    Attributes:
        address: `https://...`, or the path of a file.
        size_bytes: Its size by the catalogue; None where it gives none.
        checksum: Its checksum by the catalogue; None where it gives none.
    """

    address: str
    size_bytes: int | None = None
    checksum: Checksum | None = None


@dataclass(frozen=True)
class Candidate:
    """An image of a catalogue, which may be one of several parts or versions of the same.

    Units and the grid come from its own files. Of what the catalogue says about them only `offset_applied` is
    kept, to compare it with the numbers.

    Attributes:
        name: The product's own name, as the agency gives it (`S2B_MSIL2A_...`, `LC08_L2SP_...`).
        item: Identifier in the catalogue.
        address: Where the item lies.
        collection: Its collection.
        sensor: Key of `raster.sensors.SENSORS`.
        tile: Tile (`T45RVL`) or path and row (`140041`).
        acquired: Time of the image, UTC.
        processed: When it was processed, so that the later of two versions sorts behind the other.
        baseline: Processing baseline (`05.11`) or collection (`02`).
        footprint: Polygon in degrees; across 180 degrees it may be in two parts.
        cloud_said: Share of cloud by the catalogue, 0-1; None where it gives none.
        offset_applied: Whether the catalogue says that it took the offset off the pixels; None where it does
            not say.
        metadata: The product's metadata by the agency (`MTD_MSIL2A.xml`, `_MTL.json`).
        images: Files of the bands by the band's number (`2`, `8A`), and `SCL`, `QA_PIXEL`, `QA_RADSAT`.
        part: Start of its datastrip, by which parts of one image differ, and versions do not; empty where the
            item does not say.
    """

    name: str
    item: str
    address: str
    collection: str
    sensor: str
    tile: str
    acquired: datetime
    processed: str
    baseline: str
    footprint: Any = field(repr=False, compare=False)
    cloud_said: float | None
    offset_applied: bool | None
    metadata: Asset = field(repr=False)
    images: Mapping[str, Asset] = field(repr=False, compare=False)
    part: str = ""

    @property
    def image(self) -> tuple[str, str, str]:
        """What versions and parts of one image share: satellite, tile, and the time or day of their names."""
        words = self.name.split("_")
        return words[0], self.tile, words[2 if self.sensor == "sentinel2" else 3]
