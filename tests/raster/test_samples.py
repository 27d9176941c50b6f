from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacierseg.raster.samples import BandValues, measure_values, sample_values, spread_starts
from glacierseg.raster.scene import open_scene
from tests.helpers import write_scene
from tests.weights.shelves import BANDS, reflectances


@given(st.integers(1, 3000), st.integers(1, 300), st.integers(1, 12))
def test_windows_are_spread_over_the_whole_line(length: int, side: int, most: int) -> None:
    starts = spread_starts(length, side, most)
    assert starts == sorted(set(starts))
    assert starts[0] == 0
    assert starts[-1] == max(length - side, 0)
    assert len(starts) <= max(most, 2)


def test_a_sample_holds_valid_pixels_only(tmp_path: Path) -> None:
    values = reflectances(300, 500)
    values[1, :, :200] = 0
    scene = open_scene(write_scene(tmp_path / "s.tif", values, BANDS, nodata=0))
    sample = sample_values(scene)
    assert sample.shape[0] == 4
    assert (sample > 0).all()
    seen = {tuple(pixel) for pixel in sample.T.tolist()}
    assert seen <= {tuple(pixel) for pixel in values[:, :, 200:].reshape(4, -1).T.astype(float).tolist()}
    blank = open_scene(write_scene(tmp_path / "b.tif", np.zeros_like(values), BANDS, nodata=0))
    assert measure_values(sample_values(blank)) is None


def test_samples_keep_apart_from_zeros_that_nobody_declares(tmp_path: Path) -> None:
    values = reflectances(200, 200)
    values[:, :, :90] = 0
    values[:, :, 90:92] //= 2
    sample = sample_values(open_scene(write_scene(tmp_path / "s.tif", values, BANDS)), apart_from_zeros=True)
    seen = {tuple(pixel) for pixel in sample.T.tolist()}
    inside = {tuple(pixel) for pixel in values[:, :, 92:].reshape(4, -1).T.astype(float).tolist()}
    assert seen
    assert seen <= inside


def test_percentiles_and_what_a_scale_makes_of_them() -> None:
    values = np.arange(1001.0)
    found = BandValues.of(values)
    assert (found.low, found.p25, found.median, found.high) == pytest.approx((1, 250, 500, 999))
    assert found.in_words == "1 to 999, median 500"
    after, right = found.rescaled(2.0, 5.0), BandValues.of(2 * values + 5)
    assert asdict(after) == pytest.approx(asdict(right))
