"""The page in a real browser, opened from the disk as a reader opens it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import pandas as pd
import pytest

from glacierseg.mapping.chain import map_glaciers
from glacierseg.report import write_report
from tests.helpers import blobs, easy_scene, present, write_scene
from tests.weights.shelves import model_folder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
if CHROMIUM is None:
    if os.environ.get("CI"):
        raise RuntimeError("continuous integration has to bring chromium, see .ci/run")
    pytest.skip("no chromium on this machine", allow_module_level=True)

MAP = "#region-1 .canvas"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(whole_run: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with an inventory, scores with bounds and long numbers in the steps of refinement."""
    run = tmp_path_factory.mktemp("browser") / "run"
    shutil.copytree(whole_run, run)
    table = gpd.read_file(run / "unetplusplus/all/khumbu.gpkg", layer="refined").assign(zmin_m=4321)
    table.to_file(run / "unetplusplus/all/khumbu_inventory.gpkg", layer="glaciers")
    scores = pd.read_csv(run / "metrics.csv")
    shown = ("iou", "f1", "precision", "recall", "kappa", "overall_accuracy")
    bounds = {f"{name}_{end}": value for name in shown for end, value in (("low", 0.123), ("high", 0.987))}
    scores.assign(**bounds).to_csv(run / "metrics.csv", index=False)
    path = run / "unetplusplus/all/refinement.json"
    step = {
        f"{what}_{when}": 123456.789
        for what in ("fragments", "holes", "area")
        for when in ("before", "after")
    } | {"step": "remove", "changed_px": 12345678}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"changes": {"khumbu": [step]}}))
    return write_report(run).as_uri()


