"""Bytes from the network: small files whole and parts of large ones, requested until they are complete.

Requests whose fault may pass are repeated after a pause that doubles: a server that is busy or fails, a
connection that breaks or stays silent, an answer that is too short. A part continues where it broke off.
Other faults are errors at once: a missing file, no right to read it, a wrong certificate, a server without
ranges, a file that changes while it is read. `urllib3.Retry` also repeats requests, but not when the body of
an answer breaks off.

A signature is added to an address only for the request itself, and so is never in a message, file or key.
"""

import math
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from contextvars import copy_context
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, NamedTuple, TypeVar

from glacierseg._version import __version__
from glacierseg.catalogues.addresses import shown, token_source
from glacierseg.catalogues.retries import PASSING, PassingError, pause_s
from glacierseg.errors import DownloadError, RequestError
from glacierseg.settings.fetch import FetchSettings

AGAIN = "run the same command again, which continues from here"
_NO_RANGES = (
    "its server sends whole files only (no ranges); choose another --catalogue, or download the product and "
    "give its folder to `glacierseg prepare scene`"
)
_MAX_WITHOUT_RANGES_BYTES = 4 * 2**20
_PIECE_BYTES = 2**18
_FORBIDDEN = frozenset({401, 403, 409})  # the last one is Azure's for files that need a signature
# A server that asks for a longer pause than this counts as failing.
_LONGEST_WAIT_S = 120.0
# A token is renewed this long before it expires.
_TOKEN_MARGIN_S = 60.0

T = TypeVar("T")
Counted = Callable[[int], None]
"""Is called with the number of bytes that arrived, by several threads."""


class Facts(NamedTuple):
    """What a server says of a file.

    Attributes:
        size_bytes: Its size.
        version: A text that changes with the file.
    """

    size_bytes: int
    version: str


class MissingFileError(DownloadError):
    """A file that a catalogue names does not exist."""


