"""Bytes from the network: whole small files and parts of large ones, again and again until they are whole.

Repeated, after a pause that doubles, is what may pass: a server that is busy or fails (408, 425, 429, 500,
502, 503, 504), a connection that breaks or stays silent, an answer that is shorter than it says. A part goes
on where it broke. Refused at once, each in words, is what will not pass: no such file, no right to read it, a
certificate that does not hold, a server without ranges, a file that changes while it is read.

A signature is added to an address only for the request itself, so that it is in no message, file or key.
"""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar

from glacierseg._version import __version__
from glacierseg.catalogues.addresses import shown
from glacierseg.catalogues.threads import at_once
from glacierseg.catalogues.tokens import Tokens
from glacierseg.errors import DownloadError, RequestError
from glacierseg.settings.fetch import FetchSettings

AGAIN = "run the same command again, which goes on from here"
_MAX_WITHOUT_RANGES_BYTES = 4 * 2**20
_PIECE_BYTES = 2**18
_FORBIDDEN = frozenset({401, 403, 409})  # the last one is Azure's for files that want a signature
_PASSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_LONGEST_WAIT_S = 120.0
"""A server that asks for a longer pause than this is not waited for."""

T = TypeVar("T")
Take = Callable[[int, bytes], None]
"""Is called with the place of some bytes in their file, and these."""


class Facts(NamedTuple):
    """What a server says of a file.

    Attributes:
        size_bytes: Its size.
        version: What changes when the file does.
    """

    size_bytes: int
    version: str


class MissingFileError(DownloadError):
    """A file that a catalogue names does not exist."""


class _PassingError(Exception):
    """A fault that may be over when the request is repeated."""

    def __init__(self, words: str, wait_s: float | None = None) -> None:
        super().__init__(words)
        self.wait_s = wait_s


