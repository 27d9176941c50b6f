"""Items of catalogues (STAC), checked against the name of their product.

Names of products must be as the agencies write them, since folders are called by them. Bands are found by the
names of files, which agencies and catalogues write alike, and where a file has another name by the key of
its asset or the band that it lists; a key that contradicts the file's name leaves an item out.
"""

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from glacierseg.catalogues.candidate import Asset, Candidate
from glacierseg.choices import Satellite
from glacierseg.products.contents import Checksum
from glacierseg.raster.sensors import SENSORS

_NAMES: Mapping[Satellite, re.Pattern[str]] = {
    "sentinel2": re.compile(
        r"S2[A-D]_MSIL2A_(?P<take>\d{8})T\d{6}_N(?P<major>\d\d)(?P<minor>\d\d)_R\d{3}_"
        r"(?P<tile>T\d{2}[A-Z]{3})_(?P<processed>\d{8}T\d{6})"
    ),
    "landsat": re.compile(
        r"L[CTE]0(?P<number>[45789])_L2S[PR]_(?P<tile>\d{6})_(?P<take>\d{8})_(?P<processed>\d{8})_02_"
        r"(?:T1|T2|RT)"
    ),
}
# Beginnings of the names of products of any level, and of satellites.
_BEGINNINGS: Mapping[Satellite, re.Pattern[str]] = {
    "sentinel2": re.compile(r"(?:^|/)S2[A-Z]_|^sentinel-?s?-?2(?!\d)", re.IGNORECASE),
    "landsat": re.compile(r"(?:^|/)L[A-Z]0\d_|^landsat", re.IGNORECASE),
}
_EXAMPLES: Mapping[Satellite, str] = {
    "sentinel2": "S2B_MSIL2A_20240930T045659_N0511_R119_T45RVL_20240930T083000",
    "landsat": "LC09_L2SP_140041_20231115_20231117_02_T1",
}
_LANDSAT_SENSORS = {"4": "landsat5", "5": "landsat5", "7": "landsat7", "8": "landsat8", "9": "landsat9"}
# Properties that give the product's name.
_NAME_KEYS = ("s2:product_uri", "sentinel:product_id", "s2:product_id", "landsat:product_id")
# Images: the number of the band or the kind, and the size of pixels. Masks are named by bands too.
_FILES: Mapping[Satellite, re.Pattern[str]] = {
    "sentinel2": re.compile(
        r"(?!MSK_)(?:.*_)?(?:B0?(\d{1,2}A?)|(SCL))(?:_(\d\d)m)?\.(?:tiff?|jp2)", re.IGNORECASE
    ),
    "landsat": re.compile(r".*_(?:S[RT]_B(\d{1,2})|(QA_PIXEL|QA_RADSAT))()\.tiff?", re.IGNORECASE),
}
# Files that may be an image of any band; names of masks and views say what they are.
_OTHER_IMAGE = re.compile(r"(?!MSK_|.*(?:preview|thumbnail|TCI|PVI|visual)).*\.(?:tiff?|jp2)", re.IGNORECASE)
# Keys of assets that are no role of ours; `nir08` is another band of each satellite.
_KEYS = {
    "nir08": "nir_narrow nir", "nir09": "water_vapour", "swir16": "swir1", "swir22": "swir2",
    "rededge1": "red_edge_1", "rededge2": "red_edge_2", "rededge3": "red_edge_3", "lwir": "thermal",
    "lwir11": "thermal",
}  # fmt: skip
_METADATA_KEYS = re.compile(r"product[-_]metadata|mtl\.(json|xml|txt)", re.IGNORECASE)
_METADATA: Mapping[Satellite, re.Pattern[str]] = {
    "sentinel2": re.compile(r"(?:MTD_MSIL2A|product_metadata)\.xml", re.IGNORECASE),
    "landsat": re.compile(r".*_MTL\.(json|xml|txt)", re.IGNORECASE),
}
# `T45RVL_20240930T045659_B02_10m.tif`, and folders such as `S2B_45RVL_20240930_0_L2A`.
_IMAGE = re.compile(r"(?:L2A_)?(T\d{2}[A-Z]{3})_(\d{8}T\d{6})_(?:B\d|SCL).*")
_FOLDER = re.compile(r"S2[A-D]_T?(\d{2}[A-Z]{3})_(\d{8})(?:[T_].*)?")
_ELEVATION = re.compile(r"Copernicus_DSM_(?:COG_)?10_.*\.tiff?", re.IGNORECASE)
# Each recipe needs these, or the product's reader does.
_NEEDED_ROLES = ("blue", "green", "red", "nir", "swir1", "swir2")
# Codes of multihash, as bytes in hexadecimal digits, the last one the length of the digest.
_MULTIHASH = {"1114": "sha1", "1220": "sha256", "1340": "sha512", "1620": "sha3_256", "d50110": "md5"}