class Transport:
    """Requests of one fetch; several threads may use it.

    Attributes:
        settings: Timeouts, retries and connections.
        bytes_read: Number of bytes of files read over the network so far.
    """

    def __init__(self, settings: FetchSettings) -> None:
        """Opens no connection yet.

        Raises:
            RequestError: A package is missing.
        """
        self.settings, self.bytes_read = settings, 0
        self._requests = import_of_extra("requests", "requests")
        self._session = self._requests.Session()
        self._session.headers["User-Agent"] = f"glacierseg/{__version__}"
        for scheme in ("https://", "http://"):
            adapter = self._requests.adapters.HTTPAdapter(pool_maxsize=settings.connections)
            self._session.mount(scheme, adapter)
        self._slots = threading.Semaphore(settings.connections)
        self._counting, self._asking = threading.Lock(), threading.Lock()
        self._tokens: dict[str, tuple[str, float]] = {}
        self._stop = threading.Event()

    def close(self) -> None:
        """Closes all connections; threads that still read stop."""
        self._stop.set()
        self._session.close()

    def whole(self, address: str, limit_bytes: int) -> bytes:
        """Reads a file whole; of one above the limit, a byte more than the limit.

        Raises:
            DownloadError: It cannot be read.
        """

        def once() -> bytes:
            data = bytearray()
            with self._answer(address) as answer:
                self._receive(answer, data, limit_bytes + 1)
                promised = answer.headers.get("Content-Length", "")
                # What a server compressed has another length than its content.
                is_plain = promised.isdecimal() and not answer.headers.get("Content-Encoding")
                if is_plain and len(data) < min(int(promised), limit_bytes):
                    raise PassingError(f"the answer ended after {len(data)} of {promised} bytes")
            return bytes(data)

        return self._patiently(address, once)

    def part(
        self, address: str, at: int, size: int, facts: Facts | None = None, progress: Counted | None = None
    ) -> tuple[Facts, bytes]:
        """Reads a part of a file.

        Args:
            address: Where it lies.
            at: First byte.
            size: Number of bytes.
            facts: What is known of the file; None for the first read, which gives a small file whole if the
                server has no ranges.
            progress: Is called with the number of bytes that arrived.

        Returns:
            What the server says of the file, and the bytes.

        Raises:
            DownloadError: The part cannot be read, or the file is no longer the same.
        """
        data, known = bytearray(), facts

        def once() -> tuple[Facts, bytes]:
            nonlocal known
            with self._answer(address, at + len(data), size - len(data)) as answer:
                if answer.status_code == 206:
                    found, first = _facts_of_part(answer)
                    if known and found != known:
                        raise DownloadError(
                            f"{shown(address)}: was replaced while it was read; run the command again"
                        )
                    if first != at + len(data):
                        raise PassingError("the server sent another part than was asked for")
                    length = min(size, found.size_bytes - at)
                elif facts:
                    raise DownloadError(f"{shown(address)}: {_NO_RANGES}")
                else:
                    data.clear()
                    found = _facts_of_whole(address, answer)
                    length = found.size_bytes
                known = found
                self._receive(answer, data, length, progress)
            if len(data) < length:
                raise PassingError(f"the answer ended {length - len(data)} bytes too early")
            return found, bytes(data)

        return self._patiently(address, once)

    def _receive(self, answer: Any, data: bytearray, length: int, progress: Counted | None = None) -> None:
        """Appends the body of an answer to `data`, up to a length."""
        for piece in answer.iter_content(_PIECE_BYTES):
            with self._counting:
                self.bytes_read += len(piece)
            before = len(data)
            data += piece[: length - before]
            if progress:
                progress(len(data) - before)
            if len(data) >= length or self._stop.is_set():
                return

    @contextmanager
    def _answer(self, address: str, at: int = 0, size: int = 0) -> Iterator[Any]:
        """Gives the answer to a request before its body; without a size the request is for the whole file."""
        headers = {}
        if size:
            headers = {"Range": f"bytes={at}-{at + size - 1}", "Accept-Encoding": "identity"}
        if self._stop.is_set():
            raise DownloadError("reading was stopped")
        try:
            with self._slots, self._signed(address, headers) as answer:
                _require_good(address, answer)
                yield answer
        except self._requests.RequestException as error:
            raise self._worded(address, error) from error

    def _worded(self, address: str, error: Exception) -> Exception:
        kinds = self._requests.exceptions
        if isinstance(error, kinds.SSLError) and "certificate" in str(error).lower():
            return DownloadError(
                f"{shown(address)}: the server's certificate is not valid; check the date of this machine, "
                "and REQUESTS_CA_BUNDLE behind a proxy"
            )
        for kind, words in (
            (kinds.SSLError, "the encrypted connection broke"),
            (kinds.Timeout, f"the server stayed silent for {self.settings.timeout_s:g} s"),
            (kinds.ProxyError, "the proxy does not answer (HTTPS_PROXY, HTTP_PROXY)"),
            (kinds.ChunkedEncodingError, "the connection broke in the middle of an answer"),
            (kinds.ConnectionError, "the server cannot be reached, or broke the connection"),
        ):
            if isinstance(error, kind):
                return PassingError(words)
        return DownloadError(
            f"{shown(address)}: cannot be asked for ({type(error).__name__}); check the address in the "
            "catalogue"
        )

    @contextmanager
    def _signed(self, address: str, headers: dict[str, str]) -> Iterator[Any]:
        source, refused = token_source(self.settings.catalogue, address), ""
        while True:
            token = self._token(source, refused) if source else ""
            signed = f"{address}{'&' if '?' in address else '?'}{token}" if token else address
            with self._session.get(
                signed, headers=headers, stream=True, timeout=self.settings.timeout_s
            ) as answer:
                # A token may have expired, whatever its own date says.
                if token and not refused and answer.status_code in _FORBIDDEN:
                    refused = token
                    continue
                yield answer
            return

    def _token(self, source: str, refused: str) -> str:
        """Returns the token of an address, the same until it expires or is refused."""
        with self._asking:
            token, ends_s = self._tokens.get(source, ("", 0.0))
            if token == refused or ends_s - time.time() < _TOKEN_MARGIN_S:
                with self._session.get(source, timeout=self.settings.timeout_s) as answer:
                    _require_good(source, answer)
                    token, ends_s = self._tokens[source] = _read_token(source, answer)
            return token

    def _patiently(self, address: str, once: Callable[[], T]) -> T:
        """Repeats a request whose fault may pass."""
        tried = 0
        while True:
            try:
                return once()
            except PassingError as error:
                wait_s = max(pause_s(tried), error.wait_s)
                tried += 1
                if tried > self.settings.retries or wait_s > _LONGEST_WAIT_S:
                    pause = f" and asks for a pause of {wait_s:.0f} s" if wait_s > _LONGEST_WAIT_S else ""
                    times = f", {tried} times in a row" if tried > 1 else ""
                    raise DownloadError(f"{shown(address)}: {error}{pause}{times}; {AGAIN}") from error
                self._stop.wait(wait_s)


