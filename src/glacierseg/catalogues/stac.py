"""JSON of catalogues, with patience: timeouts, retries, redirects, and pages until there are no more.

pystac-client knows how a STAC API is asked and how a page names the next one. Objects of pystac are not made,
since one item that breaks the specification would then be the end of a search.
"""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from glacierseg.errors import DownloadError, RequestError
from glacierseg.settings.fetch import FetchSettings

Json = dict[str, Any]

# A pause doubles from the first to the longest, in seconds.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_PASSING = (429, 500, 502, 503, 504)
# Servers may give a page without anything new; more of them are a circle.
_IDLE_PAGES = 3
_AGAIN = "run the command again, or take another --catalogue"
_OTHER = "take another --catalogue, such as earth-search"
_REACHABLE = "check the address and the network, and run the command again"
_CURE = "give --catalogue a name, the address of a STAC catalogue, or a folder with one"


class RefusedError(DownloadError):
    """A server does not answer a request, whoever asks it how often."""


class NotThereError(RefusedError):
    """A server has nothing under an address."""


class OtherJsonError(DownloadError):
    """A file of JSON is no object."""


class _CutError(Exception):
    """An answer did not come whole."""


class Reader:
    """Reads JSON of one catalogue.

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
        try:
            from pystac_client.stac_api_io import StacApiIO  # noqa: PLC0415
            from urllib3 import Retry  # noqa: PLC0415
        except ImportError as error:
            raise RequestError(
                'a search in a catalogue needs pystac-client; run `pip install "glacierseg[stac]"`'
            ) from error

        class Patient(Retry):
            """Waits as long as a server wishes, but no hours."""

            def parse_retry_after(self, retry_after: str) -> float:
                return min(super().parse_retry_after(retry_after), _LONGEST_PAUSE_S)

        self.address = ""
        self._pauses_s = [min(_FIRST_PAUSE_S * 2**i, _LONGEST_PAUSE_S) for i in range(settings.retries)]
        self._timeout_s = settings.timeout_s
        self._io = StacApiIO(
            timeout=settings.timeout_s,
            max_retries=Patient(
                total=settings.retries,
                backoff_factor=_FIRST_PAUSE_S,
                status_forcelist=_PASSING,
                # A search by POST changes nothing, so it may be repeated too.
                allowed_methods=None,
                raise_on_status=False,
            ),
        )
        self._io.session.hooks["response"].append(self._answered)

    def _answered(self, response: Any, **_: Any) -> None:
        if response.is_redirect and response.request.method == "POST":
            # Otherwise the search would go on as a GET without its terms.
            response.status_code = 307
        self.address = response.url

    def read(self, where: Any, *, method: str = "GET", terms: Mapping[str, Any] | None = None) -> Json:
        """Reads an object.

        Args:
            where: An address, the path of a file, or the link of a page to the next one.
            method: Of HTTP.
            terms: Of a search.

        Raises:
            DownloadError: It cannot be read, or is no JSON object.
        """
        name = where if isinstance(where, str) else str(where.href)
        for pause_s in (*self._pauses_s, None):
            try:
                text = self._text(where, method, dict(terms or {}), name)
                return _parsed(text, name)
            except _CutError as error:
                if pause_s is None or "://" not in name:
                    raise DownloadError(f"{name}: {error}; {_AGAIN}") from error
                time.sleep(pause_s)
        raise AssertionError

    def _text(self, where: Any, method: str, terms: Json, name: str) -> str:
        from pystac_client.exceptions import APIError  # noqa: PLC0415
        from requests.exceptions import (  # noqa: PLC0415
            ChunkedEncodingError,
            ContentDecodingError,
            SSLError,
            Timeout,
        )

        try:
            if isinstance(where, str) and "://" not in where:
                self.address = where
                return Path(where).read_text("utf-8")
            return self._io.read_text(where, method=method, parameters=terms)
        except APIError as error:
            cause, status = error.__context__, getattr(error, "status_code", None)
            if isinstance(cause, ChunkedEncodingError | ContentDecodingError):
                raise _CutError("its answer ended before it was whole") from error
            if status is None:
                what = "cannot be reached"
                if isinstance(cause, SSLError):
                    what += " safely, since its certificate is not trusted"
                elif isinstance(cause, Timeout) or "timed out" in str(error).lower():
                    what = f"was silent for {self._timeout_s:g} s"
                raise DownloadError(f"{name}: {what}, {self._tried()}; {_REACHABLE}") from error
            raise _refusal(name, status, self._tried()) from error
        except (TypeError, AttributeError) as error:
            what = "is named as the next page in a form that no client understands"
            raise DownloadError(f"{name}: {what}; {_OTHER}") from error
        except (OSError, ValueError) as error:
            what = getattr(error, "strerror", None) or "is no text"
            raise DownloadError(f"{name}: cannot be read ({what}); {_CURE}") from error

    def _tried(self) -> str:
        times = len(self._pauses_s) + 1
        return f"tried {times} times" if times > 1 else "tried once"

    def items(
        self, address: str, key: str, *, method: str = "GET", terms: Mapping[str, Any] | None = None
    ) -> Iterator[Json]:
        """Reads what is listed on pages, each thing once.

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
            listed = page.get(key)
            if not isinstance(listed, list):
                raise DownloadError(f"{address}: lists no {key!r}, so it is no STAC API; {_CURE}")
            new = []
            for one in listed:
                text = json.dumps(one, sort_keys=True)
                if isinstance(one, dict) and text not in seen:
                    seen.add(text)
                    new.append(one)
            yield from new
            link = linked(page, "next")
            if link is None:
                return
            idle = 0 if new else idle + 1
            if idle >= _IDLE_PAGES:
                raise DownloadError(
                    f"{address}: gives the same page again and again, so the search has no end; {_AGAIN}"
                )
            where = Link.from_dict({**link, "href": joined(self.address, link["href"])})


def joined(address: str, href: str) -> str:
    """Returns the address that a link means on a page.

    Raises:
        DownloadError: It is none.
    """
    try:
        return urljoin(address, href)
    except ValueError as error:
        raise DownloadError(f"{address}: links to {href[:80]!r}, which is no address; {_OTHER}") from error


def linked(page: Mapping[str, Any], relation: str) -> Json | None:
    """Returns the first link of an object with a relation, or None."""
    return next(iter(all_linked(page, relation)), None)


def all_linked(page: Mapping[str, Any], relation: str) -> list[Json]:
    """Returns the links of an object with a relation."""
    links = page.get("links")
    return [
        one
        for one in (links if isinstance(links, list) else ())
        if isinstance(one, dict) and one.get("rel") == relation and isinstance(one.get("href"), str)
    ]


def _parsed(text: str, name: str) -> Json:
    text = text.removeprefix("\ufeff")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        if text.lstrip()[:1] in {"{", "["}:
            raise _CutError("is not whole JSON") from error
        raise DownloadError(f"{name}: is no JSON, and so no STAC catalogue; {_CURE}") from error
    if not isinstance(found, dict):
        raise OtherJsonError(f"{name}: is no JSON object, and so no STAC catalogue; {_CURE}")
    return found


def _refusal(name: str, status: int, tried: str) -> DownloadError:
    if status in {404, 410}:
        return NotThereError(f"{name}: is not there (HTTP {status}); check the address of --catalogue")
    if status in _PASSING:
        return DownloadError(
            f"{name}: its server fails (HTTP {status}), {tried}; run the command again later"
        )
    what = "is not open to everybody" if status in {401, 403} else "its server refuses the request"
    return RefusedError(f"{name}: {what} (HTTP {status}); {_OTHER}")