class Unusable(Exception):  # noqa: N818  it is a reason, which the search collects
    """Why an item cannot be used, in words that follow its name."""


def label_of(item: Mapping[str, Any]) -> str:
    """Returns the identifier of an item as a message may hold it: short, on one line."""
    text = str(item.get("id"))[:100]
    return "".join(one if one.isprintable() else "?" for one in text)


def is_of(item: Mapping[str, Any], satellite: Satellite) -> bool:
    """Whether an item is of a satellite by its names, its collection, its platform or its files."""
    facts = _mapping(item, "properties")
    said = [*_names(item), item.get("collection"), facts.get("platform"), facts.get("constellation")]
    said += [one.get("href") for one in _mapping(item, "assets").values() if isinstance(one, Mapping)]
    return any(_BEGINNINGS[satellite].search(text) for text in filter(None, map(_text, said)))


def acquired_of(item: Mapping[str, Any]) -> datetime:
    """Returns the time of an image, UTC; its beginning where the item gives a period.

    Raises:
        Unusable: The item does not say it.
    """
    properties = _mapping(item, "properties")
    keys = ("datetime", "start_datetime", "end_datetime")
    text = next((text for key in keys if (text := _text(properties.get(key)))), None)
    if text is None:
        raise Unusable("gives no time")
    try:
        time = datetime.fromisoformat(text.strip().upper())
        # A time without an offset is UTC by the specification.
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Unusable(f"gives the time {text[:40]!r}, which cannot be read") from None


def read_item(item: Mapping[str, Any], address: str, footprint: Any, satellite: Satellite) -> Candidate:
    """Reads an item.

    Args:
        item: As the catalogue gives it.
        address: Where it lies, a path or `https://...`; relative addresses of files start there.
        footprint: Its footprint.
        satellite: Whose image it must be.

    Raises:
        Unusable: It cannot be used.
    """
    properties, files = _mapping(item, "properties"), _files(item, address)
    match = _product_name(item, files.values(), satellite)
    if foreign := _of_another_image(files.values(), match):
        raise Unusable(f"is {match[0]}, and has a file of another image, {foreign[-80:]!r}")
    is_sentinel2 = satellite == "sentinel2"
    sensor = "sentinel2" if is_sentinel2 else _LANDSAT_SENSORS[match["number"]]
    cloud = _number(properties.get("eo:cloud_cover"))
    flag = str(properties.get("earthsearch:boa_offset_applied")).lower()
    strip = re.search(r"_S(\d{8}T\d{6})(?:_|$)", str(properties.get("s2:datastrip_id")))
    return Candidate(
        name=match[0],
        item=label_of(item),
        address=address,
        collection=_text(item.get("collection")) or "",
        sensor=sensor,
        tile=match["tile"],
        acquired=_acquired(item, match),
        processed=match["processed"],
        baseline=f"{match['major']}.{match['minor']}" if is_sentinel2 else "02",
        footprint=footprint,
        cloud_said=cloud / 100 if cloud is not None and 0 <= cloud <= 100 else None,
        offset_applied={"true": True, "false": False}.get(flag),
        metadata=_metadata(files, satellite),
        images=_images(item, files, satellite, sensor, has_heat="_L2SP_" in match[0]),
        part=strip[1] if strip else "",
    )


