"""Reading over a network that fails in every way that it can."""

import gzip
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from glacierseg.catalogues import retries
from glacierseg.catalogues.cache import Cache
from glacierseg.catalogues.candidate import Asset
from glacierseg.catalogues.transport import at_once
from glacierseg.catalogues.web import Web
from glacierseg.errors import DownloadError
from glacierseg.settings.fetch import FetchSettings
from tests.catalogues.server import Fault, FileServer, serving

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SUBJECT = ContextVar("SUBJECT", default="nobody")
CONTINUES = "run the same command again, which continues from here"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr(retries, "FIRST_PAUSE_S", 0.001)
    (tmp_path / "a.json").write_bytes(b'{"of": "metadata"}')
    (tmp_path / "a.bin").write_bytes(CONTENT)
    with serving(tmp_path) as running:
        yield running


def web(tmp_path: Path, **settings: Any) -> Web:
    return Web(FetchSettings(**settings), cache=Cache(tmp_path / "cache", 0))


def read_parts(web: Web, address: str, *parts: tuple[int, int]) -> list[bytes | None]:
    remote = web.remote(Asset(address))
    remote.fetch(parts)
    return [remote.read(*part) for part in parts]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_asked_for_again(server: FileServer, tmp_path: Path, status: int) -> None:
    server.fail("a.json", Fault(times=3, status=status))
    server.fail("a.bin", Fault(times=2, status=status))
    with web(tmp_path) as reader:
        assert reader.read(Asset(server.address("a.json"))) == b'{"of": "metadata"}'
        assert read_parts(reader, server.address("a.bin"), (500_000, 9)) == [CONTENT[500_000:500_009]]
    assert len(server.of("a.json")) == 4


def test_what_does_not_pass_is_given_up_in_words(server: FileServer, tmp_path: Path) -> None:
    server.fail("a.json", Fault(times=None, status=503))
    with web(tmp_path, retries=2) as reader, pytest.raises(DownloadError) as error:
        reader.read(Asset(server.address("a.json")))
    assert str(error.value) == (
        f"{server.address('a.json')}: the server answers 503 (Service Unavailable), 3 times in a row; "
        + CONTINUES
    )
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "may not be read without an account (401); choose another --catalogue"),
        (403, "may not be read without an account (403)"),
        (409, "may not be read without an account (409)"),
        (404, "does not exist (404); choose another --catalogue or other dates"),
        (410, "does not exist (410)"),
        (416, "is empty or shorter than it was"),
        (501, "the server answers 501 (Not Implemented); try again later"),
    ],
)
def test_what_will_not_pass_is_refused_at_once(
    server: FileServer, tmp_path: Path, status: int, words: str
) -> None:
    server.fail("a.json", Fault(times=None, status=status))
    with web(tmp_path) as reader, pytest.raises(DownloadError) as error:
        reader.read(Asset(server.address("a.json")))
    assert words in str(error.value)
    assert len(server.asked) == 1


class Clock:
    """Stands in for the event that threads wait for, and writes down how long they would have waited."""

    def __init__(self) -> None:
        self.waited: list[float] = []

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)

    def is_set(self) -> bool:
        return False

    def set(self) -> None:
        pass


@pytest.fixture
def clocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Web, Clock]]:
    with web(tmp_path, retries=8) as reader:
        clock = Clock()
        monkeypatch.setattr(reader, "_stop", clock)
        monkeypatch.setattr(retries, "FIRST_PAUSE_S", 0.5)
        yield reader, clock