def opened_page(browser: Browser, address: str) -> tuple[Page, list[Any]]:
    """Opens a page and lists any message of its console and any request but its own."""
    opened = browser.new_page(viewport={"width": 1400, "height": 900})
    complaints = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on(
        "request",
        lambda r: complaints.append(r.url) if r.url != address and not r.url.startswith("data:") else None,
    )
    opened.goto(address)
    return opened, complaints


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A page that fails its test on any message of the console and on any request but its own."""
    opened, complaints = opened_page(browser, address)
    yield opened
    opened.close()
    assert complaints == []


@pytest.fixture(scope="module")
def looked_at(browser: Browser, address: str) -> Iterator[Page]:
    """One page for all tests that look at it and change nothing, or no more than its size."""
    opened, complaints = opened_page(browser, address)
    yield opened
    opened.close()
    assert complaints == []


def layers(page: Page) -> list[str]:
    """The images that the map shows, by their pane."""
    result: list[str] = page.eval_on_selector_all(
        f"{MAP} img.leaflet-image-layer",
        "nodes => nodes.map(node => node.parentElement.className.split('-').at(-2))",
    )
    return result


def view(page: Page) -> dict[str, float]:
    result: dict[str, float] = page.eval_on_selector(
        MAP,
        "box => ({zoom: box.leaflet.getZoom(), x: box.leaflet.getCenter().lng})",
    )
    return result


def settled(page: Page, condition: str) -> None:
    """Waits until a condition on the map or its box holds.

    Playwright's own waiting evaluates text inside the page, which the page's security policy forbids.
    """
    for _ in range(600):  # a busy machine may take its time
        if page.eval_on_selector(MAP, f"box => {{ const map = box.leaflet; return {condition}; }}"):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never came true: {condition}")


def test_opens_with_an_image_an_overlay_and_outlines(page: Page) -> None:
    assert sorted(layers(page)) == ["image", "overlay"]
    assert page.locator(f"{MAP} canvas").count() >= 2
    assert page.locator(f"{MAP} .leaflet-control-scale-line").inner_text().endswith("m")
    loaded = page.eval_on_selector_all(
        f"{MAP} img.leaflet-image-layer", "nodes => nodes.map(n => n.naturalWidth)"
    )
    assert loaded == [64, 64]


def test_layers_switch(page: Page) -> None:
    first = page.eval_on_selector(
        f"{MAP} .leaflet-overlay-pane-own, {MAP} img.leaflet-image-layer", "n => n.src"
    )
    page.get_by_label("False colour").check()
    assert page.eval_on_selector(f"{MAP} img.leaflet-image-layer", "n => n.src") != first
    errors = page.locator("#region-1 .legend [data-key=errors]").first
    assert errors.is_visible()
    page.locator("#region-1").get_by_label("probability", exact=True).check()
    assert not errors.is_visible()
    assert page.locator("#region-1 .legend [data-key=probability]").is_visible()
    page.locator("#region-1 [name=mode][value='']").check()
    page.locator("#region-1 [name=image][value='']").check()
    assert layers(page) == []
    page.locator("#region-1").get_by_label("parts").uncheck()
    assert page.locator(f"{MAP} .label").count() == 0


def test_an_image_is_mixed_from_chosen_bands(page: Page) -> None:
    region = page.locator("#region-1")
    assert not region.locator(".mixer").first.is_visible()
    region.get_by_label("chosen bands").check()
    region.locator("select[name=red]").select_option(label="swir1")
    mixed = "box.querySelector('.leaflet-image-pane img')?.src"
    settled(page, f"{mixed}?.startsWith('data:image/png')")
    before = page.eval_on_selector(MAP, f"box => {mixed}")
    region.locator("select[name=green]").select_option(label="blue")
    settled(page, f"{mixed} && {mixed} !== {json.dumps(before)}")


def test_wheel_zooms_once_the_map_is_chosen(page: Page) -> None:
    start = view(page)
    page.locator(MAP).scroll_into_view_if_needed()
    page.locator(MAP).hover()
    page.mouse.wheel(0, 40)
    page.wait_for_timeout(200)
    assert view(page)["zoom"] == start["zoom"]  # the page scrolled instead
    page.locator(MAP).scroll_into_view_if_needed()
    page.locator(MAP).focus()
    page.locator(MAP).hover()
    page.mouse.wheel(0, -200)
    settled(page, f"map.getZoom() > {start['zoom']}")
    page.locator(MAP).get_by_label("Show all").click()
    settled(page, f"Math.abs(map.getZoom() - {start['zoom']}) < 1e-6")


def test_map_answers_to_the_keyboard(page: Page) -> None:
    start = view(page)
    page.locator(MAP).focus()
    page.keyboard.press("+")
    settled(page, f"map.getZoom() > {start['zoom']}")
    page.keyboard.press("+")
    page.wait_for_timeout(400)
    before = view(page)
    page.keyboard.press("ArrowRight")
    settled(page, f"map.getCenter().lng > {before['x']} + 0.1")
    page.keyboard.press("0")
    settled(page, f"Math.abs(map.getZoom() - {start['zoom']}) < 1e-6")
    told = page.locator("#region-1 .told")
    page.keyboard.press("n")
    assert "glacier id 1" in told.inner_text()
    assert "km²" in told.inner_text()
    page.keyboard.press("n")
    assert "glacier id 2" in told.inner_text()
    page.keyboard.press("p")
    assert "glacier id 1" in told.inner_text()
    page.locator("#region-1").get_by_role("button", name="next glacier").press("Enter")
    assert "glacier id 2" in told.inner_text()


def test_pointing_at_a_glacier_shows_its_attributes(page: Page) -> None:
    page.locator(MAP).scroll_into_view_if_needed()
    page.locator(MAP).hover(position={"x": 5, "y": 5})
    rim = present(page.locator(MAP).bounding_box())
    shown = page.locator(f"{MAP} .attributes")
    for share in range(10, 90, 2):  # along a line over the glacier and the holes of its prediction
        page.mouse.move(rim["x"] + rim["width"] * share / 100, rim["y"] + rim["height"] / 2)
        page.wait_for_timeout(100)  # the map looks at the pointer every 32 ms
        if shown.count():
            break
    assert shown.is_visible()
    assert "area" in shown.inner_text()
    assert "cenlon" in shown.inner_text()
    assert page.locator("#region-1 .here").inner_text().startswith("x 48")


def test_the_inventory_is_shown_for_refined_masks_and_missed_for_raw_ones(page: Page) -> None:
    region = page.locator("#region-1")
    region.locator("[name=prediction]").select_option(label="UNet++, all bands, refined")
    region.get_by_label("inventory").check()
    assert "outline" in region.locator(".told").inner_text()
    page.locator(MAP).focus()
    page.keyboard.press("n")
    assert "zmin 4321 m" in region.locator(".told").inner_text()
    region.locator("[name=prediction]").select_option(label="UNet++, all bands, raw")
    assert region.locator(".told").inner_text() == "no inventory of this prediction; choose a refined one"
    assert region.locator("[data-step='1']").is_disabled()
    region.get_by_label("smooth").check()
    assert "outline" in region.locator(".told").inner_text()


def test_table_sorts_and_says_so(page: Page) -> None:
    head = page.locator("#scores th", has_text="Recall")
    cells = "#scores tbody tr:not([hidden]) td:nth-child(9)"

    def values() -> list[float]:
        result: list[float] = page.eval_on_selector_all(
            cells, "nodes => nodes.map(n => Number(n.dataset.value))"
        )
        return result

    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert len(values()) == 10
    assert values() == sorted(values(), reverse=True)
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert values() == sorted(values())
    assert page.locator("#scores th[aria-sort]").count() == 1
    page.locator("#comparison").get_by_label("all", exact=True).check()
    assert len(values()) == 30


@pytest.fixture(scope="module")
def bounded(browser: Browser, address: str) -> Iterator[Page]:
    """A page whose scores have bounds, with long names."""
    opened = browser.new_page()
    opened.goto(address)
    assert opened.locator("#scores tbody tr:not([hidden]) .change").count() == 6 * 10
    for column, name in ((1, "GlaViTU (global)"), (4, "langtang_valley")):
        cells = f"#scores tbody tr > :nth-child({column})"
        opened.eval_on_selector_all(
            cells, "(nodes, name) => nodes.forEach(n => { n.textContent = name; })", name
        )
    yield opened
    opened.close()


def test_the_area_is_in_sight_beside_scores_with_their_bounds(bounded: Page) -> None:
    bounded.set_viewport_size({"width": 1280, "height": 900})
    assert bounded.eval_on_selector(
        "#scores", "table => table.scrollWidth <= table.parentElement.clientWidth"
    )


def test_scores_with_their_bounds_fit_on_paper(bounded: Page) -> None:
    bounded.emulate_media(media="print")
    bounded.set_viewport_size({"width": 688, "height": 900})  # A4 within its margins
    assert bounded.eval_on_selector("#scores", "table => table.getBoundingClientRect().right") <= 689
    bounded.emulate_media(media="screen")


@pytest.mark.parametrize("width", [320, 480, 800, 1400])
def test_no_window_makes_the_page_scroll_sideways(looked_at: Page, width: int) -> None:
    looked_at.set_viewport_size({"width": width, "height": 800})
    settled(looked_at, "map.getSize().x === box.clientWidth && map.getSize().y === box.clientHeight")
    assert looked_at.evaluate("document.documentElement.scrollWidth") <= width


def test_everything_can_be_reached_and_has_a_name(looked_at: Page) -> None:
    nameless = looked_at.evaluate(
        """() => [...document.querySelectorAll("button, input, select, [tabindex='0']")]
          .filter((n) => !(n.labels?.length || n.textContent.trim() || n.getAttribute("aria-label")))
          .map((n) => n.outerHTML)"""
    )
    assert nameless == []


def test_prints_a_still_picture_instead_of_the_map(page: Page, tmp_path: Path) -> None:
    page.emulate_media(media="print")
    assert page.locator("#region-1 .still").is_visible()
    assert not page.locator(MAP).is_visible()
    assert not page.locator("#region-1 form").is_visible()
    page.set_viewport_size({"width": 688, "height": 900})  # A4 within its margins
    beyond = page.evaluate(
        """() => [...document.querySelectorAll("table, img")]
          .filter((n) => n.checkVisibility() && n.getBoundingClientRect().right > innerWidth + 1)
          .map((n) => n.outerHTML.slice(0, 60) + n.alt)"""
    )
    assert beyond == []
    file = tmp_path / "report.pdf"
    page.pdf(path=str(file), format="A4")
    assert file.read_bytes().startswith(b"%PDF")
    assert file.stat().st_size > 20_000


def test_what_is_folded_is_printed_and_folded_again(page: Page, tmp_path: Path) -> None:
    closed = "document.querySelectorAll('details:not([open])').length"
    before = page.evaluate(closed)
    assert before > 0
    page.evaluate(f"addEventListener('beforeprint', () => {{ window.closedInPrint = {closed}; }})")
    page.pdf(path=str(tmp_path / "report.pdf"), format="A4")
    assert page.evaluate("window.closedInPrint") == 0
    assert page.evaluate(closed) == before


def test_the_steps_of_refinement_fit_a_wide_window(looked_at: Page) -> None:
    looked_at.set_viewport_size({"width": 1400, "height": 900})
    frame = looked_at.locator(".scroll:has(#table-steps)")
    assert not frame.evaluate("frame => frame.scrollWidth > frame.clientWidth")


def test_without_a_script_the_map_is_a_picture(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(address)
    assert opened.locator("#region-1 .still").is_visible()
    assert not opened.locator(MAP).is_visible()
    context.close()


def test_the_page_of_a_map_opens_with_the_scene_and_its_glaciers(browser: Browser, tmp_path: Path) -> None:
    bands = ("blue", "green", "red", "nir")
    scene = write_scene(tmp_path / "valley.tif", easy_scene(blobs(64, 64, 4)).astype("float32") * 30, bands)
    made = map_glaciers(model_folder(tmp_path / "model", bands=bands), scene, tmp_path / "out")
    opened, complaints = opened_page(browser, made.page.as_uri())
    assert layers(opened) == ["image"]
    count = len(made.glaciers)
    assert opened.locator("#region-1 .told").inner_text() == f"{count} outline{'s' * (count != 1)}"
    assert opened.locator("#table-glaciers tbody tr").count() == count
    opened.locator("#region-1 input[value=probability]").check()
    settled(opened, "map.getPane('overlay').children.length > 0")
    opened.close()
    assert complaints == []
