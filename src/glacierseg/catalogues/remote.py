"""A remote file of which only some parts are read, and nothing else is ever decoded.

GDAL reads it through a Python file (rasterio's `opener`). The alternative would be a sparse file on disk, but
its holes read as zeros: pixels of 0 where blocks are not compressed, or a block that the file leaves out.
Here a read of missing bytes fails and is noted; what GDAL made of it is discarded, the bytes are fetched, and
GDAL starts again (`Remote.decoded`). So GDAL never waits for the network, and Ctrl-C and errors, which its
callbacks would lose, are raised outside of them.

GDAL sees only the file itself: side-cars (`.aux.xml`, `.ovr`, `.msk`, `_MTL.txt`) are neither requested nor
read.
"""

import hashlib
import io
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from glacierseg.catalogues.addresses import local_path, shown, web_address
from glacierseg.catalogues.candidate import Asset
from glacierseg.catalogues.transport import Counted, Facts, Transport, at_once
from glacierseg.errors import DownloadError, ProductError, RasterError
from glacierseg.raster.open import damage_refused, open_raster

T = TypeVar("T")
Part = tuple[int, int]
"""First byte and number of bytes."""

_HEADER_BYTES = 2**15
"""How much of a file's beginning is read at first: the whole header of most."""
_STEP_BYTES = 2**14
_MAX_ROUNDS = 100
_LONGEST_HEADER_BYTES = 2**25
_LONGEST_PART_BYTES = 2**23
_JPEG_2000 = (b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51")
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_NAME = "/glacierseg/image"


class Remote:
    """A file of a catalogue with the parts that were read; what a copy reads is in that copy only.

    Attributes:
        name: Its address in messages.
        facts: Its size and version.
        path: Path of a local file, whose parts are all here; None for one of the network.
    """

    def __init__(self, transport: Transport, asset: Asset) -> None:
        """Reads its beginning.

        Raises:
            DownloadError: It cannot be read, or has another size than the catalogue says.
        """
        self.name, self.path, self._transport = shown(asset.address), local_path(asset.address), transport
        # First byte and content of each part, in order; replaced as a whole, never changed.
        self._parts: list[tuple[int, bytes]] = []
        self._lock = threading.Lock()
        if self.path:
            with local_refused(self.path):
                status = self.path.stat()
            self.facts = Facts(status.st_size, f"{status.st_mtime_ns}/{status.st_size}")
        else:
            self._address = web_address(asset.address)
            self.facts, start = transport.part(self._address, 0, _HEADER_BYTES)
            self._put(0, start)
        require_size(asset, self.facts.size_bytes)

    def _put(self, at: int, data: bytes) -> None:
        with self._lock:
            self._parts = sorted([*self._parts, (at, data)])

    def absent(self, at: int, size: int) -> list[Part]:
        """Returns the gaps of a part: what of it was not read yet."""
        end = min(at + size, self.facts.size_bytes)
        gaps = []
        for start, data in [] if self.path else [*self._parts, (end, b"")]:
            if at < min(start, end):
                gaps.append((at, min(start, end) - at))
            at = max(at, start + len(data))
        return gaps

    def read(self, at: int, size: int) -> bytes | None:
        """Returns some bytes, fewer at the end of the file; None when any of them is not here."""
        size = max(min(size, self.facts.size_bytes - at), 0)
        if self.path:
            with local_refused(self.path), self.path.open("rb") as file:
                file.seek(at)
                return file.read(size)
        found = bytearray()
        for start, data in self._parts:
            skipped = at + len(found) - start
            if 0 <= skipped < len(data):
                found += data[skipped : skipped + size - len(found)]
        return bytes(found) if len(found) == size else None

    def fetch(self, parts: Sequence[Part], progress: Counted | None = None) -> None:
        """Reads the gaps of some parts, several at a time.

        Raises:
            DownloadError: They cannot be read.
        """

        def fetch_one(at: int, size: int) -> None:
            self._put(at, self._transport.part(self._address, at, size, self.facts, progress)[1])

        jobs = [
            partial(fetch_one, start, min(_LONGEST_PART_BYTES, gap_at + gap - start))
            for at, size in parts
            for gap_at, gap in self.absent(at, size)
            for start in range(gap_at, gap_at + gap, _LONGEST_PART_BYTES)
        ]
        at_once(jobs, self._transport.settings.connections)

    @property
    def held(self) -> list[tuple[int, bytes]]:
        """What is here, for `keep_only`."""
        return self._parts

    def keep_only(self, held: list[tuple[int, bytes]]) -> None:
        """Forgets what was read since."""
        self._parts = held

    def all(self) -> bytes:
        """Returns the whole file, which must be here."""
        data = self.read(0, self.facts.size_bytes)
        if data is None:
            raise AssertionError
        return data

    def decoded(self, work: Callable[[Any], T], **options: Any) -> T:
        """Does some work on the open image, and fetches the bytes that it needs.

        Args:
            work: Is called with the open dataset, and again whenever bytes were missing.
            options: GDAL's options for opening.

        Raises:
            DownloadError: Bytes cannot be read.
            ProductError: The file is damaged or not an image.
        """
        options["driver"] = self._driver()
        if options["driver"] != "GTiff" and not self.absent(0, self.facts.size_bytes):
            # GDAL decodes this format in threads of its own, which cannot open Python files.
            with tempfile.TemporaryDirectory(prefix="glacierseg-") as folder:
                path = Path(folder) / "image.jp2"
                path.write_bytes(self.all())
                return self._worked(work, path, **options)
        for _ in range(_MAX_ROUNDS):
            missed: list[Part] = []
            failures: list[BaseException] = []
            result, fault = None, None
            try:
                result = self._worked(work, _NAME, opener=partial(_opened, self, missed, failures), **options)
            except Exception as error:  # noqa: BLE001  (means nothing if bytes were missing)
                fault = error
            if failures:
                raise failures[0]
            if not missed and fault:
                raise fault
            if not missed:
                return result  # type: ignore[return-value]
            if sum(size for _, size in missed) > _LONGEST_HEADER_BYTES:
                break
            self.fetch([_stretched(part) for part in missed])
        raise ProductError(f"{self.name}: its header cannot be read; choose another --catalogue")

    def _driver(self) -> str:
        """Returns GDAL's name of the format; raises ProductError for none in which images are delivered."""
        start = self.read(0, 16) or b""
        if start.startswith(_TIFF):
            return "GTiff"
        if start.startswith(_JPEG_2000):
            return "JP2OpenJPEG"
        what = "a web page, perhaps to log in" if start.lstrip()[:1] == b"<" else "something else"
        raise ProductError(f"{self.name}: is no GeoTIFF or JPEG 2000 but {what}; choose another --catalogue")

    def _worked(self, work: Callable[[Any], T], path: Path | str, **options: Any) -> T:
        try:
            with damage_refused(self.name), open_raster(path, **options) as dataset:
                return work(dataset)
        except RasterError as error:
            raise ProductError(
                f"{self.name}: is damaged or no whole image; choose another --catalogue or other dates"
            ) from error


class _File(io.RawIOBase):
    """A remote file as GDAL sees it, which ends where a byte is missing."""

    def __init__(self, remote: Remote, missed: list[Part], failures: list[BaseException]) -> None:
        self._remote, self._missed, self._failures, self._at = remote, missed, failures, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._remote.facts.size_bytes)[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        size = self._remote.facts.size_bytes - self._at if size < 0 else size
        try:
            data = self._remote.read(self._at, size)
        except BaseException as error:  # noqa: BLE001  (GDAL does not pass it on; raised when it has ended)
            self._failures.append(error)
            return b""
        if data is None:
            self._missed.append((self._at, size))
            return b""
        self._at += len(data)
        return data


def _opened(
    remote: Remote, missed: list[Part], failures: list[BaseException], path: str, mode: str = "rb", **_: Any
) -> _File:
    """Opens the file for GDAL; there is no other one."""
    if path != _NAME or mode not in {"r", "rb"}:
        raise FileNotFoundError(path)
    return _File(remote, missed, failures)


def _stretched(part: Part) -> Part:
    """Returns a part of a header with what lies around it, which is likely to be read next."""
    start = part[0] // _STEP_BYTES * _STEP_BYTES
    return start, -(-(part[0] + part[1] - start) // _STEP_BYTES) * _STEP_BYTES


def require_size(asset: Asset, found: int) -> None:
    """Raises DownloadError when a file has another size than the catalogue says."""
    if asset.size_bytes is not None and asset.size_bytes != found:
        raise DownloadError(
            f"{shown(asset.address)}: has {found} bytes, and the catalogue says {asset.size_bytes}; the file "
            "is cut short or was replaced, so choose another --catalogue or other dates"
        )


def require_checksum(asset: Asset, data: bytes) -> None:
    """Raises DownloadError when a file has another checksum than the catalogue says."""
    said = asset.checksum
    found = hashlib.new(said.algorithm, data, usedforsecurity=False).hexdigest() if said else ""
    if said and found != said.digest.lower():
        raise DownloadError(
            f"{shown(asset.address)}: has the {said.algorithm} checksum {found}, and the catalogue says "
            f"{said.digest}; the file is damaged or was replaced, so choose another --catalogue or other "
            "dates"
        )


@contextmanager
def local_refused(path: Path) -> Iterator[None]:
    """Turns what the system raises about a local file into one clear error."""
    try:
        yield
    except OSError as error:
        raise DownloadError(
            f"{path}: cannot be read ({error.strerror}); check the catalogue's folder"
        ) from error
