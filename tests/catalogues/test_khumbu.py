"""Four seasons of real ground in a catalogue on this machine, from a box and days to a scene."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.features import shapes
from rasterio.transform import from_origin
from rasterio.warp import reproject
from shapely.geometry import shape

from glacierseg.catalogues.fetch import FetchedScene, fetch_scene
from glacierseg.settings.fetch import FetchSettings
from glacierseg.settings.prepare import ProductInputs, ProductSettings
from tests.catalogues import shelf as shelves
from tests.catalogues.api import serving
from tests.catalogues.ground import Facts, Shot, Style
from tests.catalogues.scenes import read
from tests.catalogues.shelf import Shelf

SEASONS = {"winter": "2024-01-15", "spring": "2024-05-25", "summer": "2024-07-15", "autumn": "2024-09-30"}
BOX = (86.80, 27.96, 86.83, 27.99)
_ORDER = ("02", "03", "04", "08", "11", "12")


@dataclass(frozen=True)
class Real(Shot):
    """An image of a season of real ground."""

    folder: Path = Path()

    @property
    def source(self) -> Path:
        """Its file, in degrees."""
        season = next(name for name, day in SEASONS.items() if day == self.facts.date)
        return self.folder / f"khumbu_s2_{season}_2024.tif"


@lru_cache(maxsize=64)
def reflectance_of(shot: Real, band: str, pixel_m: int) -> NDArray[np.float32]:
    """Reflectance of a band on the grid of the made product."""
    found = np.full((shot.side_m // pixel_m,) * 2, np.nan, np.float32)
    with rasterio.open(shot.source) as file:
        number = _ORDER.index({"8A": "08"}.get(band, band)) + 1
        reproject(
            rasterio.band(file, number),
            found,
            dst_transform=from_origin(*shot.corner, pixel_m, pixel_m),
            dst_crs=f"EPSG:{shot.epsg}",
            dst_nodata=np.nan,
            resampling=Resampling.bilinear,
        )
    return found


def numbers_of(shot: Real, band: str, pixel_m: int, style: Style) -> NDArray[np.uint16]:
    offset = 0 if style == "l2a" else 1000
    values = np.rint(10_000 * reflectance_of(shot, band, pixel_m)) + offset
    found: NDArray[np.uint16] = np.nan_to_num(np.clip(values, 1, 20_000), nan=0).astype(np.uint16)
    return found


def classes_of(shot: Real) -> NDArray[np.uint8]:
    """Snow by its index, and what the monsoon is like in summer."""
    green, swir = (reflectance_of(shot, band, 20) for band in ("03", "11"))
    is_snow = ((green - swir) / (green + swir) > 0.4) & (green > 0.2)
    classes = np.where(is_snow, 11, 5).astype(np.uint8)
    if shot.facts.date == SEASONS["summer"]:
        classes[: len(classes) // 2] = 9
    classes[~np.isfinite(green)] = 0
    return classes


@pytest.fixture(scope="module")
def khumbu(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    folder = data_dir / "khumbu_sentinel2"
    with rasterio.open(folder / "khumbu_rgi60_mask.tif") as file:
        west, south, east, north = file.bounds
    made = Shelf(tmp_path_factory.mktemp("khumbu"))
    middle = (west + east) / 2, (south + north) / 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shelves, "numbers", numbers_of)
        patch.setattr(shelves, "classes", classes_of)
        for day in SEASONS.values():
            facts = Facts(date=day, bands=("02", "03", "04", "08", "11", "12"))
            made.add(Real(facts, at=middle, side_m=5400, folder=folder), "l2a")
    return made


@pytest.fixture
def fetched(khumbu: Shelf, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FetchedScene:
    monkeypatch.setenv("GLACIERSEG_CACHE_DIR", str(tmp_path / "cache"))
    dem = data_dir / "khumbu_sentinel2/khumbu_hma_dem_median.tif"
    with rasterio.open(data_dir / "khumbu_sentinel2/khumbu_rgi60_mask.tif") as file:
        mask = file.read(1)
        ice = [shape(one) for one, _ in shapes(mask, mask == 1, transform=file.transform)]
    known = tmp_path / "known.gpkg"
    gpd.GeoDataFrame(geometry=ice, crs=4326).to_file(known)
    with serving(khumbu.items, files=khumbu.folder / "files") as api:
        how = FetchSettings.model_validate({"catalogue": api.address, "date": "2024-01-01/2024-12-31"})
        recipe = ProductSettings(recipe="red,nir,swir1")
        return fetch_scene(BOX, tmp_path / "out", how, recipe, ProductInputs(dem=(dem,), existing=known))


@pytest.mark.real
def test_autumn_is_chosen_in_khumbu_and_has_its_numbers(
    fetched: FetchedScene, khumbu: Shelf, data_dir: Path
) -> None:
    assert fetched.path.name == "T45RVL_20240930.tif"
    table = pd.read_csv(fetched.path.parent / "scenes.csv").set_index("acquired")
    why = {str(time)[5:7]: text for time, text in table["why"].items()}
    assert why["09"].startswith("best of 4 of T45RVL")
    assert "lower sun" in why["01"] or "more snow" in why["01"] or "more than --max-snow" in why["01"]
    assert "cloud" in why["07"]
    values, transform, _ = read(fetched.path)
    item = next(one for one in khumbu.items if "20240930" in one["id"])
    red = khumbu.folder / "files" / item["assets"]["red"]["href"].removeprefix("{files}/")
    whole, own, _ = read(red)
    left, top = round((transform.c - own.c) / 10), round((own.f - transform.f) / 10)
    height, width = values.shape[1:]
    wanted = whole[0][top : top + height, left : left + width].astype(np.float32)
    np.testing.assert_array_equal(values[0], np.where(wanted == 0, np.nan, wanted))
    assert fetched.fetched.provenance.content["products"][0]["added_to_numbers"] == 1000
