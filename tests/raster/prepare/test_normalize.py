import logging
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from typer.testing import CliRunner

from glacierseg.cli import app
from glacierseg.errors import BandError, DataError, GlaciersegWarning, ValuesError
from glacierseg.raster.facts import ranges_of
from glacierseg.raster.prepare.normalize import normalize_scene, to_levels
from glacierseg.raster.prepare.ranges import BandRange, read_ranges
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.settings.prepare import NormalizeSettings

numbers = st.floats(-1e9, 1e9)


def read(path: Path) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    with rasterio.open(path) as dataset:
        assert dataset.nodata == 0
        return dataset.read(), dataset.descriptions


@settings(deadline=None)
@given(st.lists(numbers, min_size=1), numbers, numbers)
def test_levels_are_monotone_and_stay_in_their_range(values: list[float], one: float, other: float) -> None:
    bounds = BandRange(min(one, other), max(one, other))
    levels = to_levels(np.sort(values), bounds)
    assert (np.diff(levels.astype(int)) >= 0).all()
    assert levels.min() >= 1
    if bounds.low < bounds.high:
        assert to_levels(np.array([bounds.low, bounds.high]), bounds).tolist() == [1, 255]


def test_levels_are_evenly_spaced() -> None:
    assert (
        to_levels(np.arange(-5, 260), BandRange(0, 254)).tolist() == [1] * 5 + list(range(1, 256)) + [255] * 5
    )


@pytest.fixture
def scene(make_raster: Callable[..., Path]) -> Scene:
    values = np.random.default_rng(0).standard_normal((2, 300, 260)).astype(np.float32)
    values[1] = values[1] * 1000 + 5000
    values[0, 5, 5] = np.nan
    return open_scene(make_raster("a.tif", values, names=["ndsi", "elevation"]))


def test_measured_ranges_are_stored_and_give_the_same_again(scene: Scene, tmp_path: Path) -> None:
    shares: list[float] = []
    ranges = tmp_path / "ranges.json"
    first, names = read(normalize_scene(scene, tmp_path / "1.tif", ranges, progress=shares.append))
    stored = ranges.read_bytes()
    again, _ = read(
        normalize_scene(scene, tmp_path / "2.tif", ranges, NormalizeSettings(percentiles=(10, 99.5)))
    )
    np.testing.assert_array_equal(first, again)
    assert ranges.read_bytes() == stored
    assert names == ("ndsi", "elevation")
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_a_scene_may_stay_uncompressed(scene: Scene, tmp_path: Path) -> None:
    for compress in (True, False):
        settings = NormalizeSettings(compress=compress)
        with rasterio.open(
            normalize_scene(scene, tmp_path / "1.tif", tmp_path / "r.json", settings)
        ) as dataset:
            assert (dataset.compression is not None) == compress


def test_nodata_is_zero_in_its_own_band_only(scene: Scene, tmp_path: Path) -> None:
    levels, _ = read(normalize_scene(scene, tmp_path / "1.tif", tmp_path / "r.json"))
    assert np.argwhere(levels == 0).tolist() == [[0, 5, 5]]
    assert (levels[1] == 1).mean() == pytest.approx(0.005, abs=0.001)
    assert (levels[1] == 255).mean() == pytest.approx(0.005, abs=0.001)


def test_other_scene_with_the_same_ranges_is_comparable(
    scene: Scene, make_raster: Callable[..., Path], tmp_path: Path
) -> None:
    normalize_scene(scene, tmp_path / "1.tif", tmp_path / "r.json")
    bounds = read_ranges(tmp_path / "r.json").bands["elevation"]
    middle = np.full((2, 4, 4), (bounds.low + bounds.high) / 2, np.float32)
    other = open_scene(make_raster("b.tif", middle, names=["ndsi", "elevation"]))
    levels, _ = read(normalize_scene(other, tmp_path / "2.tif", tmp_path / "r.json"))
    assert (levels[1] == 128).all()
    assert (levels[0] == 255).all()


def test_physical_ranges(scene: Scene, tmp_path: Path) -> None:
    normalize_scene(scene, tmp_path / "1.tif", tmp_path / "r.json", NormalizeSettings(physical=True))
    bands = read_ranges(tmp_path / "r.json").bands
    assert bands["ndsi"] == BandRange(-1, 1)
    assert bands["elevation"].low == pytest.approx(5000 - 2.576 * 1000, rel=0.05)


