"""Images that are cut short, against those that GDAL writes in each layout."""

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from glacierseg.errors import ProductError
from glacierseg.products.scene import prepare_scene
from glacierseg.products.whole import is_whole
from glacierseg.settings.prepare import ProductInputs, ProductSettings
from tests.products.shelves import (
    CORNER,
    LandsatFacts,
    SafeFacts,
    make_landsat,
    make_safe,
    make_tar,
    make_zip,
    write_image,
)

LAYOUTS: dict[str, dict[str, Any]] = {
    "strips": {"driver": "GTiff"},
    "tiles": {"driver": "GTiff", "tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"},
    "big": {"driver": "GTiff", "tiled": True, "blockxsize": 16, "blockysize": 16, "BIGTIFF": "YES"},
    "big-endian": {"driver": "GTiff", "ENDIANNESS": "BIG", "compress": "lzw"},
    "JPEG 2000": {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES", "BLOCKYSIZE": 32},
}


def image(folder: Path, values: np.ndarray, **options: Any) -> bytes:
    path = folder / ("image.jp2" if options["driver"] == "JP2OpenJPEG" else "image.tif")
    profile = {"height": values.shape[0], "width": values.shape[1], "count": 1, "dtype": values.dtype}
    with rasterio.open(path, "w", **profile, **options) as file:
        file.write(values, 1)
    return path.read_bytes()


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 9000, (128, 96)).astype(np.uint16)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_image_that_is_cut_anywhere_is_not_whole(tmp_path: Path, noise: np.ndarray, layout: str) -> None:
    data = image(tmp_path, noise, **LAYOUTS[layout])
    assert is_whole(io.BytesIO(data))
    assert is_whole(io.BytesIO(data + b"more"))
    for length in [*np.linspace(0, len(data) - 1, 40).astype(int), 1, 4, 9, 20]:
        assert not is_whole(io.BytesIO(data[:length])), length


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_jpeg_2000_shows_what_is_lost_in_between(tmp_path: Path, noise: np.ndarray) -> None:
    data = image(tmp_path, noise, **LAYOUTS["JPEG 2000"])
    half = len(data) // 2
    assert not is_whole(io.BytesIO(data[:half] + data[half + 1 :]))
    assert not is_whole(io.BytesIO(data[:half] + bytes(len(data) - half)))
    # A last part of a tile that reaches to the end, and boxes of 64-bit and of open length, are allowed.
    last = data.rindex(b"\xff\x90\x00\x0a")
    open_end = data[: last + 6] + bytes(4) + data[last + 10 :]
    assert is_whole(io.BytesIO(open_end))
    assert not is_whole(io.BytesIO(open_end[:-1]))
    box = data.index(b"jp2c") - 4
    for length in (b"\0\0\0\0jp2c", b"\0\0\0\1jp2c" + struct.pack(">Q", len(data) - box + 8)):
        assert is_whole(io.BytesIO(data[:box] + length + data[box + 8 :]))
    assert not is_whole(io.BytesIO(data[:box]))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_tiles_that_are_not_stored_are_not_missed(tmp_path: Path, noise: np.ndarray) -> None:
    for first in (64, 0):
        noise[first:] = 0
        data = image(tmp_path, noise, **LAYOUTS["tiles"], SPARSE_OK="TRUE")
        assert is_whole(io.BytesIO(data))


SAFE = SafeFacts(bands=("02", "03", "04", "08", "11", "12"))


def safe_folder(folder: Path) -> tuple[Path, Path]:
    safe = make_safe(folder, SAFE)
    return safe, safe / SAFE.image("B04", 10)


def landsat_folder(folder: Path) -> tuple[Path, Path]:
    product = make_landsat(folder)
    return product, product / f"{LandsatFacts().name}_SR_B4.TIF"


def as_it_is(folder: Path) -> Path:
    return folder


@pytest.mark.parametrize(
    ("make", "pack"),
    [
        (safe_folder, as_it_is),
        (safe_folder, make_zip),
        (landsat_folder, as_it_is),
        (landsat_folder, make_tar),
    ],
)
def test_an_image_without_its_end_is_refused_though_no_pixel_of_it_is_wanted(
    tmp_path: Path, make: Callable[[Path], tuple[Path, Path]], pack: Callable[[Path], Path]
) -> None:
    """Whatever holds it: an archive's checksum is right for what was damaged before."""
    product, image = make(tmp_path)
    image.write_bytes(image.read_bytes()[:-2])
    like = write_image(tmp_path / "like.tif", np.ones((2, 2), np.uint8), 30, corner=CORNER)
    with pytest.raises(ProductError) as caught:
        prepare_scene(
            pack(product), tmp_path / "scene.tif", ProductSettings(recipe="red,"), ProductInputs(like=like)
        )
    assert f"{image.name} is cut short or damaged" in str(caught.value)
    assert not (tmp_path / "scene.tif").exists()
