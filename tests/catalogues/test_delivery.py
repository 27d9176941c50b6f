"""Windows of products, against the whole products that they are cut from."""

import hashlib
import json
import pickle
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

from glacierseg.catalogues import folders
from glacierseg.catalogues.cache import Cache
from glacierseg.catalogues.candidate import Asset, Candidate
from glacierseg.catalogues.delivery import plan_product, write_product
from glacierseg.catalogues.search import search
from glacierseg.catalogues.web import Web
from glacierseg.catalogues.windows import save_window
from glacierseg.errors import DownloadError, GlaciersegError, OutputError, ProductError, RequestError
from glacierseg.products.contents import Checksum
from glacierseg.products.read import read_product
from glacierseg.products.scene import prepare_scene
from glacierseg.settings.fetch import FetchSettings
from glacierseg.settings.prepare import ProductInputs, ProductSettings
from tests.catalogues.ground import PLACE, Shot, Style
from tests.catalogues.shelf import Shelf
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
    """A product as a catalogue offers it: images as GeoTIFF, with something taken off their numbers."""
    whole = read_product(product)
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
    # Bands that nothing is made of are not read, the panchromatic one among them.
    images = {**candidate.images, "8": Asset("missing")}
    candidate = replace(candidate, images=images)
    roles = ("blue", "green", "swir1", "thermal")
    cut = fetched(web, candidate, tmp_path / "products", MIDDLE, roles[: 4 if facts.level == "L2SP" else 3])
    assert cut == tmp_path / "products" / facts.name
    like = grid_file(tmp_path / "like.tif", MIDDLE, 32645, 30)
    recipe = ",".join(roles if facts.level == "L2SP" else roles[:3])
    assert_equal_scenes(whole, cut, tmp_path, like, recipe=recipe, mask_saturated=True)


@pytest.mark.parametrize("said", [True, False, None])
@pytest.mark.parametrize("shift", [0, 1000])
def test_an_offset_flag_that_lies_changes_no_number(
    tmp_path: Path, web: Web, shift: int, said: bool | None
) -> None:
    whole = safe_of(tmp_path)
    plan = plan_product(web, offered(whole, tmp_path / "store", shift=shift, said=said), MIDDLE, ROLES)
    assert plan.add == shift
    assert (plan.note is None) == (shift == 0 and said is not True)
    cut = write_product(web, plan, tmp_path / "products")
    like = grid_file(tmp_path / "like.tif", MIDDLE, 32645, 10)
    assert_equal_scenes(whole, cut, tmp_path, like)
    assert (plan.facts["added_to_numbers"], plan.facts["offset_applied_by_catalogue"]) == (shift, said)
    assert plan.facts["scale_and_offset"]["blue"] == [1.0, -1000.0]
    record = json.loads((cut / folders.RECORD).read_text())
    added = {file: window["added_to_numbers"] for file, window in record.items()}
    assert added == {file: 0 if "_SCL_" in file else shift for file in plan.windows}


def test_an_offset_that_was_taken_off_a_band_beside_the_judged_ones_is_refused(
    tmp_path: Path, web: Web
) -> None:
    whole = safe_of(tmp_path)
    left, taken = (offered(whole, tmp_path / f"{shift}", shift=shift) for shift in (0, 1000))
    mixed = replace(left, images={**left.images, "8": taken.images["8"]})
    with pytest.raises(ProductError, match=r"8\.tif: .* below 700, so an offset was taken off this band"):
        fetched(web, mixed, tmp_path / "products")
    assert not list((tmp_path / "products").glob("S2*"))


