"""Items of catalogues (STAC), of which nothing is believed that the product's own name does not say.

Names of products must be as the agencies write them, since folders are called by them. Bands are found by the
keys of catalogues and by the names of files, and an item is left out where the two contradict one another.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

from glacierseg.catalogues.belonging import of_another_image
from glacierseg.catalogues.candidate import Asset, Candidate
from glacierseg.choices import Satellite
from glacierseg.products.contents import Checksum
from glacierseg.raster.sensors import SENSORS

_SENTINEL2 = re.compile(
    r"S2[A-D]_MSIL2A_(?P<take>\d{8}T\d{6})_N(?P<major>\d\d)(?P<minor>\d\d)_R\d{3}_"
    r"(?P<tile>T\d{2}[A-Z]{3})_(?P<processed>\d{8}T\d{6})"
)
_LANDSAT = re.compile(
    r"L[CTE]0(?P<number>[45789])_L2S[PR]_(?P<tile>\d{6})_(?P<take>\d{8})_(?P<processed>\d{8})_02_(?:T1|T2|RT)"
)
_LANDSAT_SENSORS = {"4": "landsat5", "5": "landsat5", "7": "landsat7", "8": "landsat8", "9": "landsat9"}
# What other products of the same satellites are, by their names.
_OTHERS = (
    (re.compile(r"S2[A-Z]_MSIL1C_|S2[A-Z]_\w+_L1C$"), "is Level-1C; its Level-2A product is needed"),
    (re.compile(r"LM0\d_"), "is of the instrument MSS, which lacks the bands"),
    (re.compile(r"L[COTE]0\d_L1"), "is Level-1; its Level-2 product is needed"),
    (
        re.compile(r"L\w0\d_L\w{3}_\d{6}_\d{8}_(\d{8}_)?01_"),
        "is of Collection 1, not 2",
    ),
)
_NAMES = {
    "sentinel2": "S2B_MSIL2A_20240930T045659_N0511_R119_T45RVL_20240930T083000",
    "landsat": "LC09_L2SP_140041_20231115_20231117_02_T1",
}
# Where items say the product's name.
_NAME_KEYS = ("s2:product_uri", "sentinel:product_id", "s2:product_id", "landsat:product_id")
# What begins before midnight may end after it.
_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)

# Bands by the keys of assets: of Earth Search, and those that are numbers as in names of files.
_S2_KEYS = {
    **{key.lower(): number for number in SENSORS["sentinel2"] for key in (f"B{number:0>2}", f"B{number}")},
    "coastal": "1", "blue": "2", "green": "3", "red": "4", "rededge1": "5", "rededge2": "6", "rededge3": "7",
    "nir": "8", "nir08": "8A", "nir09": "9", "swir16": "11", "swir22": "12", "scl": "SCL",
}  # fmt: skip
_LANDSAT_KEYS = {
    "coastal": "coastal", "blue": "blue", "green": "green", "red": "red", "nir08": "nir", "nir": "nir",
    "swir16": "swir1", "swir22": "swir2", "lwir": "thermal", "lwir11": "thermal",
}  # fmt: skip
_QUALITY = {"qa_pixel": "QA_PIXEL", "qa_radsat": "QA_RADSAT"}
_S2_KEY = re.compile(r"(.+?)(?:_(\d\d)m)?(?:-jp2)?")
_S2_FILE = re.compile(r"(?:.*_)?(?:B(\d{1,2}A?)|(SCL))(?:_(\d\d)m)?\.(?:tiff?|jp2)", re.IGNORECASE)
_LANDSAT_FILE = re.compile(r".*_(?:S[RT]_B(\d{1,2})|(QA_PIXEL|QA_RADSAT))\.tiff?", re.IGNORECASE)
_S2_METADATA = re.compile(r"(?:MTD_MSIL2A|product_metadata)\.xml", re.IGNORECASE)
_LANDSAT_METADATA = re.compile(r".*_MTL\.(json|xml|txt)", re.IGNORECASE)
# Each recipe needs these, or the product's reader does.
_NEEDED_ROLES = ("blue", "green", "red", "nir", "swir1", "swir2")

# Codes of multihash, as bytes in hexadecimal digits, with the length of the digest.
_MULTIHASH = {
    "1114": "sha1",
    "1220": "sha256",
    "1340": "sha512",
    "1440": "sha3_512",
    "1530": "sha3_384",
    "1620": "sha3_256",
    "171c": "sha3_224",
    "d50110": "md5",
}


class Unusable(Exception):  # noqa: N818  it is a reason, which the search collects
    """Why an item cannot be used, in words that follow its name."""


class Read(NamedTuple):
    """An item that can be used.

    Attributes:
        candidate: The image.
        part: Which recording it is from (datastrip), so that parts of one image are told from versions; empty
            where the item does not say.
    """

    candidate: Candidate
    part: str


def label_of(item: Mapping[str, Any]) -> str:
    """Returns the identifier of an item as a message may hold it: short, on one line."""
    text = str(item.get("id"))[:100]
    return "".join(one if one.isprintable() else "?" for one in text)


def satellite_of(item: Mapping[str, Any]) -> Satellite | None:
    """Returns whose image an item is by its names and its platform; None of anything else."""
    properties = _mapping(item, "properties")
    said = [item.get("id"), *(properties.get(key) for key in (*_NAME_KEYS, "platform", "constellation"))]
    hrefs = [one.get("href") for one in _mapping(item, "assets").values() if isinstance(one, Mapping)]
    said += [part for href in filter(None, map(_text, hrefs)) for part in PurePosixPath(href).parts]
    for text in filter(None, map(_text, said)):
        if re.match(r"S2[A-Z]_|sentinel-?2[a-z]?$", text, re.IGNORECASE):
            return "sentinel2"
        if re.match(r"L[A-Z]0\d_|landsat([-_ ]?\d)?$", text, re.IGNORECASE):
            return "landsat"
    return None


def acquired_of(item: Mapping[str, Any]) -> datetime:
    """Returns the time of an image, UTC; its beginning where the item gives a period.

    Raises:
        Unusable: The item does not say it.
    """
    properties = _mapping(item, "properties")
    for key in ("datetime", "start_datetime", "end_datetime"):
        text = _text(properties.get(key))
        if text is None:
            continue
        try:
            time = datetime.fromisoformat(text.strip().upper())
            # A time without an offset is UTC by the specification.
            return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            raise Unusable(f"gives {key} {text[:40]!r}, which is no time") from None
    raise Unusable("gives no time")


def read_item(item: Mapping[str, Any], address: str, footprint: Any, satellite: Satellite) -> Read:
    """Reads an item.

    Args:
        item: As the catalogue gives it.
        address: Where it lies, a path or `https://...`; relative addresses of files start there.
        footprint: Its footprint.
        satellite: Whose image it must be.

    Raises:
        Unusable: It cannot be used.
    """
    properties = _mapping(item, "properties")
    assets = _assets(item, address)
    match = _product_name(item, assets, satellite)
    acquired = acquired_of(item)
    _require_day(match, acquired)
    if foreign := of_another_image((one.path for one in assets.values()), match):
        raise Unusable(f"is {match[0]}, and has a file of another image, {foreign[-80:]!r}")
    is_sentinel2 = satellite == "sentinel2"
    sensor = "sentinel2" if is_sentinel2 else _LANDSAT_SENSORS[match["number"]]
    images = _images(assets, sensor, has_heat="_L2SP_" in match[0])
    candidate = Candidate(
        name=match[0],
        item=label_of(item),
        address=address,
        collection=_text(item.get("collection")) or "",
        sensor=sensor,
        tile=match["tile"],
        acquired=acquired,
        processed=match["processed"],
        baseline=f"{match['major']}.{match['minor']}" if is_sentinel2 else "02",
        footprint=footprint,
        cloud_said=_share(properties.get("eo:cloud_cover")),
        offset_applied=_flag(properties.get("earthsearch:boa_offset_applied")),
        metadata=_metadata(assets, match[0], satellite),
        images=images,
    )
    strip = _text(properties.get("s2:datastrip_id")) or ""
    found = re.search(r"_S(\d{8}T\d{6})(?:_|$)", strip)
    return Read(candidate, found[1] if found else "")


def _require_day(match: re.Match[str], acquired: datetime) -> None:
    try:
        day = datetime.strptime(match["take"][:8], "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        raise Unusable(f"is named {match[0]}, and there is no such day") from None
    if not -_HOUR <= acquired - day <= 2 * _DAY:
        raise Unusable(f"gives the time {acquired:%Y-%m-%d}, and is of {day:%Y-%m-%d} by its name {match[0]}")


def elevation_asset(item: Mapping[str, Any], address: str) -> Asset | None:
    """Returns the file of an item of the Copernicus GLO-30 elevation model; None of any other item."""
    try:
        assets = _assets(item, address)
    except Unusable:
        return None
    images = [one for key, one in sorted(assets.items()) if re.search(r"\.tiff?$", one.path, re.IGNORECASE)]
    tiles = [one for one in images if re.match(r"Copernicus_DSM_(COG_)?10_", PurePosixPath(one.path).name)]
    if not tiles and _text(item.get("collection")) == "cop-dem-glo-30":
        tiles = [assets["data"]] if "data" in assets else images
    return tiles[0].asset if tiles else None


class _File(NamedTuple):
    asset: Asset
    path: str

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def is_free(self) -> bool:
        """Whether its address is one that may be read without an account."""
        return "://" not in self.asset.address or self.asset.address.startswith("http")


def _assets(item: Mapping[str, Any], address: str) -> dict[str, _File]:
    """Returns the files of an item by their keys in small letters; those without an address are none."""
    found = {}
    for key, asset in sorted(_mapping(item, "assets").items()):
        href = _text(asset.get("href")) if isinstance(asset, Mapping) else None
        if href:
            where = resolved(href, address)
            path = urlsplit(where).path if "://" in where else where
            checksum = asset.get("file:checksum", asset.get("checksum:multihash"))
            size = _whole(asset.get("file:size"))
            found[key.lower()] = _File(Asset(where, size, _checksum(checksum)), unquote(path))
    return found


def resolved(href: str, address: str) -> str:
    """Returns the address that a link means in a file of a catalogue.

    Args:
        href: The link.
        address: Where the file lies, a path or `https://...`.

    Raises:
        Unusable: It is none, or a catalogue of the web names a file of this machine.
    """
    is_remote = "://" in address
    try:
        if href.lower().startswith("file:") and is_remote:
            raise Unusable(f"names {href[:80]!r}, a file of this machine, which no catalogue of the web may")
        if href.lower().startswith("file:"):
            return unquote(urlsplit(href).path)
        if not is_remote and "://" not in href:
            return str((Path(address).parent / href).resolve())
        found = urljoin(address, href) if is_remote else href
        if urlsplit(found).scheme and "://" in found:
            return found
    except ValueError:
        pass
    raise Unusable(f"names {href[:80]!r}, which is no address")


def _product_name(
    item: Mapping[str, Any], assets: Mapping[str, _File], satellite: Satellite
) -> re.Match[str]:
    """Returns the product's own name, of a property, the identifier, or the folders and names of files."""
    properties = _mapping(item, "properties")
    pattern = _SENTINEL2 if satellite == "sentinel2" else _LANDSAT
    own = [text for key in _NAME_KEYS if (text := _text(properties.get(key)))]
    identifier = _text(item.get("id")) or ""
    for text in (*own, identifier):
        for other, why in _OTHERS:
            if other.match(text):
                raise Unusable(why)
    for text in own:
        match = pattern.fullmatch(text.removesuffix(".SAFE"))
        if match is None:
            raise Unusable(f"names its product {text[:80]!r}, and must as {_NAMES[satellite]}")
        return match
    parts = [part for one in assets.values() for part in PurePosixPath(one.path).parts]
    # A file is named by its product and what it shows.
    starts = [match for part in parts if (match := pattern.match(part))]
    names = sorted({match[0] for match in starts})
    if len(names) > 1:
        raise Unusable(f"has files of two products, {names[0]} and {names[1]}")
    match = pattern.fullmatch(identifier) or (starts[0] if starts else None)
    if match is None:
        raise Unusable(f"does not say the name of its product, as {_NAMES[satellite]}")
    if names and names[0] != match[0]:
        raise Unusable(f"is {match[0]} by its identifier, and has files of {names[0]}")
    return match


