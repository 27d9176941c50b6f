from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from rasterio.crs import CRS

from glacierseg.errors import GridMismatchError, RequestError
from glacierseg.evaluate.counts import Counts, count
from glacierseg.evaluate.detail import (
    Zoning,
    count_zones,
    elevation_zones,
    evaluate_files,
    layer_zones,
    size_zones,
)
from glacierseg.evaluate.glaciers import glaciers_by_part
from glacierseg.raster.grid import Grid
from glacierseg.raster.write import write_raster
from glacierseg.settings.score import ScoreSettings
from tests.helpers import present

VALUES = st.sampled_from([0, 1, 255])
TRIPLES = array_shapes(min_dims=2, max_dims=2, max_side=10).flatmap(
    lambda shape: st.tuples(
        arrays(np.uint8, shape, elements=VALUES),
        arrays(np.uint8, shape, elements=VALUES),
        arrays(np.int16, shape, elements=st.integers(-1, 3)),
    )
)


@given(TRIPLES)
def test_a_zone_counts_what_lies_in_it(
    triple: tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int16]],
) -> None:
    predicted, truth, labels = triple
    found = count_zones(predicted, truth, Zoning("layer", ("a", "b", "c", "d"), labels))
    for number, name in enumerate("abcd"):
        inside = np.where(labels == number, truth, np.uint8(255))
        expected = count(predicted, inside)
        assert found.get(name, Counts()) == expected
        assert (name in found) == (expected.total > 0)


@given(TRIPLES)
def test_size_classes_together_are_the_scene(
    triple: tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int16]],
) -> None:
    predicted, truth, _ = triple
    zoning = size_zones(glaciers_by_part(truth, 0.004))
    total = sum(count_zones(predicted, truth, zoning).values(), Counts())
    assert total == (count(predicted, truth) if (truth == 1).any() else Counts())


def test_a_size_class_holds_its_glaciers_and_the_ground_nearest_to_them() -> None:
    truth = np.zeros((20, 40), np.uint8)
    truth[5:15, 2:12] = 1  # 100 px
    truth[9, 30] = 1
    zoning = size_zones(glaciers_by_part(truth, 0.01))  # 1 km2, and 0.01 km2
    assert zoning.names[zoning.labels[10, 5]] == "1-5"
    assert zoning.names[zoning.labels[10, 14]] == "1-5"
    assert zoning.names[zoning.labels[9, 30]] == "0.01-0.1"
    assert zoning.names[zoning.labels[9, 38]] == "0.01-0.1"


def test_elevation_bands_begin_at_multiples_of_their_height() -> None:
    elevation = np.array([[4399.9, 4400.0, 4599.0, 4600.0, np.nan, 5000.0]], np.float32)
    zoning = elevation_zones(elevation, 200)
    assert zoning.names == ("4200-4400", "4400-4600", "4600-4800", "4800-5000", "5000-5200")
    assert zoning.labels.tolist() == [[0, 1, 1, 2, -1, 4]]
    assert elevation_zones(np.full((2, 2), np.nan), 200).names == ()
    with pytest.raises(RequestError, match="elevation_band_m must be greater than 0"):
        ScoreSettings(elevation_band_m=0)
    with pytest.raises(RequestError, match="nodata"):
        elevation_zones(np.array([[-3.4e38, 5000.0]]), 200)


def test_layers_may_overlap_and_the_rest_is_a_zone_too() -> None:
    debris, shadow = np.array([[1, 1, 0, 0]], np.uint8), np.array([[0, 1, 1, 255]], np.uint8)
    mask = np.ones((1, 4), np.uint8)
    totals = {
        name: counts.total
        for zoning in layer_zones({"debris": debris, "shadow": shadow})
        for name, counts in count_zones(mask, mask, zoning).items()
    }
    assert totals == {"debris": 2, "shadow": 2, "no layer": 1}
    assert layer_zones({}) == ()


def test_zones_of_another_shape_are_refused() -> None:
    ones = np.ones((2, 2), np.uint8)
    with pytest.raises(GridMismatchError, match="zones of shape"):
        count_zones(ones, ones, Zoning("layer", ("a",), np.zeros((3, 2), np.int16)))


GRID = Grid(CRS.from_epsg(32643), Affine(20, 0, 5e5, 0, -20, 36e5), 30, 40)


def test_files_are_compared_on_their_grid(tmp_path: Path) -> None:
    truth = np.zeros(GRID.shape, np.uint8)
    truth[5:20, 5:20] = 1
    predicted = truth.copy()
    predicted[5:20, 20] = 1
    predicted[0] = 255
    for name, mask in (("predicted", predicted), ("truth", truth)):
        write_raster(tmp_path / f"{name}.tif", mask, GRID, bands=["glacier"], nodata=255)
    result = evaluate_files(
        tmp_path / "predicted.tif", tmp_path / "truth.tif", ScoreSettings(buffers_m=(10,), draws=0)
    ).evaluation
    assert result.counts == Counts(tp=225, fp=15, fn=0, tn=29 * 40 - 240)
    assert present(result.areas).truth_km2 == pytest.approx(0.09)
    assert result.buffers[0].scores.iou == 1


@pytest.mark.parametrize("wanted", [True, False])
def test_distances_and_glaciers_may_be_left_out(tmp_path: Path, wanted: bool) -> None:
    mask = np.zeros(GRID.shape, np.uint8)
    mask[5:20, 5:20] = 1
    write_raster(tmp_path / "a.tif", mask, GRID, bands=["glacier"], nodata=255)
    settings = ScoreSettings(draws=0, distances=wanted, glaciers=wanted)
    found = evaluate_files(tmp_path / "a.tif", tmp_path / "a.tif", settings)
    assert (found.distances is not None) == (found.glaciers is not None) == wanted


def test_files_on_different_grids_are_refused(tmp_path: Path) -> None:
    mask = np.ones((5, 5), np.uint8)
    write_raster(tmp_path / "a.tif", mask, GRID.crop(0, 0, 5, 5), bands=["glacier"], nodata=255)
    write_raster(tmp_path / "b.tif", mask, GRID.crop(0, 1, 5, 5), bands=["glacier"], nodata=255)
    with pytest.raises(GridMismatchError, match=r"b\.tif"):
        evaluate_files(tmp_path / "a.tif", tmp_path / "b.tif")
