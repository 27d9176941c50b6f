"""Which product a path is, by its content."""

import io
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from glacierseg.products.read import read_product
from glacierseg.raster.open import files_behind, open_raster
from tests.products.shelves import (
    LandsatFacts,
    SafeFacts,
    digital_numbers,
    edit,
    make_landsat,
    make_safe,
    make_tar,
    make_zip,
)

Refusal = Callable[[Path], str]
BOMB = """<?xml version="1.0"?>
<!DOCTYPE a [<!ENTITY b "boom"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>
<n1:Level-2A_User_Product xmlns:n1="a">&c;</n1:Level-2A_User_Product>"""
OUTSIDE = """<?xml version="1.0"?>
<!DOCTYPE a SYSTEM "file:///etc/passwd">
<n1:Level-2A_User_Product xmlns:n1="a"/>"""


def test_sentinel2_is_read_from_whatever_holds_it(tmp_path: Path) -> None:
    shelf = tmp_path / "my share"
    safe = make_safe(shelf)
    packed = make_zip(safe)
    odd = shutil.copy(packed, tmp_path / "download.part")
    whole = read_product(safe)
    for path in (packed, Path(odd), safe / "MTD_MSIL2A.xml", shelf):
        product = read_product(path)
        assert product.source == path
        assert (product.name, product.acquired, product.baseline) == (
            whole.name,
            whole.acquired,
            whole.baseline,
        )
        assert [band.role for band in product.bands] == [band.role for band in whole.bands]
        with open_raster(product.bands[0].path) as image:
            assert (image.read(1) == digital_numbers("0210", 36)).all()
        if path.is_file() and path.suffix != ".xml":
            assert files_behind(product.bands[0].path) == (path,)
    renamed = safe.rename(shelf / "autumn")
    assert read_product(renamed).name == whole.name
    (renamed / "MTD_MSIL2A.xml").rename(renamed / "autumn.xml")
    assert read_product(renamed / "autumn.xml").name == whole.name


def test_landsat_is_read_from_whatever_holds_it(tmp_path: Path) -> None:
    facts = LandsatFacts(formats=("json", "xml", "txt"))
    folder = make_landsat(tmp_path / "my share", facts)
    paths = [folder, *folder.glob("*_MTL.*"), make_tar(folder), make_tar(folder, ".tar.gz"), make_zip(folder)]
    odd = shutil.copy(paths[4], tmp_path / "download.part")
    whole = read_product(folder)
    for path in (*paths, Path(odd)):
        product = read_product(path)
        assert (product.name, len(product.bands)) == (facts.name, 8)
        assert [(band.scale, band.offset) for band in product.bands] == [
            (band.scale, band.offset) for band in whole.bands
        ]
        with open_raster(product.bands[3].path) as image:
            assert (image.read(1) == digital_numbers("SR_B4", 12)).all()
    dotted = tmp_path / "dotted.tar"
    with tarfile.open(dotted, "w") as archive:
        archive.add(folder, ".")
    with open_raster(read_product(dotted).bands[3].path) as image:
        assert (image.read(1) == digital_numbers("SR_B4", 12)).all()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["dotted.tar", "download.part", "my share"]
    assert len(list((tmp_path / "my share").iterdir())) == 4


def test_a_product_is_read_from_within_its_folder(
    tmp_path: Path, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    safe = make_safe(tmp_path)
    monkeypatch.chdir(safe)
    for path in (Path(), Path("MTD_MSIL2A.xml")):
        assert read_product(path).name == SafeFacts().name
    moved = safe.rename(tmp_path / f"{SafeFacts(baseline='05.10').name}.SAFE")
    monkeypatch.chdir(moved)
    assert "baseline is 05.10 by its name, and 05.11" in refusal(Path("MTD_MSIL2A.xml"))


def test_what_is_no_product_is_named(tmp_path: Path, refusal: Refusal) -> None:
    assert "no such file or folder" in refusal(tmp_path / "none")
    unknown = "is no product of Sentinel-2 L2A or Landsat Collection 2 Level-2 that glacierseg knows"
    assert unknown in refusal(tmp_path)
    (tmp_path / "a.txt").write_text("a")
    assert f"{unknown} (found a.txt); stack single files with `glacierseg prepare stack`" in refusal(tmp_path)
    assert f"{unknown};" in refusal(tmp_path / "a.txt")
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04 and no more")
    assert "is an archive that is cut short or damaged; download" in refusal(tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    assert f"{unknown} (found a.txt)" in refusal(tmp_path / "b.zip")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty; download the product again"),
        (
            b"\n<!DOCTYPE html><html>log in</html>",
            "is a web page, perhaps one that asks for a login; ",
        ),
    ],
)
def test_a_download_that_failed_is_named(tmp_path: Path, refusal: Refusal, data: bytes, words: str) -> None:
    (tmp_path / "product.zip").write_bytes(data)
    assert words in refusal(tmp_path / "product.zip")


