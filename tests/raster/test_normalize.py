import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from glacierseg.errors import BandError, DataError
from glacierseg.raster.normalize import normalize_scene, to_levels
from glacierseg.raster.ranges import BandRange, read_ranges
from glacierseg.raster.scene import open_scene

numbers = st.floats(-1e9, 1e9)


def read(path):
    with rasterio.open(path) as dataset:
        assert dataset.nodata == 0
        return dataset.read(), dataset.descriptions


@settings(deadline=None)
@given(st.lists(numbers, min_size=1), numbers, numbers)
def test_levels_are_monotone_and_stay_in_their_range(values, one, other):
    bounds = BandRange(min(one, other), max(one, other))
    levels = to_levels(np.sort(values), bounds)
    assert (np.diff(levels.astype(int)) >= 0).all()
    assert levels.min() >= 1
    if bounds.low < bounds.high:
        assert to_levels(np.array([bounds.low, bounds.high]), bounds).tolist() == [1, 255]


def test_levels_are_evenly_spaced():
    assert (
        to_levels(np.arange(-5, 260), BandRange(0, 254)).tolist() == [1] * 5 + list(range(1, 256)) + [255] * 5
    )


@pytest.fixture
def scene(make_raster):
    values = np.random.default_rng(0).standard_normal((2, 300, 260)).astype(np.float32)
    values[1] = values[1] * 1000 + 5000
    values[0, 5, 5] = np.nan
    return open_scene(make_raster("a.tif", values, names=["ndsi", "elevation"]))


def test_measured_ranges_are_stored_and_give_the_same_again(scene, tmp_path):
    shares = []
    ranges = tmp_path / "ranges.json"
    first, names = read(normalize_scene(scene, tmp_path / "1.tif", ranges, progress=shares.append))
    stored = ranges.read_bytes()
    again, _ = read(normalize_scene(scene, tmp_path / "2.tif", ranges, low_percentile=10))
    np.testing.assert_array_equal(first, again)
    assert ranges.read_bytes() == stored
    assert names == ("ndsi", "elevation")
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_nodata_is_zero_in_its_own_band_only(scene, tmp_path):
    levels, _ = read(normalize_scene(scene, tmp_path / "1.tif", tmp_path / "r.json"))
    assert np.argwhere(levels == 0).tolist() == [[0, 5, 5]]
    assert (levels[1] == 1).mean() == pytest.approx(0.005, abs=0.001)
    assert (levels[1] == 255).mean() == pytest.approx(0.005, abs=0.001)


def test_other_scene_with_the_same_ranges_is_comparable(scene, make_raster, tmp_path):
    normalize_scene(scene, tmp_path / "1.tif", tmp_path / "r.json")
    bounds = read_ranges(tmp_path / "r.json").bands["elevation"]
    middle = np.full((2, 4, 4), (bounds.low + bounds.high) / 2, np.float32)
    other = open_scene(make_raster("b.tif", middle, names=["ndsi", "elevation"]))
    levels, _ = read(normalize_scene(other, tmp_path / "2.tif", tmp_path / "r.json"))
    assert (levels[1] == 128).all()
    assert (levels[0] == 255).all()


def test_physical_ranges(scene, tmp_path):
    normalize_scene(scene, tmp_path / "1.tif", tmp_path / "r.json", physical=True)
    bands = read_ranges(tmp_path / "r.json").bands
    assert bands["ndsi"] == BandRange(-1, 1)
    assert bands["elevation"].low == pytest.approx(5000 - 2.576 * 1000, rel=0.05)


def test_ranges_of_other_bands_are_refused(scene, make_raster, tmp_path):
    normalize_scene(scene.select(["ndsi"]), tmp_path / "1.tif", tmp_path / "r.json")
    with pytest.raises(BandError, match="no range for band 'elevation'"):
        normalize_scene(scene, tmp_path / "2.tif", tmp_path / "r.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DataError, match="delete it to measure"):
        normalize_scene(scene, tmp_path / "2.tif", tmp_path / "broken.json")
    assert not (tmp_path / "2.tif").exists()


def test_ranges_measured_on_several_training_scenes_together(scene, make_raster, tmp_path):
    bright = np.full((2, 50, 40), 9000, np.float32)
    other = open_scene(make_raster("b.tif", bright, names=["ndsi", "elevation"]))
    normalize_scene(
        scene, tmp_path / "1.tif", tmp_path / "r.json", measure_on=[scene, other], high_percentile=98
    )
    stored = read_ranges(tmp_path / "r.json")
    assert stored.scenes == ("a", "b")
    with rasterio.open(scene.paths[0]) as dataset:
        pooled = np.sort(np.concatenate([dataset.read(2).ravel(), bright[1].ravel()]))
    expected = pooled[int(np.ceil(0.98 * pooled.size)) - 1]
    assert stored.bands["elevation"].high == pytest.approx(expected)


def test_paths_may_be_strings(scene, tmp_path):
    out = normalize_scene(scene, f"{tmp_path}/1.tif", f"{tmp_path}/r.json")
    assert read(out)[1] == ("ndsi", "elevation")
    assert read_ranges(f"{tmp_path}/r.json") == read_ranges(tmp_path / "r.json")
