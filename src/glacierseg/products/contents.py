"""The files of a product, in its folder or in an archive that stays packed, and nothing beyond them.

A file is the archive that its content shows, whatever its name. Refused, each with its reason, are
archives that are cut short, encrypted or compressed so that GDAL cannot read them in place, members that are
links, occur twice or are named so that they lie elsewhere, links that lead out of a folder, and metadata too
large to be any.
"""

import hashlib
import io
import re
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, ClassVar, Literal, NamedTuple

from glacierseg.errors import ProductError
from glacierseg.products.whole import is_whole

AGAIN = "download the product again"
_MAX_METADATA_BYTES = 16 * 2**20
_PIECE_BYTES = 2**20
_DAMAGE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError, NotImplementedError)


class Checksum(NamedTuple):
    """What a file must have that is whole.

    Attributes:
        algorithm: Its name in `hashlib`.
        digest: In hexadecimal digits.
    """

    algorithm: str
    digest: str


@dataclass(frozen=True)
class Contents(ABC):
    """The files of a product's folder or archive.

    Attributes:
        source: The folder or archive.
        names: Of its files, with `/` between folders.
    """

    source: Path
    names: tuple[str, ...]

    @contextmanager
    @abstractmethod
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        """Opens a file."""

    has_checksums: ClassVar[bool] = False

    @abstractmethod
    def gdal_name(self, name: str) -> str:
        """Returns the name by which GDAL opens one of the files.

        Raises:
            ProductError: It lies outside.
        """

    def read(self, name: str) -> bytes:
        """Returns what a file of metadata holds.

        Raises:
            ProductError: It lies outside, is too large or cannot be read.
        """
        with _damage_refused(self.source), self._open(name) as file:
            data = file.read(_MAX_METADATA_BYTES + 1)
        if len(data) > _MAX_METADATA_BYTES:
            raise ProductError(
                f"{self.source}: {name} is larger than {_MAX_METADATA_BYTES // 2**20} MiB, as no "
                f"product's metadata are; {AGAIN}"
            )
        return data

    def require_whole(self, name: str, promised: Checksum | None = None) -> None:
        """Refuses an image that lacks a part or that a checksum shows to be damaged, since pixels may not.

        Args:
            name: The file.
            promised: Its checksum by the product; archives may have one of their own.

        Raises:
            ProductError: It is damaged.
        """
        file_name = PurePosixPath(name).name
        if promised or self.has_checksums:
            digest = hashlib.new(promised.algorithm if promised else "md5", usedforsecurity=False)
            with _damage_refused(self.source), self._open(name) as file:
                while piece := file.read(_PIECE_BYTES):
                    digest.update(piece)
            if promised and digest.hexdigest() != promised.digest.lower():
                raise ProductError(
                    f"{self.source}: {file_name} is damaged, since it has another checksum than the "
                    f"product's manifest; {AGAIN}"
                )
        if promised:
            return
        # What was damaged before it was packed has a right checksum in its archive.
        with _damage_refused(self.source), self._open(name) as file:
            if not is_whole(file):
                raise ProductError(
                    f"{self.source}: {file_name} is cut short or damaged, since it lacks pixels that it "
                    f"lists; {AGAIN}"
                )

    def below(self, folder: str) -> dict[str, str]:
        """Returns the files of a folder and of those below, by their path from there."""
        start = f"{folder}/" if folder else ""
        return {name[len(start) :]: name for name in self.names if name.startswith(start)}


class FolderContents(Contents):
    """Files that lie in a folder, and below its folder `GRANULE`."""

    @classmethod
    def of(cls, folder: Path) -> "FolderContents":
        """Lists the files of a folder.

        Raises:
            ProductError: A folder cannot be listed, or leads out.
        """
        found: list[Path] = []
        with _damage_refused(folder):
            waiting = [folder]
            while waiting:
                here = waiting.pop()
                _refuse_outside(folder, here)
                for one in here.iterdir():
                    if one.is_file():
                        found.append(one)
                    elif one.is_dir() and (here != folder or one.name == "GRANULE"):
                        _refuse_outside(folder, one)
                        # What a link within the product shows is listed where it lies.
                        waiting += [] if one.is_symlink() else [one]
        return cls(folder, tuple(sorted(one.relative_to(folder).as_posix() for one in found)))

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        _refuse_outside(self.source, self.source / name)
        with (self.source / name).open("rb") as file:
            yield file

    def gdal_name(self, name: str) -> str:
        """Returns the path of a file, if neither it nor what GDAL reads beside it (`.aux.xml`) leads out."""
        stem = PurePosixPath(name).with_suffix("").as_posix()
        for one in self.names:
            if one.startswith(stem):
                _refuse_outside(self.source, self.source / one)
        return str(self.source / name)


class _ArchiveContents(Contents):
    handler: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]

    def gdal_name(self, name: str) -> str:
        """Returns the name of a member; braces show GDAL where an archive ends that has another suffix."""
        archive = str(self.source.absolute())
        if not archive.lower().endswith(self.suffixes):
            archive = f"{{{archive}}}"
        return f"/{self.handler}/{archive}/{name}"


