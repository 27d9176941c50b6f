"""Windows of products, against the whole products that they are cut from."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.transform import from_origin
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from glacierseg.catalogues import kept
from glacierseg.catalogues.cache import Cache
from glacierseg.catalogues.candidate import Asset, Candidate
from glacierseg.catalogues.delivery import plan_product, write_product
from glacierseg.catalogues.web import Web
from glacierseg.errors import DownloadError, GlaciersegError, ProductError, RequestError
from glacierseg.products.contents import Checksum
from glacierseg.products.read import read_product
from glacierseg.products.scene import prepare_scene
from glacierseg.settings.prepare import ProductInputs, ProductSettings
from tests.helpers import forks, present
from tests.products import shelves
from tests.products.shelves import CORNER, LandsatFacts, SafeFacts, edit, make_landsat, make_safe, write_image

SIDE_M = 1800
ROLES = ("blue", "red", "nir", "swir1", "red_edge_1", "water_vapour")
SAFE = SafeFacts(bands=("02", "03", "04", "08", "05", "8A", "11", "12", "09"))


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """Reads files without a cache."""
    with Web(cache=Cache(tmp_path / "cache", 0)) as reader:
        yield reader


@pytest.fixture(autouse=True)
def larger_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of which a place is but a part."""
    monkeypatch.setattr(shelves, "SIDE_M", SIDE_M)


def moved(shape: BaseGeometry, source: int, target: int) -> BaseGeometry:
    """A shape in another CRS."""
    way = Transformer.from_crs(source, target, always_xy=True)
    points = np.column_stack(way.transform(*shapely.get_coordinates(shape).T))
    return shapely.set_coordinates(shapely.segmentize(shape, np.inf), points)


def place(left: float, top: float, right: float, bottom: float) -> BaseGeometry:
    """A box, in metres east and south of the corner of the images, in degrees."""
    x, y = CORNER
    return moved(box(x + left, y - bottom, x + right, y - top).segmentize(100), 32645, 4326)


WHOLE = place(0, 0, SIDE_M, SIDE_M)
MIDDLE = place(613, 505, 1007, 911)


def classes(seed: int = 1) -> NDArray[np.uint8]:
    """Clear ground, snow, clouds and their shadow, and a swath that ends."""
    side = SIDE_M // 20
    found = np.random.default_rng(seed).choice([4, 5, 6, 11, 3, 8, 9, 10, 1], (side, side)).astype(np.uint8)
    found[-20:, -25:] = 0
    return found


def safe_of(folder: Path, facts: SafeFacts = SAFE) -> Path:
    """A whole product with all kinds of ground."""
    safe = make_safe(folder, facts)
    write_image(safe / facts.image("SCL", 20), classes(), 20, facts.epsg)
    return safe


def offered(product: Path, store: Path, *, shift: int = 0, said: bool | None = None) -> Candidate:
    """A product as a catalogue offers it: its images as GeoTIFF, from whose numbers something may be taken off."""
    whole = read_product(product)
    is_sentinel2 = whole.sensor == "sentinel2"
    images: dict[str, Asset] = {}
    for path in [*(band.path for band in whole.bands), whole.classes, whole.saturation]:
        if path is None:
            continue
        found = re.search(r"_B0?(\d+A?)\b|_B0?(\d+A?)_\d\dm|(SCL|QA_PIXEL|QA_RADSAT)", Path(path).name)
        number = next(one for one in present(found).groups() if one)
        with rasterio.open(path) as image:
            numbers = image.read(1)
            corner = image.bounds.left, image.bounds.top
            if number.isalnum() and number != "SCL":
                numbers = np.where(numbers == 0, 0, numbers.astype(int) - shift).clip(0).astype(np.uint16)
            target = write_image(store / f"{number}.tif", numbers, image.res[0], image.crs.to_epsg(), corner)
        images[number] = Asset(str(target))
    metadata = next(path for path in product.iterdir() if re.search("MTD_MSIL2A|_MTL", path.name))
    return Candidate(
        name=whole.name,
        item=f"item of {whole.name}",
        address="item.json",
        collection="somewhere",
        sensor=whole.sensor,
        tile=whole.tile,
        acquired=datetime(*whole.acquired.timetuple()[:3], 5, tzinfo=UTC),
        processed="",
        baseline=whole.baseline,
        footprint=WHOLE,
        cloud_said=None,
        offset_applied=said,
        metadata=Asset(str(metadata)),
        images=images,
    )


def fetched(
    web: Web, candidate: Candidate, out: Path, outline: BaseGeometry = MIDDLE, roles: Any = ROLES
) -> Path:
    return write_product(web, plan_product(web, candidate, outline, roles), out)


def grid_file(path: Path, outline: BaseGeometry, epsg: int, pixel: float) -> Path:
    """A raster of 0 on the pixels of a CRS that lie within an outline's box, for `--like`."""
    left, bottom, right, top = moved(outline, 4326, epsg).bounds
    if epsg != 4326:
        # On the lattice of the images, where the CRS is theirs.
        left, top = (np.ceil(left / pixel) * pixel, np.floor(top / pixel) * pixel)
    values = np.zeros((int((top - bottom) / pixel), int((right - left) / pixel)), np.uint8)
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "crs": f"EPSG:{epsg}"}
    height, width = values.shape
    with rasterio.open(
        path, "w", height=height, width=width, transform=from_origin(left, top, pixel, pixel), **profile
    ) as file:
        file.write(values, 1)
    return path


