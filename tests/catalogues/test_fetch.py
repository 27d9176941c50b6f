"""From a place and days to products and a scene: chosen, cut, recorded, and the same on each run."""

import hashlib
import json
import logging
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyproj import Transformer

from glacierseg.catalogues.fetch import fetch_products, fetch_scene, roles_of
from glacierseg.catalogues.place import Place
from glacierseg.errors import (
    BandError,
    DownloadError,
    GlaciersegWarning,
    ProductError,
    RasterError,
    RequestError,
    TruthError,
)
from glacierseg.products.scene import prepare_scene
from glacierseg.settings.fetch import FetchSettings
from glacierseg.settings.prepare import ProductInputs, ProductSettings
from tests.catalogues.api import serving
from tests.catalogues.ground import PLACE, SEASONS, Facts, Shot, box_around, glacier
from tests.catalogues.scenes import read, require_numbers, write_glacier
from tests.catalogues.shelf import Shelf
from tests.helpers import forks
from tests.products.shelves import LandsatFacts

BOX = box_around().bounds
YEAR = "2024-01-01/2024-12-31"
LIGHT = ("blue", "nir")
RECIPE = ProductSettings(recipe="blue,nir")
AUTUMN = replace(SEASONS["autumn"], side_m=2700)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """Four seasons and the elevation of their ground."""
    made = Shelf(tmp_path_factory.mktemp("seasons"))
    for shot in SEASONS.values():
        made.add(replace(shot, side_m=2700))
    for latitude in (27.9, 28.1):
        made.add_elevation((PLACE[0], latitude))
    return made


@pytest.fixture(scope="module")
def root(shelf: Shelf) -> Path:
    return shelf.catalogue()


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GLACIERSEG_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("glacierseg.catalogues.retries.FIRST_PAUSE_S", 0.01)


@pytest.fixture
def known(tmp_path: Path) -> Path:
    return write_glacier(tmp_path / "known.gpkg")


def settings(catalogue: object, **more: Any) -> FetchSettings:
    return FetchSettings.model_validate({"catalogue": str(catalogue), "date": YEAR, "retries": 1, **more})


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "provenance.json").read_text())
    return found


def test_autumn_is_chosen_for_the_stated_reason(root: Path, known: Path, tmp_path: Path) -> None:
    made = fetch_scene(
        BOX,
        tmp_path / "out",
        settings(root),
        ProductSettings(recipe="blue,nir,elevation"),
        ProductInputs(existing=known),
    )
    assert made.path.name == "T45RVL_20241005.tif"
    require_numbers(made.path, [AUTUMN])
    table = pd.read_csv(tmp_path / "out/scenes.csv")
    assert table["name"].str[11:15].tolist() == ["2024"] * 4
    assert table["acquired"].str[5:7].tolist() == ["10", "04", "01", "07"]
    assert table["taken"].tolist() == [1, 0, 0, 0]
    assert table["why"][0].startswith("best of 4 of T45RVL: cloud 0 % over the glaciers, snow ")
    assert table["why"].str.contains("snow .* beside the glaciers, more than --max-snow 0.5").sum() == 2
    assert "more than --max-cloud 0.2" in table["why"][3]
    # Heights are those of the catalogue's tiles, on both sides of a degree.
    values, transform, _ = read(made.path)
    assert np.isfinite(values[2]).all()
    rows, columns = np.indices(values[2].shape)
    x, y = transform * (columns + 0.5, rows + 0.5)
    lon, lat = Transformer.from_crs(32645, 4326, always_xy=True).transform(x, y)
    truth = 5000 + 400 * np.sin(40 * lon) * np.cos(40 * lat)
    assert np.abs(values[2] - truth).max() < 5


