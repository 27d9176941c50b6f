import gzip
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from glacierseg.errors import RasterError
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.scene import open_scene

HEIGHT, WIDTH = 30, 20


@pytest.fixture
def envi(tmp_path: Path) -> Path:
    """A raw file of two bands, 7 everywhere."""
    path = tmp_path / "valley.img"
    layout = {"height": HEIGHT, "width": WIDTH, "count": 2, "dtype": "uint16"}
    place = {"crs": "EPSG:32645", "transform": from_origin(5e5, 3.1e6, 30, 30)}
    with rasterio.open(path, "w", driver="ENVI", **layout, **place) as file:
        file.write(np.full((2, HEIGHT, WIDTH), 7, np.uint16))
    return path


def test_a_whole_raw_file_is_read(envi: Path) -> None:
    with open_raster(envi) as dataset:
        assert (dataset.read() == 7).all()
        grid = grid_of(dataset)
    assert grid.shape == (HEIGHT, WIDTH)
    assert grid.crs.to_epsg() == 32645


@pytest.mark.parametrize("missing_bytes", [1, HEIGHT * WIDTH * 2])
def test_a_raw_file_that_is_cut_short_is_not_read_as_zeros(envi: Path, missing_bytes: int) -> None:
    whole = envi.read_bytes()
    envi.write_bytes(whole[:-missing_bytes])
    words = rf"valley\.img: has {len(whole) - missing_bytes} bytes where its header tells of {len(whole)}"
    with pytest.raises(RasterError, match=words):
        open_scene(envi)


def test_a_compressed_raw_file_may_be_shorter(envi: Path) -> None:
    envi.write_bytes(gzip.compress(envi.read_bytes()))
    header = envi.with_suffix(".hdr")
    header.write_text(header.read_text() + "file compression = 1\n")
    with open_raster(envi) as dataset:
        assert (dataset.read() == 7).all()


def test_what_cannot_be_opened_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(RasterError, match=r"text\.tif: is not a raster"):
        open_raster(tmp_path / "text.tif")
    with pytest.raises(RasterError, match=r"none\.tif: no such file"):
        open_raster(tmp_path / "none.tif")
