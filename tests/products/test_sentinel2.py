"""Products of Sentinel-2, read by their metadata."""

import re
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glacierseg.products.read import read_product
from glacierseg.products.sentinel2 import images_listed
from glacierseg.raster.open import open_raster
from tests.products.shelves import SIDE_M, SafeFacts, digital_numbers, edit, make_safe, write_image

Refusal = Callable[[Path], str]
METADATA = "MTD_MSIL2A.xml"


def test_every_band_has_its_finest_image_and_its_unit(tmp_path: Path) -> None:
    facts = SafeFacts()
    product = read_product(make_safe(tmp_path, facts))
    assert (product.name, product.sensor, product.tile) == (facts.name, "sentinel2", "T45RVL")
    assert (product.acquired, product.baseline) == (date(2024, 9, 30), "05.11")
    assert (product.nodata, product.classes_kind, product.saturation) == (0, "scl", None)
    roles = ["blue", "green", "red", "red_edge_1", "nir", "nir_narrow", "water_vapour", "swir1", "swir2"]
    assert [band.role for band in product.bands] == roles
    assert {band.saturated for band in product.bands} == {65535}
    files = ("0210", "0310", "0410", "0520", "0810", "8A20", "0960", "1120", "1220")
    for band, file in zip(product.bands, files, strict=True):
        with open_raster(band.path) as image:
            found = image.read(1)
        assert (found == digital_numbers(file, SIDE_M // int(file[2:]))).all()
        assert np.allclose(found * band.scale + band.offset, found.astype(float) - 1000)
    with open_raster(product.classes) as image:
        assert image.res == (20, 20)


@pytest.mark.parametrize(
    ("facts", "offset"),
    [
        (SafeFacts(date="2017-05-12", baseline="02.05", offset=None), 0),
        (SafeFacts(date="2021-05-12", baseline="03.00", offset=None), 0),
        (SafeFacts(date="2016-01-05", baseline="05.00", offset=-1000), -1000),
        (SafeFacts(baseline="05.11", offset=0), 0),
        (SafeFacts(baseline="99.99", offset=None), 0),
        (SafeFacts(baseline="99.99", offset=-1000), -1000),
    ],
    ids=["2017", "2021", "reprocessed", "zero", "sen2cor-old", "sen2cor"],
)
def test_the_offset_is_what_the_metadata_say_whatever_the_date(
    tmp_path: Path, facts: SafeFacts, offset: float
) -> None:
    product = read_product(make_safe(tmp_path, facts))
    assert product.baseline == facts.baseline
    assert {(band.scale, band.offset) for band in product.bands} == {(1.0, offset)}
    assert len(product.bands) == len(facts.bands)


@settings(max_examples=20, deadline=None)
@given(
    quantification=st.integers(1000, 60_000),
    offsets=st.lists(st.integers(-1000, 0), min_size=13, max_size=13),
    numbers=st.integers(1, 65535),
)
def test_each_band_has_its_own_offset(
    tmp_path_factory: pytest.TempPathFactory, quantification: int, offsets: list[int], numbers: int
) -> None:
    folder = tmp_path_factory.mktemp("safe")
    safe = make_safe(
        folder, SafeFacts(quantification=str(quantification), bands=("02", "03", "04", "08", "11", "12"))
    )
    text = (safe / METADATA).read_text()
    for i, offset in enumerate(offsets):
        text = text.replace(f'band_id="{i}">-1000<', f'band_id="{i}">{offset}<')
    (safe / METADATA).write_text(text)
    ids = {"blue": 1, "green": 2, "red": 3, "nir": 7, "swir1": 11, "swir2": 12}
    for band in read_product(safe).bands:
        expected = 10_000 * (numbers + offsets[ids[band.role]]) / quantification
        assert numbers * band.scale + band.offset == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_the_numbers_of_bands_are_those_that_the_metadata_list(tmp_path: Path) -> None:
    safe = make_safe(tmp_path)
    edit(safe / METADATA, 'bandId="3" physicalBand="B4"', 'bandId="3" physicalBand="B2"')
    edit(safe / METADATA, 'bandId="1" physicalBand="B2"', 'bandId="1" physicalBand="B4"')
    edit(safe / METADATA, 'band_id="3">-1000', 'band_id="3">-700')
    offsets = {band.role: band.offset for band in read_product(safe).bands}
    assert offsets["blue"] == -700
    assert offsets["red"] == offsets["green"] == -1000
    text = re.sub("<Spectral_Information .*?/>", "", (safe / METADATA).read_text())
    (safe / METADATA).write_text(text)
    offsets = {band.role: band.offset for band in read_product(safe).bands}
    assert offsets["red"] == -700
    assert offsets["blue"] == -1000


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (">10000</", ">0</", "BOA_QUANTIFICATION_VALUE is 0, and must be above 0"),
        (">10000</", ">-5</", "BOA_QUANTIFICATION_VALUE is -5, and must be above 0"),
        (">10000</", ">nan</", "BOA_QUANTIFICATION_VALUE is 'nan', and must be a number"),
        (">10000</", ">1e999</", "BOA_QUANTIFICATION_VALUE is '1e999', and must be a number"),
        (">10000</", ">1e300</", "blue holds reflectance from -1e-297 to 6.4535e-296, which no image does"),
        (">10000</", ">1</", "blue holds reflectance from -1000 to 64535, which no image does"),
        ('band_id="3">-1000', 'band_id="3">1000', "red holds reflectance from 0.1 to 6.6535"),
        ('band_id="3">-1000', 'band_id="3">-1e30', "red holds reflectance from -1e+26 to -1e+26"),
        ("BOA_QUANTIFICATION_VALUE", "BOA_VALUE", "lacks BOA_QUANTIFICATION_VALUE"),
        ('band_id="3">-1000', 'band_id="3">-1O00', "BOA_ADD_OFFSET of B4 is '-1O00', and must be a number"),
        ('band_id="3"', 'band_id="13"', "BOA_ADD_OFFSET of band_id '13' is that of no band"),
        ('band_id="3"', 'band_id="4"', "gives no BOA_ADD_OFFSET for B4, and some for other bands"),
        (
            "NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>0",
            "NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>-1",
            "special value NODATA is -1",
        ),
        ("T04:56:59.024Z", "T4:5", "is no date"),
        (
            "2024-09-30T04",
            "2024-09-29T04",
            "date is 2024-09-30 by its name, and 2024-09-29 by PRODUCT_START_TIME",
        ),
        (
            "Sentinel-2B</",
            "Sentinel-2A</",
            "spacecraft is Sentinel-2B by its name, and Sentinel-2A by SPACECRAFT",
        ),
        (
            "_BASELINE>05.11",
            "_BASELINE>05.10",
            "baseline is 05.11 by its name, and 05.10 by PROCESSING_BASELINE",
        ),
        ("A039520_T45RVL", "A039520_T45RWL", "tile is T45RVL by its name, and T45RWL by granuleIdentifier"),
        ("GRANULE/L2A_", "GRANULE/../../L2A_", "names a file outside the product"),
        ("IMAGE_FILE>GRANULE", "IMAGE_FILE>/GRANULE", "names a file outside the product"),
        ("<Special_Values>", "<!DOCTYPE a []><Special_Values>", "is not whole XML"),
        ("</n1:Level-2A_User_Product>", "", "is not whole XML"),
        ("<PROCESSING_LEVEL>Level-2A", "<PROCESSING_LEVEL>Level-1C", "is Level-1C, reflectance at the top"),
    ],
)
def test_metadata_that_cannot_be_right_are_refused_with_the_fact(
    tmp_path: Path, refusal: Refusal, old: str, new: str, words: str
) -> None:
    safe = make_safe(tmp_path, SafeFacts(bands=("02", "03", "04", "08", "11", "12")))
    edit(safe / METADATA, old, new)
    message = refusal(safe)
    assert words in message
    assert str(safe) in message


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (SafeFacts(offset=None), "baseline 05.11 and no BOA_ADD_OFFSET"),
        (SafeFacts(baseline="03.01"), "baseline 03.01 and BOA_ADD_OFFSET -1000"),
        (SafeFacts(epsg=32644), "lie in UTM zone 44N, and its tile T45RVL in zone 45N"),
        (SafeFacts(tile="T45GVL"), "lie in UTM zone 45N, and its tile T45GVL in zone 45S"),
    ],
)
def test_facts_that_contradict_one_another_are_refused_with_both(
    tmp_path: Path, refusal: Refusal, facts: SafeFacts, words: str
) -> None:
    assert words in refusal(make_safe(tmp_path, facts))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("T45RVL_2", "T45RWL_2", "tile is T45RVL by its name, and T45RWL by T45RWL_20240930T045659_B04"),
        ("_20240930T", "_20250525T", "date is 2024-09-30 by its name, and 2025-05-25 by T45RVL_20250525T"),
    ],
)
def test_an_image_of_another_product_is_found_out(
    tmp_path: Path, refusal: Refusal, old: str, new: str, words: str
) -> None:
    facts = SafeFacts()
    safe = make_safe(tmp_path, facts)
    edit(safe / METADATA, "_B04_10m", "_B44_10m")
    image = safe / facts.image("B04", 10)
    image.rename(image.with_name(image.name.replace(old, new)))
    assert words in refusal(safe)


