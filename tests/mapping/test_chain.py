"""The whole chain on tiny products and scenes."""

import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from glacierseg.errors import RequestError
from glacierseg.mapping.chain import GlacierMap, map_glaciers
from glacierseg.predict.calibration import GlacierClass, store_calibration
from glacierseg.raster.values import BandValues
from glacierseg.refine.steps import refine_mask
from glacierseg.settings.refine import RefineSettings
from glacierseg.settings.scene import SourceSettings
from tests.helpers import blobs, easy_scene, utm_grid, write_scene
from tests.products.shelves import SIDE_M, SafeFacts, digital_numbers, make_safe, write_image
from tests.weights.shelves import calibration, model_folder

TUNED = RefineSettings(min_area_km2=0.0005, merge_distance_m=0, iterations=1)
LIGHT = ("blue", "green", "red", "nir")


def read(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as dataset:
        values: NDArray[Any] = dataset.read()
    return values


def files_of(made: GlacierMap) -> dict[str, int]:
    names = (
        "scene", "probability", "mask", "refined", "outlines", "inventory", "corrections", "project", "page",
    )  # fmt: skip
    return {name: getattr(made, name).stat().st_mtime_ns for name in names}


def changed(made: GlacierMap, before: dict[str, int]) -> set[str]:
    return {name for name, written in files_of(made).items() if written != before[name]}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return model_folder(tmp_path / "model", bands=LIGHT, refinement=TUNED)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    values = easy_scene(blobs(64, 64, 4)).astype(np.float32) * 30
    values[:, :9, :20] = -1
    return write_scene(tmp_path / "valley.tif", values, LIGHT, nodata=-1)


@pytest.fixture
def on_dem(tmp_path: Path) -> SourceSettings:
    rows = np.indices((64, 64), np.float32)[0]
    return SourceSettings(dem=(write_scene(tmp_path / "dem.tif", (6000 - 5 * rows)[None], ["elevation"]),))


def test_one_call_leads_from_a_scene_to_an_inventory(
    tmp_path: Path, model: Path, scene: Path, on_dem: SourceSettings
) -> None:
    made = map_glaciers(model, scene, tmp_path / "out", on_dem)
    mask = read(made.mask)[0]
    assert 0.05 < (mask == 1).mean() < 0.95
    np.testing.assert_array_equal(
        read(made.refined)[0], refine_mask(mask, utm_grid(64, 64).pixel_size_m, TUNED)
    )
    assert not list((tmp_path / "out").glob("*.xml"))  # nothing but results
    glaciers = gpd.read_file(made.inventory, layer="glaciers")
    assert len(glaciers) == len(made.glaciers) > 0
    assert {"zmed_m", "probability_mean", "observed_share"} <= set(glaciers)
    # The corner without data is said, and marked where a glacier touches it.
    unseen = int((glaciers["observed_share"] < 1).sum())
    assert unseen > 0
    assert any(f"{unseen} glacier" in note and "partly without data" in note for note in made.notes)
    assert {"raw", "smooth", "refined", "refined_smooth"} < set(gpd.list_layers(made.outlines)["name"])
    page = made.page.read_text()
    assert all(name in page for name in glaciers["inv_id"])
    assert "partly without data" in page
    assert made.bounds is None


def test_what_is_up_to_date_stays_and_what_was_corrected_by_hand_is_carried_on(
    tmp_path: Path, model: Path, scene: Path, on_dem: SourceSettings
) -> None:
    first = map_glaciers(model, scene, tmp_path / "out", on_dem)
    before = files_of(first)
    again = map_glaciers(model, scene, tmp_path / "out", on_dem)
    assert files_of(again) == before
    assert again.notes == first.notes
    first.outlines.unlink()  # as after an interruption
    made = map_glaciers(model, scene, tmp_path / "out", on_dem)
    assert changed(made, before) == {"outlines", "page"}
    with rasterio.open(first.refined, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        corrected = np.zeros((1, 64, 64), np.uint8)
        corrected[0, 20:40, 20:40] = 1
        dataset.write(corrected)
    before = files_of(first)
    made = map_glaciers(model, scene, tmp_path / "out", on_dem)
    assert made.glaciers["area_km2"].sum() == pytest.approx(0.04, rel=0.02)
    assert changed(made, before) == {"outlines", "inventory", "corrections", "project", "page"}
    # Another network would make the mask anew.
    other = model_folder(tmp_path / "other", seed=5, bands=LIGHT)
    with pytest.raises(RequestError, match=r"_refined\.tif: was changed since it was made"):
        map_glaciers(other, scene, tmp_path / "out", on_dem)
    np.testing.assert_array_equal(read(first.refined), corrected)
    remade = map_glaciers(other, scene, tmp_path / "out", on_dem, again=True)
    assert remade.glaciers["area_km2"].sum() != pytest.approx(0.04, rel=0.1)


def test_what_was_edited_in_qgis_stays(
    tmp_path: Path, model: Path, scene: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = map_glaciers(model, scene, tmp_path / "out")
    origin = gpd.read_file(first.corrections, layer="origin")
    assert origin["model"][0] == "m_landsnet"
    with closing(sqlite3.connect(first.corrections)) as database, database:
        # As an analyst does: without the index of places, whose triggers only GDAL knows how to run.
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f'DROP TRIGGER "{name}"')
        database.execute("DELETE FROM outlines WHERE fid = 1")
    with zipfile.ZipFile(first.project, "w") as archive:
        archive.writestr("mine.qgs", "<qgis/>")
    before = {path: path.read_bytes() for path in (first.corrections, first.project)}
    caplog.set_level("INFO")
    for again in (False, True):
        other = model_folder(tmp_path / f"other{again}", seed=5, bands=LIGHT)
        map_glaciers(other, scene, tmp_path / "out", again=again)
        assert {path: path.read_bytes() for path in before} == before
    assert "_corrections.gpkg: was edited, so it stays as it is" in caplog.text
    assert ".qgz: was changed in QGIS and stays as it is" in caplog.text


def test_another_network_makes_all_but_the_scene_again(
    tmp_path: Path, model: Path, scene: Path, on_dem: SourceSettings
) -> None:
    first = map_glaciers(model, scene, tmp_path / "out", on_dem)
    before = files_of(first)
    other = model_folder(tmp_path / "other", seed=5, bands=LIGHT)
    made = map_glaciers(other, scene, tmp_path / "out", on_dem)
    assert changed(made, before) == set(before) - {"scene"}
    assert "refined by default parameters, since none were tuned for the network" in made.notes


def test_bounds_come_where_the_network_is_calibrated_and_the_scene_is_like_its_training(
    tmp_path: Path, model: Path, scene: Path
) -> None:
    store_calibration(model, calibration(glaciers=(GlacierClass(0.0, -1.0, 2.0, 9, 9),)))
    made = map_glaciers(model, scene, tmp_path / "out")
    assert made.bounds is not None
    assert (made.glaciers["area_lower_km2"] < made.glaciers["area_upper_km2"]).all()
    assert "at most, km²" in made.page.read_text()
    # No elevation model, no word of it: that would be an inventory of bodies that looks like one of glaciers.
    assert any("ice bodies are not divided" in note for note in made.notes)
    assert made.bounds.lower_km2 < made.bounds.expected_km2 < made.bounds.upper_km2
    assert "at 90% confidence" in made.page.read_text()
    values = BandValues(0.0, 0.0, 0.0, 3000.0, 8000.0, 9000.0)
    coarse = model_folder(tmp_path / "coarse", bands=LIGHT, band_values=[values] * 4, pixel_m=30.0)
    store_calibration(coarse, calibration())
    unlike = map_glaciers(coarse, scene, tmp_path / "unlike")
    assert any("everything looks" in line for line in unlike.warnings)
    assert unlike.bounds is None


def twin(folder: Path, facts: SafeFacts, added: int) -> Path:
    """A product whose digital numbers are those of its twin plus something, with the same reflectance."""
    product = make_safe(folder, facts)
    for band, pixel_m in (("02", 10), ("03", 10), ("04", 10), ("08", 10)):
        values = digital_numbers(band, SIDE_M // pixel_m)
        values[values > 0] += added
        write_image(product / facts.image(f"B{band}", pixel_m), values, pixel_m)
    return product


def test_a_baseline_before_the_offset_gives_the_same_scene_and_the_same_map(
    tmp_path: Path, model: Path
) -> None:
    new = twin(tmp_path / "new", SafeFacts(baseline="05.11", offset=-1000), 1000)
    old = twin(tmp_path / "old", SafeFacts(baseline="02.14", offset=None), 0)
    maps = [map_glaciers(model, product, tmp_path / f"out{i}") for i, product in enumerate((new, old))]
    for name in ("scene", "probability", "mask", "refined"):
        one, other = (read(getattr(made, name)) for made in maps)
        np.testing.assert_array_equal(one, other)
    assert maps[0].scene.name == "T45RVL_20240930.tif"
    assert "2024-09-30" in maps[0].page.read_text()
    assert "02.14" in maps[1].page.read_text()


def test_a_product_that_was_moved_is_up_to_date(tmp_path: Path, model: Path) -> None:
    product = make_safe(tmp_path)
    before = files_of(map_glaciers(model, product, tmp_path / "out"))
    moved = product.rename(tmp_path / "elsewhere.SAFE")
    assert files_of(map_glaciers(model, moved, tmp_path / "out")) == before


def test_options_for_products_are_refused_with_a_scene(tmp_path: Path, model: Path, scene: Path) -> None:
    with pytest.raises(RequestError, match=r"is no product, and --grow-m, --keep is for products"):
        map_glaciers(model, scene, tmp_path / "out", SourceSettings(keep=("cloud",), grow_m=10))
    assert not (tmp_path / "out").exists()
