import contextlib
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from rasterio.rio.main import main_group
from shapely.geometry import LineString, box

from glacierseg.errors import GlaciersegWarning, GridMismatchError, RasterError, TruthError
from glacierseg.raster.grid import Grid
from glacierseg.raster.outlines import read_outlines
from glacierseg.raster.truth import clean_mask, load_truth, mask_strips, rasterize_outlines, read_mask
from tests.helpers import write_mask


@pytest.fixture
def square(tmp_path: Path, make_grid: Callable[..., Grid]) -> Path:
    """Outlines in degrees: one of 10 x 8 pixels in the scene, one far away."""
    shapes = gpd.GeoSeries([box(300050, 3399900, 300150, 3399980)], crs="EPSG:32644").to_crs(4326)
    far = gpd.GeoSeries([box(10, 46, 10.1, 46.1)], crs=4326)
    path = tmp_path / "outlines.gpkg"
    gpd.GeoDataFrame(geometry=[*shapes, *far], crs=4326).to_file(path, layer="glaciers")
    return path


def test_outlines_in_another_crs_become_a_mask(square: Path, make_grid: Callable[..., Grid]) -> None:
    grid = make_grid(20, 30)
    mask = load_truth(square, grid, layer="glaciers")
    expected = np.zeros((20, 30), np.uint8)
    expected[2:10, 5:15] = 1
    np.testing.assert_array_equal(mask, expected)
    assert len(read_outlines(square, grid)) == 1


def test_all_touched_covers_more(make_grid: Callable[..., Grid]) -> None:
    table = gpd.GeoDataFrame(geometry=[box(300051, 3399901, 300153, 3399981)], crs="EPSG:32644")
    grid = make_grid(20, 30)
    assert rasterize_outlines(table, grid).sum() == 10 * 8
    assert rasterize_outlines(table, grid, all_touched=True).sum() == 11 * 9


def test_declared_nodata_is_ignored_except_zero(make_raster: Callable[..., Path]) -> None:
    values = np.array([[0, 1], [2, 255]], np.uint8)
    np.testing.assert_array_equal(read_mask(make_raster("a.tif", values, nodata=2)), [[0, 1], [255, 255]])
    values[1, 0] = 0
    np.testing.assert_array_equal(read_mask(make_raster("b.tif", values, nodata=0)), [[0, 1], [0, 255]])


def test_nan_is_ignored() -> None:
    values = np.array([[0, 1, np.nan]], np.float32)
    np.testing.assert_array_equal(clean_mask(values, "m"), [[0, 1, 255]])


def test_strange_values_are_refused(make_raster: Callable[..., Path]) -> None:
    with pytest.raises(TruthError, match="holds 7 in 2 pixels"):
        read_mask(make_raster("a.tif", np.array([[0, 7], [7, 1]], np.uint8)))


def test_mask_on_another_grid_is_refused(
    make_raster: Callable[..., Path], make_grid: Callable[..., Grid]
) -> None:
    path = make_raster("a.tif", np.zeros((5, 5), np.uint8))
    with pytest.raises(GridMismatchError, match="prepare align"):
        load_truth(path, make_grid(5, 6))


def test_unusable_outlines(tmp_path: Path, square: Path, make_grid: Callable[..., Grid]) -> None:
    grid = make_grid(20, 30)
    with pytest.raises(TruthError, match="has no layer 'lakes'"):
        read_outlines(square, grid, layer="lakes")
    with pytest.raises(TruthError, match="no outline meets the scene"):
        read_outlines(square, make_grid(20, 30, left=500000))
    lines = tmp_path / "lines.gpkg"
    gpd.GeoDataFrame(geometry=[LineString([(80, 30), (81, 31)])], crs=4326).to_file(lines)
    with pytest.raises(TruthError, match="holds no polygons"):
        read_outlines(lines, grid)


def test_missing_mask(tmp_path: Path) -> None:
    with pytest.raises(RasterError, match="no such file"):
        read_mask(tmp_path / "none.tif")


@pytest.mark.real
def test_everest_areas_agree_with_the_inventory(data_dir: Path) -> None:
    """Rasterized RGI outlines have the published areas, for glaciers that lie wholly inside the scene."""
    from rasterio.features import rasterize
    from shapely.geometry import box as frame_of

    from glacierseg.raster.warp import read_grid

    folder = data_dir / "everest_landsat7"
    grid = read_grid(folder / "LE71400412000304SGS00_B4.tif")
    table = read_outlines(folder / "15_rgi60_glacier_outlines.gpkg", grid)
    table = table[table.within(frame_of(*grid.bounds))]
    numbers = rasterize(
        zip(table.geometry, range(1, len(table) + 1), strict=True),
        grid.shape,
        transform=grid.transform,
        dtype="uint16",
    )
    areas = np.bincount(numbers.ravel(), minlength=len(table) + 1)[1:] * grid.pixel_area_km2
    assert len(table) > 50
    assert areas.sum() == pytest.approx(table["Area"].sum(), rel=0.02)
    large = table["Area"].to_numpy() >= 1
    np.testing.assert_allclose(areas[large], table["Area"][large], rtol=0.02)
    mask = rasterize_outlines(table, grid)
    assert mask.sum() * grid.pixel_area_km2 == pytest.approx(table["Area"].sum(), rel=0.02)


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(TruthError) as caught:
        read_mask(path, **options)
    return str(caught.value)


