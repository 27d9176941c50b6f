"""Products of Landsat, read by their metadata."""

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glacierseg.products.read import read_product
from glacierseg.raster.open import open_raster
from tests.products.shelves import LandsatFacts, digital_numbers, edit, make_landsat, write_image

Refusal = Callable[[Path], str]


@pytest.mark.parametrize("kind", ["json", "xml", "txt"])
@pytest.mark.parametrize("number", [4, 5, 7, 8, 9])
def test_every_band_has_its_unit_in_each_format(tmp_path: Path, number: int, kind: str) -> None:
    facts = LandsatFacts(number, formats=(kind,))
    product = read_product(make_landsat(tmp_path, facts))
    assert product.sensor == ("landsat5" if number == 4 else f"landsat{number}")
    assert (product.name, product.acquired) == (facts.name, date(2023, 11, 15))
    assert (product.baseline, product.tile) == ("02", "140041")
    assert (product.nodata, product.classes_kind) == (0, "qa_pixel")
    roles = ["blue", "green", "red", "nir", "swir1", "swir2", "thermal"]
    if number < 8:
        roles = ["blue", "green", "red", "nir", "swir1", "thermal", "swir2"]
    else:
        roles = ["coastal", *roles]
    assert [band.role for band in product.bands] == roles
    for band in product.bands:
        name = next(one for one in (*map("SR_B{}".format, facts.reflective), facts.heat) if one in band.path)
        with open_raster(band.path) as image:
            numbers = image.read(1)
        assert (numbers == digital_numbers(name, 12)).all()
        found = numbers * band.scale + band.offset
        expected = numbers * 0.00341802 + 149 if band.role == "thermal" else (numbers * 2.75e-5 - 0.2) * 1e4
        assert np.allclose(found, expected)
    assert product.classes.endswith("_QA_PIXEL.TIF")
    assert (product.saturation or "").endswith("_QA_RADSAT.TIF")


@settings(max_examples=10, deadline=None)
@given(multiplier=st.floats(3e-5, 1e-3), addend=st.floats(-1, 0), number=st.integers(1, 65535))
def test_multiplier_and_addend_are_those_of_the_band(
    tmp_path_factory: pytest.TempPathFactory, multiplier: float, addend: float, number: int
) -> None:
    product = make_landsat(tmp_path_factory.mktemp("landsat"))
    metadata = next(product.glob("*_MTL.json"))
    edit(metadata, '"REFLECTANCE_MULT_BAND_4": "2.75e-05"', f'"REFLECTANCE_MULT_BAND_4": {multiplier!r}')
    edit(metadata, '"REFLECTANCE_ADD_BAND_4": "-0.2"', f'"REFLECTANCE_ADD_BAND_4": {addend!r}')
    bands = {band.role: band for band in read_product(product).bands}
    red, green = bands["red"], bands["green"]
    assert number * red.scale + red.offset == pytest.approx(1e4 * (number * multiplier + addend), abs=1e-5)
    assert (green.scale, green.offset) == pytest.approx((0.275, -2000))


