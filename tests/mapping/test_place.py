"""From a place to an inventory: the network says which bands of which satellites are fetched."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from glacierseg.catalogues.place import place_of_box
from glacierseg.errors import BandError, GlaciersegWarning
from glacierseg.mapping.place import map_place
from glacierseg.settings.fetch import FetchSettings
from glacierseg.settings.scene import SourceSettings
from tests.catalogues.ground import SEASONS, Facts, Shot, box_around
from tests.catalogues.shelf import Shelf
from tests.products.shelves import LandsatFacts
from tests.weights.shelves import model_folder

PLACE = place_of_box(box_around(side_m=1800).bounds)
LIGHT = ("blue", "green", "red", "nir")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLACIERSEG_CACHE_DIR", str(tmp_path / "cache"))


def shelf_of(folder: Path, shots: Sequence[Shot]) -> FetchSettings:
    shelf = Shelf(folder)
    for shot in shots:
        shelf.add(replace(shot, side_m=2100))
    how: dict[str, Any] = {
        "catalogue": str(shelf.catalogue()),
        "date": "2024-01-01/2024-12-31",
        "max_snow": 1,
    }
    return FetchSettings.model_validate(how)


def test_a_recipe_of_landsat_fetches_landsat(tmp_path: Path) -> None:
    shots = [SEASONS["autumn"], Shot(LandsatFacts(number=8, date="2024-10-01"))]
    how = shelf_of(tmp_path / "shelf", shots)
    model = model_folder(tmp_path / "model", bands=LIGHT, recipe="landsat-18", may_miss=("slope",))
    with pytest.warns(GlaciersegWarning, match="has no elevation model"):
        made = map_place(model, PLACE, tmp_path / "out", fetch=how, inputs=SourceSettings())
    assert made.scene.name == "140041_20241001.tif"
    assert any("has no elevation model (Copernicus GLO-30) of this place" in line for line in made.warnings)
    page = made.page.read_text()
    assert "(landsat-c2-l2): the only one of 140041" in page
    assert "has no elevation model" in page


def test_the_sensor_may_be_asked_for(tmp_path: Path) -> None:
    how = shelf_of(tmp_path / "shelf", [SEASONS["autumn"], Shot(LandsatFacts(number=8, date="2024-10-01"))])
    model = model_folder(tmp_path / "model", bands=LIGHT)
    with pytest.warns(GlaciersegWarning, match="has no elevation model"):
        made = map_place(model, PLACE, tmp_path / "out", fetch=how, inputs=SourceSettings(sensor="landsat"))
    assert made.scene.name == "140041_20241001.tif"


def test_only_what_the_network_needs_is_read(tmp_path: Path) -> None:
    how = shelf_of(tmp_path / "shelf", [SEASONS["autumn"]])
    model = model_folder(tmp_path / "model", bands=("red", "nir", "swir1", "swir2"))
    with pytest.warns(GlaciersegWarning, match="has no elevation model"):
        made = map_place(model, PLACE, tmp_path / "out", fetch=how, inputs=SourceSettings())
    assert made.glaciers.crs is not None
    assert not list((tmp_path / "out/products").rglob("*_B8A_*"))
    thermal = model_folder(tmp_path / "thermal", bands=("red", "nir", "swir1", "thermal"))
    with pytest.raises(BandError, match="sentinel2 have no band for thermal"):
        map_place(thermal, PLACE, tmp_path / "no", fetch=how, inputs=SourceSettings())


def test_a_composite_of_several_days_is_mapped(tmp_path: Path) -> None:
    west = Shot(Facts(date="2024-10-05"), cloud=0.45)
    east = Shot(Facts(date="2024-09-10"), missing=0.4)
    how = shelf_of(tmp_path / "shelf", [west, east]).replaced(composite=True, max_cloud=0.9)
    model = model_folder(tmp_path / "model", bands=LIGHT)
    with pytest.warns(GlaciersegWarning, match="has no elevation model"):
        made = map_place(model, PLACE, tmp_path / "out", fetch=how, inputs=SourceSettings())
    assert "2024-09-10 to 2024-10-05" in made.page.read_text()
    record = json.loads((tmp_path / "out/provenance.json").read_text())
    assert set(record["scene"]["files"]) == {made.scene.name, f"{made.scene.stem}_dates.tif"}
