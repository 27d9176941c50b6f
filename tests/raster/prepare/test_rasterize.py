from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry import Polygon, box

from glacierseg.errors import RequestError, TruthError
from glacierseg.raster.grid import Grid
from glacierseg.raster.outlines import read_outlines
from glacierseg.raster.prepare.rasterize import rasterize_file
from glacierseg.raster.truth import rasterize_outlines
from glacierseg.raster.warp import read_grid
from glacierseg.settings.prepare import RasterizeSettings


@pytest.fixture
def like(make_raster: Callable[..., Path], make_grid: Callable[..., Grid]) -> Path:
    return make_raster("like.tif", np.zeros((120, 150), np.uint8), make_grid(120, 150))


@pytest.fixture
def outlines(tmp_path: Path) -> Path:
    """Two glaciers that touch, a pond in one of them, and a small one; in degrees. Pixels are 10 m."""
    left = box(300200, 3399200, 300700, 3399800) - box(300300, 3399400, 300400, 3399500)
    right = box(300700, 3399200, 301100, 3399800)
    small = box(301200, 3399700, 301300, 3399800)
    path = tmp_path / "outlines.geojson"
    gpd.GeoDataFrame(geometry=[left, right, small], crs="EPSG:32644").to_crs(4326).to_file(path)
    return path


def read(path: Path) -> NDArray[np.uint8]:
    with rasterio.open(path) as dataset:
        assert dataset.nodata == 255
        result: NDArray[np.uint8] = dataset.read(1)
        return result


def test_mask_is_that_of_the_whole_grid_at_once(
    outlines: Path, like: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glacierseg.raster.prepare.rasterize._BLOCK_PX", 17)
    grid = read_grid(like)
    moved = gpd.read_file(outlines).to_crs(grid.crs.to_wkt())
    moved.translate(3, 4).to_file(tmp_path / "moved.gpkg")  # off the edges of the pixels
    sizes = []
    for all_touched in (False, True):
        settings = RasterizeSettings(all_touched=all_touched)
        out = rasterize_file(tmp_path / "moved.gpkg", like, tmp_path / "out.tif", settings)
        table = read_outlines(tmp_path / "moved.gpkg", grid)
        np.testing.assert_array_equal(read(out), rasterize_outlines(table, grid, all_touched=all_touched))
        sizes.append(int(read(out).sum()))
    assert sizes[0] < sizes[1]


def test_areas_are_those_of_the_outlines(outlines: Path, like: Path, tmp_path: Path) -> None:
    mask = read(rasterize_file(outlines, like, tmp_path / "out.tif"))
    assert set(np.unique(mask)) == {0, 1}
    assert mask.sum() == 50 * 60 - 10 * 10 + 40 * 60 + 10 * 10


def test_small_outlines_are_left_out(outlines: Path, like: Path, tmp_path: Path) -> None:
    mask = read(rasterize_file(outlines, like, tmp_path / "out.tif", RasterizeSettings(min_area_km2=0.02)))
    assert mask.sum() == 50 * 60 - 10 * 10 + 40 * 60
    with pytest.raises(
        TruthError, match=r"no outline in the scene has 5 km2 or more \(the largest has 0\.29"
    ):
        rasterize_file(outlines, like, tmp_path / "out.tif", RasterizeSettings(min_area_km2=5))


@pytest.mark.parametrize("rim_m", [25, 60])
def test_rim_is_within_its_distance_of_the_boundary_but_not_between_glaciers(
    outlines: Path, like: Path, tmp_path: Path, rim_m: int
) -> None:
    mask = read(rasterize_file(outlines, like, tmp_path / "out.tif", RasterizeSettings(ignore_rim_m=rim_m)))
    glacier = read(rasterize_file(outlines, like, tmp_path / "plain.tif")) == 1
    # Ten times finer pixels: distances to the boundary of the united glaciers, measured between centres.
    fine = glacier.repeat(10, 0).repeat(10, 1)
    distance_m = np.where(fine, ndimage.distance_transform_edt(fine), ndimage.distance_transform_edt(~fine))
    at_centres = distance_m[5::10, 5::10]
    clear = np.abs(at_centres - rim_m) > 1.5
    np.testing.assert_array_equal((mask == 255)[clear], (at_centres < rim_m)[clear])
    np.testing.assert_array_equal(mask[mask != 255], glacier[mask != 255])
    assert (mask[50, 60:80] == 1).all()


def test_rim_of_a_glacier_beside_the_scene(like: Path, tmp_path: Path) -> None:
    path = tmp_path / "beside.gpkg"
    shapes = [box(300200, 3399200, 300700, 3399800), box(301510, 3399000, 301900, 3400000)]
    gpd.GeoDataFrame(geometry=shapes, crs="EPSG:32644").to_file(path)
    mask = read(
        rasterize_file(str(path), str(like), f"{tmp_path}/out.tif", RasterizeSettings(ignore_rim_m=30))
    )
    # The boundary lies 10 m beyond the last column: pixel centres 15 and 25 m away are in the rim.
    assert (mask[50, -4:] == [0, 0, 255, 255]).all()


@pytest.mark.parametrize("option", ["min_area_km2", "ignore_rim_m"])
def test_negative_sizes_are_refused(outlines: Path, like: Path, tmp_path: Path, option: str) -> None:
    wrong: dict[str, Any] = {option: -1}
    with pytest.raises(RequestError, match="must be greater than or equal to 0"):
        rasterize_file(outlines, like, tmp_path / "out.tif", RasterizeSettings(**wrong))


def test_crossing_outline_is_still_burned(like: Path, tmp_path: Path) -> None:
    path = tmp_path / "bow.gpkg"
    bow = Polygon([(300200, 3399200), (300800, 3399800), (300800, 3399200), (300200, 3399800)])
    gpd.GeoDataFrame(geometry=[bow], crs="EPSG:32644").to_file(path)
    with pytest.warns(match="1 invalid outline repaired"):
        mask = read(rasterize_file(path, like, tmp_path / "out.tif", RasterizeSettings(ignore_rim_m=20)))
    assert {1, 255} <= set(np.unique(mask))


@pytest.mark.real
def test_everest_outlines(data_dir: Path, tmp_path: Path) -> None:
    folder = data_dir / "everest_landsat7"
    like = folder / "LE71400412000304SGS00_B4.tif"
    out = rasterize_file(folder / "15_rgi60_glacier_outlines.gpkg", like, tmp_path / "mask.tif")
    assert read(out).mean() == pytest.approx(0.54, abs=0.005)


def test_a_mask_may_stay_uncompressed(outlines: Path, like: Path, tmp_path: Path) -> None:
    for compress in (True, False):
        out = rasterize_file(outlines, like, tmp_path / "out.tif", RasterizeSettings(compress=compress))
        with rasterio.open(out) as dataset:
            assert (dataset.compression is not None) == compress
