"""Parts of files, and that no byte is decoded which is not here."""

from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import from_origin

from glacierseg.catalogues import remote as module
from glacierseg.catalogues.cache import Cache
from glacierseg.catalogues.candidate import Asset
from glacierseg.catalogues.remote import Remote
from glacierseg.catalogues.transport import Facts
from glacierseg.catalogues.web import Web
from glacierseg.errors import DownloadError, ProductError
from glacierseg.settings.fetch import FetchSettings
from tests.catalogues.server import FileServer, serving

SIDE = 512
PIXELS = np.random.default_rng(1).integers(1, 9000, (SIDE, SIDE)).astype(np.uint16)


class Bytes:
    """Stands in for the network: gives the bytes of a file and writes down which ones were asked for."""

    def __init__(self, content: bytes, first: int) -> None:
        self.content, self.first, self.given = content, first, list[int]()
        self.settings = FetchSettings(connections=1)

    def part(self, _address: str, at: int, size: int, *_: Any) -> tuple[Facts, bytes]:
        end = min(at + (size if at or self.given else min(self.first, size)), len(self.content))
        self.given += range(at, end)
        return Facts(len(self.content), "1"), self.content[at:end]


@given(
    st.binary(min_size=1, max_size=200),
    st.integers(1, 20),
    st.lists(st.tuples(st.integers(0, 220), st.integers(1, 90)), max_size=6),
)
def test_parts_are_the_files_and_no_byte_is_read_twice(
    content: bytes, first: int, parts: list[tuple[int, int]]
) -> None:
    network = Bytes(content, min(first, len(content)))
    remote = Remote(network, Asset("https://a.org/b"))  # type: ignore[arg-type]
    here = set(range(min(first, len(content))))
    for at, size in parts:
        wanted = set(range(at, min(at + size, len(content))))
        assert (remote.read(at, size) is None) == bool(wanted - here)
        remote.fetch([(at, size)])
        here |= wanted
        assert remote.read(at, size) == content[at : at + size]
    assert sorted(network.given) == sorted(here)


def test_a_copy_keeps_to_itself_what_it_reads() -> None:
    content = bytes(range(100))
    remote = Remote(Bytes(content, 10), Asset("https://a.org/b"))  # type: ignore[arg-type]
    copied = copy(remote)
    copied.fetch([(40, 20)])
    assert copied.read(40, 20) == content[40:60]
    assert (remote.read(40, 20), remote.read(0, 10)) == (None, content[:10])


def test_parts_that_come_twice_or_overlap_are_read_as_one() -> None:
    content = bytes(range(100))
    remote = Remote(Bytes(content, 10), Asset("https://a.org/b"))  # type: ignore[arg-type]
    for at, size in ((40, 20), (40, 5), (30, 50), (0, 35), (45, 55), (40, 20)):
        remote._put(at, content[at : at + size])
    assert remote.absent(0, 100) == []
    assert all(remote.read(at, 7) == content[at : at + 7] for at in range(100))


def write_image(path: Path, **options: Any) -> Path:
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=SIDE,
        height=SIDE,
        count=1,
        dtype="uint16",
        crs="EPSG:32645",
        transform=from_origin(478_560, 3_099_000, 10, 10),
        **options,
    ) as file:
        file.write(PIXELS, 1)
    return path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    with serving(tmp_path) as running:
        yield running


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with Web(cache=Cache(tmp_path / "cache", 0)) as reader:
        yield reader


@pytest.mark.parametrize("compress", ["none", "deflate"])
def test_bytes_that_are_not_here_are_fetched_and_never_decoded_as_zeros(
    tmp_path: Path, server: FileServer, web: Web, compress: str
) -> None:
    write_image(tmp_path / "a.tif", compress=compress, tiled=True, blockxsize=128, blockysize=128)
    remote = web.remote(Asset(server.address("a.tif")))
    calls = []

    def read(dataset: Any) -> Any:
        calls.append(1)
        return dataset.read(1)

    # Nothing was planned: each block is met as a byte that is not here.
    assert (remote.decoded(read) == PIXELS).all()
    assert len(calls) > 1
    assert web.bytes_read <= (tmp_path / "a.tif").stat().st_size


def test_what_is_raised_without_all_bytes_says_nothing(tmp_path: Path, server: FileServer, web: Web) -> None:
    write_image(tmp_path / "a.tif")

    def read(dataset: Any) -> int:
        try:
            return int(dataset.read(1)[-1, -1])
        except rasterio.errors.RasterioIOError:
            raise ZeroDivisionError from None

    assert web.remote(Asset(server.address("a.tif"))).decoded(read) == PIXELS[-1, -1]


def test_there_is_no_other_file() -> None:
    remote: Remote = None  # type: ignore[assignment]
    assert module._opened(remote, [], [], module._NAME)
    for path, mode in ((f"{module._NAME}.aux.xml", "rb"), ("/etc/hostname", "rb"), (module._NAME, "r+b")):
        with pytest.raises(FileNotFoundError):
            module._opened(remote, [], [], path, mode)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<?xml version='1.0'?><Error/>", "is no GeoTIFF or JPEG 2000 but a web page, perhaps to log in"),
        (b"rubbish", "is no GeoTIFF or JPEG 2000 but something else"),
        (b"II*\x00\x08\x00\x00\x00", "is damaged or no whole image"),
        (b"II*\x00\xff\xff\x00\x00" + bytes(100), "is damaged or no whole image"),
    ],
    ids=["page", "rubbish", "short", "beyond"],
)
def test_what_is_no_image_is_refused(
    tmp_path: Path, server: FileServer, web: Web, content: bytes, words: str
) -> None:
    (tmp_path / "a.tif").write_bytes(content)
    for address in (server.address("a.tif"), str(tmp_path / "a.tif")):
        with pytest.raises(ProductError) as error:
            web.remote(Asset(address)).decoded(lambda dataset: dataset.read(1))
        assert words in str(error.value)


def test_a_header_that_wants_very_much_is_refused(tmp_path: Path, server: FileServer, web: Web) -> None:
    write_image(tmp_path / "a.tif")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_LONGEST_HEADER_BYTES", 1000)
        with pytest.raises(ProductError, match="its header cannot be read"):
            web.remote(Asset(server.address("a.tif"))).decoded(lambda dataset: dataset.read(1))


def test_a_file_of_another_size_is_refused(tmp_path: Path, server: FileServer, web: Web) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(10))
    for address in (server.address("a.bin"), str(tmp_path / "a.bin")):
        with pytest.raises(DownloadError, match="has 10 bytes, and the catalogue says 11"):
            web.remote(Asset(address, 11))


def test_an_interrupt_while_gdal_reads_is_one(tmp_path: Path, server: FileServer, web: Web) -> None:
    write_image(tmp_path / "a.tif")
    remote = web.remote(Asset(server.address("a.tif")))
    assert remote.decoded(lambda dataset: dataset.count) == 1
    real, calls = remote.read, list[int]()

    def interrupted(at: int, size: int) -> bytes | None:
        calls.append(at)
        # The second call is by GDAL, which would only find that the file is damaged.
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(at, size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote, "read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            remote.decoded(lambda dataset: dataset.count)
