import gc
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import rasterio
from rasterio.env import getenv

from glacierseg.raster.environment import bounded_gdal
from glacierseg.raster.truth import mask_strips
from tests.helpers import write_mask


def test_the_cache_is_small_inside_and_as_before_afterwards() -> None:
    with rasterio.Env(GDAL_CACHEMAX=300):
        with bounded_gdal(77):
            assert getenv()["GDAL_CACHEMAX"] == 77
            assert getenv()["GDAL_TIFF_INTERNAL_MASK"] is True
        assert getenv()["GDAL_CACHEMAX"] == 300


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
