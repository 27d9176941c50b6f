"""A file far away, of which only parts are here, and the promise that no other byte of it is ever decoded.

GDAL reads it through a Python file (rasterio's `opener`). The other way would be a file with holes on this
disk: but a hole reads as zeros, and zeros are pixels where blocks are not compressed, or a block that does
not exist where they lie in the list of blocks. Here a read that meets a byte which is not here fails and is
written down (`View.missed`); what GDAL made of that is thrown away, whatever it was, the bytes are fetched,
and GDAL begins again (`Remote.decoded`). So GDAL never waits for the network: Ctrl-C and errors, which are
lost inside of its callbacks, are met outside of them.

Nothing but the file itself exists to GDAL: side-cars (`.aux.xml`, `.ovr`, `.msk`, `_MTL.txt`) are neither
asked for nor read.
"""

import bisect
import hashlib
import io
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

from glacierseg.catalogues.addresses import local_path, shown, web_address
from glacierseg.catalogues.candidate import Asset
from glacierseg.catalogues.transport import Facts, Transport
from glacierseg.errors import DownloadError, OutputError, ProductError, RasterError
from glacierseg.raster.open import damage_refused, open_raster

T = TypeVar("T")
Part = tuple[int, int]
"""First byte and number of bytes."""

_HEADER_BYTES = 2**15
"""How much of a file's beginning is read at first: the whole header of most."""
_STEP_BYTES = 2**14
_MAX_ROUNDS = 100
_LONGEST_HEADER_BYTES = 2**25
_IN_MEMORY_BYTES = 2**23
_LONGEST_PART_BYTES = 2**23
_JPEG_2000 = (b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51")
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


class Remote:
    """A file of a catalogue, of which parts are here.

    Attributes:
        asset: The file.
        name: Its address for people.
        facts: Its size and version.
        alone: Is held by whoever reads parts and forgets them again.
    """

    def __init__(self, transport: Transport, asset: Asset) -> None:
        """Reads its beginning.

        Args:
            transport: Reads it.
            asset: The file.

        Raises:
            DownloadError: It cannot be read, or has another size than the catalogue says.
        """
        self.asset, self.name, self._transport = asset, shown(asset.address), transport
        self._lock, self.alone = threading.RLock(), threading.Lock()
        self._starts: list[int] = []
        self._parts: list[tuple[int, int]] = []
        self._store: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115
        self._path = local_path(asset.address)
        if self._path:
            with local_refused(self._path):
                self._store.close()
                self._store = self._path.open("rb")
                facts = self._path.stat()
            self.facts = Facts(facts.st_size, f"{facts.st_mtime_ns}/{facts.st_size}")
        else:
            self._address = web_address(asset.address)
            self.facts, start = transport.begin(self._address, _HEADER_BYTES)
            self._put(0, start)
        require_size(asset, self.facts.size_bytes)

    def close(self) -> None:
        """Forgets what was read."""
        self._store.close()

    @property
    def is_local(self) -> bool:
        """Whether the file is one of this machine."""
        return self._path is not None

    @property
    def driver(self) -> str:
        """GDAL's name of the file's format.

        Raises:
            ProductError: It is none in which images are delivered.
        """
        start = self.read(0, min(16, self.facts.size_bytes)) or b""
        if start.startswith(_TIFF):
            return "GTiff"
        if start.startswith(_JPEG_2000):
            return "JP2OpenJPEG"
        what = "a web page, perhaps to log in" if start.lstrip()[:1] == b"<" else "something else"
        raise ProductError(f"{self.name}: is no GeoTIFF or JPEG 2000 but {what}; choose another --catalogue")

    def _put(self, at: int, piece: bytes) -> None:
        with self._lock:
            place = self._store.seek(0, io.SEEK_END)
            # Threads may have asked for the same bytes.
            gaps = self.absent(at, len(piece))
            try:
                for start, size in gaps:
                    self._store.write(piece[start - at :][:size])
            except OSError as error:
                raise OutputError(
                    f"{tempfile.gettempdir()}: cannot hold what is read ({error.strerror}); free some space, "
                    "or name another folder in TMPDIR"
                ) from error
            for start, size in gaps:
                number = bisect.bisect(self._starts, start)
                self._starts.insert(number, start)
                self._parts.insert(number, (place, size))
                place += size

    def absent(self, at: int, size: int) -> list[Part]:
        """Returns which parts of a part are not here."""
        end = min(at + size, self.facts.size_bytes)
        if self.is_local:
            return []
        gaps = []
        with self._lock:
            number = max(bisect.bisect(self._starts, at) - 1, 0)
            while at < end and number < len(self._starts):
                start, (_, length) = self._starts[number], self._parts[number]
                if start >= end:
                    break
                if start > at:
                    gaps.append((at, start - at))
                at, number = max(at, start + length), number + 1
        if at < end:
            gaps.append((at, end - at))
        return gaps

    def read(self, at: int, size: int) -> bytes | None:
        """Returns some bytes, fewer at the end of the file; None when any of them is not here."""
        size = max(min(size, self.facts.size_bytes - at), 0)
        with self._lock:
            if self.is_local:
                self._store.seek(at)
                return self._store.read(size)
            if self.absent(at, size):
                return None
            found = bytearray()
            number = bisect.bisect(self._starts, at) - 1
            while len(found) < size:
                start, (place, length) = self._starts[number], self._parts[number]
                skipped = at + len(found) - start
                self._store.seek(place + skipped)
                found += self._store.read(min(length - skipped, size - len(found)))
                number += 1
        return bytes(found)

    def fetch(self, parts: Sequence[Part], progress: Callable[[int], None] | None = None) -> None:
        """Reads parts that are not here yet.

        Args:
            parts: Begin and size of each.
            progress: Is called with numbers of bytes that came, by several threads.

        Raises:
            DownloadError: They cannot be read.
        """

        def take(at: int, piece: bytes) -> None:
            self._put(at, piece)
            if progress:
                progress(len(piece))

        wanted = [gap for at, size in parts for gap in self.absent(at, size)]
        pieces = [
            (at + skipped, min(_LONGEST_PART_BYTES, size - skipped))
            for at, size in wanted
            for skipped in range(0, size, _LONGEST_PART_BYTES)
        ]
        if pieces:
            self._transport.fetch(self._address, pieces, take, self.facts)

    def keep_only(self, parts: Sequence[Part]) -> None:
        """Forgets all bytes but some.

        Args:
            parts: Which are kept, as far as they are here.
        """
        if self.is_local:
            return
        with self._lock:
            kept = [(at, data) for at, size in parts if (data := self.read(at, size)) is not None]
            self._store.close()
            self._store = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115
            self._starts, self._parts = [], []
            for at, data in kept:
                self._put(at, data)

    @property
    def held(self) -> tuple[Part, ...]:
        """The parts that are here."""
        with self._lock:
            return tuple((at, length) for at, (_, length) in zip(self._starts, self._parts, strict=True))

    def pieces(self) -> Iterator[bytes]:
        """Yields the whole file, which must be here, piece by piece."""
        for at in range(0, self.facts.size_bytes, _STEP_BYTES * 64):
            data = self.read(at, _STEP_BYTES * 64)
            if data is None:
                raise AssertionError
            yield data

    def digest(self, algorithm: str) -> str:
        """Returns the digest of the whole file, which must be here."""
        digest = hashlib.new(algorithm, usedforsecurity=False)
        for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()

    def decoded(self, work: Callable[[Any], T], **options: Any) -> T:
        """Lets some work be done on the open image, with all bytes that it reads.

        Args:
            work: Is called with the open dataset, again whenever bytes were missing.
            options: GDAL's options of opening.

        Raises:
            DownloadError: Bytes cannot be read.
            ProductError: The file is damaged, or no image.
        """
        driver = self.driver
        if driver != "GTiff" and not self.absent(0, self.facts.size_bytes):
            return self._decoded_from_disk(work, driver, options)
        for _ in range(_MAX_ROUNDS):
            view = View(self)
            try:
                with (
                    damage_refused(self.name),
                    open_raster(view.path, opener=view.opener, driver=driver, **options) as dataset,
                ):
                    result = work(dataset)
            except Exception as error:
                view.raise_failure()
                # Without all bytes any error may be raised, and says nothing.
                if not view.missed and isinstance(error, RasterError):
                    raise ProductError(
                        f"{self.name}: is damaged or no whole image; choose another --catalogue or other "
                        "dates"
                    ) from error
                if not view.missed:
                    raise
            else:
                view.raise_failure()
                if not view.missed:
                    return result
            if sum(size for _, size in view.missed) > _LONGEST_HEADER_BYTES:
                break
            self.fetch([_stretched(part) for part in view.missed])
        raise ProductError(f"{self.name}: its header leads nowhere; choose another --catalogue")

    def _decoded_from_disk(self, work: Callable[[Any], T], driver: str, options: dict[str, Any]) -> T:
        # This format is decoded by threads of GDAL's own, in which Python files cannot be opened.
        with tempfile.TemporaryDirectory(prefix="glacierseg-") as folder:
            path = Path(folder) / f"image{'.jp2' if driver == 'JP2OpenJPEG' else '.tif'}"
            with path.open("wb") as file:
                for piece in self.pieces():
                    file.write(piece)
            try:
                with damage_refused(self.name), open_raster(path, driver=driver, **options) as dataset:
                    return work(dataset)
            except RasterError as error:
                raise ProductError(
                    f"{self.name}: is damaged; choose another --catalogue or other dates"
                ) from error


class View:
    """A file far away as GDAL sees it once.

    Attributes:
        missed: Parts that were asked for and not here.
        failure: What was raised while GDAL was reading, which it does not pass on, such as by Ctrl-C.
    """

    path = "/glacierseg/image"

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self.missed: list[Part] = []
        self.failure: BaseException | None = None

    def opener(self, path: str, mode: str = "rb", **_: Any) -> "_File":
        """Opens the file; there is no other one."""
        if path != self.path or mode not in {"r", "rb"}:
            raise FileNotFoundError(path)
        return _File(self)

    def raise_failure(self) -> None:
        """Raises what was raised while GDAL was reading."""
        if self.failure:
            raise self.failure

    def read(self, at: int, size: int) -> bytes:
        """Returns some bytes, none when any of them is not here."""
        try:
            data = self._remote.read(at, size)
        except BaseException as error:  # noqa: BLE001  (is raised again when GDAL has ended)
            self.failure = self.failure or error
            return b""
        if data is None:
            self.missed.append((at, size))
        return data or b""

    @property
    def size_bytes(self) -> int:
        """The size of the file."""
        return self._remote.facts.size_bytes


class _File(io.RawIOBase):
    """Bytes that are here, to be read in any order; an end where one is not."""

    def __init__(self, view: View) -> None:
        self._view, self._at = view, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._view.size_bytes}[whence]
        self._at = origin + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        data = self._view.read(self._at, self._view.size_bytes - self._at if size < 0 else size)
        self._at += len(data)
        return data


