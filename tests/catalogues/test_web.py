"""Small files whole, addresses of buckets, and tokens that run out."""

import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from glacierseg.catalogues import retries, transport, web
from glacierseg.catalogues.addresses import local_path, shown, token_source, web_address
from glacierseg.catalogues.cache import Cache
from glacierseg.catalogues.candidate import Asset
from glacierseg.catalogues.web import Web
from glacierseg.errors import DownloadError, RequestError
from glacierseg.products.contents import Checksum
from glacierseg.settings.fetch import FetchSettings
from tests.catalogues.server import Fault, FileServer, serving

CONTENT = b"some metadata"
MD5 = Checksum("md5", hashlib.md5(CONTENT, usedforsecurity=False).hexdigest().upper())


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr(retries, "FIRST_PAUSE_S", 0.001)
    (tmp_path / "a.xml").write_bytes(CONTENT)
    with serving(tmp_path) as running:
        yield running


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Web]:
    with Web(cache=Cache(tmp_path / "cache", 0)) as reader:
        yield reader


@pytest.fixture(params=["network", "path", "file"])
def address(request: pytest.FixtureRequest, server: FileServer, tmp_path: Path) -> str:
    path = tmp_path / "a.xml"
    return {"network": server.address("a.xml"), "path": str(path), "file": path.as_uri()}[request.param]


def test_small_files_are_read_whole_and_compared_with_the_catalogue(reader: Web, address: str) -> None:
    assert reader.read(Asset(address)) == CONTENT
    assert reader.read(Asset(address, len(CONTENT), MD5)) == CONTENT
    with pytest.raises(
        DownloadError, match=r"a\.xml: has 13 bytes, and the catalogue says 14; the file is cut"
    ):
        reader.read(Asset(address, 14))
    with pytest.raises(
        DownloadError, match=r"a\.xml: has the sha1 checksum [0-9a-f]{40}, and the catalogue says 00"
    ):
        reader.read(Asset(address, None, Checksum("sha1", "00")))


def test_what_is_too_large_for_metadata_is_refused(
    reader: Web, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "_MAX_SMALL_BYTES", len(CONTENT))
    assert reader.read(Asset(address)) == CONTENT
    monkeypatch.setattr(web, "_MAX_SMALL_BYTES", len(CONTENT) - 1)
    with pytest.raises(DownloadError, match="as no metadata are"):
        reader.read(Asset(address))


def test_bytes_of_the_network_are_counted(reader: Web, server: FileServer, tmp_path: Path) -> None:
    reader.read(Asset(server.address("a.xml")))
    reader.read(Asset(str(tmp_path / "a.xml")))
    assert reader.bytes_read == server.bytes_sent == len(CONTENT)


def test_a_missing_file_of_a_folder_is_named(reader: Web, tmp_path: Path) -> None:
    with pytest.raises(
        DownloadError, match=r"b\.xml: cannot be read \(No such file or directory\); check the"
    ):
        reader.read(Asset(str(tmp_path / "b.xml")))
    with pytest.raises(DownloadError, match=r"b\.xml: cannot be read"):
        reader.remote(Asset(str(tmp_path / "b.xml")))


def test_without_requests_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "requests", None)
    with pytest.raises(RequestError, match=r'pip install "glacierseg\[stac\]"'):
        Web()


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("https://a.org/b.tif", None),
        ("s3://bucket/b.tif", None),
        ("file:///data/a%20b.tif", "/data/a b.tif"),
        ("/data/b.tif", "/data/b.tif"),
        ("data/b:c.tif", "data/b:c.tif"),
        ("C:/data/b.tif", "C:/data/b.tif"),
    ],
)
def test_paths_are_told_from_addresses(address: str, path: str | None) -> None:
    found = local_path(address)
    assert (found and found.as_posix()) == path


def test_signatures_and_passwords_are_not_shown() -> None:
    assert shown("https://me:secret@a.org:8080/b.tif?sig=x#y") == "https://a.org:8080/b.tif"
    assert shown("/data/b?.tif") == "/data/b?.tif"


def test_open_buckets_have_an_address_of_the_web() -> None:
    assert web_address("s3://copernicus-dem-30m/a/b.tif") == (
        "https://copernicus-dem-30m.s3.eu-central-1.amazonaws.com/a/b.tif"
    )
    assert web_address("https://a.org/b.tif?c=d") == "https://a.org/b.tif?c=d"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (
            "s3://usgs-landsat/b.tif",
            "the bucket usgs-landsat is paid for by its readers, which is not supported",
        ),
        ("https://usgs-landsat.s3.us-west-2.amazonaws.com/b.tif", "is paid for by its readers"),
        ("s3://eodata/b.tif", "needs an account at the Copernicus Data Space"),
        ("s3://somebodys/b.tif", "the bucket somebodys is not known to be open to anybody"),
        ("ftp://a.org/b.tif", "files are read from http, https, s3 and folders only"),
        ("http://[a/b.tif", "is not an address of a file"),
    ],
)
def test_what_everybody_may_not_read_is_refused(reader: Web, address: str, words: str) -> None:
    for read in (reader.read, reader.remote):
        with pytest.raises(DownloadError) as error:
            read(Asset(address))
        assert words in str(error.value)
        assert "--catalogue" in str(error.value)