def elevation_asset(item: Mapping[str, Any], address: str) -> Asset | None:
    """Returns the file of an item of the Copernicus GLO-30 elevation model; None of any other item."""
    try:
        return next(
            (one for one in _files(item, address).values() if _ELEVATION.fullmatch(_name_of(one))), None
        )
    except Unusable:
        return None


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
        if urlsplit(href).scheme == "file" and is_remote:
            raise Unusable(f"names {href[:80]!r}, a file of this machine, which no catalogue of the web may")
        if urlsplit(href).scheme == "file":
            return unquote(urlsplit(href).path)
        if not is_remote and "://" not in href:
            return str((Path(address).parent / href).resolve())
        found = urljoin(address, href) if is_remote else href
        if urlsplit(found).scheme and "://" in found:
            return found
    except ValueError:
        pass
    raise Unusable(f"names {href[:80]!r}, which is no address")


def _files(item: Mapping[str, Any], address: str) -> dict[str, Asset]:
    """Returns the files of an item by their keys, in order; entries without an address are left out."""
    found = {}
    for key, asset in sorted(_mapping(item, "assets").items()):
        href = _text(asset.get("href")) if isinstance(asset, Mapping) else None
        if href:
            size = _number(asset.get("file:size"))
            checksum = _checksum(asset.get("file:checksum", asset.get("checksum:multihash")))
            found[key] = Asset(resolved(href, address), int(size) if size and size >= 1 else None, checksum)
    return found


def _names(item: Mapping[str, Any]) -> list[str]:
    """Returns the identifier of an item and the names that it gives its product."""
    said = [item.get("id"), *(_mapping(item, "properties").get(key) for key in _NAME_KEYS)]
    return [text for text in map(_text, said) if text]


def _path_of(file: Asset) -> PurePosixPath:
    is_remote = "://" in file.address
    return PurePosixPath(unquote(urlsplit(file.address).path) if is_remote else file.address)


def _name_of(file: Asset) -> str:
    return _path_of(file).name


def _is_closed(file: Asset) -> bool:
    """Whether its address is one that may not be read without an account."""
    return "://" in file.address and not file.address.startswith("http")


def _product_name(item: Mapping[str, Any], files: Iterable[Asset], satellite: Satellite) -> re.Match[str]:
    """Returns the product's name from a property, the identifier, or the paths of files."""
    pattern = _NAMES[satellite]
    whole = [pattern.fullmatch(text.removesuffix(".SAFE")) for text in _names(item)]
    # Names of files begin with that of their product.
    starts = [pattern.match(part) for file in files for part in _path_of(file).parts]
    found = {match[0]: match for match in (*whole, *starts) if match}
    if len(found) > 1:
        first, second, *_ = sorted(found)
        raise Unusable(f"names two products, {first} and {second}")
    if not found:
        raise Unusable(f"has no name of a Level-2 product, such as {_EXAMPLES[satellite]}")
    return next(iter(found.values()))


def _of_another_image(files: Iterable[Asset], product: re.Match[str]) -> str | None:
    """Returns the first file whose path is of another tile, day or recording."""
    tile, start = product["tile"], product[0].split("_")[2]
    for path in map(_path_of, files):
        for part in path.parts:
            image, folder = _IMAGE.fullmatch(part), _FOLDER.fullmatch(part)
            if (image and (image[1], image[2]) != (tile, start)) or (
                folder and (f"T{folder[1]}" != tile or not _are_near(folder[2], product["take"]))
            ):
                return path.as_posix()
    return None


def _are_near(day: str, other: str) -> bool:
    """Whether two days are the same or follow one another: the tile is seen after the recording began."""
    try:
        return abs(date.fromisoformat(day) - date.fromisoformat(other)) <= timedelta(days=1)
    except ValueError:  # its digits are no day
        return True


