"""Made ground and its images: rock around a round glacier, snow from the north, cloud from the west."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio.shutil
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.io import MemoryFile

from tests.products.shelves import LandsatFacts, SafeFacts

Style = Literal["c1", "l2a", "planetary"]
"""Unaltered numbers of Earth Search, its older collection, and the Planetary Computer."""
PLACE = 86.79, 28.0
SIDE_M = 3840
GLACIER_RADIUS_M = 900.0
ROCK, ICE, SNOW, CLOUD, NOTHING = range(5)

LANDSAT89 = {
    "SR_B1": "coastal", "SR_B2": "blue", "SR_B3": "green", "SR_B4": "red", "SR_B5": "nir08",
    "SR_B6": "swir16", "SR_B7": "swir22", "ST_B10": "lwir11", "QA_PIXEL": "qa_pixel",
    "QA_RADSAT": "qa_radsat",
}  # fmt: skip
LANDSAT57 = {
    "SR_B1": "blue", "SR_B2": "green", "SR_B3": "red", "SR_B4": "nir08", "SR_B5": "swir16", "SR_B7": "swir22",
    "ST_B6": "lwir", "QA_PIXEL": "qa_pixel", "QA_RADSAT": "qa_radsat",
}  # fmt: skip
"""Keys of assets by what a file shows."""
# Reflectance x 10000 of rock, ice, snow and cloud: by Sentinel-2's bands, others as the blue one.
_REFLECTANCE = {
    "02": (900, 5200, 8500, 7000),
    "03": (1100, 4900, 8300, 6900),
    "04": (1300, 4600, 8200, 6900),
    "08": (1700, 3900, 7600, 6800),
    "8A": (1750, 3800, 7500, 6800),
    "11": (2300, 400, 900, 4500),
    "12": (2000, 300, 700, 3800),
}
_AS_SENTINEL2 = {
    "coastal": "02", "blue": "02", "green": "03", "red": "04", "nir08": "8A", "swir16": "11", "swir22": "12",
}  # fmt: skip
_NOISE, _DARK_SHARE = 60, 0.03


@dataclass(frozen=True)
class Facts(SafeFacts):
    """What a product says of itself, with the end of its name, which tells parts of one image apart."""

    bands: Sequence[str] = ("02", "03", "04", "08", "8A", "11", "12")
    processed: str | None = None

    @property
    def name(self) -> str:
        """The product's name."""
        name = super().name
        return name if self.processed is None else name.rpartition("_")[0] + f"_{self.processed}"