def at_once(jobs: Sequence[Callable[[], T]], threads: int) -> list[T]:
    """Runs jobs in threads that do not keep the program from ending.

    The standard pool of threads would let Ctrl-C wait until every server has answered.

    Returns:
        What the jobs return, in their order. The first error ends the waiting, and jobs that have not begun
        are left out.
    """
    futures: list[Future[T]] = [Future() for _ in jobs]
    waiting = deque(zip(futures, jobs, strict=True))

    def work() -> None:
        while True:
            try:
                future, job = waiting.popleft()
            except IndexError:
                return
            try:
                future.set_result(job())
            except BaseException as error:  # noqa: BLE001  (is raised where the jobs are waited for)
                future.set_exception(error)

    pending = set(futures)
    try:
        for _ in range(min(threads, len(jobs))):
            # The context holds the inputs that must not be replaced, and the bars.
            threading.Thread(target=copy_context().run, args=(work,), daemon=True).start()
        while pending:
            # Waits are short, since Ctrl-C is only met between them.
            done, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
    finally:
        waiting.clear()
    return [future.result() for future in futures]


def import_of_extra(module: str, package: str) -> Any:
    """Imports a module of the extra `stac`, or says what installs its package."""
    try:
        return import_module(module)
    except ImportError as error:
        raise RequestError(
            f'reading catalogues needs {package}; run `pip install "glacierseg[stac]"`'
        ) from error


def _require_good(address: str, answer: Any) -> None:
    status, name, said = answer.status_code, shown(address), f"{answer.status_code} ({answer.reason})"
    if status in PASSING:
        raise PassingError(f"the server answers {said}", _asked_pause_s(answer))
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
        raise DownloadError(f"{name}: the server answers {said}; try again later")


def _asked_pause_s(answer: Any) -> float:
    from urllib3.util import Retry  # noqa: PLC0415  (comes with requests)

    try:
        return Retry(0).get_retry_after(answer.raw) or 0.0
    except Exception:  # noqa: BLE001  (a pause that cannot be understood is none)
        return 0.0


def _read_token(source: str, answer: Any) -> tuple[str, float]:
    """Returns a token and when it expires, in seconds since 1970."""
    try:
        facts = answer.json()
        token, said = str(facts["token"]).lstrip("?"), facts.get("msft:expiry")
        ends = datetime.fromisoformat(said) if said else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DownloadError(f"{shown(source)}: gives no token to read files; try again later") from error
    return token, ends.replace(tzinfo=ends.tzinfo or UTC).timestamp() if ends else math.inf


def _facts_of_part(answer: Any) -> tuple[Facts, int]:
    """Returns what a server says of a file of which it sends a part, and where that begins."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", "").strip())
    if not found or _is_packed(answer):
        raise PassingError("the server does not say which part of the file it sends")
    return _facts(answer, int(found[2])), int(found[1])


def _facts_of_whole(address: str, answer: Any) -> Facts:
    """Returns what a server says of a small file that it sends whole though a part was asked for."""
    if "html" in answer.headers.get("Content-Type", ""):
        raise DownloadError(
            f"{shown(address)}: the server sends a web page in place of the file, perhaps to log in; choose "
            "another --catalogue"
        )
    said = answer.headers.get("Content-Length", "")
    if _is_packed(answer) or not (said.isdecimal() and int(said) <= _MAX_WITHOUT_RANGES_BYTES):
        raise DownloadError(f"{shown(address)}: {_NO_RANGES}")
    return _facts(answer, int(said))


def _facts(answer: Any, size: int) -> Facts:
    tag = answer.headers.get("ETag", "").removeprefix("W/") or answer.headers.get("Last-Modified", "")
    return Facts(size, f"{tag}/{size}")


def _is_packed(answer: Any) -> bool:
    """Whether bytes on the way are not those of the file; some stores name encodings that change nothing."""
    encoding = answer.headers.get("Content-Encoding", "").lower()
    return any(name in encoding for name in ("gzip", "deflate", "br", "zstd"))
