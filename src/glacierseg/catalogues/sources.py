"""Where items come from: an API that searches, a static catalogue that is walked, or a folder of items."""

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from warnings import warn

from glacierseg.catalogues.stac import Json, NotThereError, Reader, links, target
from glacierseg.choices import Satellite
from glacierseg.errors import DownloadError, GlaciersegWarning, RequestError, did_you_mean
from glacierseg.settings.fetch import FetchSettings

Boxes = Sequence[tuple[float, float, float, float]]
Days = tuple[dt.date, dt.date]

KNOWN: Mapping[str, str] = {
    "earth-search": "https://earth-search.aws.element84.com/v1",
    "planetary-computer": "https://planetarycomputer.microsoft.com/api/stac/v1",
}
"""Catalogues that go by a name, and the landing pages of their APIs."""
_KNOWN_COLLECTIONS: Mapping[str, Mapping[Satellite, tuple[str, ...]]] = {
    "earth-search": {"sentinel2": ("sentinel-2-c1-l2a", "sentinel-2-l2a"), "landsat": ()},
    "planetary-computer": {"sentinel2": ("sentinel-2-l2a",), "landsat": ("landsat-c2-l2",)},
}
# Names of collections of Level-2 images in other catalogues.
_USUAL_NAMES: Mapping[Satellite, re.Pattern[str]] = {
    "sentinel2": re.compile(r"sentinel-?s?2.*l2a.*", re.IGNORECASE),
    "landsat": re.compile(r"landsat-?c2-?l2.*", re.IGNORECASE),
}
_NEED_ACCOUNT = re.compile(r"https?://[^/]*(dataspace\.copernicus\.eu|landsatlook\.usgs\.gov)(/|$)")
_PAGE_ITEMS = 100
_STARTS = ("catalog.json", "collection.json")


def known_collections(settings: FetchSettings) -> tuple[str, ...] | None:
    """Returns the collections of images of a catalogue with a name, those with unaltered numbers first.

    Returns:
        Their names, none where reading costs money; None for any other catalogue.
    """
    said = settings.catalogue.rstrip("/")
    name = next((name for name, own in KNOWN.items() if said in {name, own}), None)
    return _KNOWN_COLLECTIONS[name][settings.satellite] if name else None


def open_source(settings: FetchSettings) -> "Api | Static":
    """Opens a catalogue.

    Raises:
        RequestError: There is none, or it is not free to read.
        DownloadError: It cannot be read.
    """
    if _NEED_ACCOUNT.match(settings.catalogue):
        raise RequestError(
            f"catalogue {settings.catalogue}: its files need an account; choose --catalogue earth-search or "
            "planetary-computer"
        )
    where = KNOWN.get(settings.catalogue, settings.catalogue)
    if where.lower().startswith("file:"):
        where = unquote(urlsplit(where).path)
    if "://" not in where:
        where = _path_of(where)
    reader = Reader(settings)
    if Path(where).is_dir():
        return Static(reader, files=sorted(str(path) for path in Path(where).rglob("*.json")))
    root = reader.read(where)
    address = reader.address
    said = root if isinstance(root, dict) else {}
    if str(said.get("type")).startswith("Feature"):
        return Static(reader, files=[address])
    if not isinstance(said.get("stac_version"), str):
        raise DownloadError(
            f"{where}: is no STAC catalogue, since it has no stac_version; give the landing page of an API, "
            "a catalog.json, or a folder"
        )
    if "://" in address and links(root, "search"):
        return Api(reader, root, address)
    return Static(reader, root=(root, address))


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
        """Takes its address of searches from the landing page.

        Args:
            reader: Reads it.
            root: The landing page.
            address: Where that lies.
        """
        self._reader, self._root = reader, address.rstrip("/")
        found = links(root, "search")
        # By GET, some servers do not understand lists.
        posts = [one for one in found if str(one.get("method")).upper() == "POST"]
        self._method = "POST" if posts else "GET"
        self._search = target((posts or found)[0], address)

    def find(
        self, collections: tuple[str, ...] | None, boxes: Boxes, days: Days | None
    ) -> Iterator[tuple[Json, str]]:
        """Finds items and where each one lies; there may be more than were asked for, and some twice.

        Args:
            collections: Whose items; None for all.
            boxes: West, south, east and north in degrees.
            days: First and last day, UTC; None for any.

        Raises:
            DownloadError: The catalogue cannot be read.
        """
        for box in boxes:
            terms: Json = {"limit": _PAGE_ITEMS, "bbox": list(box)}
            if collections:
                terms["collections"] = list(collections)
            if days:
                # A day more on both sides, since servers treat time zones differently.
                terms["datetime"] = f"{_moved(days[0], -1)}T00:00:00Z/{_moved(days[1], 1)}T23:59:59Z"
            if self._method == "GET":
                terms |= {key: ",".join(map(str, terms[key])) for key in {"bbox", "collections"} & {*terms}}
            for item in self._reader.items(self._search, "features", method=self._method, terms=terms):
                yield item, self._address_of(item)

    def collection_names(self) -> list[str] | None:
        """Returns the names of all collections; None where the catalogue does not list them."""
        try:
            found = list(self._reader.items(f"{self._root}/collections", "collections"))
        except NotThereError:
            return None
        return sorted(name for one in found if isinstance(name := one.get("id"), str))

    def collections_of(self, satellite: Satellite) -> tuple[str, ...] | None:
        """Returns the collections that seem to hold Level-2 images of a satellite; None where none does."""
        usual = _USUAL_NAMES[satellite]
        return tuple(name for name in self.collection_names() or () if usual.fullmatch(name)) or None

    def _address_of(self, item: Json) -> str:
        for link in links(item, "self"):
            with suppress(DownloadError):
                return target(link, f"{self._root}/")
        return f"{self._root}/collections/{item.get('collection')}/items/{item.get('id')}"