@pytest.mark.parametrize("baseline", ["03.01", "02.05"])
def test_two_baselines_of_one_day_keep_their_own_offsets(tmp_path: Path, web: Web, baseline: str) -> None:
    old = replace(SAFE, baseline=baseline, offset=None, tile="T45RWL")
    wholes = [safe_of(tmp_path / "new"), safe_of(tmp_path / "old", old)]
    for image in wholes[1].glob("GRANULE/*/IMG_DATA/*/*_B*.jp2"):
        with rasterio.open(image) as file:
            numbers, pixel_m = file.read(1), file.res[0]
        write_image(image, np.where(numbers == 0, 0, numbers - 1000).astype(np.uint16), pixel_m)
    scenes = []
    for number, whole in enumerate(wholes):
        cut = fetched(web, offered(whole, tmp_path / f"store{number}", said=False), tmp_path / "products")
        like = grid_file(tmp_path / "like.tif", MIDDLE, 32645, 10)
        scenes.append(prepared(cut, tmp_path / f"{number}" / "scene.tif", like, "blue,swir1")["scene"])
    # Interpolation rounds numbers of another size otherwise.
    np.testing.assert_allclose(scenes[0], scenes[1], rtol=1e-6)


def test_numbers_that_ran_over_below_zero_are_no_data(tmp_path: Path, web: Web) -> None:
    whole = safe_of(tmp_path)
    candidate = offered(whole, tmp_path / "store", shift=1000)
    path = candidate.images["4"].address
    with rasterio.open(path, "r+") as file:
        numbers = file.read(1)
        numbers[70, 71:80] = 65_000
        file.write(numbers, 1)
    product = read_product(fetched(web, candidate, tmp_path / "products"))
    red = next(band for band in product.bands if band.role == "red")
    with rasterio.open(red.path) as file:
        found, (x, y) = file.read(1), (file.bounds.left, file.bounds.top)
    row, column = 70 - round((CORNER[1] - y) / 10), 71 - round((x - CORNER[0]) / 10)
    assert (found[row, column : column + 9] == 0).all()
    assert found[row, column - 1] > 1000


def refused(web: Web, candidate: Candidate, outline: BaseGeometry = MIDDLE, roles: Any = ROLES) -> str:
    """Plans a product that cannot be used, and returns the one line that says so."""
    with pytest.raises(GlaciersegError) as caught:
        plan_product(web, candidate, outline, roles)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_what_cannot_be_used_is_refused_before_an_image_is_touched(tmp_path: Path, web: Web) -> None:
    whole = safe_of(tmp_path)
    candidate = offered(whole, tmp_path / "store")
    name = candidate.name
    shutil.rmtree(tmp_path / "store")
    for number, role in (("11", "swir1"), ("2", "blue"), ("5", "red_edge_1")):
        images = {key: asset for key, asset in candidate.images.items() if key != number}
        words = f"{name}: the catalogue offers no image of B{number:0>2} ({role}); choose another"
        assert refused(web, replace(candidate, images=images)).startswith(words)
    images = {key: asset for key, asset in candidate.images.items() if key != "SCL"}
    assert "no image of SCL; choose another" in refused(web, replace(candidate, images=images))
    checksum = Checksum("sha256", hashlib.sha256(b"another").hexdigest())
    assert "checksum" in refused(
        web, replace(candidate, metadata=replace(candidate.metadata, checksum=checksum))
    )
    other = name.replace("T083000", "T093000")
    assert refused(web, replace(candidate, name=other)) == (
        f"{other}: is so named in the catalogue, and its metadata are those of {name}; "
        "choose another --catalogue or other dates"
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (">10000</", ">0</", "BOA_QUANTIFICATION_VALUE is 0, and must be above 0; choose another"),
        ("GRANULE/L2A_", "GRANULE/../../L2A_", "names a file outside the product"),
        ("IMAGE_FILE>GRANULE", "IMAGE_FILE>/GRANULE", "names a file outside the product"),
        ("_B04_", "_B44_", "its metadata list no image of B04 (red)"),
        ("A039520_T45RVL", "A039520_T45RWL", "tile is T45RVL by PRODUCT_URI, and T45RWL by granuleId"),
        ("</n1:Level-2A_User_Product>", "", "is not whole XML"),
        (
            "<PRODUCT_URI>",
            "<PRODUCT_URI>../",
            "is so named in the catalogue, and its metadata do not say its name",
        ),
    ],
)
def test_metadata_that_cannot_be_right_are_refused(
    tmp_path: Path, web: Web, old: str, new: str, words: str
) -> None:
    whole = safe_of(tmp_path)
    candidate = offered(whole, tmp_path / "store")
    shutil.rmtree(tmp_path / "store")
    edit(whole / "MTD_MSIL2A.xml", old, new)
    message = refused(web, candidate)
    assert words in message
    assert message.endswith("choose another --catalogue or other dates")