def _images(assets: Mapping[str, _File], sensor: str, *, has_heat: bool) -> dict[str, Asset]:
    """Returns the file of each band; of several the one that is free, tiled and finest."""
    found: dict[str, tuple[tuple[Any, ...], Asset]] = {}
    for key, file in assets.items():
        band, pixel_m = _band_of(key, file.name, sensor)
        if band is None:
            continue
        rank = (not file.is_free, file.name.lower().endswith(".jp2"), pixel_m, key)
        if band not in found or rank < found[band][0]:
            found[band] = rank, file.asset
    roles = SENSORS[sensor]
    needed = [number for number, role in roles.items() if role in _NEEDED_ROLES]
    if sensor == "sentinel2":
        needed.append("SCL")
    else:
        needed += [number for number, role in roles.items() if role == "thermal" and has_heat]
        needed.append("QA_PIXEL")
    for band in needed:
        if band not in found:
            raise Unusable(f"lacks {f'the image of B{band} ({roles[band]})' if band in roles else band}")
    return {band: asset for band, (_, asset) in sorted(found.items())}


def _band_of(key: str, name: str, sensor: str) -> tuple[str | None, int]:
    """Returns the band that a file shows and the size of its pixels, 0 where its name does not say that."""
    roles = SENSORS[sensor]
    if sensor == "sentinel2":
        parts = _S2_KEY.fullmatch(key)
        key, size = (parts[1], parts[2]) if parts else (key, None)
        by_key, match = _S2_KEYS.get(key), _S2_FILE.fullmatch(name)
        by_name = (match[1] or match[2]).upper().lstrip("0") if match else None
        pixel_m = int((match and match[3]) or size or 0)
    else:
        numbers = {role: number for number, role in roles.items()}
        by_key = _QUALITY.get(key) or numbers.get(_LANDSAT_KEYS.get(key, ""))
        match, pixel_m = _LANDSAT_FILE.fullmatch(name), 0
        by_name = (match[1] or match[2]).upper() if match else None
    if by_key and by_name and by_key != by_name:
        raise Unusable(f"has {name[-60:]!r}, a file of B{by_name}, where B{by_key} must be ({key!r})")
    band = by_key or by_name
    return (band if band in {*roles, "SCL", "QA_PIXEL", "QA_RADSAT"} else None), pixel_m


