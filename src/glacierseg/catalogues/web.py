"""The files of a catalogue: small ones read whole, large ones only where they are needed."""

from collections.abc import Callable, Sequence
from typing import Self, TypeVar

from glacierseg.catalogues.addresses import local_path, shown, web_address
from glacierseg.catalogues.cache import Cache, cache_folder
from glacierseg.catalogues.candidate import Asset
from glacierseg.catalogues.remote import Remote, local_refused, require_checksum, require_size
from glacierseg.catalogues.transport import Transport, at_once
from glacierseg.errors import DownloadError
from glacierseg.settings.fetch import FetchSettings

T = TypeVar("T")

_MAX_SMALL_BYTES = 16 * 2**20


class Web(Transport):
    """The files of one fetch; several threads may read them.

    Attributes:
        cache: The cache of windows.
    """

    def __init__(self, settings: FetchSettings | None = None, *, cache: Cache | None = None) -> None:
        """Opens no connection yet.

        Args:
            settings: How to read.
            cache: The cache of windows; the user's own, in the size of the settings, when None.

        Raises:
            RequestError: A package is missing.
        """
        super().__init__(settings or FetchSettings())
        self.cache = cache or Cache(cache_folder(), self.settings.cache_gb)
        self._remotes: dict[str, Remote] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def at_once(self, jobs: Sequence[Callable[[], T]]) -> list[T]:
        """Runs jobs that read, as many at one time as there may be connections, and returns their results."""
        return at_once(jobs, self.settings.connections)

    def remote(self, asset: Asset) -> Remote:
        """Returns a large file; only its beginning is read here.

        Raises:
            DownloadError: It cannot be read in parts, or has another size than the catalogue says.
        """
        known = self._remotes.get(asset.address)
        return known or self._remotes.setdefault(asset.address, Remote(self, asset))

    def read(self, asset: Asset) -> bytes:
        """Reads a small file, such as metadata, whole.

        Raises:
            DownloadError: It cannot be read, is larger than any metadata, or has another size or checksum
                than the catalogue says.
        """
        path = local_path(asset.address)
        if path:
            with local_refused(path), path.open("rb") as file:
                data = file.read(_MAX_SMALL_BYTES + 1)
        else:
            data = self.whole(web_address(asset.address), _MAX_SMALL_BYTES)
        if len(data) > _MAX_SMALL_BYTES:
            raise DownloadError(
                f"{shown(asset.address)}: is larger than {_MAX_SMALL_BYTES // 2**20} MiB, as no metadata "
                "are; choose another --catalogue"
            )
        require_size(asset, len(data))
        require_checksum(asset, data)
        return data
