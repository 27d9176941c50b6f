"""Images that open and are damaged: only checksums show it."""

import hashlib
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from glacierseg.errors import ProductError
from glacierseg.products.scene import prepare_scene
from glacierseg.settings.prepare import ProductSettings
from tests.products.shelves import LandsatFacts, SafeFacts, make_landsat, make_safe, make_tar, make_zip

FACTS = SafeFacts(bands=("02", "03", "04", "08", "11", "12"))
RED = ProductSettings(recipe="red,")


def damaged(data: bytes, start: int, end: int) -> bytes:
    """Turns some bits in the last quarter of a part, where an image has its pixels."""
    place = end - (end - start) // 4
    return data[:place] + bytes(one ^ 0x55 for one in data[place : place + 8]) + data[place + 8 :]


def assert_refused(product: Path, folder: Path, words: str) -> None:
    with pytest.raises(ProductError) as caught:
        prepare_scene(product, folder / "scene.tif", RED)
    assert words in str(caught.value)
    assert not list(folder.glob("*scene.tif*"))


def test_a_damaged_image_in_a_zip_is_refused(tmp_path: Path) -> None:
    safe = make_safe(tmp_path, FACTS)
    archive = make_zip(safe)
    name = f"{safe.name}/{FACTS.image('B04', 10)}"
    prepare_scene(archive, tmp_path / "whole.tif", RED)
    with zipfile.ZipFile(archive) as opened:
        member = opened.getinfo(name)
    start = member.header_offset
    (tmp_path / "bad.zip").write_bytes(
        damaged(archive.read_bytes(), start + 100, start + member.compress_size)
    )
    assert_refused(tmp_path / "bad.zip", tmp_path, "bad.zip: is an archive that is cut short or damaged")


@pytest.mark.parametrize(
    ("name", "algorithm", "ending"),
    [("MD5", "md5", "/>"), ("SHA3-256", "sha3_256", "></fileLocation>")],
)
def test_an_image_that_is_not_that_of_the_manifest_is_refused(
    tmp_path: Path, name: str, algorithm: str, ending: str
) -> None:
    safe = make_safe(tmp_path, FACTS)
    image = safe / FACTS.image("B04", 10)
    digest = hashlib.new(algorithm, image.read_bytes()).hexdigest().upper()
    # Not whole XML, and with paths of other machines, as in products of baseline 02.08.
    (safe / "manifest.safe").write_text(
        f'<dataObject><fileLocation locatorType="URL" href="/data/in_progress/{image.name}"{ending}'
        f'<checksum checksumName="{name}">{digest}</checksum></byteStream>'
    )
    prepare_scene(safe, tmp_path / "whole.tif", RED)
    data = image.read_bytes()
    image.write_bytes(damaged(data, 200, len(data)))
    assert_refused(safe, tmp_path, f"{image.name} is damaged, since it has another checksum")


def test_the_checksum_of_a_compressed_tar_is_looked_at(
    tmp_path: Path, refusal: Callable[[Path], str]
) -> None:
    archive = make_tar(make_landsat(tmp_path, LandsatFacts()), ".tar.gz")
    data = bytearray(archive.read_bytes())
    data[-8] ^= 0x55
    archive.write_bytes(data)
    assert "cut short or damaged" in refusal(archive)


def test_long_names_that_cannot_be_read_in_place_are_named(
    tmp_path: Path, refusal: Callable[[Path], str]
) -> None:
    safe = make_safe(tmp_path, FACTS)
    with tarfile.open(tmp_path / "safe.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(safe, safe.name)
    assert "has long names in a way that cannot be read in place; unpack it" in refusal(tmp_path / "safe.tar")
