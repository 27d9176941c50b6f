"""What was read is kept by content, and what is damaged or gone is as if it had never been read."""

import hashlib
import os
import threading
import warnings
from pathlib import Path

import pytest

from glacierseg.catalogues.cache import OWN_FOLDER, Cache, cache_folder
from glacierseg.errors import GlaciersegWarning


def blobs(cache: Cache) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in (cache.folder / "blobs").iterdir()}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 1)


def test_what_is_kept_is_there_by_content(cache: Cache) -> None:
    assert cache.take("a") is None
    cache.keep("a", b"ice")
    cache.keep("b", b"ice")
    cache.keep("c", b"rock")
    assert [cache.take(asked) for asked in "abcd"] == [b"ice", b"ice", b"rock", None]
    assert blobs(cache) == {hashlib.sha256(one).hexdigest(): len(one) for one in (b"ice", b"rock")}
    cache.keep("a", b"snow")
    assert cache.take("a") == b"snow"
    assert [Cache(cache.folder, 1).take(asked) for asked in "ab"] == [b"snow", b"ice"]


@pytest.mark.parametrize("damage", [b"ic", b"icy", b"", None], ids=str)
def test_damaged_content_is_not_taken_and_kept_anew(cache: Cache, damage: bytes | None) -> None:
    cache.keep("a", b"ice")
    blob = cache.folder / "blobs" / hashlib.sha256(b"ice").hexdigest()
    blob.unlink() if damage is None else blob.write_bytes(damage)
    assert cache.take("a") is None
    assert not blob.exists()
    cache.keep("a", b"ice")
    assert cache.take("a") == b"ice"


@pytest.mark.parametrize("key", ["", ".", "..", "../../in/x", "\0", "x" * 64])
def test_damaged_keys_are_not_followed(cache: Cache, tmp_path: Path, key: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x").write_bytes(b"ice")
    cache.keep("a", b"ice")
    (file,) = (cache.folder / "keys").iterdir()
    file.write_text(key, encoding="utf-8")
    assert cache.take("a") is None
    assert (tmp_path / "in" / "x").exists()
    cache.keep("a", b"ice")
    assert cache.take("a") == b"ice"


def test_what_was_taken_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 25e-9)
    for number, asked in enumerate("abc"):
        cache.keep(asked, asked.encode() * 8)
        blob = cache.folder / "blobs" / hashlib.sha256(asked.encode() * 8).hexdigest()
        os.utime(blob, (1000 + number, 1000 + number))
    assert cache.take("a") == b"a" * 8
    cache.keep("d", b"d" * 8)
    assert [cache.take(asked) is not None for asked in "abcd"] == [True, False, True, True]
    assert sum(blobs(cache).values()) == 24
    assert len(list((cache.folder / "keys").iterdir())) == 3


def test_what_is_larger_than_the_limit_is_not_kept(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 25e-9)
    cache.keep("a", b"a" * 20)
    cache.keep("b", b"b" * 26)
    assert (cache.take("a"), cache.take("b")) == (b"a" * 20, None)


def test_without_a_size_there_is_no_cache(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 0)
    cache.keep("a", b"ice")
    assert cache.take("a") is None
    assert not cache.folder.exists()
    Cache(cache.folder, 1).keep("a", b"ice")
    assert cache.take("a") is None


def test_leftovers_of_killed_processes_go_as_the_oldest(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 25e-9)
    cache.keep("a", b"a" * 8)
    old, new = (cache.folder / "blobs" / f"part-{number}" for number in (1, 2))
    for number, path in enumerate((old, new)):
        path.write_bytes(b"half" * 2)
        os.utime(path, (1000 + 1e10 * number,) * 2)
    cache.keep("b", b"b" * 8)
    assert (old.exists(), new.exists()) == (False, True)


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = Cache(tmp_path / "file" / "cache", 1)
    with pytest.warns(GlaciersegWarning, match=f"the cache cannot be written .Not a directory.*{OWN_FOLDER}"):
        cache.keep("a", b"ice")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.keep("b", b"rock")
        assert not Cache(cache.folder, 1).take("a")


def test_several_writers_do_not_meet(tmp_path: Path) -> None:
    # Room for half of what is kept, so that some is always being removed.
    folder, limit_gb = tmp_path / "cache", 100e-9
    contents = {str(number): bytes([number]) * 20 for number in range(10)}
    wrong: list[str] = []

    def work() -> None:
        cache = Cache(folder, limit_gb)
        for _ in range(15):
            for asked, content in contents.items():
                cache.keep(asked, content)
                if cache.take(asked) not in {None, content}:
                    wrong.append(asked)

    threads = [threading.Thread(target=work) for _ in range(4)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
    assert sum(size for size in blobs(Cache(folder, limit_gb)).values()) <= 100


def test_the_users_own_folder_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OWN_FOLDER, str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv(OWN_FOLDER)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "glacierseg" / "windows"
