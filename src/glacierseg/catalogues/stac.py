"""JSON of catalogues: with timeouts, retries and redirects, page by page.

pystac-client sends requests and follows the links from page to page. Items stay plain JSON: as objects of
pystac, a single one that breaks the specification would end a search.
"""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from glacierseg.catalogues import retries
from glacierseg.catalogues.items import Unusable, resolved
from glacierseg.catalogues.retries import PASSING, PassingError, pause_s
from glacierseg.catalogues.transport import import_of_extra
from glacierseg.errors import DownloadError
from glacierseg.settings.fetch import FetchSettings

Json = dict[str, Any]

# Servers may send a page with nothing new; after this many in a row the links are a circle.
_IDLE_PAGES = 3
_AGAIN = "run the command again, or choose another --catalogue"
_OTHER = "choose another --catalogue, such as earth-search"
_CURE = "give --catalogue a name, the address of a STAC catalogue, or a folder with one"


class RefusedError(DownloadError):
    """A server refuses a request, and will refuse it again."""


class NotThereError(RefusedError):
    """A server has nothing under an address."""


class Reader:
    """Reads the JSON of a catalogue.

    Attributes:
        address: Where the last answer came from, behind all redirects.
    """

    def __init__(self, settings: FetchSettings) -> None:
        """Prepares a session.

        Args:
            settings: With the time that a server may stay silent, and how often a request is repeated.

        Raises:
            RequestError: pystac-client is not installed.
        """
        client = import_of_extra("pystac_client.stac_api_io", "pystac-client")
        self.address = ""
        self._asked_pause_s = 0.0
        self._settings = settings
        # Its own repetitions leave out answers that break off.
        self._io = client.StacApiIO(timeout=settings.timeout_s, max_retries=None)
        self._io.session.hooks["response"].append(self._answered)

    def _answered(self, response: Any, **_: Any) -> None:
        if response.is_redirect and response.request.method == "POST":
            # Otherwise requests would repeat the search as a GET without its terms.
            response.status_code = 307
        wish = response.headers.get("Retry-After", "")
        self._asked_pause_s = float(wish) if wish.isdecimal() else 0.0
        self.address = response.url

    def read(self, where: Any, *, method: str = "GET", terms: Mapping[str, Any] | None = None) -> Any:
        """Reads a file or an answer.

        Args:
            where: An address, the path of a file, or the link of a page to the next one.
            method: Of HTTP.
            terms: Of a search.

        Raises:
            DownloadError: It cannot be read, or is no JSON.
        """
        name = where if isinstance(where, str) else str(where.href)
        for tried in range(self._settings.retries + 1):
            try:
                return json.loads(self._text(where, method, dict(terms or {}), name))
            except PassingError as error:
                if tried == self._settings.retries:
                    times = f"tried {tried + 1} times" if tried else "tried once"
                    raise DownloadError(f"{name}: {error}, {times}; {_AGAIN}") from error
                # No server may ask for more than the longest pause.
                time.sleep(min(max(pause_s(tried), self._asked_pause_s), retries.LONGEST_PAUSE_S))
            except (ValueError, RecursionError) as error:
                raise DownloadError(f"{name}: is no JSON, or not whole; {_CURE}") from error
            except OSError as error:
                raise DownloadError(f"{name}: cannot be read ({error.strerror}); {_CURE}") from error
        raise AssertionError

    def _text(self, where: Any, method: str, terms: Json, name: str) -> str:
        from pystac_client.exceptions import APIError  # noqa: PLC0415

        if "://" not in name:
            self.address = name
            return Path(name).read_text("utf-8-sig")
        try:
            return str(self._io.read_text(where, method=method, parameters=terms))
        except APIError as error:
            status = getattr(error, "status_code", None)
            if status is None or status in PASSING:
                words = f"its server fails (HTTP {status})" if status else _fault(error.__context__)
                raise PassingError(words) from error
            if status in {404, 410}:
                words = f"is not there (HTTP {status}); check the address of --catalogue"
                raise NotThereError(f"{name}: {words}") from error
            what = "is not open to everybody" if status in {401, 403} else "its server refuses the request"
            raise RefusedError(f"{name}: {what} (HTTP {status}); {_OTHER}") from error
        except (TypeError, AttributeError) as error:
            raise DownloadError(f"{name}: cannot be asked for as the next page; {_OTHER}") from error

    def items(
        self, address: str, key: str, *, method: str = "GET", terms: Mapping[str, Any] | None = None
    ) -> Iterator[Json]:
        """Reads the entries of a list that is spread over pages, each entry once.

        Args:
            address: Of the first page.
            key: Under which pages list things, `features` or `collections`.
            method: Of HTTP.
            terms: Of a search.

        Raises:
            DownloadError: A page cannot be read, or the pages go round in a circle.
        """
        from pystac import Link  # noqa: PLC0415

        seen: set[str] = set()
        where: Any = address
        idle = 0
        while True:
            page = self.read(where, method=method, terms=terms)
            listed = page.get(key) if isinstance(page, dict) else None
            if not isinstance(listed, list):
                raise DownloadError(f"{address}: lists no {key!r}, so it is no STAC API; {_CURE}")
            new = {json.dumps(one, sort_keys=True): one for one in listed if isinstance(one, dict)}
            fresh = [one for text, one in new.items() if text not in seen]
            seen |= set(new)
            yield from fresh
            link = next(iter(links(page, "next")), None)
            if link is None:
                return
            idle = 0 if fresh else idle + 1
            if idle >= _IDLE_PAGES:
                raise DownloadError(
                    f"{address}: gives the same page again and again, so the search has no end; {_AGAIN}"
                )
            where = Link.from_dict({**link, "href": target(link, self.address)})


def _fault(error: BaseException | None) -> str:
    """Says why no complete answer came."""
    from requests.exceptions import ChunkedEncodingError, SSLError, Timeout  # noqa: PLC0415

    if isinstance(error, ChunkedEncodingError):
        return "its answer ended before it was whole"
    if isinstance(error, SSLError):
        return "its certificate is not trusted; check the date of this machine"
    silent = isinstance(error, Timeout)
    return "its server does not answer" if silent else "cannot be reached; check the address and the network"


def links(page: Any, relation: str) -> list[Json]:
    """Returns the links of an object with a relation."""
    listed = page.get("links") if isinstance(page, dict) else None
    return [
        one
        for one in (listed if isinstance(listed, list) else ())
        if isinstance(one, dict) and one.get("rel") == relation and isinstance(one.get("href"), str)
    ]


def target(link: Mapping[str, Any], address: str) -> str:
    """Returns the address that a link on a page means.

    Raises:
        DownloadError: It is none.
    """
    try:
        return resolved(link["href"], address)
    except Unusable as error:
        raise DownloadError(f"{address}: {error}; {_OTHER}") from error
