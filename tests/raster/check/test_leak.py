from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from glacierseg.raster.check.leak import check_overlap, shared_share
from glacierseg.raster.grid import Grid
from glacierseg.raster.warp import metric_grid, read_grid


def grid_at(
    left: float = 300000.0, top: float = 3400000.0, height: int = 100, width: int = 100, epsg: int = 32644
) -> Grid:
    return Grid(rasterio.CRS.from_epsg(epsg), Affine(10, 0, left, 0, -10, top), height, width)


@settings(deadline=None)
@given(st.integers(-150, 150), st.integers(-150, 150), st.integers(1, 120), st.integers(1, 120))
def test_share_agrees_with_counting_pixels(row: int, column: int, height: int, width: int) -> None:
    canvas = np.zeros((2, 600, 600), bool)
    canvas[0, 200:300, 200:300] = True
    canvas[1, 200 + row : 200 + row + height, 200 + column : 200 + column + width] = True
    second = grid_at(300000 + 10 * column, 3400000 - 10 * row, height, width)
    expected = canvas.all(axis=0).sum() / min(canvas.sum(axis=(1, 2)))
    assert shared_share(grid_at(), second) == pytest.approx(expected)
    assert shared_share(second, grid_at()) == pytest.approx(expected)


def test_share_in_another_crs() -> None:
    degrees = Grid(rasterio.CRS.from_epsg(4326), Affine(0.001, 0, 78.9, 0, -0.001, 30.7), 100, 100)
    assert shared_share(degrees, metric_grid(degrees)) == pytest.approx(1, abs=1e-4)
    assert shared_share(grid_at(), grid_at(epsg=32601)) == 0


def test_only_different_roles_leak() -> None:
    one, beside, upon = grid_at(), grid_at(left=301000), grid_at(left=300500)
    assert check_overlap([("a", "train", one), ("b", "test", beside)]).status == "passed"
    assert check_overlap([("a", "train", one), ("b", "train", upon)]).status == "passed"
    result = check_overlap([("a", "train", one), ("c", "train", beside), ("b", "test", upon)])
    assert result.status == "warning"
    assert result.message.startswith("a (train) and b (test) share 50 %")
    assert check_overlap([]).status == "passed"


@pytest.mark.real
def test_neighbouring_chips_overlap(data_dir: Path) -> None:
    grids = [read_grid(path) for path in sorted((data_dir / "alps_sentinel2" / "images").glob("*.tif"))]
    regions = [(str(i), "train" if i % 2 else "test", grid) for i, grid in enumerate(grids[:80])]
    assert check_overlap(regions).status == "warning"
    tiles = [read_grid(path) for path in sorted((data_dir / "zanskar_landsat8").glob("tile_??_??.tif"))]
    regions = [(str(i), "train" if i % 2 else "test", grid) for i, grid in enumerate(tiles)]
    assert check_overlap(regions).status == "passed"
