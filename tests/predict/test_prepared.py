"""Products that networks map by their cards alone."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from shapely.geometry import box

from glacierseg.errors import BandError, DataError, RequestError
from glacierseg.predict.ensemble import load_ensemble
from glacierseg.predict.prepared import Prepared, prepare_for, recipe_for
from glacierseg.products.scene import prepare_scene
from glacierseg.raster.facts import facts_of
from glacierseg.raster.prepare.normalize import normalize_scene
from glacierseg.raster.prepare.ranges import BandRange, Ranges, write_ranges
from glacierseg.raster.scene import open_scene
from glacierseg.settings.prepare import ProductSettings
from glacierseg.settings.scene import SourceSettings
from tests.helpers import write_scene
from tests.products.shelves import CORNER, LandsatFacts, SafeFacts, make_landsat, make_safe, write_image
from tests.weights.shelves import model_folder, packed

LIGHT = ("blue", "green", "red", "nir")
RANGES = {name: (100.0 * (i + 1), 8000.0) for i, name in enumerate(LIGHT)}


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_safe(tmp_path_factory.mktemp("products"))


def prepared(model: Path, product: Path, out: Path, **given: Any) -> Prepared:
    return prepare_for(load_ensemble(model), [product], out, SourceSettings(**given))


def layer_on(product: Path, path: Path, name: str, value: float) -> Path:
    """A raster of one value on a product's ground and around it."""
    write_scene(path, np.full((1, 60, 60), value, np.float32), [name])
    with rasterio.open(product / SafeFacts().image("B02", 10)) as image, rasterio.open(path, "r+") as file:
        file.crs, file.transform = image.crs, image.transform @ image.transform.translation(-12, -12)
    return path


def read(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as dataset:
        values: NDArray[Any] = dataset.read()
    return values


def test_the_scene_has_the_bands_of_the_card_and_the_name_of_tile_and_day(
    tmp_path: Path, product: Path
) -> None:
    model = model_folder(tmp_path / "model", bands=("nir", "red", "ndvi", "blue"))
    made = prepared(model, product, tmp_path / "out")
    prepare_scene(product, tmp_path / "by_hand.tif", ProductSettings(recipe="nir,red,ndvi,blue"))
    np.testing.assert_array_equal(read(made.whole.paths[0]), read(tmp_path / "by_hand.tif"))
    assert made.whole.band_names == ("nir", "red", "ndvi", "blue")
    assert made.whole.name == "T45RVL_20240930"
    assert made.levels == made.whole
    assert facts_of(made.whole.paths[0]).products == (product.stem,)


def test_a_recipe_that_the_card_names_makes_bands_for_pictures_too(tmp_path: Path, product: Path) -> None:
    dem = layer_on(product, tmp_path / "dem.tif", "elevation", 5000)
    model = model_folder(tmp_path / "model", bands=LIGHT, recipe="sentinel2-18")
    made = prepared(model, product, tmp_path / "out", dem=dem)
    assert {"ndsi", "elevation", *LIGHT} < set(made.whole.band_names)
    only = prepared(model, product, tmp_path / "only", recipe=",".join(LIGHT))
    assert only.whole.band_names == LIGHT


def test_bands_that_a_network_can_do_without_are_made_where_that_is_possible(
    tmp_path: Path, product: Path
) -> None:
    bands = ("red", "nir", "thermal", "slope", "velocity")
    model = model_folder(
        tmp_path / "model", bands=bands, band_mean=(1,) * 5, band_std=(1,) * 5, may_miss=bands[2:]
    )
    assert prepared(model, product, tmp_path / "out").whole.band_names == ("red", "nir")
    speed = layer_on(product, tmp_path / "v.tif", "velocity", 7)
    made = prepared(model, product, tmp_path / "with", layer=(f"velocity={speed}",))
    assert made.whole.band_names == ("red", "nir", "velocity")
    assert (read(made.whole.paths[0])[2, 5:-5, 5:-5] == 7).all()
    dem = layer_on(product, tmp_path / "dem.tif", "elevation", 5000)
    assert prepared(model, product, tmp_path / "dem", dem=dem).whole.band_names == ("red", "nir", "slope")
    # What it needs is asked for.
    needed = model_folder(
        tmp_path / "needed", bands=bands[:2] + bands[4:], band_mean=(1,) * 3, band_std=(1,) * 3
    )
    with pytest.raises(DataError, match="velocity"):
        prepared(needed, product, tmp_path / "needs")


def test_weights_get_their_bands_by_what_these_see(tmp_path: Path, product: Path) -> None:
    weights = packed(tmp_path).weights
    made = prepare_for(load_ensemble(weights), [product], tmp_path / "out", SourceSettings())
    assert made.whole.band_names == LIGHT
    assert load_ensemble(weights).matching_scene(weights.fit(made.levels, made.reading).scene)


def test_a_band_that_networks_need_and_a_level_lacks_is_named_with_what_gives_it(
    tmp_path: Path, product: Path
) -> None:
    landsat = make_landsat(tmp_path, LandsatFacts(level="L2SR"))
    bands = ("red", "thermal")
    model = model_folder(tmp_path / "model", bands=bands, band_mean=(1, 1), band_std=(1, 1))
    with pytest.raises(
        BandError, match="take the L2SP product of the same scene, or give its file with --layer"
    ):
        prepared(model, landsat, tmp_path / "out")
    heat = write_image(tmp_path / "heat.tif", np.full((12, 12), 270, np.float32), 30)
    made = prepared(model, landsat, tmp_path / "with", layer=(f"thermal={heat}",))
    assert made.whole.band_names == bands
    # Weights name their bands as their training did, and ask for what these see.
    weights = load_ensemble(packed(tmp_path).weights)
    assert recipe_for(weights, {"red"}, {}, has_dem=False) == "".join(f"{name}," for name in LIGHT)


def test_levels_are_made_by_the_ranges_of_the_training(tmp_path: Path, product: Path) -> None:
    model = model_folder(tmp_path / "model", bands=LIGHT, unit="8-bit levels", ranges=RANGES)
    made = prepared(model, product, tmp_path / "out")
    write_ranges(
        tmp_path / "ranges.json", Ranges({name: BandRange(*bounds) for name, bounds in RANGES.items()})
    )
    normalize_scene(open_scene(made.whole.paths[0]), tmp_path / "by_hand.tif", tmp_path / "ranges.json")
    np.testing.assert_array_equal(read(made.levels.paths[0]), read(tmp_path / "by_hand.tif"))
    assert made.levels.name == made.whole.name
    assert made.levels.dtype == np.uint8


def test_levels_of_unknown_ranges_are_refused(tmp_path: Path, product: Path) -> None:
    model = model_folder(tmp_path / "model", bands=LIGHT, unit="8-bit levels", ranges={"blue": (0, 1)})
    with pytest.raises(RequestError, match="does not know by which range green became levels"):
        prepared(model, product, tmp_path / "out")
    other = model_folder(tmp_path / "other", bands=LIGHT, unit="8-bit levels", ranges=RANGES)
    with pytest.raises(RequestError, match="different ranges; predict with one alone"):
        prepare_for(load_ensemble([model, other]), [product], tmp_path / "out", SourceSettings())


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("reflectance x 10000", (1, 0)), ("reflectance", (1e-4, 0)), ("", (1, 0)), ("own words", (1, 0))],
)
def test_reflectance_comes_in_the_unit_of_the_training(
    tmp_path: Path, product: Path, unit: str, expected: tuple[float, float]
) -> None:
    made = prepared(model_folder(tmp_path / "model", bands=LIGHT, unit=unit), product, tmp_path / "out")
    assert (made.reading.scale, made.reading.offset) == pytest.approx(expected)
    asked = prepared(
        model_folder(tmp_path / "model", bands=LIGHT, unit=unit), product, tmp_path / "out", scale=3
    )
    assert asked.reading.scale == 3


