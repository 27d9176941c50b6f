import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from glacierseg.errors import DataError, GlaciersegError, RequestError
from glacierseg.report import write_report
from glacierseg.report.page import flatten

VOID = {"meta", "link", "img", "input", "br"}
SECTIONS = {"summary", "comparison", "training", "region-1", "worst", "bands", "refinement", "record"}


class Page(HTMLParser):
    """Collects what a page holds and fails where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.maps: list[dict[str, Any]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"] and self.tags[-1][1].get("type") == "application/json":
            self.maps.append(json.loads(data))
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def sections(self) -> set[str]:
        return {attrs["id"] or "" for tag, attrs in self.tags if tag == "section"}

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def read(run_dir: Path) -> Page:
    return Page(write_report(run_dir).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(whole_run: Path) -> Page:
    """The page of a whole run."""
    assert write_report(whole_run) == whole_run / "report.html"
    return Page((whole_run / "report.html").read_text(encoding="utf-8"))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves figures undrawn, which takes nearly all of the time."""
    for name in ("figure_to_svg", "figure_to_webp"):
        monkeypatch.setattr(f"glacierseg.report.save.{name}", lambda _: "data:,")


def test_whole_run(page: Page) -> None:
    assert page.sections == SECTIONS
    rows = [attrs["data-role"] for attrs in page.all("tr") if "data-role" in attrs]
    assert rows == ["test"] * 10 + ["validate"] * 10 + ["train"] * 10
    assert (
        "UNet++, top bands (refined) was chosen by its validation scores. On the test part it reaches IoU"
        in page.text
    )
    assert "red / swir1 > 1.23" in page.text
    assert "merge distance 20 m, min area 0.03 km², iterations 3, max hole unlimited" in page.text
    drawn = page.maps[0]
    assert set(drawn["images"]) == {"natural", "false"}
    assert len(drawn["bands"]) == 5
    # Errors and mask of five predictions in two stages; probabilities of four networks.
    assert len(drawn["overlays"]) == 10 * 2 + 4
    assert len(drawn["glaciers"]) == 10 * 2
    assert drawn["glaciers"]["glavitu-all-raw-smooth"]["columns"][:2] == ["glacier_id", "area_km2"]


def test_nothing_is_fetched(page: Page) -> None:
    links = [value or "" for _, attrs in page.tags for key, value in attrs.items() if key in {"src", "href"}]
    assert {link.split(":")[0] for link in links if not link.startswith("#")} == {"data"}
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {link[1:] for link in links if link.startswith("#")} <= ids


def test_pictures_can_be_seen_and_heard(page: Page) -> None:
    pictures = page.all("img")
    assert pictures
    assert all(picture["alt"] for picture in pictures)
    for uri in [*page.maps[0]["images"].values(), *page.maps[0]["overlays"].values(), *page.maps[0]["bands"]]:
        image = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))
        assert image.size == (64, 48)


def test_data_cannot_become_markup(run_dir: Path, undrawn: None) -> None:
    (run_dir / "config.yaml").write_text("name: '<script>alert(1)</script>'\n")
    html = write_report(run_dir).read_text(encoding="utf-8")
    assert "<script>alert" not in html
    assert "&lt;b&gt;made up&lt;/b&gt; &amp; small" in html


def test_only_a_configuration_is_enough(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("name: begun\nmodels: [glavitu]\n")
    page = read(tmp_path)
    assert page.sections == {"summary", "record"}
    assert "not finished: no scores yet for GLAVITU" in page.text


@pytest.mark.parametrize(
    ("missing", "lost"),
    [
        ("environment.json", set()),
        ("notices.json", set()),
        ("regions.json", {"region-1", "worst"}),
        ("regions", {"worst"}),
        ("regions/khumbu_truth.tif", {"worst"}),
        ("regions/khumbu_roles.tif", set()),
        ("metrics.csv", {"comparison", "worst"}),
        ("threshold", set()),
        ("threshold/all/threshold.json", set()),
        ("glavitu/all/epochs.csv", set()),
        ("*/*/epochs.csv", set()),
        ("*/*/model.json", set()),
        ("*/*/band_importance.csv", {"bands"}),
        ("*/*/refinement.json", {"refinement"}),
        ("*/*/*_probability.tif", set()),
        ("*/*/*_mask.tif", set()),
        ("unetplusplus/*/*_refined.tif", {"worst"}),
        ("unetplusplus", {"worst"}),
        ("../scene.tif", set()),
    ],
)
def test_unfinished_run(small_run_dir: Path, missing: str, lost: set[Any], undrawn: None) -> None:
    found = list(small_run_dir.glob(missing)) or [small_run_dir / missing]
    for path in found:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert read(small_run_dir).sections == SECTIONS - lost


def test_scene_that_is_gone_is_named(run_dir: Path, undrawn: None) -> None:
    (run_dir.parent / "scene.tif").unlink()
    page = read(run_dir)
    assert f"no longer at {run_dir.parent / 'scene.tif'}" in page.text
    assert not page.maps[0]["images"]
    assert len(page.maps[0]["overlays"]) == 10 * 2 + 4


def test_damaged_scene_is_named(run_dir: Path, undrawn: None) -> None:
    (run_dir.parent / "scene.tif").write_bytes(b"no raster")
    assert "The scene cannot be shown" in read(run_dir).text


def test_folder_without_configuration(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=re.escape(f"{tmp_path}: is not a run folder")):
        write_report(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", "a: [1"),
        ("config.yaml", "just words"),
        ("notices.json", "[1"),
        ("metrics.csv", "a,b\n1,2\n"),
        ("regions/khumbu_truth.tif", "no raster"),
    ],
)
def test_damaged_file_is_named_in_one_line(run_dir: Path, name: str, content: str, undrawn: None) -> None:
    (run_dir / name).write_text(content)
    with pytest.raises(GlaciersegError, match=re.escape(str(run_dir / name))) as caught:
        write_report(run_dir)
    assert isinstance(caught.value, DataError)
    assert "\n" not in str(caught.value)
    assert not (run_dir / "report.html").exists()


def test_flatten() -> None:
    facts = {"a": 1, "b": {"c": None, "d": ["x", "y"]}}
    assert list(flatten(facts)) == [("a", "1"), ("b.c", "–"), ("b.d", "x, y")]
