"""Masks grow over every rim: of the wanted ground, and between products."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.windows import from_bounds
from scipy import ndimage
from shapely.geometry import box

from glacierseg.errors import RequestError
from tests.products.shelves import CORNER, SafeFacts, make_landsat
from tests.products.test_scene import FINE, Images, images, prepared, sentinel2, twice

X, Y = CORNER
SIDE = 72
WANTED = (X + 360, Y - 600, X + 700, Y - 120)
GROW_M = 250


def cloudy(rows: slice, columns: slice) -> Images:
    own = images(side=SIDE)
    own["SCL"][rows, columns] = 9
    return own


def masked(path: Path, bounds: tuple[float, float, float, float] = WANTED) -> NDArray[np.bool_]:
    """Where a scene of one band has no data."""
    with rasterio.open(path) as dataset:
        window = from_bounds(*bounds, dataset.transform).round_offsets().round_lengths()
        return np.asarray(np.isnan(dataset.read(1, window=window)))


@pytest.mark.parametrize("source", ["cloud", "file"])
def test_what_lies_beyond_the_wanted_ground_grows_into_it(tmp_path: Path, source: str) -> None:
    rows, columns = slice(10, 14), slice(5, 8)
    is_cloud = source == "cloud"
    safe = sentinel2(tmp_path, cloudy(rows, columns) if is_cloud else images(side=SIDE))
    mask_file = None
    if not is_cloud:
        mask_file = tmp_path / "mask.gpkg"
        shape = box(X + 100, Y - 280, X + 160, Y - 200)
        gpd.GeoSeries([shape], crs=32645).to_file(mask_file)
    basin = tmp_path / "basin.gpkg"
    gpd.GeoSeries([box(*WANTED)], crs=32645).to_file(basin)
    clipped = prepared(
        safe, tmp_path / "clipped.tif", recipe="red,", grow_m=GROW_M, clip=basin, mask_file=mask_file
    )
    prepared(
        safe, tmp_path / "like.tif", recipe="red,", grow_m=GROW_M, like=clipped.path, mask_file=mask_file
    )
    seen = np.zeros((SIDE // 2, SIDE // 2), bool)
    seen[rows, columns] = True
    near = ndimage.distance_transform_edt(~twice(seen)) * 10 <= GROW_M
    expected = near[12:60, 36:70]
    assert 0 < expected.sum() < expected.size
    np.testing.assert_array_equal(masked(clipped.path), expected)
    np.testing.assert_array_equal(masked(tmp_path / "like.tif"), expected)


@pytest.mark.parametrize("order", [1, -1])
def test_a_cloud_beside_a_product_grows_into_it(tmp_path: Path, order: int) -> None:
    rows, columns = slice(10, 14), slice(5, 8)
    # The second product begins 200 m east of the first one and sees no cloud.
    first = sentinel2(tmp_path, cloudy(rows, columns))
    facts = SafeFacts(tile="T45RWL", bands=(*FINE, "11", "12"))
    second = sentinel2(tmp_path, images(side=SIDE), facts, (X + 200, Y))
    prepared([first, second][::order], tmp_path / "scene.tif", recipe="red,", grow_m=GROW_M)
    seen = np.zeros((SIDE // 2, SIDE // 2 + 10), bool)
    seen[rows, columns] = True
    expected = ndimage.distance_transform_edt(~twice(seen)) * 10 <= GROW_M
    assert expected[:, 20:].any()
    np.testing.assert_array_equal(masked(tmp_path / "scene.tif", (X, Y - 720, X + 920, Y)), expected)


def test_a_cloud_of_another_day_does_not_grow_into_it(tmp_path: Path) -> None:
    first = sentinel2(tmp_path, cloudy(slice(10, 14), slice(5, 8)))
    facts = SafeFacts(date="2024-10-05", bands=(*FINE, "11", "12"))
    second = sentinel2(tmp_path, images(side=SIDE), facts)
    prepared([first, second], tmp_path / "scene.tif", recipe="red,", grow_m=GROW_M, max_days_apart=5)
    assert not masked(tmp_path / "scene.tif").any()


def test_saturation_that_a_product_does_not_tell_is_no_zero(tmp_path: Path) -> None:
    product = make_landsat(tmp_path)
    next(product.glob("*_QA_RADSAT.TIF")).unlink()
    made = prepared(product, tmp_path / "scene.tif", recipe="red,")
    assert made.products[0].saturated is None
    with pytest.raises(RequestError, match="lacks QA_RADSAT, which tells saturated pixels"):
        prepared(product, tmp_path / "scene.tif", recipe="red,", mask_saturated=True)
