"""Searches in catalogues of every kind, which fail and lie."""

import json
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import shapely

from glacierseg.catalogues.search import Offered, elevation_tiles, search
from glacierseg.errors import DownloadError, GlaciersegWarning, RequestError
from glacierseg.products.read import read_product
from glacierseg.settings.fetch import FetchSettings
from tests.catalogues.api import Faults, serving
from tests.catalogues.ground import SEASONS, Facts, Shot, box_around
from tests.catalogues.shelf import Shelf
from tests.products.shelves import LandsatFacts

BOX = box_around()
YEAR = "2024-01-01/2024-12-31"


def settings(catalogue: object, date: str | None = YEAR, **more: Any) -> FetchSettings:
    return FetchSettings.model_validate(
        {"catalogue": str(catalogue), "date": date, "retries": 1, "timeout_s": 2.0, **more}
    )


def names(offered: Offered) -> list[str]:
    return [one.name for one in offered.candidates]


@pytest.fixture(scope="module")
def seasons(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    shelf = Shelf(tmp_path_factory.mktemp("seasons"))
    for shot in SEASONS.values():
        shelf.add(shot, side_m=480)
    shelf.add_elevation()
    return shelf


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glacierseg.catalogues.retries.FIRST_PAUSE_S", 0.01)


BY_DATE = [SEASONS[name].facts.name for name in ("winter", "spring", "summer", "autumn")]


def test_every_kind_of_catalogue_offers_the_same(seasons: Shelf) -> None:
    root, folder = seasons.catalogue(), seasons.folder_of_items()
    found = [search(settings(where), BOX) for where in (root, root.parent, f"file://{root}", folder)]
    with serving(seasons.items) as api:
        found.append(search(settings(api.address), BOX))
        assert [one["bbox"] for one in api.asked] == [list(BOX.bounds)] * 2
    with serving(seasons.items, Faults(by=["GET"], filters=False)) as api:
        found.append(search(settings(f"{api.address}/"), BOX))
    for offered in found:
        assert names(offered) == BY_DATE
        assert not offered.left_out
    assert Path(found[0].candidates[0].images["2"].address).is_file()


def test_the_files_of_a_static_catalogue_make_a_product(seasons: Shelf, tmp_path: Path) -> None:
    candidate = search(settings(seasons.catalogue()), BOX).candidates[3]
    assert candidate.metadata is not None
    text = Path(candidate.metadata.address).read_text()
    assert candidate.name in text
    assert candidate.images["SCL"].checksum is not None


def test_a_static_catalogue_on_the_web_is_walked(seasons: Shelf) -> None:
    seasons.catalogue()
    with serving([], files=seasons.folder) as api:
        offered = search(settings(f"{api.address}/files/catalog.json"), BOX)
        assert names(offered) == BY_DATE
        assert offered.candidates[0].images["2"].address.startswith(f"{api.address}/files/files/sentinel-2")


def test_days_are_those_of_utc(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    late = {"datetime": "2024-09-30T23:30:00-05:00"}
    item = shelf.add(side_m=480, date="2024-10-01", properties=late)
    early = {
        "datetime": None,
        "start_datetime": "2024-10-02T00:10:00+00:45",
        "end_datetime": "2024-10-03T00:00:00Z",
    }
    shelf.add(side_m=480, date="2024-10-01", spacecraft="A", properties=early)
    with serving(shelf.items) as api:
        assert len(search(settings(api.address, "2024-10-01"), BOX).candidates) == 2
        with pytest.raises(
            RequestError, match=r"offers no image of Sentinel-2 of this place from 2024-09-30"
        ):
            search(settings(api.address, "2024-09-30"), BOX)
    assert item["properties"]["datetime"] == late["datetime"]


FAILURES = [Faults(page=2), Faults(page=2, status=429), Faults(page=2, is_cut=True)]


@pytest.mark.parametrize("faults", FAILURES, ids=["500", "429", "cut"])
@pytest.mark.parametrize("by", ["GET", "POST"])
def test_a_page_that_fails_is_asked_for_again(seasons: Shelf, faults: Faults, by: str) -> None:
    with serving(seasons.items, replace(faults, by=[by])) as api:
        assert names(search(settings(api.address), BOX)) == BY_DATE
        assert len(api.asked) == 3
        api.failed = -1
        with pytest.raises(DownloadError, match=r"search.*(HTTP (500|429)|before it was whole).*again"):
            search(settings(api.address, retries=1), BOX)


@pytest.mark.parametrize("wish", ["3600", "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_a_server_may_not_wish_for_hours(seasons: Shelf, wish: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glacierseg.catalogues.retries.LONGEST_PAUSE_S", 0.1)
    with serving(seasons.items, Faults(page=1, status=429, retry_after=wish)) as api:
        assert names(search(settings(api.address), BOX)) == BY_DATE
        assert len(api.asked) == 3


def test_a_search_that_has_moved_keeps_its_terms(seasons: Shelf) -> None:
    for status in (301, 302, 307, 308):
        with serving(seasons.items, Faults(is_moved=True, status=status)) as api:
            assert names(search(settings(api.address, "2024-10-05"), BOX)) == BY_DATE[3:]
            assert [one["collections"] for one in api.asked] == [["sentinel-2-c1-l2a"]]


def test_pages_without_end_are_refused(seasons: Shelf) -> None:
    with serving(seasons.items, Faults(is_endless=True)) as api:
        with pytest.raises(DownloadError, match="the same page again and again"):
            search(settings(api.address), BOX)
        assert len(api.asked) == 5


def _closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def test_what_is_no_catalogue_is_refused(seasons: Shelf, tmp_path: Path) -> None:
    page = tmp_path / "page.json"
    page.write_text("<html>")
    other = tmp_path / "other.json"
    other.write_text('{"a": 1}')
    listed = tmp_path / "list.json"
    listed.write_text("[]")
    cut = tmp_path / "catalog.json"
    cut.write_text(seasons.catalogue().read_text()[:100])
    with serving([], files=tmp_path) as api:
        for where, words in {
            page: "is no JSON, or not whole; give",
            other: "is no STAC catalogue, since it has no stac_version; give the landing page",
            listed: "is no STAC catalogue, since it has no stac_version",
            cut: "is no JSON, or not whole",
            f"{api.address}/files/page.json": "is no JSON, or not whole",
            f"{api.address}/files/nothing": r"is not there \(HTTP 404\); check the address",
        }.items():
            with pytest.raises(DownloadError, match=words):
                search(settings(where), BOX)


@pytest.mark.parametrize(
    ("catalogue", "satellite", "words"),
    [
        (
            "erth-search",
            "sentinel2",
            r"did you mean 'earth-search'\?\).*give earth-search, planetary-computer",
        ),
        ("earth-search", "landsat", "paid for by their readers; choose --catalogue planetary-computer"),
        ("https://earth-search.aws.element84.com/v1/", "landsat", "paid for"),
        (
            "https://stac.dataspace.copernicus.eu/v1",
            "sentinel2",
            "need an account; choose --catalogue earth-",
        ),
    ],
)
def test_catalogues_that_cannot_be_used_are_refused(
    catalogue: str, satellite: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        pytest.fail("asked the network")

    monkeypatch.setattr("glacierseg.catalogues.stac.Reader.read", never)
    with pytest.raises(RequestError, match=words):
        search(settings(catalogue, satellite=satellite), BOX)


def test_a_catalogue_that_is_down_is_told(seasons: Shelf) -> None:
    with pytest.raises(
        DownloadError, match=r"cannot be reached; check the address and the network, tried 2 times; run"
    ):
        search(settings(f"http://127.0.0.1:{_closed_port()}/v1"), BOX)
    with (
        serving(seasons.items, Faults(is_silent=True)) as api,
        pytest.raises(DownloadError, match=r"search: its server does not answer, tried once"),
    ):
        search(settings(api.address, retries=0, timeout_s=0.2), BOX)


def test_a_search_needs_days() -> None:
    with pytest.raises(RequestError, match="give the first and the last one as --date 2024-"):
        search(settings("earth-search", None), BOX)


def test_an_empty_answer_is_told(seasons: Shelf) -> None:
    with serving(seasons.items) as api:
        with pytest.raises(RequestError, match=r"no image of Sentinel-2 .* 2023-01-01 to 2023-02-01; give"):
            search(settings(api.address, "2023-01-01/2023-02-01"), BOX)
        with pytest.raises(RequestError, match="no image of Sentinel-2"):
            search(settings(api.address), box_around((90.0, 30.0)))
        with pytest.raises(RequestError, match="no image of Landsat"):
            search(settings(api.address, satellite="landsat"), BOX)
        with pytest.raises(
            RequestError,
            match=r"no collection 'sentinel-2-c1' \(did you mean 'sentinel-2-c1-l2a'\?\); give --collections "
            r"some of cop-dem-glo-30, sentinel-2-c1-l2a$",
        ):
            search(settings(api.address, collections=["sentinel-2-c1"]), BOX)


def test_too_many_images_are_refused(seasons: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glacierseg.catalogues.search._MAX_ITEMS", 3)
    with pytest.raises(RequestError, match="gives more than 3 items; shorten --date"):
        search(settings(seasons.catalogue()), BOX)


def test_without_pystac_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, seasons: Shelf) -> None:
    monkeypatch.setitem(sys.modules, "pystac_client.stac_api_io", None)
    with pytest.raises(RequestError, match=r'needs pystac-client; run `pip install "glacierseg\[stac\]"`'):
        search(settings(seasons.catalogue()), BOX)


def test_versions_of_an_image_give_the_newest_one(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    old = shelf.add(side_m=480, baseline="04.00")
    new = shelf.add(side_m=480)
    late = shelf.add(side_m=480, processed="20241002T083000")
    parts = [
        shelf.add(side_m=480, baseline="05.10", date="2024-10-05", processed=f"20241005T08300{i}")
        for i in (0, 1)
    ]
    strip = "S2B_OPER_MSI_L2A_DS_2BPS_20241006T083000_S{}_N05.11"
    for version in (old, new, late):
        version["properties"]["s2:datastrip_id"] = strip.format("20240930T045659")
    for part, start in zip(parts, ("20241005T045639", "20241005T045659"), strict=True):
        part["properties"]["s2:datastrip_id"] = strip.format(start)
    found = [search(settings(shelf.catalogue()), BOX)]
    shelf.items.reverse()
    with serving(shelf.items) as api:
        found.append(search(settings(api.address), BOX))
    for offered in found:
        assert [name[-15:] for name in names(offered)] == [
            "20241002T083000",
            "20241005T083000",
            "20241005T083001",
        ]
        assert {item for item, _ in offered.left_out} == {old["id"], new["id"]}
        assert {reason for _, reason in offered.left_out} == {f"is an older version of {names(offered)[0]}"}


def test_an_image_that_was_processed_twice_is_one_without_names_of_its_parts_too(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    old = shelf.add(side_m=480)
    shelf.add(side_m=480, processed="20241002T083000")
    # The other part of the image shows ground beside it.
    shelf.add(side_m=480, at=(86.792, 28.0), processed="20240930T083001")
    offered = search(settings(shelf.folder_of_items()), BOX)
    assert [name[-15:] for name in names(offered)] == ["20240930T083001", "20241002T083000"]
    assert [item for item, _ in offered.left_out] == [old["id"]]


def test_items_in_catalogues_below_a_collection_are_of_that_collection(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.add(style="l2a", side_m=480)
    own = shelf.add(side_m=480, date="2024-10-05")
    root = shelf.catalogue()
    for name in ("sentinel-2-l2a", "sentinel-2-c1-l2a"):
        path = root.parent / name / "collection.json"
        node = json.loads(path.read_text())
        below = {**node, "type": "Catalog", "id": "2024"}
        (path.parent / "2024.json").write_text(json.dumps(below))
        path.write_text(json.dumps({**node, "links": [{"rel": "child", "href": "./2024.json"}]}))
    offered = search(settings(root, collections=("sentinel-2-c1-l2a",)), BOX)
    assert [one.item for one in offered.candidates] == [own["id"]]


def test_of_two_collections_that_with_unaltered_numbers_is_taken(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    taken_off = shelf.add(style="l2a", side_m=480)
    own = shelf.add(side_m=480)
    alone = shelf.add(style="l2a", side_m=480, date="2024-10-05")
    assert taken_off["properties"]["earthsearch:boa_offset_applied"] is True
    offered = search(settings(shelf.catalogue()), BOX)
    assert [one.item for one in offered.candidates] == [own["id"], alone["id"]]
    assert [one.offset_applied for one in offered.candidates] == [None, True]
    assert offered.left_out == (
        (taken_off["id"], f"is the product of {own['id']} in sentinel-2-c1-l2a again"),
    )


def test_a_flag_says_that_numbers_were_altered_whatever_it_says(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.add(style="l2a", side_m=480, flag=False)
    own = shelf.add(side_m=480)
    own["collection"] = "z"
    offered = search(settings(shelf.folder_of_items()), BOX)
    assert [one.item for one in offered.candidates] == [own["id"]]


def test_why_nothing_can_be_used_is_told(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    first, second = (shelf.add(side_m=480, spacecraft=letter) for letter in "AB")
    del first["assets"]["swir16"], second["assets"]["product_metadata"]
    second["geometry"] = None
    with pytest.raises(
        RequestError,
        match=rf"no image of Sentinel-2 .* can be used: {first['id']} lacks the image of B11 \(swir1\), and "
        r"1 more cannot be used either; give a longer --date, or another --catalogue$",
    ):
        search(settings(shelf.catalogue()), BOX)
    third = shelf.add(side_m=480, spacecraft="C")
    offered = search(settings(shelf.catalogue()), BOX)
    assert [one.item for one in offered.candidates] == [third["id"]]
    assert [item for item, _ in offered.left_out] == [first["id"], second["id"]]
    # What is of other days or another place is not even left out.
    first["properties"]["datetime"] = "2019-01-01T00:00:00Z"
    second["bbox"] = [10, 10, 11, 11]
    assert search(settings(shelf.catalogue()), BOX).left_out == ()
    second["bbox"] = None
    assert search(settings(shelf.catalogue()), BOX).left_out == (
        (second["id"], "has neither a footprint nor a bbox"),
    )


def test_a_server_that_refuses_is_asked_once(seasons: Shelf) -> None:
    for status, words in (
        (400, "refuses the request"),
        (401, "is not open to everybody"),
        (403, "is not open"),
    ):
        with (
            serving(seasons.items, Faults(page=1, times=9, status=status)) as api,
            pytest.raises(DownloadError, match=rf"{words}.*HTTP {status}\); choose another --catalogue"),
        ):
            search(settings(api.address), BOX)
        assert len(api.asked) == 1


def test_days_may_be_all_that_there_are(seasons: Shelf) -> None:
    with serving(seasons.items) as api:
        assert names(search(settings(api.address, "0001-01-01/9999-12-31"), BOX)) == BY_DATE


def test_a_place_across_180_degrees_and_two_zones(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    west = shelf.add(Shot(Facts(tile="T60CWS"), at=(179.99, -77.0), side_m=1200))
    east = shelf.add(Shot(Facts(tile="T01CCV"), at=(-179.99, -77.0), side_m=1200))
    # As some catalogues draw it: around the whole world.
    around = shelf.add(Shot(Facts(tile="T01CCU", spacecraft="A"), at=(-179.99, -77.0), side_m=1200))
    ring = around["geometry"]["coordinates"][0]
    around["geometry"]["coordinates"][0] = [[(lon + 180) % 360 - 180, lat] for lon, lat in ring]
    far = shelf.add(Shot(Facts(tile="T45CWS"), at=(86.0, -77.0), side_m=480))
    beyond, before = (
        shapely.box(179.98, -77.01, 180.02, -76.99),
        shapely.box(-180.02, -77.01, -179.98, -76.99),
    )
    ends = shapely.box(179.98, -77.01, 180, -76.99), shapely.box(-180, -77.01, -179.98, -76.99)
    with serving(shelf.items) as api:
        for outline in (beyond, before, shapely.MultiPolygon(ends)):
            api.asked.clear()
            offered = search(settings(api.address), outline)
            assert [one.tile for one in offered.candidates] == ["T01CCU", "T01CCV", "T60CWS"]
            assert offered.left_out == ()
            boxes = sorted({tuple(round(side, 6) for side in one["bbox"]) for one in api.asked})
            assert boxes == [(-180, -77.01, -179.98, -76.99), (179.98, -77.01, 180, -76.99)]
    assert far["id"] not in {one.item for one in offered.candidates}
    assert west["id"] != east["id"]


def test_landsat_is_offered_by_its_own_names(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    for facts in (
        LandsatFacts(),
        LandsatFacts(number=7, date="2023-11-17"),
        LandsatFacts(level="L2SR", date="2023-12-01"),
    ):
        shelf.add(Shot(facts, side_m=480))
    shelf.add(side_m=480, date="2023-11-15")
    offered = search(settings(shelf.catalogue(), "2023-11-01/2023-12-31", satellite="landsat"), BOX)
    assert names(offered) == [
        path.name for path in sorted((tmp_path / "files").glob("L*"), key=lambda p: p.name[17:])
    ]
    assert [one.sensor for one in offered.candidates] == ["landsat9", "landsat7", "landsat9"]
    assert ["10" in one.images for one in offered.candidates] == [True, False, False]
    assert not offered.left_out
    # Files of one product lie in one folder, under the agency's names.
    read = read_product(tmp_path / "files" / offered.candidates[0].name)
    assert (read.name, read.tile) == (offered.candidates[0].name, offered.candidates[0].tile)


def test_elevation_is_found_with_a_margin(seasons: Shelf, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    for at in ((86.5, 28.5), (86.5, 27.5), (87.5, 27.5), (86.5, 26.5)):
        shelf.add_elevation(at)
    outline = shapely.box(86.7, 27.9, 86.997, 28.1)
    expected = [
        f"Copernicus_DSM_COG_10_{name}_00_DEM.tif" for name in ("N27_00_E086", "N27_00_E087", "N28_00_E086")
    ]
    with serving(shelf.items) as api:
        for where in (shelf.catalogue(), shelf.folder_of_items(), api.address):
            found = elevation_tiles(settings(where), outline)
            assert [Path(one.address).name for one in found] == expected
    bare = Shelf(tmp_path / "bare")
    bare.add(side_m=480)
    with serving(bare.items) as api:
        for where in (bare.catalogue(), api.address):
            assert elevation_tiles(settings(where), BOX) == ()


def test_an_item_that_is_gone_is_left_out_with_a_warning(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.add(side_m=480)
    root = shelf.catalogue()
    listed = root.parent / "sentinel-2-c1-l2a" / "collection.json"
    content = json.loads(listed.read_text())
    content["links"].append({"rel": "item", "href": "./gone.json"})
    listed.write_text(json.dumps(content))
    with (
        serving([], files=tmp_path) as api,
        pytest.warns(
            GlaciersegWarning, match=r"gone\.json: is not there, though .*collection\.json names it"
        ),
    ):
        assert len(search(settings(f"{api.address}/files/catalog.json"), BOX).candidates) == 1


def test_the_server_of_others_offers_the_same(seasons: Shelf) -> None:
    program = Path(sys.executable).with_name("rustac")
    paths = sorted(map(str, seasons.folder_of_items().iterdir()))
    port = _closed_port()
    command = [str(program), "serve", "--addr", f"127.0.0.1:{port}", "--create-collections", *paths]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            for _ in range(200):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            offered = search(settings(f"http://127.0.0.1:{port}"), BOX)
            assert names(offered) == BY_DATE
            assert len(elevation_tiles(settings(f"http://127.0.0.1:{port}"), BOX)) == 1
        finally:
            server.kill()


LANDING = {
    "type": "Catalog",
    "stac_version": "1.0.0",
    "links": [
        {"rel": "search", "href": "https://made.org/search", "method": "POST"},
        {"rel": "data", "href": "https://made.org/collections"},
    ],
}
NEXT = {"rel": "next", "href": "/search"}


def _page(**link: Any) -> dict[str, Any]:
    return {"/search": {"features": [], "links": [{**NEXT, **link}]}}


@pytest.mark.parametrize(
    ("pages", "words"),
    [
        ({"/": {**LANDING, "type": {}, "stac_version": 1}}, "is no STAC catalogue, since it has no stac_v"),
        (
            {"/": {**LANDING, "links": [{"rel": "search", "href": "https://[::1"}]}},
            "which is no address; choose",
        ),
        ({"/search": {"features": "x"}}, "lists no 'features', so it is no STAC API"),
        (_page(href="https://[::1"), "which is no address; choose"),
        (
            _page(method="POST", body="x", merge=1),
            "made.org/search: cannot be asked for as the next page",
        ),
        (_page(), "the same page again and again"),
    ],
)
def test_answers_that_break_the_specification_are_refused(
    pages: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"/": LANDING, "/collections": {"collections": []}, "/search": {}, **pages}

    def answer(own: Any, href: str, **_: Any) -> str:
        response = SimpleNamespace(url=href, is_redirect=False, headers={})
        for hook in own.session.hooks["response"]:
            hook(response)
        return json.dumps(answers[href.removeprefix("https://made.org")])

    monkeypatch.setattr("pystac_client.stac_api_io.StacApiIO.request", answer)
    with pytest.raises(DownloadError, match=words):
        search(settings("https://made.org/"), BOX)