def test_ranges_of_other_bands_are_refused(
    scene: Scene, make_raster: Callable[..., Path], tmp_path: Path
) -> None:
    normalize_scene(scene.select(["ndsi"]), tmp_path / "1.tif", tmp_path / "r.json")
    with pytest.raises(BandError, match="no range for band 'elevation'"):
        normalize_scene(scene, tmp_path / "2.tif", tmp_path / "r.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DataError, match="delete it to measure"):
        normalize_scene(scene, tmp_path / "2.tif", tmp_path / "broken.json")
    assert not (tmp_path / "2.tif").exists()


def test_ranges_measured_on_several_training_scenes_together(
    scene: Scene, make_raster: Callable[..., Path], tmp_path: Path
) -> None:
    bright = np.full((2, 50, 40), 9000, np.float32)
    other = open_scene(make_raster("b.tif", bright, names=["ndsi", "elevation"]))
    normalize_scene(
        scene,
        tmp_path / "1.tif",
        tmp_path / "r.json",
        measure_on=[scene, other],
        settings=NormalizeSettings(percentiles=(0.5, 98)),
    )
    stored = read_ranges(tmp_path / "r.json")
    assert stored.scenes == ("a", "b")
    with rasterio.open(scene.paths[0]) as dataset:
        pooled = np.sort(np.concatenate([dataset.read(2).ravel(), bright[1].ravel()]))
    expected = pooled[int(np.ceil(0.98 * pooled.size)) - 1]
    assert stored.bands["elevation"].high == pytest.approx(expected)


def test_paths_may_be_strings(scene: Scene, tmp_path: Path) -> None:
    out = normalize_scene(scene, f"{tmp_path}/1.tif", f"{tmp_path}/r.json")
    assert read(out)[1] == ("ndsi", "elevation")
    assert read_ranges(f"{tmp_path}/r.json") == read_ranges(tmp_path / "r.json")


LIGHT = ("blue", "green", "red", "nir", "swir1", "swir2")


@pytest.mark.parametrize(
    ("scale", "offset"), [(1e4, 0), (1e4, 1000), (1 / 0.0000275, 0.2 / 0.0000275), (100, 0)]
)
def test_another_unit_than_that_of_the_ranges_is_refused_and_the_cure_works(
    make_raster: Callable[..., Path],
    reflectance: Callable[..., NDArray[np.float64]],
    tmp_path: Path,
    scale: float,
    offset: float,
) -> None:
    truth = reflectance().astype(np.float32)
    height = np.full((1, 40, 50), 5000, np.float32) + np.arange(50, dtype=np.float32)
    names = [*LIGHT, "elevation"]
    first = open_scene(make_raster("first.tif", np.concatenate([truth, height]), names=names))
    normalize_scene(first, tmp_path / "1.tif", tmp_path / "r.json")
    values = np.concatenate([truth * np.float32(scale) + np.float32(offset), height])
    path = make_raster("other.tif", values, names=names)
    out = tmp_path / "2.tif"
    with pytest.raises(ValuesError, match=r"more than half of a band lies .* (100\.0|9\d\.\d)%") as caught:
        normalize_scene(open_scene(path), out, tmp_path / "r.json")
    assert "\n" not in str(caught.value)
    assert not out.exists()
    typed = (
        str(caught.value).partition("another: glacierseg ")[2].replace("CONVERTED.tif", f"{tmp_path}/m.tif")
    )
    assert CliRunner().invoke(app, shlex.split(typed)).exit_code == 0
    normalize_scene(open_scene(tmp_path / "m.tif"), out, tmp_path / "r.json")
    assert np.abs(read(out)[0].astype(int) - read(tmp_path / "1.tif")[0]).max() <= 1


def test_the_share_outside_of_stored_ranges_is_told(
    scene: Scene, make_raster: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "glacierseg")
    normalize_scene(scene, tmp_path / "1.tif", tmp_path / "r.json")
    assert caplog.messages == []
    bounds = read_ranges(tmp_path / "r.json").bands["elevation"]
    values = np.zeros((2, 20, 20), np.float32)
    values[1] = bounds.low
    values[1, :8] = bounds.high + 1
    other = open_scene(make_raster("b.tif", values, names=["ndsi", "elevation"]))
    normalize_scene(other, tmp_path / "2.tif", tmp_path / "r.json")
    words = "outside of the stored ranges: elevation 40.0%, ndsi 0.0%"
    assert caplog.messages == [f"{tmp_path / '2.tif'}: {words}"]
    values[1, :12] = bounds.high + 1
    more = open_scene(make_raster("c.tif", values, names=["ndsi", "elevation"]))
    with pytest.raises(ValuesError, match=r"elevation 60\.0%.*--measure-on"):
        normalize_scene(more, tmp_path / "3.tif", tmp_path / "r.json")
    # What never varied in training says nothing of the unit.
    flat = open_scene(make_raster("d.tif", np.full((2, 20, 20), 7, np.float32), names=["ndsi", "elevation"]))
    normalize_scene(flat, tmp_path / "4.tif", tmp_path / "flat.json")
    normalize_scene(other, tmp_path / "5.tif", tmp_path / "flat.json")


def test_an_offset_in_measured_or_reused_ranges_is_told(
    make_raster: Callable[..., Path], reflectance: Callable[..., NDArray[np.float64]], tmp_path: Path
) -> None:
    lifted = np.rint(1e4 * reflectance() + 1000).astype(np.uint16)
    scene = open_scene(make_raster("a.tif", lifted, names=LIGHT))
    for out in ("1.tif", "2.tif"):
        with pytest.warns(GlaciersegWarning, match=r"offset of 1000; .* --recipe \S+ --offset -1000 "):
            normalize_scene(scene, tmp_path / out, tmp_path / "r.json")


def test_a_normalized_scene_tells_its_ranges(scene: Scene, tmp_path: Path) -> None:
    out = normalize_scene(scene, tmp_path / "1.tif", tmp_path / "r.json")
    stored = read_ranges(tmp_path / "r.json").bands
    assert ranges_of(open_scene(out).bands) == {
        name: (bound.low, bound.high) for name, bound in stored.items()
    }
    assert ranges_of(scene.bands) is None