def test_a_missing_image_is_named_with_its_band(tmp_path: Path, refusal: Refusal) -> None:
    facts = SafeFacts()
    safe = make_safe(tmp_path, facts)
    (safe / facts.image("B09", 60)).unlink()
    assert "water_vapour" not in {band.role for band in read_product(safe).bands}
    (safe / facts.image("B04", 10)).unlink()
    assert "lacks T45RVL_20240930T045659_B04_10m.jp2, the image of B04 (red); download" in refusal(safe)
    make_safe(tmp_path, facts)
    (safe / facts.image("SCL", 20)).unlink()
    assert "_SCL_20m.jp2, the image of the scene classification" in refusal(safe)
    make_safe(tmp_path, SafeFacts(bands=("02", "03", "04", "08", "12")))
    (safe / facts.image("B11", 20)).unlink()
    (safe / facts.image("B11", 60)).unlink()
    (safe / facts.image("SCL", 20)).touch()
    assert "lacks the image of B11 (swir1)" in refusal(safe)


def test_an_image_that_is_not_as_delivered_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    facts = SafeFacts()
    safe = make_safe(tmp_path, facts)
    image = safe / facts.image("B04", 10)
    numbers = digital_numbers("0410", 36)
    write_image(image, numbers, 10, corner=(478_620.0, 3_099_000.0))
    assert "its image of red covers other ground than that of blue" in refusal(safe)
    write_image(image, digital_numbers("0420", 18), 20)
    assert "has pixels of 20 m, and its name says 10 m" in refusal(safe)
    write_image(image, (numbers // 256).astype(np.uint8), 10)
    assert "holds 1 bands of uint8, and as delivered 1 of uint16" in refusal(safe)
    image.write_bytes(image.read_bytes()[:40])
    assert "_B04_10m.jp2 is no whole image" in refusal(safe)
    outside = write_image(tmp_path / "outside.tif", numbers, 10)
    image.write_text(
        f'<VRTDataset rasterXSize="36" rasterYSize="36"><VRTRasterBand dataType="UInt16" band="1">'
        f"<SimpleSource><SourceFilename>{outside}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    assert "_B04_10m.jp2 is no whole image" in refusal(safe)


def test_a_product_of_several_tiles_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    facts = SafeFacts()
    safe = make_safe(tmp_path, facts)
    (safe / facts.granule).rename(safe / facts.granule.replace("T45RVL", "T45RWL"))
    make_safe(tmp_path, facts)
    assert "holds 2 tiles (L2A_T45RVL_A039520" in refusal(safe)


def test_images_may_be_geotiff_under_the_names_of_the_agency(tmp_path: Path, refusal: Refusal) -> None:
    facts = SafeFacts()
    safe = make_safe(tmp_path, facts)
    expected = read_product(safe)
    for image in sorted(safe.glob("GRANULE/*/IMG_DATA/*/*.jp2")):
        with open_raster(image) as delivered:
            numbers, pixel_m = delivered.read(1), delivered.res[0]
        write_image(image.with_suffix(".tif"), numbers, pixel_m)
        image.unlink()
    found = read_product(safe)
    assert [band.path.replace(".tif", ".jp2") for band in found.bands] == [
        band.path for band in expected.bands
    ]
    assert {(band.scale, band.offset) for band in found.bands} == {(1.0, -1000.0)}
    image = (safe / facts.image("B04", 10)).with_suffix(".tif")
    write_image(image, digital_numbers("0420", 18), 20)
    assert "has pixels of 20 m, and its name says 10 m" in refusal(safe)


def test_the_finest_image_of_each_band_is_listed(tmp_path: Path) -> None:
    facts = SafeFacts()
    metadata = (make_safe(tmp_path, facts) / METADATA).read_bytes()
    expected = {"2": "B02", "8A": "B8A", "11": "B11", "9": "B09", "SCL": "SCL"}
    pixel_m = {"2": 10, "8A": 20, "11": 20, "9": 60, "SCL": 20}
    found = images_listed(metadata, METADATA)
    assert {band: f"{found[band]}.jp2" for band in expected} == {
        band: facts.image(name, pixel_m[band]) for band, name in expected.items()
    }