def test_images_of_another_place_or_size_are_refused(tmp_path: Path, web: Web) -> None:
    whole = safe_of(tmp_path)
    candidate = offered(whole, tmp_path / "store")
    assert "its images lie beside the place" in refused(web, candidate, place(90_000, 0, 91_000, 1000))
    swapped = {**candidate.images, "4": candidate.images["5"]}
    assert "its image of B04 (red) has pixels of 20 m in the catalogue, and 10 m by its metadata" in refused(
        web, replace(candidate, images=swapped)
    )
    with rasterio.open(candidate.images["4"].address) as file:
        numbers = file.read(1)
    moved_by = write_image(tmp_path / "moved.tif", numbers, 10, corner=(CORNER[0] + 60, CORNER[1]))
    images = {**candidate.images, "4": Asset(str(moved_by))}
    assert "_B04_10m.tif covers other ground than" in refused(web, replace(candidate, images=images))
    zone = write_image(tmp_path / "zone.tif", numbers, 10, epsg=32644)
    images = {**candidate.images, "4": Asset(str(zone))}
    assert re.search("covers other ground|beside the place", refused(web, replace(candidate, images=images)))


def test_landsat_of_other_metadata_or_without_a_band_is_refused(tmp_path: Path, web: Web) -> None:
    whole = make_landsat(tmp_path)
    candidate = offered(whole, tmp_path / "store")
    shutil.rmtree(tmp_path / "store")
    other = candidate.name.replace("20240101", "20240202")
    assert f"name is {other} by the name of its metadata, and {candidate.name} by" in refused(
        web, replace(candidate, name=other)
    )
    for number, words in (
        ("6", "the catalogue offers no image of B6 (swir1); choose another"),
        ("3", f"lacks {candidate.name}_SR_B3.TIF, the image of green; choose another"),
        ("QA_PIXEL", "the catalogue offers no image of QA_PIXEL; choose another"),
    ):
        images = {key: asset for key, asset in candidate.images.items() if key != number}
        assert words in refused(web, replace(candidate, images=images))
    edit(next(whole.glob("*_MTL.json")), '"L2SP"', '"L1TP"')
    assert "is Level-1 (L1TP)" in refused(web, candidate)


def test_an_image_with_another_checksum_is_refused_and_nothing_kept(tmp_path: Path, web: Web) -> None:
    candidate = offered(safe_of(tmp_path), tmp_path / "store")
    wrong = replace(candidate.images["8"], checksum=Checksum("sha256", hashlib.sha256(b"x").hexdigest()))
    candidate = replace(candidate, images={**candidate.images, "8": wrong})
    plan = plan_product(web, candidate, MIDDLE, ROLES)
    with pytest.raises((DownloadError, ProductError), match="checksum"):
        write_product(web, plan, tmp_path / "products")
    assert not list((tmp_path / "products").glob("*.SAFE"))
    assert not list((tmp_path / "products").rglob("*_B08_*"))