def prepared(
    products: Path | list[Path], out: Path, like: Path, recipe: str, **how: Any
) -> Mapping[str, Any]:
    settings = ProductSettings(recipe=recipe, write_classes=True, **how)
    prepare_scene(products, out, settings, ProductInputs(like=like))
    found: dict[str, Any] = {}
    for path in (out, out.with_name(f"{out.stem}_classes.tif")):
        with rasterio.open(path) as file:
            found[path.stem.rpartition("_")[2]] = file.read()
            found[f"{path.stem} tags"] = file.tags()
    return found


def assert_equal_scenes(
    whole: Path | list[Path], cut: Path | list[Path], folder: Path, like: Path, **how: Any
) -> None:
    recipe = how.pop("recipe", ",".join((*ROLES, "ndsi")))
    expected = prepared(whole, folder / "a" / "scene.tif", like, recipe, **how)
    found = prepared(cut, folder / "b" / "scene.tif", like, recipe, **how)
    assert expected.keys() == found.keys()
    assert np.isfinite(found["scene"]).any()
    for key, values in expected.items():
        if isinstance(values, np.ndarray):
            np.testing.assert_array_equal(values, found[key], key)
        else:
            assert values == found[key]


RIM = place(-200, 1200, 450, 2100)


@pytest.mark.parametrize(
    ("outline", "epsg", "pixel", "how"),
    [
        (MIDDLE, 32645, 10, {}),
        (MIDDLE, 32645, 30, {"mask": False}),
        (MIDDLE, 4326, 1e-4, {"keep": ("cirrus",)}),
        (RIM, 32645, 10, {"mask_saturated": True}),
        (place(1300, 1300, 1800, 1800), 32644, 17, {}),
    ],
    ids=["middle", "coarser", "degrees", "rim", "swath-edge"],
)
def test_a_place_of_sentinel2_has_the_numbers_of_the_whole_product(
    tmp_path: Path, web: Web, outline: BaseGeometry, epsg: int, pixel: float, how: dict[str, Any]
) -> None:
    whole = safe_of(tmp_path)
    cut = fetched(web, offered(whole, tmp_path / "store"), tmp_path / "products", outline)
    assert cut == tmp_path / "products" / whole.name
    assert (cut / "MTD_MSIL2A.xml").read_bytes() == (whole / "MTD_MSIL2A.xml").read_bytes()
    like = grid_file(tmp_path / "like.tif", outline, epsg, pixel)
    assert_equal_scenes(whole, cut, tmp_path, like, **how)
    product = read_product(cut)
    assert {band.role for band in product.bands} == {*ROLES, "green", "swir2"}
    with rasterio.open(product.bands[0].path) as image:
        assert image.width * 10 < SIDE_M


def test_two_tiles_make_one_scene_as_the_whole_products_do(tmp_path: Path, web: Web) -> None:
    other = replace(SAFE, tile="T45RWL", spacecraft="B")
    wholes = [safe_of(tmp_path / "one"), safe_of(tmp_path / "two", other)]
    east = CORNER[0] + SIDE_M - 600
    for image in wholes[1].glob("GRANULE/*/IMG_DATA/*/*.jp2"):
        with rasterio.open(image) as file:
            numbers, pixel_m = file.read(1), file.res[0]
        write_image(image, np.flipud(numbers), pixel_m, corner=(east, CORNER[1]))
    outline = place(900, 400, 1900, 1100)
    cuts = [
        fetched(web, offered(whole, tmp_path / f"store{number}"), tmp_path / "products", outline)
        for number, whole in enumerate(wholes)
    ]
    like = grid_file(tmp_path / "like.tif", outline, 32645, 10)
    assert_equal_scenes(wholes, cuts, tmp_path, like)


@pytest.mark.parametrize("facts", [LandsatFacts(), LandsatFacts(number=7, formats=("xml",), level="L2SR")])
def test_a_place_of_landsat_has_the_numbers_of_the_whole_product(
    tmp_path: Path, web: Web, facts: LandsatFacts
) -> None:
    whole = make_landsat(tmp_path, facts)
    quality = (
        np.random.default_rng(3).choice([21824, 22280, 23888, 30048, 54596, 1], (60, 60)).astype(np.uint16)
    )
    write_image(whole / f"{facts.name}_QA_PIXEL.TIF", quality, 30)
    candidate = offered(whole, tmp_path / "store")
    roles = ("blue", "green", "swir1", "thermal")
    cut = fetched(web, candidate, tmp_path / "products", MIDDLE, roles[: 4 if facts.level == "L2SP" else 3])
    assert cut == tmp_path / "products" / facts.name
    like = grid_file(tmp_path / "like.tif", MIDDLE, 32645, 30)
    recipe = ",".join(roles if facts.level == "L2SP" else roles[:3])
    assert_equal_scenes(whole, cut, tmp_path, like, recipe=recipe, mask_saturated=True)