def test_a_product_without_temperature_has_no_heat(tmp_path: Path) -> None:
    product = read_product(make_landsat(tmp_path, LandsatFacts(level="L2SR")))
    assert "thermal" not in {band.role for band in product.bands}
    assert len(product.bands) == 7


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            '"REFLECTANCE_MULT_BAND_4": "2.75e-05"',
            '"A": "1"',
            "lacks LEVEL2_SURFACE_REFLECTANCE_PARAMETERS/REFLECTANCE_MULT_BAND_4",
        ),
        (
            '"REFLECTANCE_ADD_BAND_4": "-0.2"',
            '"A": "1"',
            "lacks LEVEL2_SURFACE_REFLECTANCE_PARAMETERS/REFLECTANCE_ADD_BAND_4",
        ),
        (
            "LEVEL2_SURFACE_TEMPERATURE",
            "OTHER",
            "lacks LEVEL2_SURFACE_TEMPERATURE_PARAMETERS/TEMPERATURE_MULT_BAND_ST_B10",
        ),
        ('"2.75e-05"', '"NaN"', "is 'NaN', and must be a number"),
        ('"2.75e-05"', "NaN", "is 'NaN', and must be a number"),
        ('"2.75e-05"', '"0"', "is 0, and must be above 0"),
        ('"149.0"', '"149,0"', "is '149,0', and must be a number"),
        ('_BAND_4": "2.75e-05"', '_BAND_4": "1"', "red holds reflectance from -0.2 to 65534.8"),
        ('_BAND_4": "-0.2"', '_BAND_4": "0.2"', "red holds reflectance from 0.2 to"),
        ('"149.0"', '"-124.15"', "thermal holds temperatures in kelvin from -124.15 to"),
        ('"2023-11-15"', '"2023-11-16"', "date is 2023-11-15 by its name, and 2023-11-16 by DATE_ACQUIRED"),
        ('"140"', '"141"', "tile is 140041 by its name, and 141041 by WRS_PATH and WRS_ROW"),
        ('"LANDSAT_9"', '"LANDSAT_8"', "spacecraft is LANDSAT_9 by its name, and LANDSAT_8 by SPACECRAFT_ID"),
        ('_NUMBER": "02"', '_NUMBER": "01"', "collection is 02 by its name, and 01 by COLLECTION_NUMBER"),
        (
            '"LANDSAT_PRODUCT_ID": "LC09',
            '"LANDSAT_PRODUCT_ID": "LC08',
            "spacecraft is LANDSAT_9 by its name, and LANDSAT_8 by LANDSAT_PRODUCT_ID",
        ),
        ('"LEVEL": "L2SP"', '"LEVEL": "L1TP"', "is Level-1 (L1TP), reflectance at the top of the atmosphere"),
        ("LANDSAT_METADATA_FILE", "L1_METADATA_FILE", "its _MTL is of Collection 1"),
        ('"FILE_NAME_BAND_4": "LC09', '"FILE_NAME_BAND_4": "../LC09', "names a file outside the product"),
        (
            "_SR_B3.TIF",
            "_SR_B4.TIF",
            "file of SR_B3 is LC09_L2SP_140041_20231115_20240101_02_T1_SR_B3.TIF by",
        ),
        ('"UTM_ZONE": "45"', '"UTM_ZONE": "44"', "lie in UTM zone 45N, and its tile 140041 in zone 44"),
        ('"WRS_ROW"', '"WRS_PATH"', "has a key twice in one group"),
        ("}", "", "is not whole JSON"),
    ],
)
def test_metadata_that_cannot_be_right_are_refused_with_the_fact(
    tmp_path: Path, refusal: Refusal, old: str, new: str, words: str
) -> None:
    product = make_landsat(tmp_path)
    metadata = next(product.glob("*_MTL.json"))
    old, new = (text.replace('"LEVEL"', '"PROCESSING_LEVEL"') for text in (old, new))
    edit(metadata, old, new)
    message = refusal(product)
    assert words in message
    assert str(product) in message


