"""Scenes of products against arithmetic with numpy alone."""

import logging
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.rio.main import main_group
from rasterio.transform import from_origin
from scipy import ndimage
from shapely.geometry import Point, box

from glacierseg.errors import GlaciersegError, GlaciersegWarning, RequestError
from glacierseg.log import Progress
from glacierseg.products.scene import PreparedScene, prepare_scene
from glacierseg.raster.facts import SceneFacts, facts_of
from glacierseg.raster.prepare.recipes import RECIPES
from glacierseg.settings.prepare import ProductInputs, ProductSettings
from tests.products.shelves import (
    CORNER,
    LandsatFacts,
    SafeFacts,
    edit,
    make_landsat,
    make_safe,
    make_zip,
    write_image,
)

Images = dict[str, NDArray[Any]]
Bands = dict[str, NDArray[np.floating[Any]]]

SIDE = 36
FINE = {"02": "blue", "03": "green", "04": "red", "08": "nir"}
COARSE = {"11": "swir1", "12": "swir2"}
SAFE = SafeFacts(bands=(*FINE, *COARSE))


def prepared(
    products: Path | Sequence[Path],
    out: Path,
    *,
    layers: Mapping[str, Path] | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> PreparedScene:
    """Makes a scene with the fields of both of its settings."""
    how = {name: options.pop(name) for name in ProductSettings.model_fields if name in options}
    inputs = ProductInputs(**options)
    return prepare_scene(products, out, ProductSettings(**how), inputs, layers=layers, progress=progress)


def images(seed: int = 0, side: int = SIDE) -> Images:
    """Digital numbers of a whole product, all of it clear ground."""
    rng = np.random.default_rng(seed)
    found: Images = {band: rng.integers(1001, 9000, (side, side)).astype(np.uint16) for band in FINE}
    found |= {band: rng.integers(1001, 9000, (side // 2, side // 2)).astype(np.uint16) for band in COARSE}
    found["SCL"] = np.full((side // 2, side // 2), 5, np.uint8)
    return found


def flat() -> Images:
    """The same of ground that reflects a fifth in all bands."""
    return {
        band: values if band == "SCL" else np.full_like(values, 3000) for band, values in images().items()
    }


def sentinel2(
    folder: Path, own: Images, facts: SafeFacts = SAFE, corner: tuple[float, float] = CORNER
) -> Path:
    """A SAFE folder with these images."""
    safe = make_safe(folder, facts)
    for band in FINE:
        write_image(safe / facts.image(f"B{band}", 10), own[band], 10, facts.epsg, corner)
    for band in (*(f"B{one}" for one in COARSE), "SCL"):
        values = own[band.removeprefix("B")]
        write_image(safe / facts.image(band, 20), values, 20, facts.epsg, corner)
    return safe


def elevation(path: Path, side: int = SIDE, pixel_m: float = 10) -> Path:
    """Heights on the pixels of the scene and five more on every side."""
    rows, columns = np.mgrid[: side + 10, : side + 10]
    heights = 5000 + 3.0 * rows - 1.5 * columns + 40 * np.sin(rows / 5) * np.cos(columns / 7)
    corner = CORNER[0] - 5 * pixel_m, CORNER[1] + 5 * pixel_m
    return write_image(path, heights.astype(np.float32), pixel_m, corner=corner)


def bands_of(path: Path) -> Bands:
    with rasterio.open(path) as dataset:
        return dict(zip(dataset.descriptions, dataset.read(), strict=True))


def twice(cells: NDArray[Any]) -> NDArray[Any]:
    return cells.repeat(2, 0).repeat(2, 1)


def between(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bilinear interpolation onto pixels of half the size, from those neighbours that have data."""
    height, width = cells.shape
    value, weight = np.zeros((2, 2 * height, 2 * width))
    padded = np.pad(cells, 1, constant_values=np.nan)
    for row in range(2 * height):
        for column in range(2 * width):
            down, right = (1 if row % 2 else -1), (1 if column % 2 else -1)
            for i, along in ((0, 0.75), (down, 0.25)):
                for j, across in ((0, 0.75), (right, 0.25)):
                    one = padded[row // 2 + 1 + i, column // 2 + 1 + j]
                    if np.isfinite(one):
                        value[row, column] += along * across * one
                        weight[row, column] += along * across
    with np.errstate(invalid="ignore"):
        return np.asarray(value / weight)


def with_indices(bands: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    green, red, nir, swir1 = (bands[name] for name in ("green", "red", "nir", "swir1"))
    return {
        **bands,
        "ndsi": (green - swir1) / (green + swir1),
        "ndwi": (green - nir) / (green + nir),
        "ndvi": (nir - red) / (nir + red),
        "ndgi": (green - red) / (green + red),
        "red_swir1": red / swir1,
        "s3": nir * (red - swir1) / ((nir + red) * (nir + swir1)),
    }


def terrain(path: Path, pixel_m: float) -> dict[str, NDArray[np.float64]]:
    """Slope and aspect by Horn's kernel, curvature by Zevenbergen and Thorne's surface."""
    with rasterio.open(path) as dataset:
        z = dataset.read(1).astype(float)
    smooth, step = np.array([1, 2, 1]) / 8, np.array([-1, 0, 1]) / pixel_m
    east = ndimage.correlate(z, np.outer(smooth, step))
    north = -ndimage.correlate(z, np.outer(step, smooth))
    fall = np.hypot(east, north)
    p = ndimage.correlate(z, step[None] / 2)
    q = -ndimage.correlate(z, step[:, None] / 2)
    second = np.array([1, -2, 1]) / pixel_m**2
    r, t = ndimage.correlate(z, second[None]), ndimage.correlate(z, second[:, None])
    s = -ndimage.correlate(z, np.outer(step, step)) / 4
    g = p**2 + q**2
    layers = {
        "elevation": z,
        "slope": np.degrees(np.arctan(fall)),
        "aspect_sin": -east / fall,
        "aspect_cos": -north / fall,
        "curvature_profile": -(p**2 * r + 2 * p * q * s + q**2 * t) / (g * (1 + g) ** 1.5),
        "curvature_tangential": -(q**2 * r - 2 * p * q * s + p**2 * t) / (g * np.sqrt(1 + g)),
    }
    return {name: layer[5:-5, 5:-5] for name, layer in layers.items()}


def assert_bands(found: Bands, expected: Mapping[str, NDArray[np.float64]], bad: NDArray[np.bool_]) -> None:
    assert set(found) == set(expected)
    for name, layer in expected.items():
        np.testing.assert_array_equal(np.isnan(found[name]), bad, name)
        scale = np.abs(layer[~bad]).max()
        np.testing.assert_allclose(found[name][~bad], layer[~bad], rtol=1e-4, atol=1e-6 * scale, err_msg=name)


def test_each_band_of_sentinel2_is_that_of_the_metadata(tmp_path: Path) -> None:
    own = images()
    # A swath edge that runs between the pixels of a coarse one, and cloud, cirrus, shadow and snow.
    own["02"][30:, 21:] = 0
    own["12"][15:, 12:] = 0
    own["SCL"][2:5, 3:6], own["SCL"][2:4, 8:10], own["SCL"][8, 1:4], own["SCL"][9:12, 9:] = 9, 10, 3, 11
    dem = elevation(tmp_path / "dem.tif")
    made = prepared(sentinel2(tmp_path, own), tmp_path / "scene.tif", dem=dem)
    bad = np.zeros((SIDE, SIDE), bool)
    bad[30:, 20:] = True
    bad |= twice(np.isin(own["SCL"], (3, 9, 10)))
    expected = {role: np.where(bad, np.nan, own[band] - 1000.0) for band, role in FINE.items()}
    for band, role in COARSE.items():
        expected[role] = between(np.where(bad[::2, ::2], np.nan, own[band] - 1000.0))
        expected[role][bad] = np.nan
    found = bands_of(tmp_path / "scene.tif")
    assert tuple(found) == RECIPES["sentinel2-18"]
    assert_bands(found, with_indices(expected) | terrain(dem, 10), bad)
    assert made.no_data == pytest.approx(bad.mean())
    with rasterio.open(tmp_path / "scene.tif") as dataset:
        assert dataset.crs.to_epsg() == 32645
        assert dataset.transform == from_origin(*CORNER, 10, 10)
        assert np.isnan(dataset.nodata)


def test_each_band_of_landsat_is_that_of_the_metadata(tmp_path: Path) -> None:
    side, facts = 12, LandsatFacts()
    product = make_landsat(tmp_path, facts)
    rng = np.random.default_rng(0)
    names = {f"SR_B{number}": role for number, role in zip(range(2, 8), RECIPES["landsat-18"], strict=False)}
    names["ST_B10"] = "thermal"
    own = {name: rng.integers(7400, 40000, (side, side)).astype(np.uint16) for name in names}
    own["ST_B10"][0, :3] = 0
    qa = np.full((side, side), 21824, np.uint16)
    # Cloud, dilated cloud, cirrus, shadow, high confidence of each alone, fill; then snow, which stays.
    bits = [1 << 3, 1 << 1, 1 << 2, 1 << 4, 3 << 8, 3 << 10, 3 << 14, 1]
    qa[4, : len(bits)] = bits
    qa[5, :3] = [1 << 5, 30048, 2 << 8]
    for name, values in (*own.items(), ("QA_PIXEL", qa)):
        write_image(product / f"{facts.name}_{name}.TIF", values, 30)
    dem = elevation(tmp_path / "dem.tif", side, 30)
    prepared(product, tmp_path / "scene.tif", dem=str(dem))
    bad = own["ST_B10"] == 0
    bad[4, : len(bits)] = True
    expected: dict[str, NDArray[np.float64]] = {
        role: 0.275 * own[name].astype(float) - 2000 for name, role in names.items()
    }
    expected["thermal"] = 0.00341802 * own["ST_B10"].astype(float) + 149
    found = bands_of(tmp_path / "scene.tif")
    assert tuple(found) == RECIPES["landsat-18"]
    made = with_indices(expected) | terrain(dem, 30)
    assert_bands(found, {name: made[name] for name in found}, bad)


def test_nothing_is_mixed_into_its_neighbours(tmp_path: Path) -> None:
    own = flat()
    # Cloud that is bright in the shortwave infrared, which no cloud of numpy's making is.
    own["SCL"][4:7, 4:7], own["11"][4:7, 4:7] = 8, 20000
    # What lies at the rim of the swath is mean of ground and of nothing, and itself no zero.
    own["08"][21, 20:], own["11"][10, 10:], own["12"][10, 10:] = 0, 1500, 1200
    own["12"][10, 14] = 0
    prepared(sentinel2(tmp_path, own), tmp_path / "scene.tif", recipe="swir1,swir2,nir,ndsi")
    found = bands_of(tmp_path / "scene.tif")
    bad = np.zeros((SIDE, SIDE), bool)
    bad[8:14, 8:14] = bad[20:22, 20:] = True
    for name in ("swir1", "swir2", "nir"):
        np.testing.assert_array_equal(found[name], np.where(bad, np.nan, 2000))
    assert np.nanmin(found["ndsi"]) == np.nanmax(found["ndsi"]) == 0


def test_indices_stay_in_their_range_where_reflectance_is_negative(tmp_path: Path) -> None:
    own = images()
    own["11"][:6], own["03"][:20] = 400, 900
    prepared(sentinel2(tmp_path, own), tmp_path / "scene.tif", recipe="green,swir1,ndsi,ndwi")
    found = bands_of(tmp_path / "scene.tif")
    assert np.nanmin(found["green"]) == -100
    for name in ("ndsi", "ndwi"):
        assert np.isnan(found[name][:20]).all()
        assert np.nanmax(np.abs(found[name])) <= 1


def test_layers_join_a_recipe(tmp_path: Path) -> None:
    safe, speeds = sentinel2(tmp_path, cloudy()), np.arange(81, dtype=np.float32).reshape(9, 9)
    velocity = write_image(tmp_path / "v.tif", speeds, 40)
    heat = write_image(tmp_path / "heat.tif", np.full((9, 9), 270, np.float32), 40)
    made = prepared(
        safe,
        tmp_path / "scene.tif",
        recipe="red,thermal,velocity",
        layers={"velocity": velocity, "thermal": heat},
        mask=False,
    )
    found = bands_of(made.path)
    assert tuple(found) == ("red", "thermal", "velocity")
    assert (found["thermal"] == 270).all()
    expected = between(between(speeds.astype(float)))
    np.testing.assert_allclose(found["velocity"][4:-4, 4:-4], expected[4:-4, 4:-4], rtol=1e-6)


def test_the_offset_is_that_of_the_product(tmp_path: Path) -> None:
    own = images()
    facts = SafeFacts(baseline="03.01", offset=None, date="2021-09-30", bands=SAFE.bands)
    prepared(sentinel2(tmp_path, own, facts), tmp_path / "scene.tif", recipe="blue,green,red")
    np.testing.assert_array_equal(bands_of(tmp_path / "scene.tif")["blue"], own["02"])
    assert facts_of(tmp_path / "scene.tif").baseline == "03.01"


def cloudy() -> Images:
    own = images(1)
    own["SCL"][3:6, 3:6], own["SCL"][3:6, 10:12], own["SCL"][12:14, 3:8], own["SCL"][15, 14:] = 9, 10, 3, 11
    own["SCL"][6, 3] = 8
    return own


@pytest.mark.parametrize(
    ("options", "masked"),
    [
        ({}, (3, 8, 9, 10)),
        ({"keep": ("cirrus",)}, (3, 8, 9)),
        ({"keep": ["cloud", "shadow"]}, (10,)),
        ({"keep": "shadow"}, (8, 9, 10)),
        ({"mask": False}, ()),
    ],
)
def test_classes_are_masked_but_for_those_to_keep(
    tmp_path: Path, options: dict[str, Any], masked: tuple[int, ...]
) -> None:
    own = cloudy()
    made = prepared(sentinel2(tmp_path, own), tmp_path / "scene.tif", recipe="red,swir1", **options)
    bad = twice(np.isin(own["SCL"], masked))
    for layer in bands_of(tmp_path / "scene.tif").values():
        np.testing.assert_array_equal(np.isnan(layer), bad)
    (share,) = made.products
    area = SIDE * SIDE / 4
    assert [share.cloud, share.cirrus, share.shadow, share.snow] == [10 / area, 6 / area, 10 / area, 4 / area]
    names = {"cloud": 9, "cirrus": 10, "shadow": 3}
    assert made.facts.masked == tuple(name for name, number in names.items() if number in masked)


@pytest.mark.parametrize("grow_m", [10, 25, 60])
def test_masked_ground_grows_by_metres(tmp_path: Path, grow_m: float) -> None:
    own = cloudy()
    prepared(sentinel2(tmp_path, own), tmp_path / "scene.tif", recipe="red,swir1", grow_m=grow_m)
    mask = twice(np.isin(own["SCL"], (3, 8, 9, 10)))
    bad = ndimage.distance_transform_edt(~mask) * 10 <= grow_m
    assert 0 < bad.sum() < bad.size
    for layer in bands_of(tmp_path / "scene.tif").values():
        np.testing.assert_array_equal(np.isnan(layer), bad)


def test_a_mask_made_elsewhere_is_added(tmp_path: Path) -> None:
    own = cloudy()
    safe = sentinel2(tmp_path, own)
    mask = np.zeros((8, 8), np.uint8)
    mask[2, 1:4], mask[7, 7] = 1, 255
    raster = write_image(tmp_path / "mask.tif", mask, 40, corner=(CORNER[0] + 20, CORNER[1]))
    x, y = CORNER
    outlines = tmp_path / "mask.gpkg"
    shape = gpd.GeoSeries([box(x + 60, y - 120, x + 180, y - 80)], crs=32645)
    shape.to_crs(4326).to_file(outlines)
    bad = twice(np.isin(own["SCL"], (3, 8, 9, 10)))
    bad[8:12, 6:18] = True
    for file in (raster, outlines):
        made = prepared(safe, tmp_path / "scene.tif", recipe="red,nir", mask_file=file)
        np.testing.assert_array_equal(np.isnan(bands_of(made.path)["red"]), bad)
        assert made.facts.masked[-1] == "mask_file"
    # It is masked also where the product's own classes are not.
    prepared(safe, tmp_path / "scene.tif", recipe="red,nir", mask_file=raster, mask=False)
    assert np.isnan(bands_of(tmp_path / "scene.tif")["red"]).sum() == 4 * 12


def test_saturated_pixels_are_counted_and_masked_when_asked(tmp_path: Path) -> None:
    own = images()
    own["04"][5, 5:8], own["12"][9, 9], own["SCL"][0, 0] = 65535, 65535, 1
    safe = sentinel2(tmp_path, own)
    bad = np.zeros((SIDE, SIDE), bool)
    bad[5, 5:8] = bad[18:20, 18:20] = bad[:2, :2] = True
    made = prepared(safe, tmp_path / "scene.tif", recipe="red,swir2")
    assert made.products[0].saturated == bad.mean()
    assert not np.isnan(bands_of(made.path)["red"]).any()
    made = prepared(safe, tmp_path / "scene.tif", recipe="red,swir2", mask_saturated=True, write_classes=True)
    found = bands_of(made.path)
    np.testing.assert_array_equal(np.isnan(found["red"]), bad)
    np.testing.assert_array_equal(np.isnan(found["swir2"]), bad)
    assert np.nanmax(found["swir2"]) < 8000
    assert made.classes is not None
    np.testing.assert_array_equal(bands_of(made.classes)["class"] == 6, bad)


def test_bits_tell_which_pixels_of_landsat_are_saturated(tmp_path: Path) -> None:
    facts = LandsatFacts()
    product = make_landsat(tmp_path, facts)
    flags = np.zeros((12, 12), np.uint16)
    # Band 3 is the third bit; band 1 is not used, and the twelfth bit is no band.
    flags[2, :4], flags[3, :2], flags[4, :3] = 0b100, 0b1, 1 << 11
    write_image(product / f"{facts.name}_QA_RADSAT.TIF", flags, 30)
    for band in ("SR_B3", "SR_B4"):
        write_image(product / f"{facts.name}_{band}.TIF", np.full((12, 12), 9000, np.uint16), 30)
    made = prepared(product, tmp_path / "scene.tif", recipe="green,red", mask_saturated=True)
    np.testing.assert_array_equal(np.isnan(bands_of(made.path)["red"]), flags == 0b100)


def test_a_basin_cuts_the_scene(tmp_path: Path) -> None:
    own = images()
    safe = sentinel2(tmp_path, own)
    centre = Point(CORNER[0] + 170, CORNER[1] - 150)
    basin = gpd.GeoSeries([centre.buffer(84)], crs=32645)
    basin.to_crs(4326).to_file(tmp_path / "basin.shp")
    made = prepared(safe, tmp_path / "scene.tif", recipe="red,swir1", clip=tmp_path / "basin.shp")
    rows, columns = np.mgrid[:SIDE, :SIDE]
    inside = np.hypot(columns * 10 + 5 - 170, rows * 10 + 5 - 150) < 83.8
    found = bands_of(made.path)["red"]
    assert found.shape == (18, 18)
    expected = np.where(inside, own["04"] - 1000.0, np.nan)[6:24, 8:26]
    np.testing.assert_array_equal(found, expected)
    assert made.products[0].pixels == inside.sum()
    assert made.no_data == 0


def neighbours(folder: Path, two: Images, epsg: int = 32645, corner: tuple[float, float] = CORNER) -> Path:
    facts = SafeFacts(tile="T45RWL" if epsg == 32645 else "T44RQR", bands=SAFE.bands, epsg=epsg)
    return sentinel2(folder, two, facts, corner)


def test_of_overlapping_tiles_the_first_with_data_counts(tmp_path: Path) -> None:
    one, two = images(0), images(1)
    one["SCL"][:, 14:] = 9
    one["SCL"][:4, 14:] = 5
    two["SCL"][:4] = 8
    first = sentinel2(tmp_path, one)
    second = neighbours(tmp_path, two, corner=(CORNER[0] + 200, CORNER[1]))
    made = prepared([first, second], tmp_path / "scene.tif", recipe="red,nir")
    expected = np.full((SIDE, SIDE + 20), np.nan)
    expected[8:, 20:] = two["04"][8:] - 1000.0
    seen = twice(one["SCL"] == 5)
    expected[:, :SIDE][seen] = one["04"][seen] - 1000.0
    np.testing.assert_array_equal(bands_of(made.path)["red"], expected)
    assert made.facts.products == (SAFE.name, SAFE.name.replace("T45RVL", "T45RWL"))


def test_tiles_of_two_zones_become_one_scene(tmp_path: Path) -> None:
    def light(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        return 4000 + 1.5 * (x - CORNER[0]) + 0.7 * (y - CORNER[1])

    def made_of(corner: tuple[float, float], side: int, way: Transformer | None) -> Images:
        own = images(side=side)
        for band in (*FINE, *COARSE):
            pixel_m = 10 if band in FINE else 20
            rows, columns = np.indices(own[band].shape)
            x, y = corner[0] + (columns + 0.5) * pixel_m, corner[1] - (rows + 0.5) * pixel_m
            own[band] = np.rint(light(*(way.transform(x, y) if way else (x, y)))).astype(np.uint16)
        return own

    # The middle of zone 45 is far from that of zone 44, so grids are turned by 3 degrees to one another.
    corner_44 = Transformer.from_crs(32645, 32644, always_xy=True).transform(CORNER[0] + 300, CORNER[1])
    corner_44 = round(corner_44[0] / 20) * 20.0, round(corner_44[1] / 20) * 20.0
    way = Transformer.from_crs(32644, 32645, always_xy=True)
    far = made_of(corner_44, 24, way)
    far["SCL"][4, 4] = 9
    one = sentinel2(tmp_path, made_of(CORNER, SIDE, None))
    two = neighbours(tmp_path, far, 32644, corner_44)
    made = prepared([two, one], tmp_path / "scene.tif", recipe="red,swir1")
    assert made.grid.crs.to_epsg() == 32645
    assert (made.grid.transform.c - CORNER[0]) % 10 == 0
    rows, columns = np.indices(made.grid.shape)
    a, _, x, _, e, y = made.grid.transform[:6]
    expected = light(x + (columns + 0.5) * a, y + (rows + 0.5) * e) - 1000
    beyond = (x + columns * a > CORNER[0] + 360) | (y + rows * e > CORNER[1])
    for layer in bands_of(made.path).values():
        seen = np.isfinite(layer)
        assert (seen & beyond).sum() > 200
        np.testing.assert_allclose(layer[seen], expected[seen], atol=20)
    cloud = way.transform(corner_44[0] + 90, corner_44[1] - 90)
    column, row = (int(place) for place in ~made.grid.transform * cloud)
    assert beyond[row, column]
    assert np.isnan(bands_of(made.path)["red"][row, column])


def test_another_grid_can_be_asked_for(tmp_path: Path) -> None:
    own = flat()
    safe = sentinel2(tmp_path, own)
    made = prepared(safe, tmp_path / "scene.tif", recipe="red,swir1", pixel_size_m=30)
    assert made.grid.transform.a == 30
    assert made.grid.transform.c % 30 == made.grid.transform.f % 30 == 0
    like = write_image(tmp_path / "like.tif", np.zeros((5, 5), np.uint8), 30, corner=CORNER)
    made = prepared(safe, tmp_path / "other.tif", recipe="red,swir1", like=like)
    assert made.grid.shape == (5, 5)
    assert (bands_of(made.path)["swir1"] == 2000).all()
    assert made.products[0].pixels == 15 * 15
    assert "cloud 0.0%" in repr(made.products[0])
    with pytest.raises(RequestError, match="leave one of the two out"):
        prepared(safe, tmp_path / "x.tif", recipe="red,", like=like, pixel_size_m=30)


def test_tags_and_the_table_say_where_the_scene_is_from(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    safe = make_zip(sentinel2(tmp_path, cloudy()))
    dem = elevation(tmp_path / "dem.tif")
    with caplog.at_level(logging.INFO, logger="glacierseg"):
        made = prepared([safe], tmp_path / "scene.tif", dem=(dem,))
    assert (
        facts_of(made.path)
        == made.facts
        == SceneFacts(
            first_date=date(2024, 9, 30),
            last_date=date(2024, 9, 30),
            sensor="sentinel2",
            products=(SAFE.name,),
            baseline="05.11",
            unit="reflectance x 10000",
            recipe="sentinel2-18",
            masked=("cloud", "cirrus", "shadow"),
        )
    )
    (table,) = [record.getMessage() for record in caplog.records if "baseline" in record.getMessage()]
    head, row = table.splitlines()
    assert head.split("  ")[0] == "product"
    assert re.split(r"\s{2,}", row) == [
        *(SAFE.name, "2024-09-30", "05.11", "x 1 - 1000", "1296"),
        *("0.0 %", "3.1 %", "1.9 %", "3.1 %", "0.0 %", "1.2 %"),
    ]  # fmt: skip


def test_snow_off_glaciers_and_cloud_on_them_are_said(tmp_path: Path) -> None:
    own = images()
    own["SCL"][:, 9:] = 11
    own["SCL"][:6, :3] = 9
    safe = sentinel2(tmp_path, own)
    x, y = CORNER
    glacier = gpd.GeoSeries([box(x, y - 180, x + 120, y)], crs=32645)
    (tmp_path / "rgi").mkdir()
    glacier.to_file(tmp_path / "rgi" / "rgi.shp")
    with pytest.warns(GlaciersegWarning) as caught:
        made = prepared(safe, tmp_path / "scene.tif", recipe="red,", existing=tmp_path / "rgi")
    (share,) = made.products
    assert share.cloud_inside == 18 / 54
    assert share.snow_outside == (18 * 9) / (18 * 18 - 54)
    said = [str(one.message) for one in caught if one.category is GlaciersegWarning]
    assert any("snow covers 60% of the ground outside known glaciers" in line for line in said)
    assert any("33% of the known glaciers is called cloud" in line for line in said)
    with pytest.warns(GlaciersegWarning) as caught:
        prepared(safe, tmp_path / "scene.tif", recipe="red,", existing=tmp_path / "rgi", keep="cloud")
    assert np.isfinite(bands_of(made.path)["red"]).all()


def test_classes_can_be_looked_at(tmp_path: Path) -> None:
    own = cloudy()
    own["02"][34:, 34:] = 0
    made = prepared(
        sentinel2(tmp_path, own), tmp_path / "scene.tif", recipe="blue,", write_classes=True, grow_m=10
    )
    assert made.classes == tmp_path / "scene_classes.tif"
    kinds = np.zeros(12, np.uint8)
    kinds[[3, 5, 8, 9, 10, 11]] = [5, 1, 3, 3, 4, 2]
    expected = twice(kinds[own["SCL"]])
    masked = ndimage.binary_dilation(np.isin(expected, (3, 4, 5)))
    expected[masked & np.isin(expected, (1, 2))] = 7
    expected[34:, 34:] = 0
    np.testing.assert_array_equal(bands_of(made.classes)["class"], expected)


def test_each_pixel_has_the_day_of_its_image(tmp_path: Path) -> None:
    one, two = images(0), images(1)
    one["SCL"][:, :9], two["SCL"][:6] = 9, 8
    first = sentinel2(tmp_path, one)
    later = SafeFacts(date="2024-10-03", bands=SAFE.bands)
    second = sentinel2(tmp_path, two, later, corner=(CORNER[0] + 120, CORNER[1]))
    made = prepared(
        [first, second], tmp_path / "scene.tif", recipe="red,", max_days_apart=3, write_dates=True
    )
    assert made.dates == tmp_path / "scene_dates.tif"
    expected = np.zeros((SIDE, SIDE + 12), np.int32)
    expected[12:, 12:] = 20241003
    expected[:, 18:SIDE] = 20240930
    with rasterio.open(made.dates) as dataset:
        days = dataset.read(1)
        assert (dataset.dtypes[0], dataset.nodata, dataset.transform) == ("int32", 0, made.grid.transform)
    np.testing.assert_array_equal(days, expected)
    np.testing.assert_array_equal(np.isfinite(bands_of(made.path)["red"]), days > 0)
    assert facts_of(made.dates) == made.facts
    assert prepared(first, tmp_path / "other.tif", recipe="red,").dates is None
    assert not (tmp_path / "other_dates.tif").exists()


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if "scene" in path.name)


def refused(folder: Path, *products: Path, **options: Any) -> str:
    """Makes a scene that cannot be, and returns the one line that says so."""
    with pytest.raises(GlaciersegError) as caught:
        prepared(products, folder / "scene.tif", **{"recipe": "red,swir1", **options})
    assert left_behind(folder) == []
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_products_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    safe = sentinel2(tmp_path, images())
    landsat = make_landsat(tmp_path, LandsatFacts(date="2024-09-30"))
    later = sentinel2(tmp_path, images(1), SafeFacts(date="2024-10-03", bands=SAFE.bands))
    assert re.search("landsat9.*sentinel2", refused(tmp_path, safe, landsat))
    assert re.search("2024-10-03.*2024-09-30.*--max-days-apart 3$", refused(tmp_path, safe, later))
    made = prepared([safe, later], tmp_path / "both.tif", recipe="red,", max_days_apart=3)
    assert (made.facts.first_date, made.facts.last_date) == (date(2024, 9, 30), date(2024, 10, 3))
    assert "is given twice" in refused(tmp_path, safe, make_zip(safe))
    assert "at least one product" in refused(tmp_path)


def test_one_image_that_was_processed_twice_is_refused(tmp_path: Path) -> None:
    bands = (*FINE, *COARSE)
    new, old = (make_safe(tmp_path, SafeFacts(baseline=one, bands=bands)) for one in ("05.11", "05.00"))
    with pytest.raises(RequestError, match=f"{old.name}: is of the same image as {new.stem}"):
        prepared([new, old], tmp_path / "scene.tif", recipe="red,")
    landsat = make_landsat(tmp_path)
    again = tmp_path / "again" / landsat.name.replace("_20240101_", "_20240301_")
    shutil.copytree(landsat, again)
    for file in again.iterdir():
        file.rename(again / file.name.replace("_20240101_", "_20240301_"))
    edit(next(again.glob("*_MTL.json")), "_20240101_", "_20240301_")
    with pytest.raises(RequestError, match="is of the same image as"):
        prepared([landsat, again], tmp_path / "scene.tif", recipe="red,")
    # Another satellite saw the tile on the same day.
    other = make_safe(tmp_path, SafeFacts(spacecraft="A", bands=bands, baseline="05.11"))
    assert prepared([new, other], tmp_path / "scene.tif", recipe="red,").no_data < 1


def test_what_is_asked_for_in_vain_is_one_line(tmp_path: Path) -> None:
    safe = sentinel2(tmp_path, images())
    far = gpd.GeoSeries([box(90, 20, 91, 21)], crs=4326)
    far.to_file(tmp_path / "far.gpkg")
    far_mask = write_image(tmp_path / "far.tif", np.zeros((5, 5), np.uint8), 30, corner=(0.0, 0.0))
    assert "give one with --dem" in refused(tmp_path, safe, recipe="red,slope")
    assert "give its file with --layer thermal=FILE" in refused(tmp_path, safe, recipe="red,thermal")
    assert "--layer velocity=FILE" in refused(tmp_path, safe, recipe="red,velocity")
    assert "needs no band of a product" in refused(tmp_path, safe, recipe="slope")
    assert "no outline meets the scene" in refused(tmp_path, safe, clip=tmp_path / "far.gpkg")
    assert "no outline meets the scene" in refused(tmp_path, safe, existing=tmp_path / "far.gpkg")
    assert "no outline meets the scene" in refused(tmp_path, safe, mask_file=tmp_path / "far.gpkg")
    assert "does not overlap" in refused(tmp_path, safe, mask_file=far_mask)
    classes = write_image(tmp_path / "fmask.tif", np.full((5, 5), 3, np.uint8), 30)
    said = refused(tmp_path, safe, mask_file=classes)
    cure = re.search(r"`(rio calc .*)`$", said)
    assert cure
    ran = CliRunner().invoke(
        main_group, [word.replace("MASK", str(tmp_path / "MASK")) for word in shlex.split(cure[1])[1:]]
    )
    assert ran.exit_code == 0, ran.output
    made = prepared(safe, tmp_path / "masked.tif", recipe="red,", mask_file=tmp_path / "MASK.tif")
    assert np.isnan(bands_of(made.path)["red"]).sum() == 15 * 15
    assert "shares no ground" in refused(tmp_path, safe, like=far_mask)
    assert "must be 'cloud', 'cirrus' or 'shadow' (got 'fog')" in refused(tmp_path, safe, keep="fog")


def test_a_band_that_the_level_lacks_is_left_out_as_the_message_says(tmp_path: Path) -> None:
    product = make_landsat(tmp_path, LandsatFacts(level="L2SR"))
    dem = write_image(
        tmp_path / "dem.tif", np.ones((30, 30), np.float32), 30, corner=(CORNER[0] - 90, CORNER[1] + 90)
    )
    message = refused(tmp_path, product, recipe=None)
    assert "has no band for thermal" in message
    assert "take the L2SP product of the same scene, or give its file with --layer thermal=FILE" in message
    recipe = message.rpartition("leave it out with --recipe ")[2]
    made = prepared(product, tmp_path / "made.tif", recipe=recipe, dem=dem)
    assert list(bands_of(made.path)) == [name for name in RECIPES["landsat-18"] if name != "thermal"]
    assert "name other bands in --recipe" in refused(tmp_path, product, recipe="thermal")


def test_a_broken_image_leaves_nothing_behind(tmp_path: Path) -> None:
    safe = sentinel2(tmp_path, images())
    image = safe / SAFE.image("B11", 20)
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    assert image.name in refused(tmp_path, safe)
    image.write_bytes(b"")
    assert image.name in refused(tmp_path, safe)


def test_images_that_do_not_lie_on_one_another_are_refused(tmp_path: Path) -> None:
    safe = sentinel2(tmp_path, images())
    write_image(safe / SAFE.image("B11", 20), images()["11"], 20, corner=(CORNER[0] + 40, CORNER[1]))
    assert "swir1 covers other ground" in refused(tmp_path, safe)
    write_image(safe / SAFE.image("B11", 20), images()["11"], 20, corner=(CORNER[0] + 4, CORNER[1]))
    assert "swir1 covers other ground" in refused(tmp_path, safe)


@pytest.mark.parametrize("side_px", [8, 15, 20])
def test_pixels_that_are_no_multiple_of_others_are_refused(tmp_path: Path, side_px: int) -> None:
    product = make_landsat(tmp_path)
    values = np.full((side_px, side_px), 9000, np.uint16)
    write_image(product / f"{LandsatFacts().name}_SR_B4.TIF", values, 360 / side_px)
    message = refused(tmp_path, product)
    assert f"{side_px} x {side_px}" in message
    assert "12 x 12" in message


def test_an_interruption_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(share: float) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepared(
            sentinel2(tmp_path, images()),
            tmp_path / "scene.tif",
            recipe="red,",
            write_classes=True,
            write_dates=True,
            progress=stop,
        )
    assert left_behind(tmp_path) == []


def test_no_image_of_a_product_is_written_over(tmp_path: Path) -> None:
    facts = LandsatFacts()
    product = make_landsat(tmp_path, facts)
    # Also one that the recipe does not need.
    image = product / f"{facts.name}_SR_B7.TIF"
    before = image.read_bytes()
    with pytest.raises(RequestError, match="is an input of the same command"):
        prepared(product, image, recipe="red,")
    assert image.read_bytes() == before


def test_ground_without_elevation_is_said(tmp_path: Path) -> None:
    # It covers 23 rows and columns of 36.
    dem = elevation(tmp_path / "dem.tif", side=SIDE // 2)
    with pytest.warns(GlaciersegWarning, match=r"59\.2% of the pixels with data have no terrain"):
        prepared(sentinel2(tmp_path, flat()), tmp_path / "scene.tif", dem=dem)


def test_a_scene_is_not_written_into_a_product(tmp_path: Path) -> None:
    safe = sentinel2(tmp_path, flat())
    before = sorted(safe.rglob("*"))
    for product in (safe, safe / "MTD_MSIL2A.xml"):
        for out in (safe / "scene.tif", safe / "GRANULE" / "new" / "scene.tif"):
            with pytest.raises(RequestError, match="lies in the folder of a product"):
                prepared(product, out, recipe="red,")
    assert sorted(safe.rglob("*")) == before


def test_a_scene_of_nothing_but_cloud_is_said(tmp_path: Path) -> None:
    own = images()
    own["SCL"][:] = 9
    with pytest.warns(GlaciersegWarning, match="no pixel has data"):
        made = prepared(sentinel2(tmp_path, own), tmp_path / "scene.tif", recipe="red,")
    assert made.no_data == 1


def test_numbers_that_are_no_classes_are_refused(tmp_path: Path) -> None:
    own = images()
    own["SCL"] = np.full((18, 18), 300, np.uint16)
    assert "holds 300" in refused(tmp_path, sentinel2(tmp_path, own))
