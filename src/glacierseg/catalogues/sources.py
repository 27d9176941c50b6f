"""Where items come from: an API that searches, a static catalogue that is walked, or a folder of items."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit
from warnings import warn

from glacierseg.catalogues.items import Unusable, resolved
from glacierseg.catalogues.known import KNOWN, known_catalogue
from glacierseg.catalogues.stac import Json, NotThereError, OtherJsonError, Reader, all_linked, joined, linked
from glacierseg.errors import DownloadError, GlaciersegWarning, RequestError, did_you_mean
from glacierseg.settings.fetch import FetchSettings

Boxes = Sequence[tuple[float, float, float, float]]
Days = tuple[dt.date, dt.date]

_PAGE_ITEMS = 100
_MAX_ITEMS = 10_000
_STARTS = ("catalog.json", "collection.json")


class Source(Protocol):
    """A catalogue that was opened."""

    def find(
        self, collections: tuple[str, ...] | None, boxes: Boxes, days: Days | None
    ) -> Iterator[tuple[Json, str]]:
        """Finds items and where each one lies; there may be more than were asked for, and some twice.

        Args:
            collections: Whose items; None for all.
            boxes: West, south, east and north in degrees.
            days: First and last one, UTC; None for any.

        Raises:
            DownloadError: The catalogue cannot be read.
        """

    def collection_names(self) -> list[str] | None:
        """Returns the names of all collections; None where the catalogue does not list them."""


def open_source(settings: FetchSettings) -> Source:
    """Opens a catalogue.

    Raises:
        RequestError: There is none, or it is not free to read.
        DownloadError: It cannot be read.
    """
    known = known_catalogue(settings.catalogue)
    where = known.address if known else settings.catalogue
    if where.lower().startswith("file:"):
        where = unquote(urlsplit(where).path)
    if "://" not in where:
        where = _path_of(where)
    reader = Reader(settings)
    if Path(where).is_dir():
        return Items(reader, sorted(str(path) for path in Path(where).rglob("*.json")), is_picked=True)
    root = reader.read(where)
    address = reader.address
    if str(root.get("type")).startswith("Feature"):
        return Items(reader, [address])
    if not isinstance(root.get("stac_version"), str):
        raise DownloadError(
            f"{where}: is no STAC catalogue, since it has no stac_version; give the landing page of an API, "
            "a catalog.json, or a folder"
        )
    if "://" in address and linked(root, "search"):
        return Api(reader, root, address)
    return Tree(reader, root, address)


def _path_of(catalogue: str) -> str:
    """Returns the absolute path of a catalogue on disk: its first file, or a folder of items."""
    path = Path(catalogue).expanduser().absolute()
    if path.is_file():
        return str(path)
    if not path.is_dir():
        raise RequestError(
            f"no catalogue is called {catalogue!r}{did_you_mean(catalogue, KNOWN)}, and no folder either; "
            f"give {', '.join(KNOWN)}, an address, or a folder"
        )
    return str(next((path / name for name in _STARTS if (path / name).is_file()), path))


class Api:
    """A STAC API."""

    def __init__(self, reader: Reader, root: Json, address: str) -> None:
        """Takes what its landing page says.

        Args:
            reader: Reads it.
            root: The landing page.
            address: Where that lies.
        """
        self._reader = reader
        self._root = address.rstrip("/")
        links = all_linked(root, "search")
        # By GET, some servers do not understand lists.
        posts = [one for one in links if str(one.get("method")).upper() == "POST"]
        self._method = "POST" if posts else "GET"
        self._search = joined(address, (posts or links)[0]["href"])
        data = linked(root, "data")
        self._collections = joined(address, data["href"]) if data else f"{self._root}/collections"

    def find(
        self, collections: tuple[str, ...] | None, boxes: Boxes, days: Days | None
    ) -> Iterator[tuple[Json, str]]:
        """Searches; see `Source`."""
        for box in boxes:
            terms: Json = {"limit": _PAGE_ITEMS, "bbox": list(box)}
            if collections:
                terms["collections"] = list(collections)
            if days:
                # A day more on both sides: servers differ in what they make of other time zones.
                terms["datetime"] = f"{_moved(days[0], -1)}T00:00:00Z/{_moved(days[1], 1)}T23:59:59Z"
            if self._method == "GET":
                terms = {key: _listed(value) for key, value in terms.items()}
            found = self._reader.items(self._search, "features", method=self._method, terms=terms)
            for number, item in enumerate(found):
                if number >= _MAX_ITEMS:
                    raise _endless(self._search)
                yield item, self._address_of(item)

    def collection_names(self) -> list[str] | None:
        """Lists them; see `Source`."""
        try:
            found = list(self._reader.items(self._collections, "collections"))
        except NotThereError:
            return None
        return sorted(name for one in found if isinstance(name := one.get("id"), str))

    def _address_of(self, item: Json) -> str:
        link = linked(item, "self")
        with suppress(DownloadError):
            own = joined(f"{self._root}/", link["href"]) if link else ""
            if own.startswith("http"):
                return own
        return f"{self._root}/collections/{item.get('collection')}/items/{item.get('id')}"


class Tree:
    """A static catalogue, on the web or on disk, whose links are followed."""

    def __init__(self, reader: Reader, root: Json, address: str) -> None:
        """Takes its root.

        Args:
            reader: Reads it.
            root: The root.
            address: Where that lies.
        """
        self._reader, self._root, self._address = reader, root, address

    def find(
        self,
        collections: tuple[str, ...] | None,
        boxes: Boxes,  # noqa: ARG002  items say themselves where they lie
        days: Days | None,  # noqa: ARG002
    ) -> Iterator[tuple[Json, str]]:
        """Walks; see `Source`."""
        number = 0
        for node, address in self._nodes():
            if node.get("type") == "Collection" and collections and node.get("id") not in collections:
                continue
            for where in _targets(node, "item", address):
                try:
                    found = self._reader.read(where)
                except NotThereError:
                    warn(
                        GlaciersegWarning(f"{where}: is not there, though {address} names it as an item"),
                        stacklevel=2,
                    )
                    continue
                for item, own in _items_in(found, self._reader.address):
                    # Below a collection there may be catalogues.
                    if not collections or item.get("collection") in {None, *collections}:
                        yield item, own
                number += 1
                if number >= _MAX_ITEMS:
                    raise _endless(self._address)

    def collection_names(self) -> list[str] | None:
        """Lists them; see `Source`."""
        names = [node.get("id") for node, _ in self._nodes() if node.get("type") == "Collection"]
        return sorted(name for name in names if isinstance(name, str))

    def _nodes(self) -> Iterator[tuple[Json, str]]:
        """Yields catalogues and collections, each once, with where they lie."""
        waiting, seen = [(self._root, self._address)], {self._address}
        while waiting:
            node, address = waiting.pop()
            yield node, address
            for where in _targets(node, "child", address):
                if where not in seen:
                    seen.add(where)
                    waiting.append((self._reader.read(where), self._reader.address))
            if len(seen) > _MAX_ITEMS:
                raise _endless(self._address)


class Items:
    """Items in files, one or several in each."""

    def __init__(self, reader: Reader, paths: Sequence[str], *, is_picked: bool = False) -> None:
        """Takes the files.

        Args:
            reader: Reads them.
            paths: Of files.
            is_picked: Whether they are just all JSON of a folder, where other files may lie too.
        """
        self._reader, self._paths, self._is_picked = reader, paths, is_picked

    def find(
        self,
        collections: tuple[str, ...] | None,
        boxes: Boxes,  # noqa: ARG002  items say themselves where they lie
        days: Days | None,  # noqa: ARG002
    ) -> Iterator[tuple[Json, str]]:
        """Reads them; see `Source`."""
        for path in self._paths:
            try:
                found = self._reader.read(path)
            except OtherJsonError:
                if self._is_picked:
                    continue
                raise
            for item, address in _items_in(found, path):
                if not collections or item.get("collection") in collections:
                    yield item, address

    def collection_names(self) -> list[str] | None:
        """Lists those that items name; see `Source`."""
        found = (item.get("collection") for item, _ in self.find(None, (), None))
        return sorted({name for name in found if isinstance(name, str)})


def _items_in(found: Mapping[str, Any], address: str) -> Iterator[tuple[Json, str]]:
    """Yields the items of a file: it is one, lists several, or is something else."""
    listed = found.get("features") if found.get("type") == "FeatureCollection" else [found]
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and one.get("type") == "Feature":
            yield one, address


def _targets(node: Mapping[str, Any], relation: str, address: str) -> list[str]:
    try:
        return [resolved(link["href"], address) for link in all_linked(node, relation)]
    except Unusable as error:
        raise DownloadError(f"{address}: {error}; give another --catalogue") from error


def _moved(day: dt.date, days: int) -> dt.date:
    number = day.toordinal() + days
    return dt.date.fromordinal(min(max(number, dt.date.min.toordinal()), dt.date.max.toordinal()))


def _listed(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, list) else value


def _endless(address: str) -> RequestError:
    return RequestError(
        f"{address}: holds more than {_MAX_ITEMS} items; name some of its collections with --collections, or "
        "shorten --date"
    )