def test_pixels_are_as_large_as_those_of_the_training(tmp_path: Path, product: Path) -> None:
    coarse = model_folder(tmp_path / "coarse", bands=LIGHT, pixel_m=29.98)
    fine = model_folder(tmp_path / "fine", bands=LIGHT, pixel_m=9.99)
    assert prepared(coarse, product, tmp_path / "30").whole.grid.pixel_size_m == pytest.approx(
        (30, 30), rel=1e-3
    )
    grid = prepared(fine, product, tmp_path / "10").whole.grid
    with rasterio.open(product / SafeFacts().image("B02", 10)) as image:
        assert (grid.transform, grid.shape) == (image.transform, image.shape)


def test_a_scene_that_is_up_to_date_stays_and_still_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    product = make_safe(tmp_path)
    write_image(product / SafeFacts().image("SCL", 20), np.full((18, 18), 11, np.uint8), 20)  # all snow
    x, y = CORNER
    known = gpd.GeoDataFrame({"id": ["a"]}, geometry=[box(x, y - 60, x + 60, y)], crs="EPSG:32645")
    known.to_file(tmp_path / "known.gpkg")
    model, existing = model_folder(tmp_path / "model", bands=LIGHT), tmp_path / "known.gpkg"
    first = prepared(model, product, tmp_path / "out", existing=existing)
    assert "snow covers 100% of the ground outside known glaciers" in first.notes[0]
    before = first.whole.paths[0].stat().st_mtime_ns
    caplog.clear()
    again = prepared(model, product / "MTD_MSIL2A.xml", tmp_path / "out", existing=existing)
    assert again.notes == first.notes
    assert first.notes[0] in [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert first.whole.paths[0].stat().st_mtime_ns == before
    prepared(model, product, tmp_path / "out", keep=("cloud",))
    assert first.whole.paths[0].stat().st_mtime_ns > before
