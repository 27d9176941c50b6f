import os
from pathlib import Path

import numpy as np
import pytest

from glacierseg.choices import Cache
from glacierseg.data.pixel_store import PixelStore
from glacierseg.errors import RequestError
from glacierseg.raster.scene import Scene, open_scene
from tests.helpers import write_scene

HEIGHT, WIDTH = 1100, 40  # more rows than a strip


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    values = np.random.default_rng(0).integers(0, 999, (3, HEIGHT, WIDTH)).astype(np.uint16)
    values[:, 500:510] = 0
    write_scene(tmp_path / "scene.tif", values, nodata=0)
    return open_scene(tmp_path / "scene.tif")


@pytest.mark.parametrize("cache", ["memory", "disk", "none", "auto"])
@pytest.mark.parametrize("place", [(0, 0), (505, 13), (HEIGHT - 16, WIDTH - 16), (-5, 30), (HEIGHT - 3, -2)])
def test_windows_are_those_of_the_scene(
    scene: Scene, tmp_path: Path, cache: Cache, place: tuple[int, int]
) -> None:
    values, valid = PixelStore([scene], cache, tmp_path / "cache").read(0, *place, 16)
    with scene.open() as reader:
        expected, expected_valid = reader.read(*place, 16, 16)
    np.testing.assert_array_equal(values.transpose(2, 0, 1), expected)
    np.testing.assert_array_equal(valid, expected_valid)
    assert values.dtype == np.uint16


def test_files_are_used_again_until_their_source_changes(scene: Scene, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    PixelStore([scene], "disk", folder).fill()
    first = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(first) == 2
    PixelStore([scene], "disk", folder).fill()
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == first
    six = scene.select(["b2"])
    assert PixelStore([six], "disk", folder).read(0, 3, 4, 8)[0].shape == (8, 8, 1)
    source = scene.paths[0]
    source.unlink()
    write_scene(source, np.full((3, HEIGHT, WIDTH), 7, np.uint16), nodata=0)
    os.utime(source, ns=(1, 1))
    assert (PixelStore([open_scene(source)], "disk", folder).read(0, 3, 4, 8)[0] == 7).all()


def test_a_writer_that_fails_leaves_nothing(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: PixelStore, index: int) -> None:
        raise OSError("gone")

    monkeypatch.setattr(PixelStore, "_strips", broken)
    with pytest.raises(OSError, match="gone"):
        PixelStore([scene], "disk", tmp_path / "cache").fill()
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_on_disk_needs_a_folder(scene: Scene) -> None:
    with pytest.raises(RequestError, match="folder"):
        PixelStore([scene], "disk")