def _stretched(part: Part) -> Part:
    """A part of a header, stretched so that what follows comes with it."""
    start = part[0] // _STEP_BYTES * _STEP_BYTES
    return start, -(-(part[0] + part[1] - start) // _STEP_BYTES) * _STEP_BYTES


def require_size(asset: Asset, found: int) -> None:
    """Raises DownloadError when a file has another size than the catalogue says."""
    if asset.size_bytes is not None and asset.size_bytes != found:
        raise DownloadError(
            f"{shown(asset.address)}: has {found} bytes, and the catalogue says {asset.size_bytes}; the file "
            "is cut short or was replaced, so choose another --catalogue or other dates"
        )


def require_checksum(asset: Asset, found: str) -> None:
    """Raises DownloadError when the catalogue says another checksum than `found`."""
    if asset.checksum and found.lower() != asset.checksum.digest.lower():
        raise DownloadError(
            f"{shown(asset.address)}: has the {asset.checksum.algorithm} checksum {found}, and the catalogue "
            f"says {asset.checksum.digest}; the file is damaged or was replaced, so choose another "
            "--catalogue or other dates"
        )


@contextmanager
def local_refused(path: Path) -> Iterator[None]:
    """Turns what the system raises about a file of this machine into one clear error."""
    try:
        yield
    except OSError as error:
        raise DownloadError(
            f"{path}: cannot be read ({error.strerror}); check the catalogue's folder"
        ) from error