def test_a_part_of_a_product_is_answered_with_the_whole(tmp_path: Path, refusal: Refusal) -> None:
    safe, landsat = make_safe(tmp_path / "a"), make_landsat(tmp_path / "b")
    image = safe / SafeFacts().image("B04", 10)
    for part in (image, image.parent, safe / "GRANULE", safe / SafeFacts().granule / "MTD_TL.xml"):
        assert f"give its whole product, {safe}" in refusal(part)
    assert f"give its whole product, {landsat}" in refusal(next(landsat.glob("*_SR_B4.TIF")))
    metadata = next(landsat.glob("*_MTL.json"))
    metadata.unlink()
    assert f"its metadata are missing, so put {metadata.name} beside its images" in refusal(landsat)
    (safe / "MTD_MSIL2A.xml").unlink()
    assert "its metadata are missing, so put MTD_MSIL2A.xml beside its images" in refusal(safe)
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.writestr("S2B.SAFE.zip", b"PK")
    assert "unpack it, and give what it holds" in refusal(tmp_path / "outer.zip")


def test_what_other_systems_leave_in_a_product_does_no_harm(tmp_path: Path) -> None:
    facts = LandsatFacts(formats=("json", "txt"))
    product = make_landsat(tmp_path, facts)
    text = product / f"{facts.name}_MTL.txt"
    text.write_bytes(b"\xef\xbb\xbf" + text.read_bytes().replace(b"\n", b"\r\n"))
    for file in sorted(product.iterdir()):
        (product / f"._{file.name}").write_bytes(b"\0\5\x16\7")
        if file.suffix == ".TIF":
            file.rename(file.with_suffix(".tif"))
    for source in (product, text, make_tar(product)):
        found = read_product(source)
        assert found.name == facts.name
        assert len(found.bands) == 8


def test_several_products_are_told_apart(tmp_path: Path, refusal: Refusal) -> None:
    first, second = make_safe(tmp_path), make_safe(tmp_path, SafeFacts(date="2025-05-25"))
    assert f"holds 2 products ({first.name}, {second.name}); give one of them" in refusal(tmp_path)
    landsat = make_landsat(tmp_path / "both")
    for file in make_landsat(tmp_path / "both", LandsatFacts(date="2023-12-01")).iterdir():
        shutil.copy(file, landsat)
    landsat = landsat.rename(landsat.with_name("downloads"))
    message = refusal(landsat)
    assert "holds 2 products" in message
    listed = message.partition("(")[2].partition(")")[0].split(", ")
    assert {read_product(landsat / name).acquired.month for name in listed} == {11, 12}
    shutil.move(second, tmp_path / "both" / second.name)
    packed = refusal(make_zip(tmp_path / "both"))
    assert "holds 4 products" in packed
    assert "unpack it and give one of these" in packed


def test_level_1_is_named(tmp_path: Path, refusal: Refusal) -> None:
    safe = make_safe(tmp_path)
    edit(safe / "MTD_MSIL2A.xml", "Level-2A", "Level-1C")
    (safe / "MTD_MSIL2A.xml").rename(safe / "MTD_MSIL1C.xml")
    assert "is Level-1C, reflectance at the top of the atmosphere; take the Level-2A product" in refusal(safe)


def test_names_that_contradict_the_metadata_are_refused(tmp_path: Path, refusal: Refusal) -> None:
    facts = SafeFacts()
    safe = make_safe(tmp_path, facts)
    packed = make_zip(safe)
    later = packed.rename(tmp_path / f"{SafeFacts(date='2025-05-25').name}.zip")
    assert "date is 2025-05-25 by its name, and 2024-09-30 by the folder's name within it" in refusal(later)
    moved = safe.rename(tmp_path / f"{SafeFacts(tile='T45RWL').name}.SAFE")
    assert "tile is T45RWL by its name, and T45RVL by PRODUCT_URI" in refusal(moved)
    landsat = make_landsat(tmp_path)
    moved = landsat.rename(tmp_path / LandsatFacts(path_row="141041").name)
    assert "tile is 141041 by its name, and 140041" in refusal(moved)