def typed(command: str, folder: Path) -> None:
    words = shlex.split(command)
    with contextlib.chdir(folder):
        result = CliRunner().invoke(main_group, words[1:])
    assert result.exit_code == 0, result.output


def test_what_a_mask_hides_is_ignored_however_it_does(make_raster: Callable[..., Path]) -> None:
    truth = np.eye(12, 15, dtype=np.uint8)
    shown = np.ones(truth.shape, bool)
    shown[:4] = False
    expected = np.where(shown, truth, 255)
    np.testing.assert_array_equal(read_mask(make_raster("i.tif", truth, mask=shown)), expected)
    np.testing.assert_array_equal(read_mask(make_raster("0.tif", truth, mask=shown, nodata=0)), expected)
    np.testing.assert_array_equal(
        read_mask(make_raster("n.tif", np.where(shown, truth, np.nan).astype(np.float32))), expected
    )
    np.testing.assert_array_equal(
        read_mask(make_raster("s.tif", np.where(shown, truth, -1).astype(np.int16), nodata=-1)), expected
    )
    alpha = make_raster("a.tif", np.stack([truth, np.where(shown, 255, 0).astype(np.uint8)]), alpha="yes")
    np.testing.assert_array_equal(read_mask(alpha), expected)


def test_other_numbers_for_glacier_are_refused_and_the_cure_works(
    make_raster: Callable[..., Path], tmp_path: Path
) -> None:
    truth = np.eye(12, 15, dtype=np.uint8)
    for number, nodata in ((255, None), (255, 0), (2, None), (100, None)):
        path = make_raster(f"{number}{nodata}.tif", truth * np.uint8(number), nodata=nodata)
        typed(refusal(path).split("`")[1], tmp_path)
        np.testing.assert_array_equal(read_mask(tmp_path / "MASK.tif"), truth)
        (tmp_path / "MASK.tif").unlink()


def test_a_mask_without_glacier_is_one_when_its_255_is_declared(
    make_raster: Callable[..., Path], tmp_path: Path
) -> None:
    values = np.zeros((12, 15), np.uint8)
    values[:3] = 255
    np.testing.assert_array_equal(read_mask(make_raster("a.tif", values, nodata=255)), values)
    path = make_raster("b.tif", values)
    typed(refusal(path).split("`")[3], tmp_path)
    np.testing.assert_array_equal(read_mask(path), values)


def test_glacier_that_is_declared_to_be_no_data_is_refused_and_the_cure_works(
    make_raster: Callable[..., Path], tmp_path: Path
) -> None:
    truth = np.eye(12, 15, dtype=np.uint8)
    path = make_raster("a.tif", truth, nodata=1)
    typed(refusal(path).split("`")[1], tmp_path)
    np.testing.assert_array_equal(read_mask(path), truth)


def test_a_scene_is_no_mask(make_raster: Callable[..., Path]) -> None:
    assert "has 3 bands, and a mask has one" in refusal(make_raster("a.tif", np.ones((3, 5, 5), np.uint8)))


def test_a_scaled_mask_is_what_it_means(make_raster: Callable[..., Path]) -> None:
    truth = np.eye(12, 15, dtype=np.uint8)
    path = make_raster("a.tif", truth * np.uint8(255))
    with rasterio.open(path, "r+") as dataset:
        dataset.scales = (1 / 255,)
    np.testing.assert_array_equal(read_mask(path), truth)


def test_truth_of_glacier_alone_is_said(
    make_raster: Callable[..., Path], make_grid: Callable[..., Grid]
) -> None:
    only = np.where(np.eye(12, 15), 1, 15).astype(np.uint8)
    with pytest.warns(GlaciersegWarning, match="no background"):
        load_truth(make_raster("a.tif", only, nodata=15), make_grid(12, 15))


@pytest.mark.parametrize("rows", [1, 5, None])
def test_strips_follow_the_same_rules(make_raster: Callable[..., Path], rows: int | None) -> None:
    truth = np.eye(12, 15, dtype=np.uint8)
    strips = list(mask_strips(make_raster("a.tif", truth, nodata=0), rows=rows))
    np.testing.assert_array_equal(np.concatenate(strips), truth)
    with pytest.raises(TruthError, match="holds 255 and no 1"):
        list(mask_strips(make_raster("b.tif", truth * np.uint8(255)), rows=rows))


def test_a_mask_is_the_same_however_few_rows_are_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).choice(np.array([0, 1, 255], np.uint8), (23, 9))
    path = write_mask(tmp_path / "m.tif", values)
    monkeypatch.setattr("glacierseg.raster.truth._STRIP_ROWS", 5)
    assert (read_mask(path) == values).all()
    # That glacier is 1 is known at the end only.
    wrong = np.zeros((23, 9), np.uint8)
    wrong[2] = 255
    with pytest.raises(TruthError, match="holds 255 and no 1"):
        read_mask(write_mask(tmp_path / "w.tif", wrong))
