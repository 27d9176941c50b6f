import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS
from rasterio.windows import Window

from glacierseg.errors import RasterError
from glacierseg.raster.grid import Grid
from glacierseg.raster.write import write_raster
from glacierseg.report.decimate import frame_of, part_of, read_classes, read_values

GRID = Grid(CRS.from_epsg(32645), Affine(10, 0, 0, 0, -10, 0), 900, 1300)


@pytest.mark.parametrize(
    ("height", "width"), [(10, 10), (1200, 700), (6000, 10), (5000, 10000), (1201, 1201)]
)
def test_frames_fit_the_screen(height, width):
    frame = part_of(Window(3, 4, width, height), 1200)
    assert max(frame.shape) <= 1200
    assert min(frame.shape) >= 1
    if max(height, width) <= 1200:
        assert frame.shape == (height, width)


def test_masks_with_and_without_overviews_are_sampled_alike(tmp_path):
    values = np.random.default_rng(1).integers(0, 2, GRID.shape).astype(np.uint8)
    for name, cog in (("plain.tif", False), ("cog.tif", True)):
        write_raster(tmp_path / name, values, GRID, bands=["m"], nodata=255, cog=cog)
    frame = frame_of(GRID, 200)
    plain, cog = (read_classes(tmp_path / name, frame) for name in ("plain.tif", "cog.tif"))
    assert plain.shape == frame.shape == (138, 200)
    assert (plain == cog).all()


def test_values_are_means_without_nodata(tmp_path):
    values = np.arange(900 * 1300, dtype=np.float32).reshape(GRID.shape)
    values[:300] = np.nan
    write_raster(tmp_path / "p.tif", values, GRID, bands=["p"], nodata=np.nan, cog=False)
    found = read_values(tmp_path / "p.tif", part_of(Window(0, 0, 1300, 900), 13))
    assert np.isnan(found[:3]).all()
    assert found[5, 6] == pytest.approx(values[500:600, 600:700].mean(), rel=1e-5)


def test_unreadable_raster(tmp_path):
    (tmp_path / "m.tif").write_text("x")
    with pytest.raises(RasterError, match=r"m\.tif"):
        read_classes(tmp_path / "m.tif", frame_of(GRID))