@pytest.mark.parametrize(
    "catalogue", ["planetary-computer", "https://planetarycomputer.microsoft.com/api/stac/v1"]
)
def test_tokens_of_the_planetary_computer_are_by_account_and_container(catalogue: str) -> None:
    blob = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/45/R/a.tif"
    tokens = "https://planetarycomputer.microsoft.com/api/sas/v1/token"
    assert token_source(catalogue, blob) == f"{tokens}/sentinel2l2a01/sentinel2-l2"
    assert token_source(catalogue, f"{blob}?sig=x") is None
    assert token_source(catalogue, "https://planetarycomputer.microsoft.com/api/stac/v1/a.json") is None
    assert token_source("earth-search", blob) is None


@pytest.fixture
def signing(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """Reads files that may be read with the query `sig=2` only; tokens count up with each request."""
    server.fail("a.xml", Fault(times=None, status=403, unless="sig=2"))

    def source(_catalogue: str, address: str) -> str | None:
        return server.address("token") if address.endswith(".xml") else None

    monkeypatch.setattr(transport, "token_source", source)
    with Web(FetchSettings(retries=1), cache=Cache(tmp_path / "cache", 0)) as reader:
        yield reader


def give_token(server: FileServer, token: str, ends: str | None) -> None:
    server.files["/token"] = json.dumps({"token": token, "msft:expiry": ends}).encode()


def in_minutes(minutes: float) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("minutes", [40, None])
def test_files_are_signed_and_a_token_serves_for_many(
    server: FileServer, signing: Web, minutes: float | None
) -> None:
    give_token(server, "se=1&sig=2", in_minutes(minutes) if minutes else None)
    for _ in range(3):
        assert signing.read(Asset(server.address("a.xml"))) == CONTENT
    assert [one.query for one in server.of("a.xml")] == ["se=1&sig=2"] * 3
    assert len(server.of("token")) == 1


def test_a_token_that_ends_soon_is_renewed(server: FileServer, signing: Web) -> None:
    give_token(server, "sig=2", in_minutes(0.5))
    for _ in range(2):
        signing.read(Asset(server.address("a.xml")))
    assert len(server.of("token")) == 2


def test_a_token_that_has_ended_is_replaced_once(server: FileServer, signing: Web) -> None:
    give_token(server, "sig=1", in_minutes(40))
    with pytest.raises(DownloadError) as error:
        signing.read(Asset(server.address("a.xml")))
    assert "may not be read without an account (403)" in str(error.value)
    assert "sig" not in str(error.value)
    assert [one.path for one in server.asked] == ["/token", "/a.xml", "/token", "/a.xml"]
    give_token(server, "sig=2", in_minutes(40))
    assert signing.read(Asset(server.address("a.xml"))) == CONTENT


def test_many_threads_ask_for_one_token(server: FileServer, signing: Web) -> None:
    give_token(server, "sig=2", in_minutes(40))
    jobs: list[Callable[[], bytes]] = [lambda: signing.read(Asset(server.address("a.xml")))] * 8
    assert signing.at_once(jobs) == [CONTENT] * 8
    assert len(server.of("token")) == 1


@pytest.mark.parametrize("answer", [b"busy", b"[]", b"{}", b'{"token": "a", "msft:expiry": "soon"}'])
def test_a_token_that_cannot_be_understood_is_refused(
    server: FileServer, signing: Web, answer: bytes
) -> None:
    server.files["/token"] = answer
    with pytest.raises(DownloadError, match="token: gives no token to read files; try again later"):
        signing.read(Asset(server.address("a.xml")))


def test_a_refused_token_is_no_reason_to_forget_a_newer_one(server: FileServer, signing: Web) -> None:
    source = server.address("token")
    give_token(server, "1", None)
    assert (signing._token(source, ""), signing._token(source, "")) == ("1", "1")
    give_token(server, "2", None)
    assert signing._token(source, "1") == "2"
    give_token(server, "3", None)
    assert signing._token(source, "1") == "2"


def test_a_token_is_asked_for_again_where_that_may_help(server: FileServer, signing: Web) -> None:
    give_token(server, "sig=2", in_minutes(40))
    server.fail("token", Fault(status=503))
    assert signing.read(Asset(server.address("a.xml"))) == CONTENT
    server.mend()
