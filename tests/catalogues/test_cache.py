"""What was read is kept by content, and what is damaged or gone is as if it had never been read."""

import hashlib
import os
import threading
import time
import warnings
from pathlib import Path

import pytest

from glacierseg.catalogues.cache import OWN_FOLDER, Cache, cache_folder
from glacierseg.errors import GlaciersegWarning


def make(folder: Path, content: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / hashlib.md5(content, usedforsecurity=False).hexdigest()
    path.write_bytes(content)
    return path


def blobs(cache: Cache) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in (cache.folder / "blobs").iterdir()}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 1)


def taken(cache: Cache, asked: str) -> bytes | None:
    path = cache.folder.parent / "taken"
    path.unlink(missing_ok=True)
    found = cache.take(asked, path)
    assert found == path.exists()
    return path.read_bytes() if found else None


def test_what_is_kept_is_there_by_content(cache: Cache, tmp_path: Path) -> None:
    assert taken(cache, "a") is None
    cache.keep("a", make(tmp_path / "in", b"ice"))
    cache.keep("b", make(tmp_path / "in", b"ice"))
    cache.keep("c", make(tmp_path / "in", b"rock"))
    assert [taken(cache, asked) for asked in "abcd"] == [b"ice", b"ice", b"rock", None]
    assert blobs(cache) == {hashlib.sha256(one).hexdigest(): len(one) for one in (b"ice", b"rock")}
    cache.keep("a", make(tmp_path / "in", b"snow"))
    assert taken(cache, "a") == b"snow"
    assert [taken(Cache(cache.folder, 1), asked) for asked in "ab"] == [b"snow", b"ice"]


@pytest.mark.parametrize("damage", [b"ic", b"icy", b"", None], ids=str)
def test_damaged_content_is_not_taken_and_kept_anew(
    cache: Cache, tmp_path: Path, damage: bytes | None
) -> None:
    source = make(tmp_path / "in", b"ice")
    cache.keep("a", source)
    blob = cache.folder / "blobs" / hashlib.sha256(b"ice").hexdigest()
    blob.unlink() if damage is None else blob.write_bytes(damage)
    assert taken(cache, "a") is None
    assert not blob.exists()
    cache.keep("a", source)
    assert taken(cache, "a") == b"ice"


@pytest.mark.parametrize("key", ["", "{}", "[]", '{"sha256": "../../in/x"}', '{"sha256": 5}', "\0"])
def test_damaged_keys_are_not_followed(cache: Cache, tmp_path: Path, key: str) -> None:
    source = make(tmp_path / "in", b"ice")
    cache.keep("a", source)
    (file,) = (cache.folder / "keys").iterdir()
    file.write_text(key, encoding="utf-8")
    assert taken(cache, "a") is None
    cache.keep("a", source)
    assert taken(cache, "a") == b"ice"


def test_what_was_taken_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 25e-9)
    for number, asked in enumerate("abc"):
        cache.keep(asked, make(tmp_path / "in", asked.encode() * 8))
        blob = cache.folder / "blobs" / hashlib.sha256(asked.encode() * 8).hexdigest()
        os.utime(blob, (1000 + number, 1000 + number))
    assert taken(cache, "a") == b"a" * 8
    cache.keep("d", make(tmp_path / "in", b"d" * 8))
    assert [taken(cache, asked) is not None for asked in "abcd"] == [True, False, True, True]
    assert sum(blobs(cache).values()) == 24
    assert len(list((cache.folder / "keys").iterdir())) == 3


def test_what_is_larger_than_the_limit_is_not_kept(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 25e-9)
    cache.keep("a", make(tmp_path / "in", b"a" * 20))
    cache.keep("b", make(tmp_path / "in", b"b" * 26))
    assert (taken(cache, "a"), taken(cache, "b")) == (b"a" * 20, None)


def test_without_a_size_there_is_no_cache(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 0)
    cache.keep("a", make(tmp_path / "in", b"ice"))
    assert not cache.is_on
    assert taken(cache, "a") is None
    assert not cache.folder.exists()


def test_leftovers_of_killed_processes_go(cache: Cache, tmp_path: Path) -> None:
    cache.keep("a", make(tmp_path / "in", b"ice"))
    old, new = (cache.folder / "blobs" / f"x.part-{number}-1" for number in (1, 2))
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    os.utime(old, (time.time() - 25 * 3600,) * 2)
    cache.keep("b", make(tmp_path / "in", b"rock"))
    assert (old.exists(), new.exists()) == (False, True)


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = Cache(tmp_path / "file" / "cache", 1)
    with pytest.warns(GlaciersegWarning, match=f"the cache cannot be written .Not a directory.*{OWN_FOLDER}"):
        cache.keep("a", make(tmp_path / "in", b"ice"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.keep("b", make(tmp_path / "in", b"rock"))
        assert not Cache(cache.folder, 1).take("a", tmp_path / "taken")


def test_several_writers_do_not_meet(tmp_path: Path) -> None:
    # Room for half of what is kept, so that some is always being removed.
    folder, limit_gb = tmp_path / "cache", 100e-9
    contents = {str(number): bytes([number]) * 20 for number in range(10)}
    sources = {asked: make(tmp_path / "in", content) for asked, content in contents.items()}
    wrong: list[str] = []

    def work(name: int) -> None:
        cache, target = Cache(folder, limit_gb), tmp_path / f"taken-{name}"
        for _ in range(15):
            for asked, content in contents.items():
                cache.keep(asked, sources[asked])
                if cache.take(asked, target) and target.read_bytes() != content:
                    wrong.append(asked)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
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