@pytest.mark.parametrize("text", [BOMB, OUTSIDE, BOMB.encode("utf-16").decode("latin-1")])
def test_a_document_type_is_never_expanded(tmp_path: Path, refusal: Refusal, text: str) -> None:
    safe = make_safe(tmp_path)
    (safe / "MTD_MSIL2A.xml").write_bytes(text.encode("latin-1"))
    assert "has a document type or entities, as no agency's metadata have" in refusal(safe)


def test_metadata_beyond_all_size_or_depth_are_refused(tmp_path: Path, refusal: Refusal) -> None:
    safe = make_safe(tmp_path)
    (safe / "MTD_MSIL2A.xml").write_text("<a>" * 1000)
    assert "nests more than 50 elements" in refusal(safe)
    (safe / "MTD_MSIL2A.xml").write_text("<a>" + " " * 2**25)
    assert "is larger than 16 MiB" in refusal(safe)
    packed = tmp_path / "bomb.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("S2.SAFE/MTD_MSIL2A.xml", b" " * 2**27)
    assert packed.stat().st_size < 2**18
    assert "is larger than 16 MiB" in refusal(packed)


@pytest.mark.parametrize("name", ["../B04.jp2", "a/../../b", "/etc/passwd", "C:/b", "..\\b"])
def test_members_that_lie_elsewhere_are_refused(tmp_path: Path, refusal: Refusal, name: str) -> None:
    packed = make_zip(make_safe(tmp_path))
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(name, "a")
    assert "lies outside of it" in refusal(packed)
    tape = make_tar(make_landsat(tmp_path))
    with tarfile.open(tape, "a") as archive:
        archive.addfile(tarfile.TarInfo(name))
    assert "lies outside of it" in refusal(tape)


def test_links_that_lead_out_are_refused(tmp_path: Path, refusal: Refusal) -> None:
    facts = SafeFacts()
    safe = make_safe(tmp_path, facts)
    image = safe / facts.image("B04", 10)
    outside = shutil.move(image, tmp_path / "outside.jp2")
    image.symlink_to(outside)
    assert "outside.jp2, outside the product; put a copy of the file in its place" in refusal(safe)
    image.unlink()
    shutil.copy(outside, image)
    read_product(safe)
    beside = image.with_name(f"{image.name}.aux.xml")
    beside.symlink_to(tmp_path / "outside.jp2")
    assert "outside the product" in refusal(safe)
    beside.unlink()
    shutil.move(safe / "GRANULE", tmp_path / "GRANULE")
    (safe / "GRANULE").symlink_to(tmp_path / "GRANULE")
    assert "outside the product" in refusal(safe)
    tape = make_tar(make_landsat(tmp_path))
    with tarfile.open(tape, "a") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert "is a link or no file" in refusal(tape)
    link_to_it = tmp_path / "link"
    link_to_it.symlink_to(make_safe(tmp_path / "again"))
    assert read_product(link_to_it).name == facts.name


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".zip"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_an_archive_that_is_cut_short_is_refused(
    tmp_path: Path, refusal: Refusal, suffix: str, share: float
) -> None:
    folder = make_landsat(tmp_path)
    packed = make_zip(folder) if suffix == ".zip" else make_tar(folder, suffix)
    whole = packed.read_bytes()
    # The end of a tar is empty blocks.
    end = whole.rstrip(b"\0") if suffix == ".tar" else whole
    packed.write_bytes(end[: int(len(end) * share)])
    assert "is an archive that is cut short or damaged; download the product again" in refusal(packed)


def test_archives_that_cannot_be_read_in_place_are_refused(tmp_path: Path, refusal: Refusal) -> None:
    folder = make_landsat(tmp_path)
    tape = tmp_path / "product.tar.xz"
    with tarfile.open(tape, "w:xz") as archive:
        archive.add(folder, ".")
    assert "unpack it and give its folder" in refusal(tape)
    packed = make_zip(folder)
    whole = packed.read_bytes()
    twice = io.BytesIO(whole)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(twice, "a") as archive:
        archive.writestr(f"{folder.name}/{folder.name}_MTL.json", "{}")
    packed.write_bytes(twice.getvalue())
    assert "more than once" in refusal(packed)
    # The bit of encryption, where each member begins in the directory.
    packed.write_bytes(whole.replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"))
    assert "is encrypted" in refusal(packed)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all")
def test_what_may_not_be_read_is_named(tmp_path: Path, refusal: Refusal) -> None:
    safe = make_safe(tmp_path)
    (safe / "MTD_MSIL2A.xml").chmod(0)
    assert "may not be read" in refusal(safe)
