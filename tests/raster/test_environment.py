import gc

import numpy as np
import rasterio
from rasterio.env import getenv
from tests.helpers import write_mask

from glacierseg.raster.environment import bounded_gdal
from glacierseg.raster.truth import mask_strips


def test_the_cache_is_small_inside_and_as_before_afterwards():
    with rasterio.Env(GDAL_CACHEMAX=300):
        with bounded_gdal(77):
            assert getenv()["GDAL_CACHEMAX"] == 77
            assert getenv()["GDAL_TIFF_INTERNAL_MASK"] is True
        assert getenv()["GDAL_CACHEMAX"] == 300


def test_a_generator_that_is_given_up_meanwhile_does_no_harm(tmp_path):
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