@dataclass(frozen=True)
class Shot:
    """An image.

    Attributes:
        facts: What its product says of itself.
        at: Longitude and latitude of its middle.
        side_m: Side of its square.
        cloud: Share of it under cloud, from the west.
        snow: Share of it under snow, from the north.
        missing: Share of it without data, from the east.
        cloud_said: Percentage that the item says; the true one when None.
        flag: What the item says of the offset; what was done when None.
        is_shifted: Whether the offset is off the numbers; as the style has it when None.
        has_overviews: Whether its files have them.
        properties: More of the item, or others.
    """

    facts: SafeFacts | LandsatFacts = field(default_factory=Facts)
    at: tuple[float, float] = PLACE
    side_m: int = SIDE_M
    cloud: float = 0.0
    snow: float = 0.0
    missing: float = 0.0
    cloud_said: float | None = None
    flag: bool | None = None
    is_shifted: bool | None = None
    has_overviews: bool = True
    properties: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def epsg(self) -> int:
        """UTM zone of its tile, or of its middle."""
        if isinstance(self.facts, SafeFacts):
            return (32600 if self.facts.tile[3] >= "N" else 32700) + int(self.facts.tile[1:3])
        return (32600 if self.at[1] >= 0 else 32700) + int((self.at[0] + 180) // 6) + 1

    @property
    def corner(self) -> tuple[float, float]:
        """Its upper left corner, on the lattice that pixels of 10, 20, 30 and 60 m share."""
        x, y = Transformer.from_crs(4326, self.epsg, always_xy=True).transform(*self.at)
        half = self.side_m / 2
        return round((x - half) / 60) * 60.0, round((y + half) / 60) * 60.0

    @property
    def footprint(self) -> dict[str, Any]:
        """GeoJSON; around 180 degrees its longitudes go on beyond."""
        west, north = self.corner
        square = shapely.segmentize(
            shapely.box(west, north - self.side_m, west + self.side_m, north), self.side_m / 4
        )
        back = Transformer.from_crs(self.epsg, 4326, always_xy=True)
        degrees = shapely.transform(square, lambda xy: np.column_stack(back.transform(*xy.T)))
        turned = shapely.transform(
            degrees,
            lambda xy: np.column_stack([self.at[0] + (xy[:, 0] - self.at[0] + 180) % 360 - 180, xy[:, 1]]),
        )
        return dict(shapely.geometry.mapping(turned))


def glacier(at: tuple[float, float] = PLACE, radius_m: float = GLACIER_RADIUS_M) -> Any:
    """Returns the outline of the made glacier in degrees."""
    lon_m, lat_m = _metres_per_degree(at)
    circle = shapely.Point(0, 0).buffer(radius_m, 64)
    return shapely.transform(circle, lambda xy: np.array(at) + xy / [lon_m, lat_m])


def box_around(at: tuple[float, float] = PLACE, side_m: float = 2400) -> Any:
    """Returns a box in degrees around a place."""
    lon_m, lat_m = _metres_per_degree(at)
    half_lon, half_lat = side_m / 2 / lon_m, side_m / 2 / lat_m
    return shapely.box(at[0] - half_lon, at[1] - half_lat, at[0] + half_lon, at[1] + half_lat)


def _metres_per_degree(at: tuple[float, float]) -> tuple[float, float]:
    return 111_320 * math.cos(math.radians(at[1])), 110_600.0


def cover_of(shot: Shot, pixel_m: int) -> NDArray[np.uint8]:
    """Returns what the pixels of an image show: `ROCK`, `ICE`, `SNOW`, `CLOUD` or `NOTHING`."""
    shares = shot.snow, shot.cloud, shot.missing
    return _cover_of(shot.corner, shot.side_m, shot.epsg, shares, pixel_m)


@lru_cache(maxsize=32)
def _cover_of(
    corner: tuple[float, float], side_m: int, epsg: int, shares: tuple[float, float, float], pixel_m: int
) -> NDArray[np.uint8]:
    snow, cloud, missing = shares
    steps = (np.arange(side_m // pixel_m) + 0.5) * pixel_m
    x, y = np.meshgrid(corner[0] + steps, corner[1] - steps)
    lon, lat = Transformer.from_crs(epsg, 4326, always_xy=True).transform(x, y)
    lon_m, lat_m = _metres_per_degree(PLACE)
    east_m = ((lon - PLACE[0] + 180) % 360 - 180) * lon_m
    cover = np.full(x.shape, ROCK, np.uint8)
    cover[np.hypot(east_m, (lat - PLACE[1]) * lat_m) < GLACIER_RADIUS_M] = ICE
    # Whole pixels of 60 m, so that all bands agree.
    row, column = np.meshgrid(steps // 60 * 60, steps // 60 * 60, indexing="ij")
    cover[row < snow * side_m] = SNOW
    cover[column < cloud * side_m] = CLOUD
    cover[column >= (1 - missing) * side_m] = NOTHING
    cover.flags.writeable = False
    return cover


def reflectance(shot: Shot, band: str, pixel_m: int) -> NDArray[np.float64]:
    """Returns reflectance x 10000 of a band, NaN where there is nothing; some pixels are dark as shade is."""
    cover = cover_of(shot, pixel_m)
    random = np.random.default_rng(sum(map(ord, band)))
    values = np.array([*_REFLECTANCE.get(band, _REFLECTANCE["02"]), np.nan])[cover]
    values += random.integers(-_NOISE, _NOISE + 1, cover.shape)
    is_dark = (random.random(cover.shape) < _DARK_SHARE) & (cover == ROCK)
    values[is_dark] = random.integers(20, 200, int(is_dark.sum()))
    return values


def numbers(shot: Shot, band: str, pixel_m: int, style: Style) -> NDArray[np.uint16]:
    """Returns the digital numbers of a band of Sentinel-2 as a style has them."""
    assert isinstance(shot.facts, SafeFacts)
    offset = 0 if is_shifted(shot, style) else -(shot.facts.offset or 0)
    return np.nan_to_num(reflectance(shot, band, pixel_m) + offset, nan=0).astype(np.uint16)


def is_shifted(shot: Shot, style: Style) -> bool:
    """Whether the offset is off the numbers of an image."""
    assert isinstance(shot.facts, SafeFacts)
    taken = style == "l2a" if shot.is_shifted is None else shot.is_shifted
    return taken and bool(shot.facts.offset)


def classes(shot: Shot) -> NDArray[np.uint8]:
    """Returns the scene classification of an image."""
    return np.array([5, 11, 11, 9, 0], np.uint8)[cover_of(shot, 20)]


def landsat_numbers(shot: Shot, what: str) -> NDArray[np.uint16]:
    """Returns the digital numbers of a file of Landsat, such as `SR_B4`."""
    cover = cover_of(shot, 30)
    if what == "QA_PIXEL":
        return np.array([21824, 30048, 30048, 22280, 1], np.uint16)[cover]
    if what == "QA_RADSAT":
        return np.zeros(cover.shape, np.uint16)
    assert isinstance(shot.facts, LandsatFacts)
    if what.startswith("ST"):
        return np.where(cover == NOTHING, 0, (270 - 149) / 0.00341802).astype(np.uint16)
    key = (LANDSAT57 if shot.facts.number < 8 else LANDSAT89)[what]
    values = reflectance(shot, _AS_SENTINEL2[key], 30)
    return np.nan_to_num((values / 10_000 + 0.2) / 2.75e-5, nan=0).round().astype(np.uint16)


def write_cog(
    path: Path, values: NDArray[Any], transform: Any, epsg: int, *, has_overviews: bool = True
) -> Path:
    """Writes a cloud-optimised GeoTIFF in blocks of 128 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = values.shape
    profile = {"height": height, "width": width, "count": 1, "dtype": values.dtype}
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", crs=f"EPSG:{epsg}", transform=transform, **profile) as file:
            file.write(values, 1)
        with memory.open() as file:
            rasterio.shutil.copy(
                file,
                path,
                driver="COG",
                BLOCKSIZE=128,
                COMPRESS="DEFLATE",
                OVERVIEWS="AUTO" if has_overviews else "NONE",
                OVERVIEW_RESAMPLING="NEAREST",
            )
    return path


SEASONS = {
    "winter": Shot(Facts(date="2024-01-15"), snow=0.9, cloud_said=1.0),
    "spring": Shot(Facts(date="2024-04-20"), snow=0.6, cloud=0.1),
    "summer": Shot(Facts(date="2024-07-10"), cloud=0.8, cloud_said=3.0),
    "autumn": Shot(Facts(date="2024-10-05"), snow=0.1, cloud_said=60.0),
}
"""Images of one tile; what items say of the cloud of two of them is wrong."""