def test_an_image_that_is_cut_short_is_refused_and_nothing_kept(tmp_path: Path, web: Web) -> None:
    candidate = offered(safe_of(tmp_path), tmp_path / "store")
    image = Path(candidate.images["12"].address)
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    with pytest.raises((DownloadError, ProductError), match=r"12\.tif: is (cut short|damaged)"):
        fetched(web, candidate, tmp_path / "products")
    assert not list(tmp_path.glob("products/*"))


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_finished_windows_are_kept_and_damaged_ones_read_again(
    tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_product(web, offered(safe_of(tmp_path), tmp_path / "store"), MIDDLE, ROLES)
    expected = files_of(write_product(web, plan, tmp_path / "whole"))
    written: list[str] = []
    limit, real = 4, save_window

    def counting(web: Web, window: Any, path: Path, **how: Any) -> None:
        if len(written) == limit:
            raise KeyboardInterrupt
        real(web, window, path, **how)
        written.append(path.name)

    monkeypatch.setattr(folders, "save_window", counting)
    products = tmp_path / "products"
    with pytest.raises(KeyboardInterrupt):
        write_product(web, plan, products)
    assert not (products / plan.folder_name).exists()
    (part,) = products.iterdir()
    assert part.name == f".{plan.folder_name}.part"
    done = min(part.rglob(written[1]))
    done.write_bytes(done.read_bytes()[:-1] + b"x")
    (part / "stranger.txt").touch()
    again, written[:] = written[1], []
    limit = 99
    assert files_of(write_product(web, plan, products)) == expected
    assert again in written
    assert len(written) == len(plan.windows) - 3
    assert [path.name for path in products.iterdir()] == [plan.folder_name]
    written.clear()
    assert files_of(write_product(web, plan, products)) == expected
    assert not written
    image = next(products.rglob("*_B04_10m.tif"))
    image.write_bytes(b"damaged")
    assert files_of(write_product(web, plan, products)) == expected
    # What is added to numbers is part of what a window is.
    more = {name: replace(one, add=0 if "_SCL_" in name else 1000) for name, one in plan.windows.items()}
    shifted = files_of(write_product(web, replace(plan, windows=more), products))
    assert {name for name in expected if shifted[name] != expected[name]} == {
        folders.RECORD,
        *(name for name in plan.windows if "_SCL_" not in name),
    }


def test_what_another_process_takes_away_is_said(
    tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "_fill", lambda *given: shutil.rmtree(given[1]))
    windows: dict[str, Any] = {"a.tif": None}
    with pytest.raises(OutputError, match="by another process meanwhile; run the same command again"):
        folders.write_windows(web, tmp_path / "dem", windows, {})


def test_another_place_takes_the_folder_of_a_fetch_and_no_other(tmp_path: Path, web: Web) -> None:
    candidate, products = offered(safe_of(tmp_path), tmp_path / "store"), tmp_path / "products"
    first = fetched(web, candidate, products)
    before = files_of(first)
    second = fetched(web, candidate, products, place(100, 100, 300, 300), ("blue",))
    assert second == first
    found = files_of(second)
    assert found.keys() < before.keys()
    assert [path.name for path in products.iterdir()] == [first.name]
    (second / folders.RECORD).unlink()
    with pytest.raises(
        RequestError, match="exists and was not made by a fetch; remove it, or give another --out"
    ):
        fetched(web, candidate, products)
    del found[folders.RECORD]
    assert files_of(second) == found


MADE = shapely.box(PLACE[0] - 0.006, PLACE[1] - 0.006, PLACE[0] + 0.006, PLACE[1] + 0.006)


@pytest.mark.parametrize("cloud", [0.0, 0.5])
def test_every_catalogue_gives_the_same_numbers_whatever_it_did_to_them(
    tmp_path: Path, web: Web, cloud: float
) -> None:
    shot, scenes = Shot(cloud=cloud), {}
    ways: dict[str, tuple[Style, dict[str, Any]]] = {
        "c1": ("c1", {}),
        "l2a": ("l2a", {}),
        "planetary": ("planetary", {}),
        "left, and said to be taken off": ("l2a", {"is_shifted": False, "flag": True}),
        "taken off, and said to be left": ("l2a", {"flag": False}),
    }
    for number, (name, (style, changes)) in enumerate(ways.items()):
        shelf = Shelf(tmp_path / str(number))
        shelf.add(shot, style, **changes)
        settings = FetchSettings(catalogue=str(shelf.catalogue()), date="2024-09-30")  # type: ignore[arg-type]
        (candidate,) = search(settings, MADE).candidates
        cut = fetched(web, candidate, tmp_path / str(number) / "products", MADE, ("red", "nir_narrow"))
        like = grid_file(tmp_path / "like.tif", MADE, 32645, 10)
        out = tmp_path / str(number) / "scene.tif"
        scenes[name] = prepared(cut, out, like, "red,swir1,nir_narrow")["scene"]
        assert np.isfinite(scenes[name]).any()
    for name, scene in scenes.items():
        np.testing.assert_array_equal(scene, scenes["c1"], name)


def test_a_band_that_kept_its_offset_beside_others_is_refused(tmp_path: Path, web: Web) -> None:
    shelf = Shelf(tmp_path / "shelf")
    shelf.add(Shot(), "l2a")
    settings = FetchSettings(catalogue=str(shelf.catalogue()), date="2024-09-30")  # type: ignore[arg-type]
    (candidate,) = search(settings, MADE).candidates
    images = dict(candidate.images)
    for number in sorted(images.keys() - {"SCL"}):
        with rasterio.open(images[number].address) as image:
            numbers, pixel_m, corner = image.read(1), image.res[0], (image.transform.c, image.transform.f)
            epsg = image.crs.to_epsg()
        # A lake, dark in all bands.
        side = round(1200 / pixel_m)
        numbers[side : 2 * side, side : 2 * side] = 300
        for name, more in ((f"{number}.tif", 0), (f"{number}_left.tif", 1000)):
            raised = np.where(numbers == 0, 0, numbers + more).astype(np.uint16)
            path = write_image(tmp_path / name, raised, pixel_m, epsg, corner)
            if not more:
                images[number] = Asset(str(path))
    assert plan_product(web, replace(candidate, images=images), MADE, ("red",)).add == 1000
    images["4"] = Asset(str(tmp_path / "4_left.tif"))
    with pytest.raises(ProductError, match=r"only 0% of red in shade are below 900, as where it was left"):
        plan_product(web, replace(candidate, images=images), MADE, ("red",))


IMPORTS = """
import os, pickle
from pathlib import Path
from glacierseg.catalogues import folders
from glacierseg.catalogues.cache import Cache
from glacierseg.catalogues.delivery import plan_product, write_product
from glacierseg.catalogues.web import Web
"""
KILLED = """
candidate, outline, roles = pickle.loads(Path(words[0]).read_bytes())
products, last, steps = Path(words[1]), int(words[2]), 0

def step(function):
    def told(*given, **how):
        global steps
        steps += 1
        if steps == last:
            os.kill(os.getpid(), 9)
        return function(*given, **how)
    return told

folders.save_window, folders.write_json = step(folders.save_window), step(folders.write_json)
Path.rename, Path.write_bytes, Path.replace = map(step, (Path.rename, Path.write_bytes, Path.replace))
with Web(cache=Cache(products, 0)) as web:
    write_product(web, plan_product(web, candidate, outline, roles), products)
"""


def test_whatever_kills_it_nothing_looks_finished_and_the_same_bytes_come(tmp_path: Path, web: Web) -> None:
    candidate, products = offered(safe_of(tmp_path), tmp_path / "store"), tmp_path / "products"
    expected = files_of(fetched(web, candidate, tmp_path / "whole", roles=("blue",)))
    (tmp_path / "job").write_bytes(pickle.dumps((candidate, MIDDLE, ("blue",))))
    final = products / f"{candidate.name}.SAFE"
    with forks(IMPORTS, KILLED) as start:
        # Each of six windows takes four steps, and none when it is kept; then come record, metadata and name.
        for last in (1, 2, 3, 4, 1, 5, 8, 12, 6, 4, 3):
            assert start(str(tmp_path / "job"), str(products), str(last)).wait() == -9
            assert not final.exists()
        assert start(str(tmp_path / "job"), str(products), "99").wait() == 0
    assert files_of(final) == expected
    assert [path.name for path in products.iterdir()] == [final.name]
