"""What is believed of an item, and what leaves it out."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from glacierseg.catalogues.candidate import Asset
from glacierseg.catalogues.items import Unusable, acquired_of, is_of, read_item
from glacierseg.choices import Satellite
from glacierseg.products.contents import Checksum
from tests.catalogues.ground import Shot
from tests.catalogues.shelf import Shelf
from tests.products.shelves import LandsatFacts

NAME = "S2B_MSIL2A_20240930T045659_N0511_R119_T45RVL_20240930T083000"
ADDRESS = "https://example.org/collections/c/items/i"
Item = dict[str, Any]
ITEMS: dict[str, Item] = {}


@pytest.fixture(autouse=True, scope="module")
def _items(tmp_path_factory: pytest.TempPathFactory) -> None:
    shelf = Shelf(tmp_path_factory.mktemp("items"))
    for style in ("c1", "l2a", "planetary"):
        shelf.add(style=style, side_m=480)
    shelf.add(Shot(LandsatFacts(), side_m=480))
    shelf.add(Shot(LandsatFacts(number=5, date="2009-11-15"), side_m=480))
    names = ("c1", "l2a", "planetary", "landsat9", "landsat5")
    ITEMS.update(zip(names, shelf.with_files_at("files"), strict=True))


def item(style: str = "c1", **properties: Any) -> Item:
    found = copy.deepcopy(ITEMS[style])
    for key, value in properties.items():
        found["properties"][key.replace("__", ":")] = value
    return found


def read(one: Item, satellite: Satellite = "sentinel2", address: str = ADDRESS) -> Any:
    return read_item(one, address, None, satellite)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"platform": "Sentinel-2A"}, "sentinel2"),
        ({"constellation": "sentinel-2"}, "sentinel2"),
        ({"platform": "LANDSAT_8"}, "landsat"),
        ({"platform": "sentinel-1a"}, None),
        ({"platform": "nobody knows", "constellation": 7}, None),
    ],
)
def test_the_satellite_is_that_of_names_or_of_the_platform(said: Item, expected: str | None) -> None:
    satellites: tuple[Satellite, ...] = ("sentinel2", "landsat")
    one = {"id": "x", "properties": said, "assets": {"a": {"href": "a.tif"}}}
    assert [name for name in satellites if is_of(one, name)] == ([expected] if expected else [])
    assert is_of({"id": NAME, "properties": said}, "sentinel2")
    by_collection = [is_of(one | {"collection": "landsat-c2-l2"}, name) for name in satellites]
    assert by_collection == [expected == "sentinel2", True]
    assert is_of({"id": 7, "assets": {"a": {"href": f"https://x.org/{NAME}.SAFE/B02.tif"}}}, "sentinel2")


@pytest.mark.parametrize("style", ["c1", "l2a", "planetary"])
def test_each_style_gives_the_same_image(style: str) -> None:
    found = read(item(style))
    assert (found.name, found.tile, found.baseline, found.processed) == (
        NAME,
        "T45RVL",
        "05.11",
        "20240930T083000",
    )
    assert found.acquired == datetime(2024, 9, 30, 5, 8, 2, 123000, UTC)
    assert set(found.images) == {"2", "3", "4", "8", "8A", "11", "12", "SCL"}
    for band, end in {"2": "B02", "8A": "B8A", "12": "B12", "SCL": "SCL"}.items():
        name = Path(found.images[band].address).name
        assert end in name
        assert found.images[band].address.startswith("https://example.org/collections/c/items/files/")
    assert Path(found.metadata.address).name in {"product_metadata.xml", "MTD_MSIL2A.xml"}
    assert found.offset_applied is {"l2a": True}.get(style)


@pytest.mark.parametrize(
    ("style", "heat", "sensor"), [("landsat9", "10", "landsat9"), ("landsat5", "6", "landsat5")]
)
def test_landsat_is_known_by_the_names_of_its_files(style: str, heat: str, sensor: str) -> None:
    found = read(item(style), "landsat")
    assert (found.sensor, found.tile, found.baseline, found.processed) == (sensor, "140041", "02", "20240101")
    # The identifier lacks the day of processing.
    assert found.name != found.item
    assert found.metadata.address.endswith(f"{found.name}_MTL.json")
    assert found.images[heat].address.endswith(f"_ST_B{heat}.TIF")
    assert found.images["QA_PIXEL"].address.endswith("_QA_PIXEL.TIF")
    assert all(f"_SR_B{band}." in asset.address for band, asset in found.images.items() if band in "12345")


def test_an_item_of_old_catalogues_is_read_by_the_names_of_its_files() -> None:
    one = item("planetary")
    one["id"] = "anything"
    one["properties"] = {"datetime": "2024-09-30T05:08:02"}
    one["assets"] = {f"file {number}": asset for number, asset in enumerate(one["assets"].values())}
    assert is_of(one, "sentinel2")
    found = read(one)
    assert found.name == NAME
    assert set(found.images) == {"2", "3", "4", "8", "8A", "11", "12", "SCL"}
    assert found.metadata.address.endswith("/MTD_MSIL2A.xml")


def test_of_several_files_of_a_band_the_free_fine_tiled_one_is_taken() -> None:
    one = item()
    blue = one["assets"].pop("blue")
    one["assets"] |= {
        "B02_20m": {"href": "files/B02_20m.tif"},
        "B02_10m": blue | {"href": "files/B02_10m.tif"},
        "blue-jp2": {"href": "s3://sentinel-s2-l2a/tiles/45/R/VL/B02.jp2"},
        "B02_60m": {"href": "files/B02_60m.tif"},
        "visual": {"href": "files/TCI.tif"},
        "broken": {"href": None},
        "none": None,
    }
    assert read(one).images["2"].address == "https://example.org/collections/c/items/files/B02_10m.tif"


def _without(key: str) -> Callable[[Item], None]:
    return lambda one: one["assets"].pop(key)


def _with_property(key: str, value: Any) -> Callable[[Item], None]:
    return lambda one: one["properties"].update({key: value})


def _with_href(key: str, href: Any) -> Callable[[Item], None]:
    return lambda one: one["assets"].update({key: {"href": href}})


def _renamed(name: str) -> Callable[[Item], None]:
    return lambda one: one.update(id=name, properties={**one["properties"], "s2:product_uri": name})


NAMELESS = "has no name of a Level-2 product, such as S2B_MSIL2A_2024"


def _with_files_of(name: str) -> Callable[[Item], None]:
    def change(one: Item) -> None:
        own = read(one, "landsat").name
        one["id"] = name
        one["assets"] = {
            key: {"href": asset["href"].replace(own, name)} for key, asset in one["assets"].items()
        }

    return change


Traps = dict[str, tuple[Callable[[Item], Any], str]]
SENTINEL2_TRAPS: Traps = {
    "no footing": (_with_property("s2:product_uri", "../../x"), NAMELESS),
    "path in the name": (_with_property("s2:product_uri", f"../{NAME}.SAFE"), NAMELESS),
    "level": (_renamed(NAME.replace("MSIL2A", "MSIL1C")), NAMELESS),
    "spacecraft": (_renamed(NAME.replace("S2B", "S2E")), NAMELESS),
    "two products": (
        lambda one: one.update(id=NAME.replace("RVL", "RWL")),
        "names two products, S2B_.*RVL",
    ),
    "month": (_renamed(NAME.replace("20240930T045659", "20241399T045659")), "there is no such day"),
    "day": (
        _with_property("datetime", "2024-01-30T05:00:00Z"),
        "time 2024-01-30, and is of 2024-09-30 by its",
    ),
    "no time": (_with_property("datetime", None), "gives no time"),
    "time": (_with_property("datetime", "30.9.2024"), "gives the time '30.9.2024', which cannot be read"),
    "no band": (_without("swir16"), r"lacks the image of B11 \(swir1\)"),
    "no address": (_with_href("swir16", ""), r"lacks the image of B11 \(swir1\)"),
    "number for an address": (_with_href("swir16", 7), r"lacks the image of B11 \(swir1\)"),
    "no classes": (_without("scl"), "lacks SCL"),
    "no metadata": (
        _without("product_metadata"),
        r"lacks the product's metadata \(MTD_MSIL2A.xml\), without",
    ),
    "swapped": (
        _with_href("red", "files/B03.tif"),
        r"calls B03.tif 'red', and one of the two",
    ),
    "a mask": (_with_href("red", "files/MSK_QUALIT_B04.tif"), r"lacks the image of B4 \(red\)"),
    "own machine": (
        _with_href("red", "file:///etc/passwd"),
        "a file of this machine, which no catalogue of the",
    ),
    "no address at all": (_with_href("red", "https://[::1"), r"names 'https://\[::1', which is no address"),
    "no address of the web": (
        _with_href("red", "x:/etc/B04.tif"),
        "names 'x:/etc/B04.tif', which is no address",
    ),
    "no name at all": (
        lambda one: one["properties"].pop("s2:product_uri"),
        NAMELESS,
    ),
}


@pytest.mark.parametrize("trap", SENTINEL2_TRAPS)
def test_sentinel2_that_cannot_be_used_is_left_out(trap: str) -> None:
    change, words = SENTINEL2_TRAPS[trap]
    one = item()
    change(one)
    assert is_of(one, "sentinel2")
    with pytest.raises(Unusable, match=words):
        read(one)


LANDSAT_TRAPS: Traps = {
    "level": (_with_files_of("LC09_L1TP_140041_20231115_20240101_02_T1"), "no name of a Level-2 product"),
    "collection": (_with_files_of("LC09_L2SP_140041_20231115_20240101_01_T1"), "such as LC09_L2SP_140041_"),
    "instrument": (
        _with_files_of("LM05_L1TP_140041_20091115_20240101_02_T1"),
        "no name of a Level-2 product",
    ),
    "no heat": (_without("lwir11"), r"lacks the image of B10 \(thermal\)"),
    "no metadata": (_without("mtl.json"), "lacks the product's metadata .*_MTL.json"),
    "mixed": (
        _with_href("red", "files/LC09_L2SP_140041_20231201_20240101_02_T1_SR_B4.TIF"),
        "names two products, LC09_L2SP_140041_20231115_20240101_02_T1 and LC09_L2SP_140",
    ),
    "other": (
        lambda one: one.update(id="LC09_L2SP_140041_20231201_20240101_02_T1"),
        "names two products, LC09_L2SP_140041_20231115_20240101_02_T1 and LC09_L2SP_140",
    ),
}


@pytest.mark.parametrize("trap", LANDSAT_TRAPS)
def test_landsat_that_cannot_be_used_is_left_out(trap: str) -> None:
    change, words = LANDSAT_TRAPS[trap]
    one = item("landsat9")
    change(one)
    assert is_of(one, "landsat")
    with pytest.raises(Unusable, match=words):
        read(one, "landsat")


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"datetime": "2024-09-30T23:30:00-05:00"}, datetime(2024, 10, 1, 4, 30, tzinfo=UTC)),
        ({"datetime": "2024-10-01t00:10:00.1234567z"}, datetime(2024, 10, 1, 0, 10, 0, 123456, tzinfo=UTC)),
        ({"datetime": "2024-10-01 00:10"}, datetime(2024, 10, 1, 0, 10, tzinfo=UTC)),
        (
            {"datetime": None, "start_datetime": "2024-10-01", "end_datetime": "x"},
            datetime(2024, 10, 1, tzinfo=UTC),
        ),
        ({"end_datetime": "2024-10-01T01:00:00+02:00"}, datetime(2024, 9, 30, 23, tzinfo=UTC)),
    ],
)
def test_times_are_utc(properties: Item, expected: datetime) -> None:
    assert acquired_of({"properties": properties}) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            {"file:checksum": "1220" + "aB" * 32, "file:size": "17"},
            Asset("", 17, Checksum("sha256", "ab" * 32)),
        ),
        (
            {"checksum:multihash": "d50110" + "0f" * 16, "file:size": 17.0},
            Asset("", 17, Checksum("md5", "0f" * 16)),
        ),
        ({"file:checksum": "1620" + "01" * 32}, Asset("", None, Checksum("sha3_256", "01" * 32))),
        ({"file:checksum": "1220" + "ab" * 31, "file:size": -5}, Asset("")),
        ({"file:checksum": "9020" + "ab" * 32, "file:size": "many"}, Asset("")),
        ({"file:checksum": 12, "file:size": True}, Asset("")),
    ],
)
def test_sizes_and_checksums_are_those_that_can_be_meant(said: Item, expected: Asset) -> None:
    one = item()
    one["assets"]["blue"] = {"href": "files/B02.tif", **said}
    found = read(one).images["2"]
    assert (found.size_bytes, found.checksum) == (expected.size_bytes, expected.checksum)


@pytest.mark.parametrize(
    ("href", "address", "expected"),
    [
        ("B02.tif", "/data/cat/i.json", "/data/cat/B02.tif"),
        ("../B02.tif", "/data/cat/i.json", "/data/B02.tif"),
        ("/other/B02.tif", "/data/cat/i.json", "/other/B02.tif"),
        ("file:///other/a%20b/B02.tif", "/data/cat/i.json", "/other/a b/B02.tif"),
        ("https://h.org/B02.tif?x=1", "/data/cat/i.json", "https://h.org/B02.tif?x=1"),
        ("../B02.tif", "https://h.org/a/b/i", "https://h.org/a/B02.tif"),
        ("/etc/B02.tif", "https://h.org/a/b/i", "https://h.org/etc/B02.tif"),
        ("s3://bucket/B02.tif", "https://h.org/a/b/i", "s3://bucket/B02.tif"),
    ],
)
def test_addresses_of_files_start_at_the_item(href: str, address: str, expected: str) -> None:
    one = item()
    one["assets"]["blue"] = {"href": href}
    assert read(one, address=address).images["2"].address == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(40, 0.4), ("12.5", 0.125), (-1, None), (140, None), ("x", None), (float("nan"), None)],
)
def test_the_share_of_cloud_is_one_or_none(value: Any, expected: float | None) -> None:
    assert read(item(eo__cloud_cover=value)).cloud_said == expected


def test_flags_are_words_or_values() -> None:
    for value, expected in ((True, True), ("false", False), (None, None), (3, None)):
        assert read(item("l2a", earthsearch__boa_offset_applied=value)).offset_applied is expected


FOLDERS = {
    "a/S2B_45RVL_20241003_0_L2A/B04.tif": False,
    "a/S2B_T45RVM_20240930T050802_L2A/B04.tif": False,
    "a/T45RVL_20240930T051659_B04_10m.tif": False,
    "a/T45RVM_20240930T045659_B04_10m.tif": False,
    f"a/{NAME.replace('0511', '0510')}.SAFE/B04.tif": False,
    "a/S2B_45RVL_20240930_0_L2A/B04.tif": True,
    "a/S2B_T45RVL_20241001T000002_L2A/B04.tif": True,
    "a/S2B_45RVL_20249999_0_L2A/B04.tif": True,
    f"a/{NAME}.SAFE/T45RVL_20240930T045659_B04_10m.tif": True,
}


@pytest.mark.parametrize(("path", "is_own"), FOLDERS.items())
@pytest.mark.parametrize("style", ["c1", "planetary"])
def test_a_file_of_another_image_leaves_an_item_out(style: str, path: str, is_own: bool) -> None:
    found = item(style)
    found["assets"]["red" if style == "c1" else "B04"]["href"] = path
    if is_own:
        assert read(found).images["4"].address.endswith(path)
        return
    with pytest.raises(
        Unusable, match=rf"^is {NAME}, and has a file of another image, '.*B04.*tif'$|^names two products, "
    ):
        read(found)


@pytest.mark.parametrize("style", ["c1", "l2a", "planetary"])
def test_files_of_any_name_are_of_the_band_of_their_key(style: str) -> None:
    found, plain = item(style), read(item(style))
    for key, asset in found["assets"].items():
        asset["href"] = f"files/{key}{Path(asset['href']).suffix}"
    renamed = read(found)
    assert renamed.images.keys() == plain.images.keys()
    assert renamed.images["8A"].address.rpartition("/")[2] in {"nir08.tif", "B8A.tif"}
    assert (renamed.metadata is None) == (plain.metadata is None)
    found["assets"].pop("nir" if "nir" in found["assets"] else "B08")
    with pytest.raises(Unusable, match=r"lacks the image of B8 \(nir\)"):
        read(found)


@pytest.mark.parametrize("listing", ["eo:bands", "bands"])
@pytest.mark.parametrize("is_number", [True, False])
def test_files_without_a_telling_name_are_of_the_band_that_they_list(listing: str, is_number: bool) -> None:
    found, plain = item("c1"), read(item("c1"))
    prefix = "eo:" if listing == "bands" else ""
    numbers = {"red": "B04", "nir08": "B8A"}
    assets = found["assets"]
    for number, key in enumerate([key for key in assets if "metadata" not in key and key != "scl"]):
        band = {"name": numbers[key]} if is_number and key in numbers else {f"{prefix}common_name": key}
        # Of several bands none is meant.
        assets[f"image {number}"] = assets.pop(key) | {"href": f"files/{number}.tif", listing: [band]}
        assets[f"view {number}"] = {"href": f"files/view{number}.tif", listing: [band, band]}
    renamed = read(found)
    assert renamed.images.keys() == plain.images.keys()
    assert "view" not in str(renamed.images)


def test_a_plain_name_of_a_file_that_contradicts_its_key_leaves_an_item_out() -> None:
    found = item("c1")
    found["assets"]["red"]["href"] = "files/green.tif"
    with pytest.raises(Unusable, match=r"calls green\.tif 'red'"):
        read(found)
    found["assets"]["red"]["href"] = "files/red_10m.tif"
    assert read(found).images["4"].address.endswith("red_10m.tif")
