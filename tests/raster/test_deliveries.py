"""Products told from rasters at a glance."""

import re
import shlex
from pathlib import Path

import pytest

import glacierseg
from glacierseg.errors import RasterError
from glacierseg.raster.deliveries import looks_like_product, product_refused
from glacierseg.raster.open import open_raster
from tests.helpers import blobs, write_mask
from tests.products.shelves import make_landsat, make_safe, make_tar, make_zip

SENTINEL2, LANDSAT = "a Sentinel-2 L2A product", "a Landsat product"


def test_a_product_is_named_from_whatever_holds_it(tmp_path: Path) -> None:
    safe, landsat = make_safe(tmp_path / "my share"), make_landsat(tmp_path)
    sentinels = [safe, safe.parent, safe / "MTD_MSIL2A.xml", make_zip(safe)]
    landsats = [landsat, next(landsat.glob("*_MTL.json")), make_tar(landsat), make_tar(landsat, ".tar.gz")]
    assert [looks_like_product(path) for path in sentinels] == [SENTINEL2] * 4
    assert [looks_like_product(path) for path in landsats] == [LANDSAT] * 4
    renamed = (safe / "MTD_MSIL2A.xml").rename(safe / "autumn.xml")
    assert looks_like_product(renamed) == SENTINEL2
    renamed = landsats[1].rename(landsat / "metadata.json")
    assert looks_like_product(renamed) == LANDSAT


def test_what_is_no_product_is_not_named_one(tmp_path: Path) -> None:
    sentinel1 = tmp_path / "S1A_IW_GRDH.SAFE"
    sentinel1.mkdir()
    (sentinel1 / "manifest.safe").write_text("<XFDU/>")
    mask = write_mask(tmp_path / "mask.tif", blobs(20, 20))
    (tmp_path / "outlines.json").write_text("{}")
    for path in (sentinel1, tmp_path, mask, tmp_path / "none.zip", tmp_path / "outlines.json"):
        assert looks_like_product(path) is None
        assert product_refused(path) is None


def test_a_product_in_place_of_a_raster_is_answered_with_the_command_to_type(tmp_path: Path) -> None:
    safe = make_safe(tmp_path / "my share")
    for path in (safe, make_zip(safe), safe / "MTD_MSIL2A.xml"):
        with pytest.raises(RasterError) as caught:
            open_raster(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: is {SENTINEL2}, not a raster; make a scene of it first: `")
        words = shlex.split(message.split("`")[1])
        assert words[:4] == ["glacierseg", "prepare", "scene", str(path)]
        in_python = re.findall(r"in Python `(\w+)`", message)
        assert in_python == ["prepare_scene", "map_glaciers"]
        assert set(in_python) <= set(glacierseg.__all__)
        assert "edit-info" not in message


def test_level_1_is_answered_with_level_2(tmp_path: Path) -> None:
    (tmp_path / "MTD_MSIL1C.xml").write_text("<a/>")
    assert "take the Level-2 product of the same day" in (product_refused(tmp_path) or "")
    (tmp_path / "MTD_MSIL1C.xml").rename(tmp_path / "LC09_L1TP_140041_20231115_20231117_02_T1_MTL.txt")
    assert "is a Landsat Level-1 product, reflectance at the top" in (product_refused(tmp_path) or "")
