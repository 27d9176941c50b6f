"""What catalogues offer of a place: images of a range of days, and elevation.

Catalogues are STAC APIs, static catalogues on the web or in a folder, and folders of items. Whatever a server
says to have filtered is filtered here again.
"""

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from glacierseg.catalogues.candidate import Asset, Candidate
from glacierseg.catalogues.footprints import boxes_around, folded, footprint_of, share_ground
from glacierseg.catalogues.items import (
    Read,
    Unusable,
    acquired_of,
    elevation_asset,
    label_of,
    read_item,
    satellite_of,
)
from glacierseg.catalogues.known import ELEVATION, USUAL, known_catalogue
from glacierseg.catalogues.sources import Api, Source, open_source
from glacierseg.catalogues.stac import RefusedError
from glacierseg.errors import RequestError, did_you_mean
from glacierseg.settings.fetch import FetchSettings

_MAX_IMAGES = 1000
# A window of elevation is a little larger than its place, which then may reach into the next tile.
_ELEVATION_MARGIN_DEG = 0.005
# Shapes that share so much of their ground are of the same.
_SAME_GROUND = 0.95
_SATELLITES = {"sentinel2": "Sentinel-2", "landsat": "Landsat"}


@dataclass(frozen=True)
class Offered:
    """What a catalogue offers.

    Attributes:
        candidates: Images that can be used, by tile, time and name.
        left_out: Items of the place and the days that cannot be used: identifier, and the reason in words
            that follow it.
    """

    candidates: tuple[Candidate, ...]
    left_out: tuple[tuple[str, str], ...]


def search(settings: FetchSettings, outline: Any) -> Offered:
    """Searches for images.

    Args:
        settings: Days, satellite, catalogue and its collections.
        outline: The place, a polygon in degrees; across 180 degrees it may have longitudes above 180, or
            parts on both sides.

    Raises:
        RequestError: Nothing is offered, or too much, or the catalogue or a collection does not exist.
        DownloadError: The catalogue cannot be read.
    """
    if settings.date is None:
        raise RequestError(
            "a search needs days; give the first and the last one as --date 2024-08-01/2024-10-31"
        )
    outline = folded(outline)
    source = _open(settings)
    collections = _collections(settings, source)
    reads: list[Read] = []
    left_out: list[tuple[str, str]] = []
    seen: set[str] = set()
    for item, address in _found(source, settings, collections, boxes_around(outline)):
        # On both sides of 180 degrees an item is found twice.
        text = json.dumps(item, sort_keys=True)
        if text in seen:
            continue
        seen.add(text)
        try:
            read = _read(item, address, settings, outline)
        except Unusable as reason:
            left_out.append((label_of(item), str(reason)))
            continue
        reads += [read] if read else []
        if len(reads) + len(left_out) > _MAX_IMAGES:
            raise RequestError(
                f"{settings.catalogue}: has more than {_MAX_IMAGES} images of this place from "
                f"{_days(settings)}; shorten --date, or give smaller areas"
            )
    kept = _newest(_once(reads, collections or (), left_out), left_out)
    left_out.sort()
    if not kept:
        raise _nothing(settings, source, collections, left_out)
    return Offered(tuple(sorted(kept, key=lambda one: (one.tile, one.acquired, one.name))), tuple(left_out))


def elevation_tiles(settings: FetchSettings, outline: Any) -> tuple[Asset, ...]:
    """Returns the files of the Copernicus GLO-30 elevation model of a place, in the order of their addresses.

    Args:
        settings: The catalogue.
        outline: The place, see `search`.

    Returns:
        None at all where the catalogue has no such model.

    Raises:
        RequestError: The catalogue does not exist.
        DownloadError: The catalogue cannot be read.
    """
    outline = folded(outline.buffer(_ELEVATION_MARGIN_DEG))
    source = open_source(settings)
    collections = (ELEVATION,) if isinstance(source, Api) else None
    if collections and known_catalogue(settings.catalogue) is None:
        names = source.collection_names()
        if names is not None and ELEVATION not in names:
            return ()
    found: dict[str, Asset] = {}
    for item, address in source.find(collections, boxes_around(outline), None):
        asset, footprint = elevation_asset(item, address), footprint_of(item)
        if asset and footprint is not None and share_ground(footprint, outline):
            found.setdefault(asset.address, asset)
    return tuple(found[address] for address in sorted(found))


def _open(settings: FetchSettings) -> Source:
    """Opens the catalogue, unless it is known already that its files are not free to read."""
    known = known_catalogue(settings.catalogue)
    if known and not settings.collections and not known.collections[settings.satellite]:
        raise RequestError(
            f"files of {_SATELLITES[settings.satellite]} in {known.name} are paid for by whoever reads them; "
            "take --catalogue planetary-computer"
        )
    return open_source(settings)