def _metadata(assets: Mapping[str, _File], name: str, satellite: Satellite) -> Asset:
    """Returns the product's metadata.

    Raises:
        Unusable: There are none, and without them no number has a unit.
    """
    keys: tuple[str, ...]
    if satellite == "sentinel2":
        keys, pattern, what = ("product_metadata", "product-metadata"), _S2_METADATA, "MTD_MSIL2A.xml"
    else:
        keys, pattern, what = ("mtl.json", "mtl.xml", "mtl.txt"), _LANDSAT_METADATA, f"{name}_MTL.json"
    found = [assets[key] for key in keys if key in assets]
    # Of three formats JSON comes first, as everywhere.
    found += sorted((one for one in assets.values() if pattern.fullmatch(one.name)), key=lambda one: one.name)
    found.sort(key=lambda one: not one.is_free)
    if not found:
        raise Unusable(f"lacks the product's metadata ({what}), without which numbers have no unit")
    return found[0].asset


def _mapping(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and not isinstance(value, bool) else None


def _share(percent: Any) -> float | None:
    number = _number(percent)
    return number / 100 if number is not None and 0 <= number <= 100 else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number > 0 and number == int(number) else None


def _flag(value: Any) -> bool | None:
    return {"true": True, "false": False}.get(str(value).lower())


def _checksum(value: Any) -> Checksum | None:
    """Returns the checksum that a multihash gives; None where it is none, or of an algorithm without name."""
    text = value.lower() if isinstance(value, str) else ""
    for head, algorithm in _MULTIHASH.items():
        digest = text.removeprefix(head)
        if text.startswith(head) and re.fullmatch(rf"[0-9a-f]{{{2 * int(head[-2:], 16)}}}", digest):
            return Checksum(algorithm, digest)
    return None
