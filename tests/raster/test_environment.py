import gc
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.env import getenv
from rasterio.errors import RasterioIOError

from glacierseg.raster.environment import bounded_gdal
from glacierseg.raster.open import open_raster
from glacierseg.raster.truth import mask_strips
from tests.helpers import write_mask


def test_the_cache_is_small_inside_and_as_before_afterwards() -> None:
    with rasterio.Env(GDAL_CACHEMAX=300):
        with bounded_gdal(77):
            assert getenv()["GDAL_CACHEMAX"] == 77 * 2**20  # bytes
            assert getenv()["GDAL_TIFF_INTERNAL_MASK"] is True
        assert getenv()["GDAL_CACHEMAX"] == 300


def test_the_cache_holds_more_than_a_block(tmp_path: Path) -> None:
    path = write_mask(tmp_path / "m.tif", np.ones((64, 64), np.uint8))
    tiled = tmp_path / "tiled.tif"
    rasterio.shutil.copy(path, tiled, tiled=True, blockxsize=16, blockysize=16)
    with bounded_gdal(), rasterio.open(tiled) as dataset:
        dataset.read(1)
        tiled.write_bytes(bytes(100))
        assert (dataset.read(1) == 1).all()


def test_a_generator_that_is_given_up_meanwhile_does_no_harm(tmp_path: Path) -> None:
    path = write_mask(tmp_path / "m.tif", np.eye(40, dtype=np.uint8))
    strips = mask_strips(path, rows=10)
    next(strips)
    with bounded_gdal():
        del strips
        gc.collect()
        with rasterio.open(path) as dataset:
            assert dataset.read(1).trace() == 40
    with rasterio.open(path) as dataset:
        assert dataset.read(1).trace() == 40


def test_an_environment_that_is_taken_along_late_is_not_missed(tmp_path: Path) -> None:
    """What a given-up generator holds is closed while another raster is being opened."""
    path = write_mask(tmp_path / "m.tif", np.eye(40, dtype=np.uint8))

    def work() -> np.uint64:
        strips = mask_strips(path, rows=10)
        next(strips)
        with rasterio.Env():
            assert isinstance(strips, Generator)
            strips.close()
            with rasterio.open(path) as dataset:
                result: np.uint64 = dataset.read(1).trace()
                return result

    # In a thread of its own, since an environment belongs to one.
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(work).result() == 40


def test_a_damaged_tile_of_jpeg_2000_is_never_numbers(tmp_path: Path) -> None:
    """GDAL decodes several tiles in threads, which lose their errors."""
    path = tmp_path / "b4.jp2"
    profile = {"width": 256, "height": 256, "count": 1, "dtype": "uint16", "crs": "EPSG:32645"}
    options = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES", "BLOCKYSIZE": 64}
    values = np.random.default_rng(0).integers(1, 9000, (256, 256)).astype(np.uint16)
    with rasterio.open(path, "w", transform=Affine(10, 0, 5e5, 0, -10, 3e6), **profile, **options) as file:
        file.write(values, 1)
    path.write_bytes(path.read_bytes()[:-200])
    many = rasterio.Env(GDAL_NUM_THREADS="4")
    roomy = rasterio.Env(GDAL_CACHEMAX=2**26)  # several tiles are read at once where the cache holds them
    with many, bounded_gdal(), roomy, open_raster(path) as dataset:
        assert len(list(dataset.block_windows(1))) > 1
        with pytest.raises(RasterioIOError):
            dataset.read(1)