class Static:
    """A static catalogue on the web or on disk, whose links are followed, or items in files."""

    def __init__(
        self, reader: Reader, *, files: Sequence[str] = (), root: tuple[Json, str] | None = None
    ) -> None:
        """Takes files of items, or the root of the catalogue.

        Args:
            reader: Reads it.
            files: Of items; other JSON among them is passed over.
            root: The catalogue, and where it lies.
        """
        self._reader, self._files, self._root = reader, files, root

    def find(
        self,
        collections: tuple[str, ...] | None,
        boxes: Boxes,  # noqa: ARG002  items say themselves where they lie
        days: Days | None,  # noqa: ARG002
    ) -> Iterator[tuple[Json, str]]:
        """Finds items; see `Api.find`."""
        for path in self._files:
            for item in _items_in(self._reader.read(path)):
                if not collections or item.get("collection") in collections:
                    yield item, path
        for node, address in self._nodes():
            if node.get("type") == "Collection" and collections and node.get("id") not in collections:
                continue
            for link in links(node, "item"):
                where = target(link, address)
                try:
                    found = self._reader.read(where)
                except NotThereError:
                    said = f"{where}: is not there, though {address} names it as an item"
                    warn(GlaciersegWarning(said), stacklevel=2)
                    continue
                for item in _items_in(found):
                    # Below a collection there may be catalogues.
                    if not collections or item.get("collection") in {None, *collections}:
                        yield item, self._reader.address

    def collection_names(self) -> list[str] | None:
        """Returns the names of all collections."""
        names = [node.get("id") for node, _ in self._nodes() if node.get("type") == "Collection"]
        if self._files:
            names = [item.get("collection") for item, _ in self.find(None, (), None)]
        return sorted({name for name in names if isinstance(name, str)})

    def _nodes(self) -> Iterator[tuple[Json, str]]:
        """Yields catalogues and collections, each once, with where they lie."""
        waiting = [self._root] if self._root else []
        seen = {address for _, address in waiting}
        while waiting:
            node, address = waiting.pop()
            yield node, address
            for where in (target(link, address) for link in links(node, "child")):
                if where not in seen:
                    seen.add(where)
                    found = self._reader.read(where)
                    waiting += [(found, self._reader.address)] if isinstance(found, dict) else []


def _items_in(found: Any) -> Iterator[Json]:
    """Yields the items of a file: it is one, lists several, or is something else."""
    kind = found.get("type") if isinstance(found, dict) else None
    listed = found.get("features") if kind == "FeatureCollection" else [found]
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and one.get("type") == "Feature":
            yield one


def _moved(day: dt.date, days: int) -> dt.date:
    return dt.date.fromordinal(min(max(day.toordinal() + days, 1), dt.date.max.toordinal()))