class Transport:
    """Requests of one fetch; all its methods may be called by several threads at a time."""

    def __init__(self, settings: FetchSettings, signs: Callable[[str], str | None]) -> None:
        """Begins without a connection.

        Args:
            settings: Timeouts, repetitions and connections.
            signs: Gives the address of a token for a file's address, None where it needs none.

        Raises:
            RequestError: A package is missing.
        """
        self._settings, self._signs = settings, signs
        self._requests = _import_requests()
        self._session = self._requests.Session()
        self._session.headers["User-Agent"] = f"glacierseg/{__version__}"
        adapter = self._requests.adapters.HTTPAdapter(pool_maxsize=settings.connections)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        self._slots = threading.Semaphore(settings.connections)
        self._lock = threading.Lock()
        self._tokens = Tokens(self._new_token)
        self._stop = threading.Event()
        self._bytes_read = 0

    def close(self) -> None:
        """Ends what threads are reading, and all connections."""
        self._stop.set()
        self._session.close()

    @property
    def bytes_read(self) -> int:
        """How many bytes of files came over the network so far."""
        return self._bytes_read

    def whole(self, address: str, limit_bytes: int) -> bytes:
        """Reads a file whole.

        Args:
            address: Where it lies.
            limit_bytes: What it may have at most; of a longer one a byte more is returned.

        Raises:
            DownloadError: It cannot be read.
        """

        def once() -> bytes:
            data = bytearray()
            with self._answer(address) as answer:
                for piece in answer.iter_content(_PIECE_BYTES):
                    data.extend(self._counted(piece))
                    if len(data) > limit_bytes:
                        return bytes(data[: limit_bytes + 1])
                # What a server compressed has another length than its content.
                promised = answer.headers.get("Content-Length", "")
                plain = not answer.headers.get("Content-Encoding")
                if plain and promised.isdecimal() and len(data) != int(promised):
                    raise _PassingError(f"the answer ended after {len(data)} of {promised} bytes")
            return bytes(data)

        return self._patiently(address, once)

    def begin(self, address: str, size: int) -> tuple[Facts, bytes]:
        """Reads the beginning of a file, and a small file without ranges whole.

        Args:
            address: Where it lies.
            size: How many bytes to ask for.

        Returns:
            What the server says of the file, and the bytes.

        Raises:
            DownloadError: It cannot be read in parts.
        """

        def once() -> tuple[Facts, bytes]:
            found = bytearray()
            with self._answer(address, (0, size)) as answer:
                if answer.status_code == 206:
                    facts, first = _facts_of_part(answer)
                    if first != 0:
                        raise _PassingError("the server sent another part than was asked for")
                    wanted = min(size, facts.size_bytes)
                else:
                    wanted = _size_of_whole(address, answer)
                    facts = Facts(wanted, _version(answer, wanted))
                self._take(answer, 0, wanted, lambda _, piece: found.extend(piece))
            if len(found) < wanted:
                raise _PassingError(f"the answer ended before its {wanted} bytes")
            return facts, bytes(found)

        return self._patiently(address, once)

    def fetch(self, address: str, parts: Sequence[tuple[int, int]], take: Take, facts: Facts) -> None:
        """Reads parts of a file, several at a time.

        Args:
            address: Where it lies.
            parts: Begin and size of each.
            take: Is given the bytes, by several threads.
            facts: What `begin` gave.

        Raises:
            DownloadError: A part cannot be read, or the file is no longer the same.
        """
        jobs = [partial(self._fetch_part, address, part, take, facts) for part in parts]
        at_once(jobs, self._settings.connections)

    def _fetch_part(self, address: str, part: tuple[int, int], take: Take, facts: Facts) -> None:
        at, end = part[0], part[0] + part[1]

        def once() -> None:
            nonlocal at
            with self._answer(address, (at, end - at)) as answer:
                if answer.status_code != 206:
                    raise DownloadError(f"{shown(address)}: {_NO_RANGES}")
                found, first = _facts_of_part(answer)
                if found != facts:
                    raise DownloadError(
                        f"{shown(address)}: was replaced while it was read; run the command again"
                    )
                if first != at:
                    raise _PassingError("the server sent another part than was asked for")

                def taken(place: int, piece: bytes) -> None:
                    nonlocal at
                    take(place, piece)
                    at = place + len(piece)

                self._take(answer, at, end - at, taken)
            if at < end:
                raise _PassingError(f"the answer ended {end - at} bytes too early")

        self._patiently(address, once)

    def _take(self, answer: Any, at: int, size: int, take: Take) -> None:
        end = at + size
        for piece in answer.iter_content(_PIECE_BYTES):
            self._require_going_on()
            wanted = self._counted(piece)[: end - at]
            if wanted:
                take(at, wanted)
                at += len(wanted)
            if at >= end:
                return

    def _counted(self, piece: bytes) -> bytes:
        with self._lock:
            self._bytes_read += len(piece)
        return piece

    def _require_going_on(self) -> None:
        if self._stop.is_set():
            raise DownloadError("reading was stopped")

    @contextmanager
    def _answer(self, address: str, part: tuple[int, int] | None = None) -> Iterator[Any]:
        """The answer to a request, whose body is still to come; says of faults whether they may pass."""
        errors = self._requests.exceptions
        self._require_going_on()
        headers = {}
        if part:
            headers = {"Range": f"bytes={part[0]}-{part[0] + part[1] - 1}", "Accept-Encoding": "identity"}
        try:
            with self._slots, self._signed(address, headers) as answer:
                self._look_at_status(address, answer)
                yield answer
        except errors.SSLError as error:
            if "certificate" not in str(error).lower():
                raise _PassingError("the encrypted connection broke") from error
            raise DownloadError(
                f"{shown(address)}: the server's certificate does not hold; check the date of this machine, "
                "and REQUESTS_CA_BUNDLE behind a proxy"
            ) from error
        except errors.Timeout as error:
            words = f"the server stayed silent for {self._settings.timeout_s:g} s"
            raise _PassingError(words) from error
        except errors.ProxyError as error:
            raise _PassingError("the proxy does not answer (HTTPS_PROXY, HTTP_PROXY)") from error
        except errors.ChunkedEncodingError as error:
            raise _PassingError("the connection broke in the middle of an answer") from error
        except errors.ConnectionError as error:
            raise _PassingError("the server cannot be reached, or broke the connection") from error
        except errors.RequestException as error:
            raise DownloadError(
                f"{shown(address)}: cannot be asked for ({type(error).__name__}); check the address in the "
                "catalogue"
            ) from error

    @contextmanager
    def _signed(self, address: str, headers: dict[str, str]) -> Iterator[Any]:
        source = self._signs(address)
        for is_first in (True, False):
            token = self._tokens.get(source) if source else ""
            signed = f"{address}{'&' if '?' in address else '?'}{token}" if token else address
            with self._session.get(
                signed, headers=headers, stream=True, timeout=self._settings.timeout_s
            ) as answer:
                # A token may have run out, whatever its own date says of that.
                if source and is_first and answer.status_code in _FORBIDDEN:
                    self._tokens.drop(source, token)
                    continue
                yield answer
            return

    def _new_token(self, source: str) -> Any:
        with self._session.get(source, timeout=self._settings.timeout_s) as answer:
            self._look_at_status(source, answer)
            try:
                return answer.json()
            except ValueError:
                return None

    def _look_at_status(self, address: str, answer: Any) -> None:
        status, name = answer.status_code, shown(address)
        if status in _PASSES:
            raise _PassingError(f"the server answers {status} ({answer.reason})", _asked_pause_s(answer))
        if status in _FORBIDDEN:
            raise DownloadError(
                f"{name}: may not be read without an account ({status}); choose another --catalogue"
            )
        if status in {404, 410}:
            raise MissingFileError(
                f"{name}: does not exist ({status}); choose another --catalogue or other dates"
            )
        if status == 416:
            raise DownloadError(f"{name}: is empty or shorter than it was; choose another --catalogue")
        if status >= 300:
            raise DownloadError(f"{name}: the server answers {status} ({answer.reason}); try again later")

    def _patiently(self, address: str, once: Callable[[], T]) -> T:
        """Repeats what fails for a reason that may pass."""
        for tried in range(self._settings.retries + 1):
            try:
                return once()
            except _PassingError as error:
                wait_s = min(_FIRST_PAUSE_S * 2**tried, _LONGEST_PAUSE_S)
                wait_s = max(wait_s, error.wait_s or 0.0)
                if tried == self._settings.retries or wait_s > _LONGEST_WAIT_S:
                    pause = f" and wants a pause of {wait_s:.0f} s" if wait_s > _LONGEST_WAIT_S else ""
                    times = f", {tried + 1} times in a row" if tried else ""
                    raise DownloadError(f"{shown(address)}: {error}{pause}{times}; {AGAIN}") from error
                self._stop.wait(wait_s)
        raise AssertionError


