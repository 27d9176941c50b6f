"""What was read before, by its content, so that it is not read again.

    keys/<what was asked for>.json     names the content, and its size
    blobs/<SHA-256 of the content>

Content is verified whenever it is taken: what is damaged is as if it were not there. What was taken longest
ago goes when the limit is reached. Several processes may use one folder, since files come under their names
whole, and one that another process removed is only read again. A cache that cannot be written is a loss of
time, not a fault.
"""

import hashlib
import json
import os
import shutil
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from glacierseg.errors import GlaciersegWarning

OWN_FOLDER = "GLACIERSEG_CACHE_DIR"
"""Environment variable that names another folder for the cache."""
_PIECE_BYTES = 2**20
_PART = ".part-"
_FORGOTTEN_S = 24 * 3600
"""Unfinished files of this age are of processes that were killed."""


def cache_folder() -> Path:
    """Returns the user's folder for what was read."""
    if own := os.environ.get(OWN_FOLDER):
        return Path(own)
    import pooch  # noqa: PLC0415  (slow to import)

    return Path(pooch.os_cache("glacierseg")) / "windows"


class Cache:
    """Files by what was asked for.

    Attributes:
        folder: Where they lie.
        limit_bytes: How much they may be together; 0 for no cache.
    """

    def __init__(self, folder: Path, limit_gb: float) -> None:
        self.folder = folder
        self.limit_bytes = round(limit_gb * 1e9)
        self._is_usable = True

    @property
    def is_on(self) -> bool:
        """Whether anything is kept."""
        return self.limit_bytes > 0 and self._is_usable

    def knows(self, asked: str) -> bool:
        """Whether something was kept that may still be there and whole."""
        return self.is_on and self._key(asked).is_file()

    def take(self, asked: str, path: Path) -> bool:
        """Copies what was kept to a file.

        Args:
            asked: What was asked for; empty for what cannot be known again.
            path: The file; where nothing whole was kept it is left as it was.

        Returns:
            Whether anything whole was kept.
        """
        if not self.is_on or not asked:
            return False
        key = self._key(asked)
        try:
            facts = json.loads(key.read_text(encoding="utf-8"))
            blob = self._blob(str(facts["sha256"]))
            with _part_of(path) as part:
                if _copied(blob, part) != facts["sha256"]:
                    blob.unlink(missing_ok=True)
                    key.unlink(missing_ok=True)
                    return False
                part.replace(path)
        except (OSError, ValueError, KeyError, TypeError):
            return False
        with suppress(OSError):
            os.utime(blob)
        return True

    def keep(self, asked: str, path: Path) -> None:
        """Keeps a copy of a file.

        Args:
            asked: What was asked for; empty for what cannot be known again.
            path: The file.
        """
        if not self.is_on or not asked or path.stat().st_size > self.limit_bytes:
            return
        try:
            for folder in (self._keys, self._blobs):
                folder.mkdir(parents=True, exist_ok=True)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            blob = self._blob(digest)
            # Content that is there under its name may be damaged, so it is written again.
            with _part_of(blob) as part:
                if _copied(path, part) == digest:
                    part.replace(blob)
            key = self._key(asked)
            with _part_of(key) as part:
                part.write_text(
                    json.dumps({"sha256": digest, "bytes": path.stat().st_size}), encoding="utf-8"
                )
                part.replace(key)
            self._drop_oldest()
        except OSError as error:
            self._is_usable = False
            warnings.warn(
                f"{self.folder}: the cache cannot be written ({error.strerror}), so nothing is kept; name "
                f"another folder in {OWN_FOLDER}, or free some space",
                GlaciersegWarning,
                stacklevel=2,
            )

    def _drop_oldest(self) -> None:
        found = []
        for path in self._blobs.iterdir():
            with suppress(OSError):
                facts = path.stat()
                if _PART not in path.name:
                    found.append((facts.st_mtime_ns, path, facts.st_size))
                elif time.time() - facts.st_mtime > _FORGOTTEN_S:
                    path.unlink()
        total, dropped = sum(size for _, _, size in found), set()
        for _, path, size in sorted(found):
            if total <= self.limit_bytes:
                break
            with suppress(OSError):
                path.unlink(missing_ok=True)
                dropped.add(path.name)
                total -= size
        if dropped:
            self._drop_keys_without_content()

    def _drop_keys_without_content(self) -> None:
        for key in self._keys.glob("*.json"):
            with suppress(OSError, ValueError, KeyError, TypeError):
                if not self._blob(str(json.loads(key.read_text(encoding="utf-8"))["sha256"])).exists():
                    key.unlink(missing_ok=True)

    @property
    def _keys(self) -> Path:
        return self.folder / "keys"

    @property
    def _blobs(self) -> Path:
        return self.folder / "blobs"

    def _key(self, asked: str) -> Path:
        return self._keys / f"{hashlib.sha256(asked.encode()).hexdigest()}.json"

    def _blob(self, digest: str) -> Path:
        if len(digest) != 64 or not digest.isalnum():
            raise ValueError(digest)
        return self._blobs / digest


@contextmanager
def _part_of(path: Path) -> Iterator[Path]:
    """A name beside a file, for this thread alone, whose file is gone in the end."""
    part = path.with_name(f"{path.name}{_PART}{os.getpid()}-{threading.get_ident()}")
    try:
        yield part
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _copied(source: Path, target: Path) -> str:
    """Copies a file; returns the SHA-256 digest of what was written."""
    digest = hashlib.sha256()
    with source.open("rb") as read, target.open("wb") as written:
        while piece := read.read(_PIECE_BYTES):
            digest.update(piece)
            written.write(piece)
    shutil.copymode(source, target)
    return digest.hexdigest()
