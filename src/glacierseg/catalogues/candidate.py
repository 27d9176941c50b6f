"""An image that a catalogue offers, as far as the catalogue is believed: who, when, where its files lie."""

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
        size_bytes: Its size as the catalogue says; None where it does not.
        checksum: Its checksum as the catalogue says.
    """

    address: str
    size_bytes: int | None = None
    checksum: Checksum | None = None


@dataclass(frozen=True)
class Candidate:
    """An image of a catalogue, which may be one of several parts or versions of the same.

    What its numbers mean and where its pixels lie, its own files say; of the catalogue's words on that only
    `offset_applied` is kept, for messages.

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
        cloud_said: Share of cloud that the catalogue says, 0-1; None where it does not.
        offset_applied: Whether the catalogue says that it took the offset off the pixels; None where it does
            not say.
        metadata: The product's metadata by the agency (`MTD_MSIL2A.xml`, `_MTL.json`).
        images: Files of the bands by the band's number (`2`, `8A`), and `SCL`, `QA_PIXEL`, `QA_RADSAT`.
        part: Start of its datastrip, which tells parts of one image from versions; empty where the item does
            not say.
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
