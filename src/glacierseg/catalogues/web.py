"""The files of a catalogue: small ones whole, of large ones only what is needed, each byte once."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

from glacierseg.catalogues.addresses import (
    is_planetary_computer,
    local_path,
    planetary_token,
    shown,
    web_address,
)
from glacierseg.catalogues.cache import Cache, cache_folder
from glacierseg.catalogues.candidate import Asset
from glacierseg.catalogues.remote import Remote, local_refused, require_checksum, require_size
from glacierseg.catalogues.threads import at_once
from glacierseg.catalogues.transport import Transport
from glacierseg.errors import DownloadError
from glacierseg.settings.fetch import FetchSettings

T = TypeVar("T")

_MAX_SMALL_BYTES = 16 * 2**20


class Web:
    """Reads files for one fetch; all its methods may be called by several threads at a time.

    Attributes:
        settings: Timeouts, repetitions and connections.
        cache: Of windows that were read.
    """

    def __init__(
        self,
        settings: FetchSettings | None = None,
        *,
        signs: Callable[[str], str | None] | None = None,
        cache: Cache | None = None,
    ) -> None:
        """Begins without a connection.

        Args:
            settings: How to read.
            signs: Gives the address of a token for a file's address, None where it needs none. Without it
                files of the Planetary Computer are signed when that is the catalogue.
            cache: Of windows; without it the user's own, in the size of the settings.

        Raises:
            RequestError: A package is missing.
        """
        self.settings = settings or FetchSettings()
        self.cache = cache or Cache(cache_folder(), self.settings.cache_gb)
        is_planetary = is_planetary_computer(self.settings.catalogue)
        self._transport = Transport(
            self.settings, signs or (planetary_token if is_planetary else lambda _: None)
        )
        self._remotes: dict[str, Remote] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends what threads are reading, and all connections."""
        self._transport.close()
        for remote in self._remotes.values():
            remote.close()

    @property
    def bytes_read(self) -> int:
        """How many bytes of files came over the network so far."""
        return self._transport.bytes_read

    def at_once(self, jobs: Sequence[Callable[[], T]]) -> list[T]:
        """Runs jobs that read, as many at one time as there may be connections.

        Args:
            jobs: Such as `partial(plan_window, web, asset, shape)`.

        Returns:
            What they return, in their order; the first error ends the waiting.
        """
        return at_once(jobs, self.settings.connections)

    def remote(self, asset: Asset) -> Remote:
        """Returns a large file, of which the beginning is read at first.

        Raises:
            DownloadError: It cannot be read in parts, or has another size than the catalogue says.
        """
        with self._lock:
            known = self._remotes.get(asset.address)
        if known is None:
            made = Remote(self._transport, asset)
            with self._lock:
                known = self._remotes.setdefault(asset.address, made)
            if known is not made:
                made.close()
        return known

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
            data = self._transport.whole(web_address(asset.address), _MAX_SMALL_BYTES)
        if len(data) > _MAX_SMALL_BYTES:
            raise DownloadError(
                f"{shown(asset.address)}: is larger than {_MAX_SMALL_BYTES // 2**20} MiB, as no metadata "
                "are; choose another --catalogue"
            )
        require_size(asset, len(data))
        if asset.checksum:
            require_checksum(
                asset, hashlib.new(asset.checksum.algorithm, data, usedforsecurity=False).hexdigest()
            )
        return data
