"""How products are found in a catalogue, chosen and read."""

from datetime import date
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, model_validator

from glacierseg.choices import Satellite
from glacierseg.settings.base import RARE, Cli, Settings, one_or_several
from glacierseg.settings.predict import ClusterSettings
from glacierseg.settings.prepare import ProductInputs, ProductSettings


def _as_days(value: Any) -> Any:
    """Returns the first and the last day of `FROM/TO`, or one day twice."""
    if isinstance(value, date):
        return value, value
    if not isinstance(value, str):
        return value
    ends = value.split("/")
    try:
        days = [date.fromisoformat(end.strip()) for end in ends]
    except ValueError:
        days = []
    if len(days) not in {1, 2}:
        raise ValueError(
            "must be a day, or the first and the last one, each as year-month-day, such as "
            f"2024-08-01/2024-10-31 (got {value!r})"
        )
    return days[0], days[-1]


def _as_box(value: Any) -> Any:
    """Returns west, south, east and north of `W,S,E,N`."""
    if not isinstance(value, str):
        return value
    try:
        sides = [float(side) for side in value.split(",")]
    except ValueError:
        sides = []
    if len(sides) != 4:
        raise ValueError(
            f"must be west, south, east and north in degrees, such as 86.5,27.7,87.1,28.2 (got {value!r})"
        )
    return tuple(sides)


Days = Annotated[tuple[date, date], BeforeValidator(_as_days)]
Box = Annotated[tuple[float, float, float, float], BeforeValidator(_as_box)]


class PlaceSettings(Settings):
    """Where products are wanted: a box, or the outlines of one or several areas."""

    panel: ClassVar[str | None] = "Place"

    bbox: Annotated[Box | None, Cli(metavar="W,S,E,N", one_word=True)] = None
    """West, south, east and north of a box in degrees; across 180 degrees west is the greater number."""
    area: Path | None = None
    """Outlines of basins or other areas; the results of each one get a folder of its own."""
    area_layer: str | None = None
    """Layer of the outlines of --area."""
    area_name: Annotated[str | None, Cli(metavar="COLUMN")] = None
    """Column with the names of the areas and their folders; without it a usual one such as name."""

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Self:
        if self.bbox is not None and self.area is not None:
            raise ValueError("--bbox and --area exclude each other; give one of the two")
        if self.area is None and (self.area_layer or self.area_name):
            option = "--area-layer" if self.area_layer else "--area-name"
            raise ValueError(f"{option} goes with --area FILE, and none is given")
        return self

    @property
    def has_place(self) -> bool:
        """Whether a place is given."""
        return self.bbox is not None or self.area is not None


class FetchSettings(Settings):
    """How products are found in a catalogue, chosen and read."""

    section: ClassVar[str | None] = "fetch"
    panel: ClassVar[str | None] = "Catalogue"

    date: Annotated[Days | None, Cli(metavar="FROM/TO", one_word=True)] = None
    """First and last day of the images, UTC, such as 2024-08-01/2024-10-31; or a single day."""
    satellite: Annotated[Satellite, Cli(name="--sensor", metavar="NAME")] = "sentinel2"
    """Satellites of the images: sentinel2, or landsat for Landsat 4 to 9."""
    catalogue: Annotated[str, Cli(metavar="NAME")] = "earth-search"
    """Catalogue (STAC): earth-search, planetary-computer, an address, or a folder."""
    collections: tuple[str, ...] | None = None
    """Collections to search, separated by commas; null for the usual ones of the catalogue."""
    composite: bool = False
    """Several images of each tile instead of the best one, so that fewer pixels have no data."""
    max_cloud: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Greatest share of cloud and its shadow over the known glaciers, 0-1; without these, over the place."""
    max_snow: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Greatest share of snow beside the known glaciers, 0-1; without these, on the place."""
    min_sun_deg: Annotated[float, Field(ge=0, le=90)] = 20.0
    """Least height of the sun above the horizon, in degrees."""
    max_gb: Annotated[float, Field(gt=0)] = 10.0
    """Greatest amount of data to read for a place, in GB; more is refused before reading starts."""
    cache_gb: Annotated[float, Field(ge=0)] = 10.0
    """Greatest size of the cache of images, in GB; 0 for no cache."""
    timeout_s: Annotated[float, RARE, Field(gt=0)] = 30.0
    """Time that a server may stay silent, in seconds."""
    retries: Annotated[int, RARE, Field(ge=0)] = 5
    """Number of times that a failed request is repeated, after pauses that double."""
    connections: Annotated[int, RARE, Field(ge=1, le=64)] = 8
    """Greatest number of requests at one time."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.date and self.date[0] > self.date[1]:
            first, last = self.date
            raise ValueError(f"date {first}/{last} ends before it begins; write {last}/{first}")
        return self


class FetchedSceneSettings(ProductInputs, ProductSettings):
    """How the products of a catalogue become a scene."""

    panel: ClassVar[str | None] = "Scene (also all options of `prepare scene`)"
    unlisted: ClassVar[frozenset[str]] = frozenset(
        {*ProductSettings.model_fields, *ProductInputs.model_fields}
        - {"recipe", "pixel_size_m", "dem", "existing", "keep"}
    )

    dem: Annotated[tuple[Path, ...], BeforeValidator(one_or_several), Cli(metavar="PATH")] = ()
    """Elevation model in place of the catalogue's Copernicus GLO-30; may be given again for further tiles."""
    existing: Path | None = None
    """Inventory of known glaciers, to judge cloud over them and snow beside them."""
    layer: Annotated[tuple[str, ...], Cli(metavar="NAME=FILE")] = ()
    """Band of the recipe in a file of its own (velocity=v.tif); may be given again."""


class MapPlaceSettings(ClusterSettings, FetchSettings, PlaceSettings):
    """Where `map` finds products itself; bands and satellites are those of the network."""

    panel: ClassVar[str | None] = "Place instead of products (also all options of `fetch`)"
    unlisted: ClassVar[frozenset[str]] = frozenset(
        {*PlaceSettings.model_fields, *FetchSettings.model_fields, *ClusterSettings.model_fields}
        - {"bbox", "area", "date", "catalogue"}
    )

    satellite: Annotated[Satellite, RARE] = "sentinel2"
    """Satellites: sentinel2 or landsat; those of the training where the network's card names them."""

    @property
    def search(self) -> FetchSettings:
        """How products are found."""
        given = self.model_fields_set & {*FetchSettings.model_fields}
        return FetchSettings(**{name: getattr(self, name) for name in given})