@pytest.mark.parametrize("given", ["", "_MTL.json", "_MTL.xml", "_MTL.txt"])
@pytest.mark.parametrize("format_", ["json", "xml", "txt"])
def test_formats_of_the_metadata_that_contradict_one_another_are_refused(
    tmp_path: Path, refusal: Refusal, given: str, format_: str
) -> None:
    facts = LandsatFacts(formats=("json", "xml", "txt"))
    product = make_landsat(tmp_path, facts)
    metadata = product / f"{facts.name}_MTL.{format_}"
    source = product / f"{facts.name}{given}" if given else product
    assert read_product(source).name == facts.name
    whole = metadata.read_text()
    for old, new, what in (
        ("2.75e-05", "0.0000276", "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS/REFLECTANCE_MULT_BAND_1"),
        ("2.75e-05", "2.75e-5x", "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS/REFLECTANCE_MULT_BAND_1"),
        ("-0.2", "-0.3", "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS/REFLECTANCE_ADD_BAND_1"),
        ("149.0", "149.1", "LEVEL2_SURFACE_TEMPERATURE_PARAMETERS/TEMPERATURE_ADD_BAND_ST_B10"),
        (facts.date, "2023-11-16", "IMAGE_ATTRIBUTES/DATE_ACQUIRED"),
        ("45", "44", "PROJECTION_ATTRIBUTES/UTM_ZONE"),
        ("LANDSAT_9", "LANDSAT_8", "IMAGE_ATTRIBUTES/SPACECRAFT_ID"),
    ):
        edit(metadata, old, new)
        message = refusal(source)
        assert f"its {what} is " in message
        assert f"{new} by {metadata.name}" in message
        assert f"{old} by " in message
        metadata.write_text(whole)
    metadata.write_text(whole[: len(whole) // 2])
    assert f"{metadata.name} " in refusal(source)


def test_formats_of_the_metadata_may_write_the_same_otherwise(tmp_path: Path) -> None:
    facts = LandsatFacts(formats=("json", "txt"))
    product = make_landsat(tmp_path, facts)
    text = product / f"{facts.name}_MTL.txt"
    edit(text, "2.75e-05", "2.7500E-05")
    edit(text, "WRS_ROW = 041", "WRS_ROW = 41")
    edit(text, "REFLECTANCE_ADD_BAND_4 = -0.100000", "REFLECTANCE_ADD_BAND_4 = -0.2")  # of Level-1
    assert read_product(product).tile == "140041"


@pytest.mark.parametrize(
    ("band", "role"), [("SR_B4", "red"), ("ST_B10", "thermal"), ("QA_PIXEL", "the classes of pixels")]
)
def test_a_missing_image_is_named_with_its_role(
    tmp_path: Path, refusal: Refusal, band: str, role: str
) -> None:
    facts = LandsatFacts()
    product = make_landsat(tmp_path, facts)
    (product / f"{facts.name}_{band}.TIF").unlink()
    assert f"lacks {facts.name}_{band}.TIF, the image of {role}; download" in refusal(product)


def test_what_no_recipe_needs_may_be_missing(tmp_path: Path) -> None:
    facts = LandsatFacts()
    product = make_landsat(tmp_path, facts)
    (product / f"{facts.name}_SR_B1.TIF").unlink()
    (product / f"{facts.name}_QA_RADSAT.TIF").unlink()
    found = read_product(product)
    assert "coastal" not in {band.role for band in found.bands}
    assert found.saturation is None


def test_an_image_elsewhere_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    facts = LandsatFacts()
    product = make_landsat(tmp_path, facts)
    write_image(product / f"{facts.name}_SR_B4.TIF", digital_numbers("SR_B4", 12), 30, epsg=32644)
    assert "its image of red covers other ground than that of coastal" in refusal(product)


def test_bits_in_one_byte_are_refused(tmp_path: Path, refusal: Refusal) -> None:
    product = make_landsat(tmp_path)
    write_image(product / f"{product.name}_QA_PIXEL.TIF", np.full((12, 12), 64, np.uint8), 30)
    assert "QA_PIXEL.TIF holds 1 bands of uint8, and as delivered 1 of uint16" in refusal(product)


def test_of_names_that_differ_by_their_case_alone_that_of_the_product_counts(tmp_path: Path) -> None:
    product = make_landsat(tmp_path)
    other = product / f"{product.name}_sr_b4.tif"
    shutil.copy(product / f"{product.name}_SR_B5.TIF", other)
    paths = {band.role: band.path for band in read_product(product).bands}
    assert paths["red"].endswith("_SR_B4.TIF")
    (product / f"{product.name}_SR_B4.TIF").unlink()
    paths = {band.role: band.path for band in read_product(product).bands}
    assert paths["red"] == str(other)


def test_a_zone_may_be_written_with_two_digits(tmp_path: Path) -> None:
    product = make_landsat(tmp_path)
    edit(next(product.glob("*_MTL.json")), '"UTM_ZONE": "45"', '"UTM_ZONE": "05"')
    for path in product.glob("*.TIF"):
        with open_raster(path) as image:
            numbers = image.read(1)
        write_image(path, numbers, 30, epsg=32605)
    assert read_product(product).tile == "140041"


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
def test_metadata_that_are_cut_short_are_refused(tmp_path: Path, refusal: Refusal, cut: float) -> None:
    for kind in ("json", "xml", "txt"):
        product = make_landsat(tmp_path / kind, LandsatFacts(formats=(kind,)))
        metadata = next(product.glob("*_MTL.*"))
        text = metadata.read_text()
        metadata.write_text(text[: int(len(text) * cut)])
        assert "download the product again" in refusal(product)
