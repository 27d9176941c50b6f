import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from glacierseg.errors import BandError, DataError, RequestError
from glacierseg.raster.prepare.ranges import BandRange, Ranges, measure_ranges, read_ranges, write_ranges
from glacierseg.raster.scene import open_scene
from glacierseg.settings.prepare import NormalizeSettings


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.one_of(
        arrays(np.float32, (1, 7, 9), elements=st.floats(width=32, allow_subnormal=False)),
        arrays(np.uint16, (1, 7, 9)),
        arrays(np.int16, (1, 7, 9)),
    ),
    low=st.floats(0, 49),
    high=st.floats(50, 100),
)
def test_percentiles_are_exact(
    make_raster: Callable[..., Path], values: NDArray[Any], low: float, high: float
) -> None:
    scene = open_scene(make_raster("a.tif", values))
    numbers = values[np.isfinite(values)].astype(np.float64)
    if not numbers.size:
        with pytest.raises(BandError, match="no data"):
            measure_ranges([scene])
        return
    found = measure_ranges([scene], NormalizeSettings(percentiles=(low, high))).bands["band_1"]
    expected = np.percentile(numbers, [low, high], method="inverted_cdf")
    assert [found.low, found.high] == pytest.approx(expected.tolist(), rel=1e-12)


def test_several_scenes_and_bands_together(make_raster: Callable[..., Path]) -> None:
    rng = np.random.default_rng(0)
    first = (rng.standard_normal((2, 300, 400)) * [[[1]], [[1e4]]]).astype(np.float32)
    second = (rng.standard_normal((2, 100, 50)) * 3).astype(np.float32)
    first[0, :50] = np.nan
    names = ["index", "elevation"]
    shares: list[float] = []
    scenes = [open_scene(make_raster(f"{i}.tif", v, names=names)) for i, v in enumerate((first, second))]
    ranges = measure_ranges(scenes, NormalizeSettings(percentiles=(2, 98)), progress=shares.append)
    for band, name in enumerate(names):
        together = np.concatenate([first[band].ravel(), second[band].ravel()])
        low, high = np.percentile(together[np.isfinite(together)], [2, 98], method="inverted_cdf")
        assert ranges.bands[name] == BandRange(low, high)
    assert ranges.scenes == ("0", "1")
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_fixed_ranges_are_not_measured(make_raster: Callable[..., Path]) -> None:
    scene = open_scene(make_raster("a.tif", np.ones((2, 4, 4), np.float32), names=["ndsi", "red"]))
    ranges = measure_ranges([scene], NormalizeSettings(physical=True))
    assert ranges.bands == {"ndsi": BandRange(-1, 1), "red": BandRange(1, 1)}


def test_stored_and_read_again_without_loss(tmp_path: Path) -> None:
    ranges = Ranges({"red": BandRange(0.1, 1 / 3), "é": BandRange(-1e-30, 1e30)}, 1, 99, ("a", "b"))
    write_ranges(tmp_path / "r.json", ranges)
    assert read_ranges(tmp_path / "r.json") == ranges


def test_file_written_by_hand_needs_only_the_bands(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps({"bands": {"red": {"low": 0, "high": 1}}}))
    ranges = read_ranges(tmp_path / "r.json")
    assert ranges.of("red", "r.json") == BandRange(0, 1)
    with pytest.raises(BandError, match="no range for band 'nir'"):
        ranges.of("nir", "r.json")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"bands": {"red": 1}}',
        '{"bands": {"red": {"low": 2, "high": 1}}}',
        '{"bands": {"red": {"low": 0, "high": NaN}}}',
    ],
)
def test_file_that_holds_no_ranges(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(DataError, match=r"r\.json"):
        read_ranges(tmp_path / "r.json")


def test_requests_that_cannot_be_met(make_raster: Callable[..., Path]) -> None:
    one = open_scene(make_raster("a.tif", np.ones((4, 4)), names=["red"]))
    other = open_scene(make_raster("b.tif", np.ones((4, 4)), names=["nir"]))
    with pytest.raises(RequestError, match="not in order"):
        measure_ranges([one], NormalizeSettings(percentiles=(98, 2)))
    with pytest.raises(BandError, match="has bands nir instead of red"):
        measure_ranges([one, other])