def test_pauses_double_up_to_half_a_minute(server: FileServer, clocked: tuple[Web, Clock]) -> None:
    reader, clock = clocked
    server.fail("a.json", Fault(times=8, status=500))
    reader.read(Asset(server.address("a.json")))
    assert clock.waited == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_pauses_that_the_server_asks_for_are_made(server: FileServer, clocked: tuple[Web, Clock]) -> None:
    reader, clock = clocked
    for asked in ("7", "0", "rubbish", "Wed, 21 Oct 2015 07:28:00 GMT"):
        server.fail("a.json", Fault(status=429, headers={"Retry-After": asked}))
    reader.read(Asset(server.address("a.json")))
    assert clock.waited == [7, 1, 2, 4]
    server.mend()
    server.fail("a.json", Fault(status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(
        DownloadError, match=r"429 \(Too Many Requests\) and asks for a pause of 3600 s; run the"
    ):
        reader.read(Asset(server.address("a.json")))
    assert len(server.asked) == 1


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
def test_a_part_goes_on_where_it_broke(server: FileServer, tmp_path: Path, reset: bool) -> None:
    with web(tmp_path, connections=1) as reader:
        remote = reader.remote(Asset(server.address("a.bin")))
        server.mend()
        # A reset takes what was not read yet, so the pauses leave time to read.
        server.fail("a.bin", Fault(cut_after=600_000, reset=reset, pause_s=0.05))
        remote.fetch([(100_000, 900_000)])
        assert remote.read(100_000, 900_000) == CONTENT[100_000:1_000_000]
        first, second = server.of("a.bin")
        assert first.part == (100_000, 999_999)
        assert second.part is not None
        # The last piece before the break may be lost.
        assert 100_000 + 600_000 - 2**18 <= second.part[0] <= 700_000
        assert second.part[1] == 999_999
        assert reader.bytes_read <= server.bytes_sent + 2**15


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
def test_a_whole_file_that_breaks_is_read_again(server: FileServer, tmp_path: Path, reset: bool) -> None:
    server.fail("a.bin", Fault(times=2, cut_after=5000, reset=reset))
    with web(tmp_path) as reader:
        assert reader.read(Asset(server.address("a.bin"))) == CONTENT


def test_answers_that_always_break_are_given_up(server: FileServer, tmp_path: Path) -> None:
    server.fail("a.bin", Fault(times=None, cut_after=0))
    with (
        web(tmp_path, retries=1) as reader,
        pytest.raises(DownloadError, match=r"2 times in a row; run the same"),
    ):
        reader.remote(Asset(server.address("a.bin")))


def test_a_silent_server_is_asked_again(server: FileServer, tmp_path: Path) -> None:
    server.fail("a.json", Fault(delay_s=1.0))
    with web(tmp_path, timeout_s=0.2) as reader:
        assert reader.read(Asset(server.address("a.json")))
    server.fail("a.json", Fault(times=None, delay_s=1.0))
    with (
        web(tmp_path, timeout_s=0.1, retries=1) as reader,
        pytest.raises(
            DownloadError, match=r"a\.json: the server stayed silent for 0\.1 s, 2 times in a row; run"
        ),
    ):
        reader.read(Asset(server.address("a.json")))


def test_a_server_that_is_down_is_named(tmp_path: Path, server: FileServer) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/a.json"
    with web(tmp_path, retries=1) as reader, pytest.raises(DownloadError) as error:
        reader.read(Asset(address))
    assert str(error.value) == (
        f"{address}: the server cannot be reached, or broke the connection, 2 times in a row; {CONTINUES}"
    )


@pytest.mark.parametrize("address", ["http://", "http://[a/b.tif", "http://a b/c.tif"])
def test_what_is_no_address_is_refused(tmp_path: Path, address: str, server: FileServer) -> None:
    with web(tmp_path, retries=0) as reader, pytest.raises(DownloadError):
        reader.read(Asset(address))


@pytest.mark.parametrize(
    ("fault", "asked", "words"),
    [
        ("certificate verify failed", 1, "the server's certificate is not valid; check the date of this"),
        ("EOF occurred in violation of protocol", 3, "the encrypted connection broke, 3 times in a row"),
    ],
)
def test_a_wrong_certificate_is_told_from_a_broken_connection(
    fault: str, asked: int, words: str, tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def get(address: str, **_: Any) -> None:
        tried.append(address)
        raise requests.exceptions.SSLError(fault)

    with web(tmp_path, retries=2) as reader:
        monkeypatch.setattr(reader._session, "get", get)
        with pytest.raises(DownloadError, match=words):
            reader.read(Asset("https://a.org/a.json"))
    assert len(tried) == asked


def test_a_small_file_that_breaks_while_it_is_replaced_is_of_one_version(
    server: FileServer, tmp_path: Path
) -> None:
    server.fail("a.bin", Fault(ranges=False, body=bytes(len(CONTENT)), cut_after=600_000))
    server.fail("a.bin", Fault(ranges=False))
    with web(tmp_path) as reader:
        remote = reader.remote(Asset(server.address("a.bin")))
        assert remote.read(0, len(CONTENT)) == CONTENT


def test_redirects_are_followed(server: FileServer, tmp_path: Path) -> None:
    for name in ("old.bin", "older.bin"):
        target = {"old.bin": "a.bin", "older.bin": "old.bin"}[name]
        server.fail(name, Fault(times=None, status=302, headers={"Location": server.address(target)}))
    with web(tmp_path) as reader:
        assert read_parts(reader, server.address("older.bin"), (70_000, 5)) == [CONTENT[70_000:70_005]]
    assert server.of("a.bin")[-1].part == (70_000, 70_004)


def test_redirects_that_lead_nowhere_are_refused(server: FileServer, tmp_path: Path) -> None:
    server.fail("b.bin", Fault(times=None, status=302, headers={"Location": server.address("b.bin")}))
    server.fail("c.bin", Fault(times=None, status=302, headers={"Location": "file:///etc/hostname"}))
    with web(tmp_path) as reader:
        with pytest.raises(DownloadError, match=r"b\.bin: cannot be asked for \(TooManyRedirects\)"):
            reader.remote(Asset(server.address("b.bin")))
        with pytest.raises(DownloadError, match=r"c\.bin: cannot be asked for \(InvalidSchema\)"):
            reader.remote(Asset(server.address("c.bin")))


def test_small_files_need_no_ranges(server: FileServer, tmp_path: Path) -> None:
    server.fail("a.bin", Fault(times=None, ranges=False))
    with web(tmp_path) as reader:
        assert read_parts(reader, server.address("a.bin"), (999_999, 10)) == [CONTENT[999_999:1_000_009]]
    assert len(server.asked) == 1


def test_encodings_that_change_nothing_are_no_obstacle(server: FileServer, tmp_path: Path) -> None:
    server.fail("a.bin", Fault(times=None, headers={"Content-Encoding": "aws-chunked"}))
    with web(tmp_path) as reader:
        assert read_parts(reader, server.address("a.bin"), (70_000, 5)) == [CONTENT[70_000:70_005]]


def test_large_files_without_ranges_are_refused_before_they_are_read(
    server: FileServer, tmp_path: Path
) -> None:
    server.files["/large.bin"] = bytes(30 * 2**20)
    server.fail("large.bin", Fault(times=None, ranges=False))
    with web(tmp_path) as reader:
        with pytest.raises(
            DownloadError, match=r"whole files only \(no ranges\); choose another --catalogue, or"
        ):
            reader.remote(Asset(server.address("large.bin")))
        assert reader.bytes_read == 0


def test_ranges_that_end_in_the_middle_are_refused(server: FileServer, tmp_path: Path) -> None:
    with web(tmp_path) as reader:
        remote = reader.remote(Asset(server.address("a.bin")))
        server.fail("a.bin", Fault(times=None, ranges=False))
        with pytest.raises(DownloadError, match="no ranges"):
            remote.fetch([(500_000, 10)])


def test_a_page_in_place_of_a_file_is_named(server: FileServer, tmp_path: Path) -> None:
    page = Fault(
        times=None, ranges=False, body=b"<html>", headers={"Content-Type": "text/html; charset=utf-8"}
    )
    server.fail("a.bin", page)
    with (
        web(tmp_path) as reader,
        pytest.raises(DownloadError, match="web page in place of the file, perhaps to"),
    ):
        reader.remote(Asset(server.address("a.bin")))


@pytest.mark.parametrize(
    "fault",
    [
        {"shift": 1},
        {"headers": {"Content-Range": ""}},
        {"headers": {"Content-Range": "bytes 500000-500009/*"}},
        {"headers": {"Content-Encoding": "br"}},
    ],
    ids=str,
)
def test_another_part_than_was_asked_for_is_not_taken(
    server: FileServer, tmp_path: Path, fault: dict[str, Any]
) -> None:
    with web(tmp_path, retries=2) as reader:
        remote = reader.remote(Asset(server.address("a.bin")))
        server.fail("a.bin", Fault(**fault))
        remote.fetch([(500_000, 10)])
        assert remote.read(500_000, 10) == CONTENT[500_000:500_010]
        server.fail("a.bin", Fault(times=None, **fault))
        with pytest.raises(DownloadError, match="3 times in a row"):
            remote.fetch([(600_000, 10)])
        assert remote.read(600_000, 10) is None


@pytest.mark.parametrize(
    "headers", [{"ETag": '"new"'}, {"Content-Range": "bytes 500000-500009/1048577"}], ids=str
)
def test_a_file_that_changes_while_it_is_read_is_refused(
    server: FileServer, tmp_path: Path, headers: dict[str, str]
) -> None:
    with web(tmp_path) as reader:
        remote = reader.remote(Asset(server.address("a.bin")))
        server.fail("a.bin", Fault(headers=headers))
        with pytest.raises(DownloadError, match="was replaced while it was read; run the command again"):
            remote.fetch([(500_000, 10)])


def test_a_part_that_comes_in_bits_is_put_together_or_given_up(server: FileServer, tmp_path: Path) -> None:
    with web(tmp_path, retries=2) as reader:
        remote = reader.remote(Asset(server.address("a.bin")))
        bit = {"Content-Length": "40", "Connection": "close"}
        server.fail("a.bin", Fault(times=None, cut_after=40, headers=bit))
        remote.fetch([(500_000, 120)])
        assert remote.read(500_000, 120) == CONTENT[500_000:500_120]
        with pytest.raises(DownloadError, match="the answer ended 40 bytes too early, 3 times in a row"):
            remote.fetch([(600_000, 160)])


def test_compressed_metadata_are_unpacked(server: FileServer, tmp_path: Path) -> None:
    packed = Fault(body=gzip.compress(b'{"of": "metadata"}'), headers={"Content-Encoding": "gzip"})
    server.fail("a.json", packed)
    with web(tmp_path) as reader:
        assert reader.read(Asset(server.address("a.json"))) == b'{"of": "metadata"}'


def test_several_requests_run_at_once_but_not_too_many(server: FileServer, tmp_path: Path) -> None:
    server.delay_s = 0.03
    with web(tmp_path, connections=3) as reader:
        parts = [(at, 1000) for at in range(100_000, 900_000, 100_000)]
        assert read_parts(reader, server.address("a.bin"), *parts) == [
            CONTENT[at : at + 1000] for at, _ in parts
        ]
    assert server.most_at_once == 3
    assert {one.encodings for one in server.asked} == {"identity"}


def test_files_that_are_read_at_once_share_the_connections(server: FileServer, tmp_path: Path) -> None:
    server.delay_s = 0.01
    for name in ("b.bin", "c.bin"):
        (tmp_path / name).write_bytes(CONTENT)
    with web(tmp_path, connections=2) as reader:
        remotes = [reader.remote(Asset(server.address(f"{name}.bin"))) for name in "abc"]
        parts = [(at, 1000) for at in range(100_000, 900_000, 200_000)]
        at_once([partial(remote.fetch, parts) for remote in remotes], 3)
    assert server.most_at_once == 2


def test_a_proxy_of_the_environment_is_used(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.address(""))
    with web(tmp_path) as reader:
        assert reader.read(Asset("http://far.invalid/a.json")) == b'{"of": "metadata"}'


def test_results_come_in_order_and_jobs_run_together() -> None:
    meeting = threading.Barrier(3, timeout=5)

    def job(number: int) -> Callable[[], tuple[int, str]]:
        def run() -> tuple[int, str]:
            if number < 3:
                meeting.wait()
            time.sleep(0.01 * (5 - number))
            return number, SUBJECT.get()

        return run

    token = SUBJECT.set("T45RVL")
    try:
        assert at_once([job(number) for number in range(5)], 3) == [(number, "T45RVL") for number in range(5)]
    finally:
        SUBJECT.reset(token)
    assert at_once([], 3) == []


def test_the_first_error_ends_the_waiting_and_later_jobs_do_not_begin() -> None:
    begun: list[int] = []

    def job(number: int) -> Callable[[], None]:
        def run() -> None:
            begun.append(number)
            if number == 1:
                raise ZeroDivisionError
            time.sleep(0.1)

        return run

    with pytest.raises(ZeroDivisionError):
        at_once([job(number) for number in range(50)], 2)
    time.sleep(0.3)
    assert set(begun) <= {0, 1, 2}


STALLED = """
import sys
from pathlib import Path
from glacierseg.catalogues.cache import Cache
from glacierseg.catalogues.candidate import Asset
from glacierseg.catalogues.web import Web
with Web(cache=Cache(Path("nowhere"), 0)) as web:
    remote = web.remote(Asset(sys.argv[1]))
    print("begun", flush=True)
    try:
        remote.fetch([(at, 1000) for at in range(100_000, 900_000, 100_000)])
    except KeyboardInterrupt:
        sys.exit(130)
"""


def test_an_interrupt_does_not_wait_for_the_server(server: FileServer) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", STALLED, server.address("a.bin")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        server.fail("a.bin", Fault(times=1))
        server.fail("a.bin", Fault(times=None, delay_s=20))
        assert program.stdout.readline() == "begun\n"
        while server.most_at_once < 2:
            time.sleep(0.01)
        began = time.monotonic()
        program.send_signal(signal.SIGINT)
        assert program.wait() == 130
        assert time.monotonic() - began < 5