class ZipContents(_ArchiveContents):
    """Members of a zip."""

    handler = "vsizip"
    suffixes = (".zip",)
    has_checksums = True

    @classmethod
    def of(cls, path: Path) -> "ZipContents":
        """Lists the members of a zip.

        Raises:
            ProductError: It is damaged, encrypted, or holds what lies elsewhere.
        """
        with _damage_refused(path), zipfile.ZipFile(path) as archive:
            members = [one for one in archive.infolist() if not one.is_dir()]
        if any(one.flag_bits & 1 for one in members):
            raise ProductError(f"{path}: is encrypted; give the archive as the agency delivers it")
        links = [one.filename for one in members if (one.external_attr >> 28) == 0xA]
        return cls(path, _names_within(path, [one.filename for one in members], links))

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        with zipfile.ZipFile(self.source) as archive, archive.open(name) as file:
            yield file


class TarContents(_ArchiveContents):
    """Members of a tar, plain or compressed with gzip."""

    handler = "vsitar"
    suffixes = (".tar", ".tar.gz", ".tgz")

    @classmethod
    def of(cls, path: Path) -> "TarContents":
        """Lists the members of a tar.

        Raises:
            ProductError: It is damaged, compressed otherwise, or holds what lies elsewhere.
        """
        with _damage_refused(path), tarfile.open(path) as archive:
            members = [one for one in archive if not one.isdir()]
            long_names = any("path" in one.pax_headers for one in members)
            end = max((one.offset_data + one.size for one in members), default=0)
            # The checksum of a compressed one stands at its end.
            while archive.fileobj and archive.fileobj.read(_PIECE_BYTES):
                pass
        if long_names or (not _begins_with(path, b"\x1f\x8b") and _packing(path) != "plain"):
            how = "has long names" if long_names else "is compressed"
            raise ProductError(
                f"{path}: {how} in a way that cannot be read in place; unpack it and give its folder"
            )
        if _packing(path) == "plain" and end > path.stat().st_size:
            raise ProductError(f"{path}: {_CUT}; {AGAIN}")
        links = [one.name for one in members if not one.isfile()]
        return cls(path, _names_within(path, [one.name for one in members], links))

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        with tarfile.open(self.source) as archive:
            for member in archive:
                if member.name.removeprefix("./") == name and (file := archive.extractfile(member)):
                    yield file
                    return
        yield io.BytesIO()


_CUT = "is an archive that is cut short or damaged"


def archive_contents(path: Path) -> ZipContents | TarContents | None:
    """Lists an archive, or returns None where a file is none.

    Raises:
        ProductError: It cannot be used.
    """
    if _begins_with(path, b"PK\x03\x04") or _begins_with(path, b"PK\x05\x06"):
        return ZipContents.of(path)
    if _packing(path):
        return TarContents.of(path)
    return None


def _packing(path: Path) -> Literal["plain", "compressed"] | None:
    """How a tar is packed; None of what is no tar."""
    for mode, packing in (("r:", "plain"), ("r", "compressed")):
        try:
            tarfile.open(path, mode).close()  # type: ignore[call-overload]
        except _DAMAGE:
            continue
        return packing  # type: ignore[return-value]
    return None


def _begins_with(path: Path, mark: bytes) -> bool:
    with _damage_refused(path), path.open("rb") as file:
        return file.read(len(mark)) == mark


@contextmanager
def _damage_refused(source: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise ProductError(
            f"{error.filename or source}: may not be read; ask for the right to read it"
        ) from error
    except _DAMAGE as error:
        what = _CUT if source.is_file() else "cannot be read"
        raise ProductError(f"{source}: {what}; {AGAIN}") from error


def _refuse_outside(folder: Path, path: Path) -> None:
    end = path.resolve()
    if not end.is_relative_to(folder.resolve()):
        raise ProductError(
            f"{path}: is a link to {end}, outside the product; put a copy of the file in its place"
        )


def _names_within(archive: Path, names: Sequence[str], links: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of members, once it is sure that each lies within and is one file."""
    within = [name.removeprefix("./") for name in names]
    for name in within:
        if leads_out(name):
            raise ProductError(
                f"{archive}: its member {name!r} lies outside of it; {AGAIN}, from the agency itself"
            )
    for name in links:
        raise ProductError(
            f"{archive}: its member {name!r} is a link or no file; {AGAIN}, from the agency itself"
        )
    (twice, times), *_ = Counter(within).most_common(1) or [("", 0)]
    if times > 1:
        raise ProductError(f"{archive}: holds {twice!r} more than once; {AGAIN}, from the agency itself")
    return tuple(sorted(within))


def leads_out(name: str) -> bool:
    """Whether a name is that of no file within: absolute, of a drive, or by way of a folder above."""
    parts = re.split(r"[/\\]", name)
    return parts[0] == "" or ".." in parts or re.match(r"[A-Za-z]:", name) is not None