def _collections(settings: FetchSettings, source: Source) -> tuple[str, ...] | None:
    """Returns the collections to search in, the best first; None for all."""
    known = known_catalogue(settings.catalogue)
    if settings.collections:
        return settings.collections
    if known:
        return known.collections[settings.satellite]
    if not isinstance(source, Api):
        return None
    usual = USUAL[settings.satellite]
    return tuple(name for name in source.collection_names() or () if usual.fullmatch(name)) or None


def _found(
    source: Source,
    settings: FetchSettings,
    collections: tuple[str, ...] | None,
    boxes: Sequence[tuple[float, float, float, float]],
) -> Iterator[tuple[dict[str, Any], str]]:
    try:
        yield from source.find(collections, boxes, settings.date)
    except RefusedError:
        # Some servers answer so where others give nothing.
        _require_collections(settings, source, collections)
        raise


def _read(item: dict[str, Any], address: str, settings: FetchSettings, outline: Any) -> Read | None:
    """Returns an image of the place and the days; None of any other item."""
    if satellite_of(item) != settings.satellite:
        return None
    footprint = footprint_of(item)
    if footprint is None:
        raise Unusable("has neither a footprint nor a bbox")
    if not share_ground(footprint, outline):
        return None
    first, last = settings.date or (dt.date.min, dt.date.max)
    if not first <= acquired_of(item).date() <= last:
        return None
    return read_item(item, address, footprint, settings.satellite)


def _once(reads: Iterable[Read], collections: Sequence[str], left_out: list[tuple[str, str]]) -> list[Read]:
    """Returns each product once, from the collection with unaltered numbers where there is one."""
    order = {name: i for i, name in enumerate(collections)}

    def rank(read: Read) -> tuple[Any, ...]:
        one = read.candidate
        # Only where numbers were altered does an item say anything about it, right or wrong.
        altered = one.offset_applied is True, one.offset_applied is not None
        return *altered, order.get(one.collection, len(order)), one.item, one.address

    kept: dict[str, Read] = {}
    for read in sorted(reads, key=rank):
        own = kept.setdefault(read.candidate.name, read).candidate
        if own is not read.candidate:
            left_out.append((read.candidate.item, f"is the product of {own.item} in {own.collection} again"))
    return list(kept.values())


def _newest(reads: Iterable[Read], left_out: list[tuple[str, str]]) -> list[Candidate]:
    """Returns images in their newest version; parts of one image are no versions of one another."""
    images: dict[tuple[str, ...], list[Read]] = defaultdict(list)
    for read in reads:
        one, parts = read.candidate, read.candidate.name.split("_")
        images[parts[0], one.tile, parts[2 if one.sensor == "sentinel2" else 3]].append(read)
    kept: list[Candidate] = []
    for versions in images.values():
        own: list[Read] = []
        for read in sorted(versions, key=_version, reverse=True):
            newer = next((other for other in own if _is_version(read, other)), None)
            if newer is None:
                own.append(read)
            else:
                left_out.append((read.candidate.item, f"is an older version of {newer.candidate.name}"))
        kept += [read.candidate for read in own]
    return kept


def _version(read: Read) -> tuple[str, str, str]:
    return read.candidate.baseline, read.candidate.processed, read.candidate.name


def _is_version(one: Read, other: Read) -> bool:
    """Whether two products of one take or day are the same image, which was processed twice."""
    if one.candidate.sensor != "sentinel2" or one.candidate.baseline != other.candidate.baseline:
        return True
    if one.part and other.part:
        return one.part == other.part
    # Parts of an image show ground of their own.
    first, second = one.candidate.footprint, other.candidate.footprint
    return bool(first.intersection(second).area > _SAME_GROUND * first.union(second).area)


def _nothing(
    settings: FetchSettings,
    source: Source,
    collections: tuple[str, ...] | None,
    left_out: Sequence[tuple[str, str]],
) -> RequestError:
    _require_collections(settings, source, collections)
    what = f"{settings.catalogue}: offers no image of {_SATELLITES[settings.satellite]} of this place"
    if not left_out:
        return RequestError(f"{what} from {_days(settings)}; give a longer --date, or another --catalogue")
    item, reason = left_out[0]
    rest = f", and {len(left_out) - 1} more cannot be used either" if left_out[1:] else ""
    return RequestError(
        f"{what} from {_days(settings)} that can be used: {item} {reason}{rest}; give a longer --date, or "
        "another --catalogue"
    )


def _require_collections(
    settings: FetchSettings, source: Source, collections: tuple[str, ...] | None
) -> None:
    names = source.collection_names() if collections else None
    for collection in collections or ():
        if names is not None and collection not in names:
            raise RequestError(
                f"{settings.catalogue}: has no collection {collection!r}{did_you_mean(collection, names)}; "
                f"give --collections some of {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}"
            )


def _days(settings: FetchSettings) -> str:
    first, last = settings.date or ("", "")
    return f"{first} to {last}"
