from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from glacierseg.errors import RasterError
from glacierseg.raster.grid import Grid
from glacierseg.raster.probability import probability_strips
from glacierseg.raster.write import write_raster

GRID = Grid(CRS.from_epsg(32645), Affine(10, 0, 0, 0, -10, 0), 5, 4)


def read(path: Path, rows: int = 2) -> NDArray[np.float32]:
    parts = list(probability_strips(path, rows))
    assert [part.start for part, _ in parts] == list(range(0, 5, rows))
    return np.concatenate([values for _, values in parts])


def test_8_bit_numbers_are_scaled_and_nodata_is_nan(tmp_path: Path) -> None:
    stored = np.arange(20, dtype=np.uint8).reshape(5, 4) * 12
    stored[1, 2] = 255
    write_raster(tmp_path / "p.tif", stored, GRID, bands=["glacier"], nodata=255, cog=False)
    with rasterio.open(tmp_path / "p.tif", "r+") as dataset:
        dataset.scales = (1 / 254,)
    expected = stored / 254
    expected[1, 2] = np.nan
    np.testing.assert_allclose(read(tmp_path / "p.tif"), expected, rtol=1e-6)


def test_floats_stay_as_they_are(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 20, dtype=np.float32).reshape(5, 4)
    values[0, 0] = np.nan
    write_raster(tmp_path / "p.tif", values, GRID, bands=["glacier"], nodata=np.nan)
    np.testing.assert_array_equal(read(tmp_path / "p.tif"), values)


def test_a_raster_of_something_else_is_refused(tmp_path: Path) -> None:
    write_raster(tmp_path / "m.tif", np.full((5, 4), 77, np.uint8), GRID, bands=["red"], nodata=None)
    with pytest.raises(RasterError, match=r"whole numbers \(uint8\) without a scale, and probabilities lie"):
        read(tmp_path / "m.tif")
    write_raster(tmp_path / "f.tif", np.full((5, 4), 77, np.float32), GRID, bands=["red"], nodata=None)
    with pytest.raises(RasterError, match="holds 77, but probabilities lie between 0 and 1"):
        read(tmp_path / "f.tif")
