"""Searches in catalogues of every kind, which fail and lie."""

from pathlib import Path
from typing import Any

import pytest

from glacierseg.catalogues.search import Offered, search
from glacierseg.errors import DownloadError, RequestError
from glacierseg.settings.fetch import FetchSettings
from tests.catalogues.api import Faults, serving
from tests.catalogues.ground import SEASONS, box_around
from tests.catalogues.shelf import Shelf

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
    monkeypatch.setattr("glacierseg.catalogues.stac._FIRST_PAUSE_S", 0.01)


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
