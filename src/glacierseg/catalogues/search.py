"""What catalogues offer of a place: images of a range of days, and elevation.

Catalogues are STAC APIs, static catalogues on the web or in a folder, and folders of items. Whatever a server
says to have filtered is filtered here again.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from glacierseg.catalogues.candidate import Asset, Candidate
from glacierseg.catalogues.footprints import boxes_around, folded, footprint_of
from glacierseg.catalogues.items import (
    Unusable,
    acquired_of,
    elevation_asset,
    is_of,
    label_of,
    read_item,
)
from glacierseg.catalogues.sources import Api, Days, Static, known_collections, open_source
from glacierseg.catalogues.stac import Json, RefusedError
from glacierseg.errors import RequestError, did_you_mean
from glacierseg.settings.fetch import FetchSettings

_MAX_ITEMS = 10_000
ELEVATION_MARGIN_DEG = 0.005
"""How far elevation is read beyond a place, since slope needs neighbours, some in the next tile."""
# Collection of the Copernicus GLO-30 elevation model, in each API that has it.
_ELEVATION = "cop-dem-glo-30"
# Footprints that share so much of their ground are of one image.
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
    days, outline = settings.date, folded(outline)
    if days is None:
        raise RequestError(
            "a search needs days; give the first and the last one as --date 2024-08-01/2024-10-31"
        )
    collections = settings.collections or known_collections(settings)
    if collections == ():
        raise RequestError(
            f"files of {_SATELLITES[settings.satellite]} in {settings.catalogue} are paid for by their "
            "readers; choose --catalogue planetary-computer"
        )
    source = open_source(settings)
    if not collections and isinstance(source, Api):
        collections = source.collections_of(settings.satellite)
    found: list[Candidate] = []
    left_out: list[tuple[str, str]] = []
    for item, address in _items(source, settings, collections, outline, days):
        try:
            candidate = _read(item, address, settings, outline, days)
        except Unusable as reason:
            left_out.append((label_of(item), str(reason)))
            continue
        found += [candidate] if candidate else []
    kept = _newest(found, collections or (), left_out)
    left_out.sort()
    if not kept:
        _require_collections(settings, source, collections)
        raise _nothing(settings, days, left_out)
    return Offered(tuple(sorted(kept, key=lambda one: (one.tile, one.acquired, one.name))), tuple(left_out))


def elevation_tiles(settings: FetchSettings, outline: Any) -> tuple[Asset, ...]:
    """Returns the files of the Copernicus GLO-30 elevation model of a place, in the order of their addresses.

    Args:
        settings: The catalogue.
        outline: The place, see `search`.

    Returns:
        The files; none where the catalogue has no such model.

    Raises:
        RequestError: The catalogue does not exist.
        DownloadError: The catalogue cannot be read.
    """
    outline = folded(outline.buffer(ELEVATION_MARGIN_DEG))
    source = open_source(settings)
    collections = (_ELEVATION,) if isinstance(source, Api) else None
    if collections and known_collections(settings) is None:
        names = source.collection_names()
        if names is not None and _ELEVATION not in names:
            return ()
    found: dict[str, Asset] = {}
    for item, address in _items(source, settings, collections, outline, None):
        asset, footprint = elevation_asset(item, address), footprint_of(item)
        if asset and footprint is not None and footprint.intersection(outline).area > 0:
            found.setdefault(asset.address, asset)
    return tuple(found[address] for address in sorted(found))


def _items(
    source: Api | Static,
    settings: FetchSettings,
    collections: tuple[str, ...] | None,
    outline: Any,
    days: Days | None,
) -> Iterator[tuple[Json, str]]:
    """Yields items, each once though boxes may share it, and where each one lies."""
    seen: set[tuple[str, str]] = set()
    try:
        for number, (item, address) in enumerate(source.find(collections, boxes_around(outline), days)):
            if number >= _MAX_ITEMS:
                raise RequestError(
                    f"{settings.catalogue}: gives more than {_MAX_ITEMS} items; shorten --date, give smaller "
                    "areas, or name some of its collections with --collections"
                )
            own = address, json.dumps(item, sort_keys=True)
            if own not in seen:
                seen.add(own)
                yield item, address
    except RefusedError:
        # Some servers refuse a collection that they lack, where others give nothing.
        _require_collections(settings, source, collections)
        raise


def _read(item: Json, address: str, settings: FetchSettings, outline: Any, days: Days) -> Candidate | None:
    """Returns an image of the place and the days; None of any other item."""
    if not is_of(item, settings.satellite):
        return None
    footprint = footprint_of(item)
    if footprint is None:
        raise Unusable("has neither a footprint nor a bbox")
    if not footprint.intersection(outline).area > 0:
        return None
    if not days[0] <= acquired_of(item).date() <= days[1]:
        return None
    return read_item(item, address, footprint, settings.satellite)


def _newest(
    found: Iterable[Candidate], collections: Sequence[str], left_out: list[tuple[str, str]]
) -> list[Candidate]:
    """Returns each image once: its newest version, with unaltered numbers where a collection has it so.

    Parts of one image are no versions of one another.
    """
    order = {name: i for i, name in enumerate(collections)}

    def rank(one: Candidate) -> tuple[Any, ...]:
        # Only where numbers were altered does an item say anything about it, right or wrong.
        altered = one.offset_applied is True, one.offset_applied is not None
        return *altered, order.get(one.collection, len(order)), one.item, one.address

    def version(one: Candidate) -> tuple[str, str, str]:
        return one.baseline, one.processed, one.name

    kept: list[Candidate] = []
    for one in sorted(sorted(found, key=rank), key=version, reverse=True):
        own = next((other for other in kept if _is_version(one, other)), None)
        if own is None:
            kept.append(one)
        elif own.name == one.name:
            left_out.append((one.item, f"is the product of {own.item} in {own.collection} again"))
        else:
            left_out.append((one.item, f"is an older version of {own.name}"))
    return kept


def _is_version(one: Candidate, other: Candidate) -> bool:
    """Whether two products are the same image, which may have been processed twice."""
    if one.image != other.image:
        return False
    if one.name == other.name or one.sensor != "sentinel2" or one.baseline != other.baseline:
        return True
    if one.part and other.part:
        return one.part == other.part
    # Parts of an image show ground of their own.
    first, second = one.footprint, other.footprint
    return bool(first.intersection(second).area > _SAME_GROUND * first.union(second).area)


def _nothing(settings: FetchSettings, days: Days, left_out: Sequence[tuple[str, str]]) -> RequestError:
    said = f"{settings.catalogue}: offers no image of {_SATELLITES[settings.satellite]} of this place from "
    said += _words(days)
    if left_out:
        item, reason = left_out[0]
        said += f" that can be used: {item} {reason}"
        said += f", and {len(left_out) - 1} more cannot be used either" if left_out[1:] else ""
    return RequestError(f"{said}; give a longer --date, or another --catalogue")


def _require_collections(
    settings: FetchSettings, source: Api | Static, collections: tuple[str, ...] | None
) -> None:
    names = source.collection_names() if collections else None
    for collection in collections or ():
        if names is not None and collection not in names:
            raise RequestError(
                f"{settings.catalogue}: has no collection {collection!r}{did_you_mean(collection, names)}; "
                f"give --collections some of {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}"
            )


def _words(days: Days) -> str:
    return f"{days[0]} to {days[1]}"
