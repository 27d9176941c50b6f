import gzip
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
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


@pytest.mark.parametrize("offset", [0, 700])
@pytest.mark.parametrize("missing_bytes", [1, HEIGHT * WIDTH * 2])
def test_a_raw_file_that_is_cut_short_is_not_read_as_zeros(
    envi: Path, offset: int, missing_bytes: int
) -> None:
    header = envi.with_suffix(".hdr")
    header.write_text(header.read_text().replace("header offset = 0", f"header offset = {offset}"))
    whole = bytes(offset) + envi.read_bytes()
    envi.write_bytes(whole)
    with open_raster(envi) as dataset:
        assert (dataset.read() == 7).all()
    envi.write_bytes(whole[:-missing_bytes])
    words = rf"valley\.img: has {len(whole) - missing_bytes} bytes where its header tells of {len(whole)}"
    with pytest.raises(RasterError, match=words):
        open_scene(envi)


def test_a_mosaic_of_raw_files_that_are_cut_short_is_refused(envi: Path) -> None:
    mosaic = envi.with_suffix(".vrt")
    rasterio.shutil.copy(envi, mosaic, driver="VRT")
    assert open_scene(mosaic).grid.shape == (HEIGHT, WIDTH)
    envi.write_bytes(envi.read_bytes()[:-9])
    with pytest.raises(RasterError, match=r"valley\.img: .*is cut short"):
        open_scene(mosaic)


@pytest.mark.parametrize("key", ["file compression", "File Compression"])
def test_a_compressed_raw_file_may_be_shorter(envi: Path, key: str) -> None:
    envi.write_bytes(gzip.compress(envi.read_bytes()))
    header = envi.with_suffix(".hdr")
    header.write_text(header.read_text() + f"{key} = 1\n")
    with open_raster(envi) as dataset:
        assert (dataset.read() == 7).all()


def test_what_cannot_be_opened_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(RasterError, match=r"text\.tif: is not a raster"):
        open_raster(tmp_path / "text.tif")
    with pytest.raises(RasterError, match=r"none\.tif: no such file"):
        open_raster(tmp_path / "none.tif")