def test_products_are_the_agencys_cut_to_the_place(root: Path, known: Path, tmp_path: Path) -> None:
    """Without the catalogue, `prepare scene` makes the same of them."""
    made = fetch_scene(BOX, tmp_path / "out", settings(root), RECIPE, ProductInputs(existing=known))
    (product,) = made.fetched.products
    assert product == tmp_path / "out/products" / f"{AUTUMN.facts.name}.SAFE"
    again = prepare_scene(product, tmp_path / "again.tif", RECIPE)
    assert again.path.read_bytes() == made.path.read_bytes()
    whole = next(root.parent.glob(f"files/**/*{AUTUMN.facts.name[11:19]}*/product_metadata.xml"))
    assert (product / "MTD_MSIL2A.xml").read_bytes() == whole.read_bytes()


def test_two_runs_are_equal_to_the_byte_and_a_third_needs_no_network(
    shelf: Shelf, known: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(shelf.items, files=shelf.folder / "files") as api:
        for name in ("one", "two"):
            fetch_scene(
                BOX, tmp_path / name, settings(api.address, cache_gb=0), RECIPE, ProductInputs(existing=known)
            )
        address = api.address
    one = contents(tmp_path / "one")
    assert one == contents(tmp_path / "two")
    assert {"scenes.csv", "provenance.json", "T45RVL_20241005.tif"} < set(one)
    caplog.set_level(logging.INFO, logger="glacierseg")
    fetch_scene(BOX, tmp_path / "one", settings(address, timeout_s=5), RECIPE, ProductInputs(existing=known))
    assert sum(line.endswith(": is up to date") for line in caplog.messages) == 2
    assert contents(tmp_path / "one") == one


def test_the_record_says_where_all_of_it_is_from(root: Path, known: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fetch_scene(BOX, out, settings(root), RECIPE, ProductInputs(existing=known))
    found = record(out)
    listed = {**found["files"], **found["scene"]["files"]}
    apart = {"provenance.json", "T45RVL_20241005_stages.json"}
    assert set(listed) == set(contents(out)) - apart
    for name, facts in listed.items():
        data = (out / name).read_bytes()
        assert facts == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (product,) = found["products"]
    assert product["product"] == AUTUMN.facts.name
    assert product["baseline"] == "05.11"
    assert product["scale_and_offset"]["blue"] == [1.0, -1000.0]
    assert product["why"].startswith("best of 4")
    assert len(found["elevation"]) == 2
    assert str(tmp_path) not in json.dumps({**found, "request": None})


def test_a_damaged_file_is_fetched_again(root: Path, known: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fetch_products(BOX, out, settings(root), existing=known, roles=LIGHT)
    before = contents(out)
    path = next(out.rglob("*_B08_10m.tif"))
    path.write_bytes(path.read_bytes()[:-7])
    fetch_products(BOX, out, settings(root), existing=known, roles=LIGHT)
    assert contents(out) == before
    shutil.rmtree(out / "dem")
    fetch_products(BOX, out, settings(root), existing=known, roles=LIGHT)
    assert contents(out) == before


def test_more_bands_are_added_and_fewer_are_there(root: Path, known: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = fetch_products(BOX, out, settings(root), existing=known, roles=["blue"], elevation=False)
    assert first.dem == ()
    more = fetch_products(BOX, out, settings(root), existing=known, roles=["nir_narrow"])
    assert list(more.products[0].rglob("*_B8A_*.tif"))
    assert len(more.dem) == 2
    fewer = fetch_products(BOX, out, settings(root), existing=known, roles=["blue"], elevation=False)
    assert (fewer.products, fewer.dem) == (more.products, ())
    assert record(out)["bands"] == ["blue", "nir_narrow"]


def test_another_request_is_refused_unless_again(root: Path, known: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = fetch_products(BOX, out, settings(root), existing=known, roles=LIGHT)
    spring = settings(root, date="2024-04-01/2024-05-01", max_snow=0.6)
    with pytest.raises(RequestError, match=r"another request \(date 2024-01-01/2024-12-31, not 2024-04-0"):
        fetch_products(BOX, out, spring, existing=known, roles=LIGHT)
    with pytest.raises(RequestError, match="another place"):
        fetch_products(box_around(side_m=2000).bounds, out, settings(root), existing=known, roles=LIGHT)
    assert first.products[0].is_dir()
    worse = spring.replaced(max_snow=0.01)
    with pytest.raises(RequestError, match="no image is good enough"):
        fetch_products(BOX, out, worse, existing=known, roles=LIGHT, again=True)
    assert first.products[0].is_dir()
    second = fetch_products(BOX, out, spring, existing=known, roles=LIGHT, again=True)
    assert second.products != first.products
    assert not first.products[0].exists()


def test_what_is_fetched_again_takes_the_old_away_when_it_is_whole(
    shelf: Shelf, known: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, out = shelf.catalogue(), tmp_path / "out"
    autumn, spring = settings(root), settings(root, date="2024-04-01/2024-05-01", max_snow=0.6)
    inputs = ProductInputs(existing=known)
    first = fetch_scene(BOX, out, autumn, RECIPE, inputs)
    old = contents(out)

    def lost(*_: object, **__: object) -> None:
        raise DownloadError("no network")

    for step in ("folders.save_window", "steps.fetch_elevation"):
        with monkeypatch.context() as patch:
            patch.setattr(f"glacierseg.catalogues.{step}", lost)
            with pytest.raises(DownloadError, match="no network"):
                fetch_scene(BOX, out, spring, RECIPE, inputs, again=True)
        assert {**contents(out), "scenes.csv": old["scenes.csv"]}.items() >= old.items()
    made = fetch_scene(BOX, out, spring, RECIPE, inputs, again=True)
    assert made.path != first.path
    fetch_scene(BOX, tmp_path / "fresh", spring, RECIPE, inputs)
    assert contents(out) == contents(tmp_path / "fresh")


def test_an_image_whose_classes_are_lost_is_left_out(
    shelf: Shelf, known: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    items = json.loads(json.dumps(shelf.items))
    spring = next(item for item in items if "20240420" in item["id"])
    spring["assets"]["scl"]["href"] = "{files}/lost/SCL.tif"
    broken = next(item for item in items if "20240115" in item["id"])
    broken["assets"]["scl"]["href"] = "{files}/broken/SCL.tif"
    (shelf.folder / "files/broken").mkdir()
    (shelf.folder / "files/broken/SCL.tif").write_text("<xml>")
    for item in (spring, broken):
        item["assets"]["scl"] = {"href": item["assets"]["scl"]["href"]}
    with serving(items, files=shelf.folder / "files") as api:
        made = fetch_products(BOX, tmp_path / "out", settings(api.address), existing=known, roles=LIGHT)
    assert made.products[0].name == f"{AUTUMN.facts.name}.SAFE"
    why = pd.read_csv(tmp_path / "out/scenes.csv").set_index("item")["why"]
    assert "does not exist (404)" in why[spring["id"]]
    said = [str(one.message) for one in recwarn]
    for item in (spring, broken):
        assert sum(line.startswith(f"{item['id']}: is left out: ") for line in said) == 1


def test_an_image_whose_numbers_contradict_its_metadata_leaves_the_place_to_the_next(
    tmp_path: Path, known: Path, recwarn: pytest.WarningsRecorder
) -> None:
    shelf, out = Shelf(tmp_path / "shelf"), tmp_path / "out"
    days = {"2024-10-05": 0.0, "2024-09-25": 0.25, "2024-09-15": 0.3}
    items = [
        shelf.add(replace(AUTUMN, facts=Facts(date=day), cloud=cloud), "l2a", is_shifted=False)["id"]
        for day, cloud in days.items()
    ]
    lies = [next(shelf.folder.rglob(f"*_{day.replace('-', '')}_*/product_metadata.xml")) for day in days]

    def lie(metadata: Path) -> None:
        metadata.write_text(metadata.read_text().replace(">-1000<", ">0<"))

    def fetched(name: str, **more: Any) -> Any:
        how = settings(shelf.catalogue(), **more)
        return fetch_products(BOX, out / name, how, existing=known, roles=LIGHT, elevation=False)

    lie(lies[0])
    made = fetched("best")
    assert [path.name[11:19] for path in made.products] == ["20240925"]
    table = pd.read_csv(out / "best/scenes.csv").set_index("item")
    assert table["taken"].sum() == table["taken"][items[1]] == 1
    said = "give no BOA_ADD_OFFSET, and 0.00% of its numbers are below 700"
    assert said in table["why"][items[0]]
    (remark,) = made.remarks
    assert remark.startswith(f"{items[0]}: is left out: ")
    assert said in remark
    assert [str(one.message) for one in recwarn if one.category is GlaciersegWarning] == [remark]
    for name, limit in (("cloudy", 0.05), ("all", 0.2)):  # none is left below the limit, or none at all
        with pytest.raises(ProductError, match=rf"^S2B_MSIL2A_20241005.* {said}"):
            fetched(name, max_cloud=limit)
        assert (pd.read_csv(out / name / "scenes.csv")["taken"] == 0).all()
        for metadata in lies[1:]:
            lie(metadata)


def test_a_catalogue_without_elevation_is_refused_before_images_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf(tmp_path / "shelf")
    shelf.add(AUTUMN)
    monkeypatch.setattr("glacierseg.catalogues.steps.plan_looks", lambda *_: pytest.fail("looked"))
    with pytest.raises(
        RequestError, match=r"has no elevation model .* which slope needs; give one with --dem"
    ):
        fetch_scene(BOX, tmp_path / "out", settings(shelf.catalogue()), ProductSettings(recipe="blue,slope"))


def test_known_glaciers_elsewhere_do_not_meet_the_place(root: Path, tmp_path: Path) -> None:
    far = write_glacier(tmp_path / "far.gpkg", (80.0, 30.0))
    with pytest.raises(TruthError, match=r"far\.gpkg: no outline meets the place"):
        fetch_products(BOX, tmp_path / "out", settings(root), existing=far)


def test_more_bytes_than_allowed_are_refused_before_any_is_read(
    shelf: Shelf, known: Path, tmp_path: Path
) -> None:
    with serving(shelf.items, files=shelf.folder / "files") as api:
        how = settings(api.address, cache_gb=0, max_gb=1e-4)
        with pytest.raises(RequestError, match=r"takes .* MB, and --max-gb is 0\.0001") as caught:
            fetch_products(BOX, tmp_path / "out", how, existing=known, roles=LIGHT)
        assert not (tmp_path / "out/products").exists()
        enough = float(str(caught.value).split("give --max-gb ")[1].split(",")[0])
        fetch_products(BOX, tmp_path / "out", how.replaced(max_gb=enough), existing=known, roles=LIGHT)


def test_a_composite_says_which_day_each_pixel_is_of(tmp_path: Path, known: Path) -> None:
    shelf = Shelf(tmp_path / "shelf")
    west = replace(AUTUMN, facts=Facts(date="2024-10-05"), cloud=0.45)
    east = replace(AUTUMN, facts=Facts(date="2024-09-10"), missing=0.4)
    for shot in (west, east):
        shelf.add(shot)
    how = settings(shelf.catalogue(), composite=True, max_cloud=0.9)
    with pytest.warns(GlaciersegWarning, match="has no elevation model"):
        made = fetch_scene(BOX, tmp_path / "out", how, RECIPE, ProductInputs(existing=known))
    order = [path.name[11:19] for path in made.fetched.products]
    assert sorted(order) == ["20240910", "20241005"]
    shots = {"20241005": west, "20240910": east}
    require_numbers(made.path, [shots[day] for day in order])
    days = read(made.path.with_name(f"{made.path.stem}_dates.tif"))[0][0]
    assert {20240910, 20241005} <= set(np.unique(days)) <= {0, 20240910, 20241005}
    np.testing.assert_array_equal(days > 0, np.isfinite(read(made.path)[0][0]))


def test_landsat_comes_by_the_same_way(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf")
    shelf.add(Shot(LandsatFacts(number=9, date="2024-10-02"), side_m=2700))
    how = settings(shelf.catalogue(), satellite="landsat", max_snow=1)
    with pytest.warns(GlaciersegWarning, match="no elevation"):
        made = fetch_scene(BOX, tmp_path / "out", how, ProductSettings(recipe="red,thermal"))
    values, _, _ = read(made.path)
    assert made.path.name == "140041_20241002.tif"
    assert 1240 < np.nanmedian(values[0]) < 1360  # rock is 1300 +- 60
    np.testing.assert_allclose(values[1][np.isfinite(values[1])], 270, atol=0.01)


def test_an_area_is_cut_to_its_outline(root: Path, known: Path, tmp_path: Path) -> None:
    place = Place(glacier(radius_m=1000), "round", is_area=True)
    made = fetch_scene(place, tmp_path / "out", settings(root), RECIPE, ProductInputs(existing=known))
    values, transform, _ = read(made.path)
    area_km2 = np.isfinite(values[0]).sum() * transform.a**2 / 1e6
    assert area_km2 == pytest.approx(np.pi, rel=0.01)
    assert (
        json.loads((tmp_path / "out/area.geojson").read_text())["features"][0]["properties"]["name"]
        == "round"
    )


def test_what_no_satellite_sees_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(BandError, match=r"of sentinel2 have no band for thermal .* --layer thermal=FILE"):
        fetch_scene(BOX, tmp_path / "out", settings(tmp_path / "none"), ProductSettings(recipe="red,thermal"))
    assert roles_of("ndsi,slope,red,velocity", {"velocity": Path("v.tif")}) == ("green", "swir1", "red")
    assert roles_of("red,thermal", {"thermal": Path("t.tif")}) == ("red",)
    for recipe, said in (("red,nirr", "did you mean 'nir'"), ("red,velocity", "--layer velocity=FILE")):
        with pytest.raises(BandError, match=said):
            fetch_scene(BOX, tmp_path / "out", settings(tmp_path / "none"), ProductSettings(recipe=recipe))
    missing = ProductInputs(dem=(tmp_path / "dem.tif",))
    with pytest.raises(RasterError, match=r"dem\.tif: no such file"):
        fetch_scene(BOX, tmp_path / "out", settings(tmp_path / "none"), RECIPE, missing)
    with pytest.raises(RequestError, match="--date"):
        fetch_products(BOX, tmp_path / "out", FetchSettings())


KILLED = """
from glacierseg.catalogues.fetch import fetch_scene
from glacierseg.settings.fetch import FetchSettings
import warnings
warnings.simplefilter("ignore")
how = FetchSettings(catalogue=words[0], date="2024-01-01/2024-12-31", cache_gb=0)
box = [float(side) for side in words[3].split(",")]
fetch_scene(box, words[1], how, existing=words[2], recipe="blue,nir")
"""


def test_a_fetch_that_is_killed_twenty_times_gives_the_same_bytes(
    shelf: Shelf, root: Path, known: Path, tmp_path: Path
) -> None:
    fetch_scene(BOX, tmp_path / "whole", settings(root), RECIPE, ProductInputs(existing=known))
    began = time.monotonic()
    fetch_scene(BOX, tmp_path / "timed", settings(root), RECIPE, ProductInputs(existing=known))
    lasts_s = min(time.monotonic() - began, 0.6)
    words = root, tmp_path / "killed", known, ",".join(map(str, BOX))
    imports = (
        "import glacierseg.catalogues.fetch, glacierseg.catalogues.search, geopandas, pyogrio, pystac_client"
    )
    with forks(imports, KILLED) as start:
        for turn in range(20):
            fork = start(*words)
            time.sleep(lasts_s * (turn + 1) / 30)
            fork.kill()
        assert start(*words).wait() == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
