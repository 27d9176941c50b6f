"""Twenty ways in which catalogues mislead: each gives the right numbers, or one line that says why not."""

import json
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.catalogues.api import Faults, serving
from tests.catalogues.ground import PLACE, SEASONS, Facts, Shot
from tests.catalogues.scenes import LIGHT, box_option, read, require_numbers, write_glacier
from tests.catalogues.server import Fault
from tests.catalogues.server import serving as serving_files
from tests.catalogues.shelf import Shelf

Run = Callable[..., CompletedProcess[str]]
SMALL = {name: replace(shot, side_m=2700) for name, shot in SEASONS.items()}
AUTUMN = SMALL["autumn"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("glacierseg.catalogues.retries.FIRST_PAUSE_S", 0.01)
    monkeypatch.setenv("GLACIERSEG_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "quick.yaml").write_text("fetch: {retries: 2, timeout_s: 2}")


class Fetch:
    """Types `fetch` in a folder of its own."""

    def __init__(self, glacierseg: Run, tmp_path: Path) -> None:
        self.out, self.shelf = tmp_path / "out", Shelf(tmp_path / "shelf")
        self._run, self._config = glacierseg, tmp_path / "quick.yaml"
        self._known = write_glacier(tmp_path / "known.gpkg")

    def __call__(
        self, catalogue: object, *more: object, at: tuple[float, float] = PLACE
    ) -> CompletedProcess[str]:
        words = ["fetch", "--bbox", box_option(at), "--catalogue", catalogue, "--out", self.out]
        words += ["--recipe", LIGHT, "--config", self._config]
        words += ["--existing", self._known] if at == PLACE else []
        if "--date" not in more:
            words += ["--date", "2024-01-01/2024-12-31"]
        return self._run(*words, *more)

    def served(self, *more: object, faults: Faults | None = None) -> CompletedProcess[str]:
        """Types it for the shelf as an API."""
        files = self.shelf.folder / "files"
        with serving(self.shelf.items, faults, page_items=1, files=files) as api:
            return self(api.address, *more)

    @property
    def scene(self) -> Path:
        """The scene that came out."""
        (found,) = self.out.glob("T*_????????.tif")
        return found

    @property
    def table(self) -> pd.DataFrame:
        """What became of each image."""
        return pd.read_csv(self.out / "scenes.csv")


@pytest.fixture
def fetch(glacierseg: Run, tmp_path: Path) -> Fetch:
    return Fetch(glacierseg, tmp_path)


def require_done(done: CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr


def require_refused(done: CompletedProcess[str], *words: str) -> str:
    lines = [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]
    assert (done.returncode, len(lines)) == (1, 1), done.stderr
    assert lines[0].startswith("glacierseg: ")
    for word in words:
        assert word in lines[0]
    return lines[0]


@pytest.mark.parametrize(("is_shifted", "flag"), [(False, True), (True, False), (True, True)])
def test_1_an_offset_flag_that_lies(fetch: Fetch, is_shifted: bool, flag: bool) -> None:
    shot = replace(AUTUMN, is_shifted=is_shifted, flag=flag)
    fetch.shelf.add(shot, "l2a")
    require_done(fetch(fetch.shelf.catalogue()))
    require_numbers(fetch.scene, [shot])
    product = json.loads((fetch.out / "provenance.json").read_text())["products"][0]
    assert product["added_to_numbers"] == (1000 if is_shifted else 0)


def test_2_two_baselines_on_one_date(fetch: Fetch) -> None:
    """Neighbouring tiles, of which one is from before the offset."""
    west = replace(AUTUMN, facts=Facts(date="2024-10-05", tile="T45RVL"), missing=0.5)
    east = replace(AUTUMN, facts=Facts(date="2024-10-05", tile="T45RWL", baseline="03.01", offset=None))
    for shot in (west, east):
        fetch.shelf.add(shot)
    require_done(fetch(fetch.shelf.catalogue()))
    assert fetch.table["taken"].sum() == 1
    require_numbers(fetch.scene, [east])
    require_done(fetch(fetch.shelf.catalogue(), "--composite", "--again"))
    require_numbers(fetch.scene, [east, west])


def test_3_two_utm_zones(fetch: Fetch) -> None:
    at = 84.0, 28.0
    west = Shot(Facts(date="2024-10-05", tile="T44RQR"), at=(83.98, 28.0))
    east = Shot(Facts(date="2024-10-05", tile="T45RTL"), at=(84.02, 28.0))
    for shot in (west, east):
        fetch.shelf.add(shot)
    require_done(fetch(fetch.shelf.catalogue(), at=at))
    assert fetch.table["taken"].sum() == 2
    values, _, crs = read(fetch.scene)
    assert crs.to_epsg() in {32644, 32645}
    # Rock is 900 +- 60 in blue, or shade.
    blue = values[0][np.isfinite(values[0])]
    assert blue.size > 0.9 * values[0].size
    assert ((blue > 839) & (blue < 961)).mean() > 0.9


def test_4_a_box_over_180_degrees(fetch: Fetch) -> None:
    west = Shot(Facts(date="2024-08-05", tile="T60WWV"), at=(179.99, 66.5))
    east = Shot(Facts(date="2024-08-05", tile="T01WCQ"), at=(-179.99, 66.5))
    for shot in (west, east):
        fetch.shelf.add(shot)
    sides = [float(side) for side in box_option((180.0, 66.5)).split(",")]
    assert sides[0] > 0 > sides[2]
    require_done(fetch(fetch.shelf.catalogue(), at=(180.0, 66.5)))
    values, _, _ = read(fetch.scene)
    # A strip of four kilometres, not one around the world.
    assert values.shape[2] < 1000
    assert np.isfinite(values[0]).mean() > 0.9


def test_5_a_missing_band(fetch: Fetch) -> None:
    item = fetch.shelf.add(AUTUMN)
    del item["assets"]["nir"]
    require_refused(fetch(fetch.shelf.catalogue()), item["id"], "lacks the image of B8 (nir)")


def test_6_a_page_token(fetch: Fetch) -> None:
    for shot in SMALL.values():
        fetch.shelf.add(shot)
    require_done(fetch.served())
    assert len(fetch.table) == 4
    require_numbers(fetch.scene, [AUTUMN])


def test_7_a_500_in_the_middle(fetch: Fetch, tmp_path: Path) -> None:
    for name in ("spring", "autumn"):
        fetch.shelf.add(SMALL[name])
    require_done(fetch.served(faults=Faults(page=2)))
    require_numbers(fetch.scene, [AUTUMN])
    with serving_files(fetch.shelf.folder / "files") as server:
        for asset in fetch.shelf.items[1]["assets"].values():
            server.fail(asset["href"].removeprefix("{files}"), Fault(times=1, status=500))
        text = json.dumps(fetch.shelf.with_files_at(server.address("")))
        (tmp_path / "items").mkdir()
        for number, item in enumerate(json.loads(text)):
            (tmp_path / "items" / f"{number}.json").write_text(json.dumps(item))
        fetch.out = tmp_path / "other"
        require_done(fetch(tmp_path / "items", "--cache-gb", 0))
    require_numbers(fetch.scene, [AUTUMN])


def test_8_a_truncated_file(fetch: Fetch) -> None:
    item = fetch.shelf.add(AUTUMN, "l2a")
    path = fetch.shelf.folder / "files" / item["assets"]["nir"]["href"].removeprefix("{files}/")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    require_refused(fetch(fetch.shelf.catalogue()), path.name, "choose another --catalogue")
    path.write_bytes(whole)
    require_done(fetch(fetch.shelf.catalogue()))
    require_numbers(fetch.scene, [AUTUMN])


@pytest.mark.parametrize("style", ["c1", "planetary"])
def test_9_an_item_without_projection_facts(fetch: Fetch, style: Any) -> None:
    item = fetch.shelf.add(AUTUMN, style)
    item["properties"] = {key: value for key, value in item["properties"].items() if "proj:" not in key}
    require_done(fetch(fetch.shelf.catalogue()))
    require_numbers(fetch.scene, [AUTUMN])


@pytest.mark.parametrize(
    "names",
    [
        {"proj:code": "proj:epsg", "s2:processing_baseline": "processing:version"},
        {"s2:product_uri": "sentinel:product_id", "grid:code": "sentinel:grid"},
    ],
)
def test_10_old_and_new_names_of_facts(fetch: Fetch, names: dict[str, str]) -> None:
    item = fetch.shelf.add(AUTUMN)
    item["properties"] = {names.get(key, key): value for key, value in item["properties"].items()}
    require_done(fetch(fetch.shelf.catalogue()))
    require_numbers(fetch.scene, [AUTUMN])


def test_11_a_cloud_percentage_that_contradicts_the_classes(fetch: Fetch) -> None:
    for name in ("summer", "autumn"):
        fetch.shelf.add(SMALL[name])
    require_done(fetch(fetch.shelf.catalogue()))
    require_numbers(fetch.scene, [AUTUMN])
    why = fetch.table.set_index("name")["why"]
    assert "the catalogue says cloud 3 %, the classes show" in why[SMALL["summer"].facts.name]
    assert "the catalogue says cloud 60 %, the classes show 0 % here" in why[AUTUMN.facts.name]


def test_12_duplicates_of_a_reprocessed_scene(fetch: Fetch) -> None:
    facts = Facts(date="2024-10-05", baseline="05.09", processed="20241006T010101")
    old = replace(AUTUMN, facts=facts, cloud=0.1)
    new = replace(AUTUMN, facts=Facts(date="2024-10-05", processed="20250101T010101"))
    for shot in (new, old):
        fetch.shelf.add(shot)
    require_done(fetch(fetch.shelf.catalogue(), "--composite"))
    require_numbers(fetch.scene, [new])
    assert f"is an older version of {new.facts.name}" in fetch.table["why"].tolist()


def test_13_an_empty_answer(fetch: Fetch) -> None:
    fetch.shelf.add(AUTUMN)
    said = require_refused(fetch.served("--date", "2023-01-01/2023-02-01"), "offers no image of Sentinel-2")
    assert "give a longer --date" in said
    require_done(fetch.served("--date", "2023-01-01/2024-10-05"))


@pytest.mark.parametrize("status", [302, 308])
def test_14_a_redirect(fetch: Fetch, status: int) -> None:
    fetch.shelf.add(AUTUMN)
    require_done(fetch.served(faults=Faults(is_moved=True, status=status)))
    require_numbers(fetch.scene, [AUTUMN])


def test_15_a_wrong_checksum(fetch: Fetch) -> None:
    item = fetch.shelf.add(AUTUMN)
    item["assets"]["nir"]["file:checksum"] = "1220" + 64 * "0"
    require_refused(fetch(fetch.shelf.catalogue()), "B08.tif", "sha256 checksum", "damaged or was replaced")


def test_16_time_zones(fetch: Fetch) -> None:
    """Late in the evening of one zone it is the next day."""
    item = fetch.shelf.add(AUTUMN)
    item["properties"]["datetime"] = "2024-10-04T23:08:02-06:00"
    root = fetch.shelf.catalogue()
    require_refused(fetch(root, "--date", "2024-10-04"), "offers no image")
    require_done(fetch(root, "--date", "2024-10-05"))
    require_numbers(fetch.scene, [AUTUMN])


def test_17_a_date_range_the_wrong_way_round(fetch: Fetch) -> None:
    fetch.shelf.add(AUTUMN)
    root = fetch.shelf.catalogue()
    said = require_refused(fetch(root, "--date", "2024-10-31/2024-08-01"), "ends before it begins")
    meant = said.rpartition("write ")[2]
    require_done(fetch(root, "--date", meant))


def test_18_a_catalogue_that_is_down(fetch: Fetch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    require_refused(fetch(f"http://127.0.0.1:{port}"), f"127.0.0.1:{port}")
    fetch.shelf.add(AUTUMN)
    require_refused(fetch.served(faults=Faults(page=1, times=100, status=503)), "503")
    require_done(fetch(fetch.shelf.catalogue()))


def test_19_a_scene_fully_snowed_in(fetch: Fetch, tmp_path: Path) -> None:
    fetch.shelf.add(replace(SMALL["winter"], snow=1.0))
    root = fetch.shelf.catalogue()
    require_refused(fetch(root), "no image is good enough", "snow 100 %")
    assert fetch.table["taken"].tolist() == [0]
    assert not fetch.out.joinpath("products").exists()


def test_20_no_scene_good_enough(fetch: Fetch, tmp_path: Path) -> None:
    for name in ("winter", "spring", "summer"):
        fetch.shelf.add(SMALL[name])
    root = fetch.shelf.catalogue()
    said = require_refused(fetch(root), "no image is good enough; the best one of 3")
    assert (fetch.table["taken"] == 0).all()
    assert fetch.table["why"].str.contains("more than --max").all()
    cure = said.partition("take it with ")[2].split(";")[0].split()
    require_done(fetch(root, *cure))
    require_numbers(fetch.scene, [SMALL["spring"]])