_NO_RANGES = (
    "its server sends whole files only (no ranges); choose another --catalogue, or download the product and "
    "give its folder to `glacierseg prepare scene`"
)


def _import_requests() -> Any:
    try:
        import requests  # noqa: PLC0415
    except ImportError as error:
        raise RequestError(
            'reading catalogues needs requests; run `pip install "glacierseg[stac]"`'
        ) from error
    return requests


def _facts_of_part(answer: Any) -> tuple[Facts, int]:
    """What a server says of a file of which it sends a part, and where that begins."""
    said = answer.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", said.strip())
    if not found or _is_packed(answer):
        raise _PassingError("the server does not say which part of the file it sends")
    size = int(found[2])
    return Facts(size, _version(answer, size)), int(found[1])


def _is_packed(answer: Any) -> bool:
    """Whether bytes on the way are not those of the file; some stores name encodings that change nothing."""
    encoding = answer.headers.get("Content-Encoding", "").lower()
    return any(name in encoding for name in ("gzip", "deflate", "br", "zstd"))


def _version(answer: Any, size: int) -> str:
    tag = answer.headers.get("ETag", "").removeprefix("W/") or answer.headers.get("Last-Modified", "")
    return f"{tag}/{size}"


def _size_of_whole(address: str, answer: Any) -> int:
    """The size of a file that a server sends whole though a part was asked for, where that is little."""
    if "html" in answer.headers.get("Content-Type", ""):
        raise DownloadError(
            f"{shown(address)}: the server sends a web page in place of the file, perhaps to log in; choose "
            "another --catalogue"
        )
    said = answer.headers.get("Content-Length", "")
    if _is_packed(answer) or not (said.isdecimal() and int(said) <= _MAX_WITHOUT_RANGES_BYTES):
        raise DownloadError(f"{shown(address)}: {_NO_RANGES}")
    return int(said)


def _asked_pause_s(answer: Any) -> float | None:
    from urllib3.util import Retry  # noqa: PLC0415  (comes with requests)

    try:
        return Retry(0).get_retry_after(answer.raw)
    except Exception:  # noqa: BLE001  (a pause that cannot be understood is none)
        return None