def _acquired(item: Mapping[str, Any], match: re.Match[str]) -> datetime:
    """Returns the time that the item gives, unless the product's name contradicts it."""
    acquired = acquired_of(item)
    try:
        day = datetime.strptime(match["take"], "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        raise Unusable(f"is named {match[0]}, and there is no such day") from None
    # What begins before midnight may end after it.
    if not timedelta(hours=-1) <= acquired - day <= timedelta(days=2):
        raise Unusable(f"gives the time {acquired:%Y-%m-%d}, and is of {day:%Y-%m-%d} by its name {match[0]}")
    return acquired


def _images(
    item: Mapping[str, Any], files: Mapping[str, Asset], satellite: Satellite, sensor: str, *, has_heat: bool
) -> dict[str, Asset]:
    """Returns the file of each band; of several the one that is open, no JPEG 2000, and finest."""
    roles = SENSORS[sensor]
    kinds = ("SCL",) if satellite == "sentinel2" else ("QA_PIXEL", "QA_RADSAT")
    found: dict[str, tuple[tuple[bool, bool, int], Asset]] = {}
    for key, file in files.items():
        name = _name_of(file)
        match = _FILES[satellite].fullmatch(name)
        if not match and not _OTHER_IMAGE.fullmatch(name):
            continue
        words = PurePosixPath(name).stem, key, *_bands_listed(_mapping(_mapping(item, "assets"), key))
        by_name, by_key, *listed = (_band_of(word, sensor, kinds) for word in words)
        by_name = (match[1] or match[2]).upper() if match else by_name
        if by_name and by_key and by_name != by_key:
            raise Unusable(f"calls {name} {key!r}, and one of the two is of another band")
        band = next(filter(None, (by_name, by_key, *listed)), None)
        if band and (band in roles or band in kinds):
            size_m = int(match[3] or 0) if match else 0
            rank = _is_closed(file), name.lower().endswith(".jp2"), size_m
            if band not in found or rank < found[band][0]:
                found[band] = rank, file
    wanted = {*_NEEDED_ROLES, "thermal"} if has_heat else {*_NEEDED_ROLES}
    for band in (*(number for number, role in roles.items() if role in wanted), kinds[0]):
        if band not in found:
            raise Unusable(f"lacks {f'the image of B{band} ({roles[band]})' if band in roles else band}")
    return {band: file for band, (_, file) in sorted(found.items())}


def _bands_listed(asset: Mapping[str, Any]) -> list[str]:
    """Returns the names of the only band that an asset lists, in the words of old and new catalogues."""
    listed = asset.get("bands") or asset.get("eo:bands")
    band = _mapping({"": listed[0]}, "") if isinstance(listed, list) and len(listed) == 1 else {}
    keys = ("name", "eo:common_name", "common_name")
    return [text for key in keys if (text := _text(band.get(key)))]


def _band_of(word: str, sensor: str, kinds: Iterable[str]) -> str | None:
    """Returns the band that a key or name means: `4` of `red` or `B04_10m`, `SCL` of `scl`."""
    word = re.sub(r"[-_](?:\d\dm|jp2)$", "", word.lower())
    if word.upper() in kinds:
        return word.upper()
    if number := re.fullmatch(r"(?:s[rt]_)?b0?(\d{1,2}a?)", word):
        return number[1].upper()
    numbers = {role: number for number, role in SENSORS[sensor].items()}
    names = _KEYS.get(word, word).split()
    return next((numbers[name] for name in names if name in numbers), None)


def _metadata(files: Mapping[str, Asset], satellite: Satellite) -> Asset:
    """Returns the product's metadata; of several formats JSON comes first, as everywhere.

    Raises:
        Unusable: There are none.
    """
    found = [file for file in files.values() if _METADATA[satellite].fullmatch(_name_of(file))]
    found = found or [file for key, file in files.items() if _METADATA_KEYS.fullmatch(key)]
    if not found:
        what = "MTD_MSIL2A.xml" if satellite == "sentinel2" else "_MTL.json"
        raise Unusable(f"lacks the product's metadata ({what}), without which numbers have no unit")
    return min(found, key=lambda file: (_is_closed(file), _name_of(file)))


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


def _checksum(value: Any) -> Checksum | None:
    """Returns the checksum of a multihash; None where the text is none, or of another algorithm."""
    text = value.lower() if isinstance(value, str) else ""
    for head, algorithm in _MULTIHASH.items():
        digest = text.removeprefix(head)
        if text.startswith(head) and re.fullmatch(rf"[0-9a-f]{{{2 * int(head[-2:], 16)}}}", digest):
            return Checksum(algorithm, digest)
    return None
