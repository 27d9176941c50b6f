"""A cache of what was read, on disk, so that it is not read again.

    keys/<what was asked for>       the SHA-256 of the content
    blobs/<SHA-256 of the content>  the content

Content is verified whenever it is taken; damaged content counts as missing. The least recently used content
is removed when the limit is reached. Several processes may use one folder: files get their names when
they are complete, and one that another process removed is read again. A cache that cannot be written
costs time and is not an error.
"""

import hashlib
import os
import warnings
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from glacierseg.errors import GlaciersegWarning

OWN_FOLDER = "GLACIERSEG_CACHE_DIR"
"""Environment variable that names another folder for the cache."""


def cache_folder() -> Path:
    """Returns the user's folder for what was read."""
    if own := os.environ.get(OWN_FOLDER):
        return Path(own)
    import pooch  # noqa: PLC0415  (slow to import)

    return Path(pooch.os_cache("glacierseg")) / "windows"


class Cache:
    """Contents by what was asked for.

    Attributes:
        folder: Where they lie.
        limit_bytes: How much they may be together; 0 for no cache.
    """

    def __init__(self, folder: Path, limit_gb: float) -> None:
        self.folder, self.limit_bytes = folder, round(limit_gb * 1e9)
        self._keys, self._blobs = folder / "keys", folder / "blobs"

    def knows(self, asked: str) -> bool:
        """Whether something was kept, which may be missing or damaged by now."""
        return self.limit_bytes > 0 and self._key(asked).is_file()

    def take(self, asked: str) -> bytes | None:
        """Returns what was kept; None if it is missing or damaged, or nothing identifies it (empty)."""
        if not self.limit_bytes or not asked:
            return None
        try:
            blob = self._blobs / Path(self._key(asked).read_text(encoding="utf-8")).name
            data = blob.read_bytes()
            if _digest(data) != blob.name:
                blob.unlink()
                return None
        except (OSError, ValueError):
            return None
        with suppress(OSError):
            os.utime(blob)
        return data

    def keep(self, asked: str, data: bytes) -> None:
        """Keeps what was read.

        Args:
            asked: What was asked for; nothing is kept if it is empty.
            data: What was read.
        """
        if not asked or not 0 < len(data) <= self.limit_bytes:
            return
        digest = _digest(data)
        try:
            # Content that is there under its name may be damaged, so it is written again.
            self._write(self._blobs / digest, data)
            self._write(self._key(asked), digest.encode())
            self._drop_oldest()
        except FileNotFoundError:
            pass  # Another process needed the room.
        except OSError as error:
            self.limit_bytes = 0
            warnings.warn(
                f"{self.folder}: the cache cannot be written ({error.strerror}), so nothing is kept; name "
                f"another folder in {OWN_FOLDER}, or free some space",
                GlaciersegWarning,
                stacklevel=2,
            )

    def _write(self, path: Path, data: bytes) -> None:
        # What a killed process leaves here is removed like any content that is not used.
        part = self._blobs / f"part-{uuid4().hex}"
        for folder in (part.parent, path.parent):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(data)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def _drop_oldest(self) -> None:
        found = []
        for path in self._blobs.iterdir():
            with suppress(FileNotFoundError):
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in found)
        if total <= self.limit_bytes:
            return
        for _, size, path in sorted(found):
            if total <= self.limit_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size
        for key in self._keys.iterdir():
            with suppress(FileNotFoundError):
                if not (self._blobs / key.read_text(encoding="utf-8")).exists():
                    key.unlink()

    def _key(self, asked: str) -> Path:
        return self._keys / _digest(asked.encode())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
