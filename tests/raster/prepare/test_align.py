from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from rasterio.profiles import Profile

from glacierseg.errors import GridMismatchError, RequestError, TruthError
from glacierseg.raster.grid import Grid
from glacierseg.raster.prepare.align import align_raster
from glacierseg.raster.prepare.stack import stack_rasters
from glacierseg.settings.prepare import StackSettings


def read(path: Path) -> tuple[NDArray[Any], Profile]:
    with rasterio.open(path) as dataset:
        return dataset.read(), dataset.profile | {"names": dataset.descriptions}


@pytest.fixture
def like(make_raster: Callable[..., Path], make_grid: Callable[..., Grid]) -> Path:
    """Reaches ten pixels further up and left than the sources do."""
    return make_raster("like.tif", np.zeros((50, 60), np.uint8), make_grid(50, 60, left=299900, top=3400100))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.one_of(
        arrays(np.uint8, (2, 9, 11)),
        arrays(np.int16, (2, 9, 11)),
        arrays(np.float32, (2, 9, 11), elements=st.floats(-1e6, 1e6, width=32) | st.just(np.nan)),
    ),
    resampling=st.sampled_from([None, "nearest", "bilinear", "cubic"]),
)
def test_onto_its_own_grid_is_the_identity(
    make_raster: Callable[..., Path], tmp_path: Path, values: NDArray[Any], resampling: str | None
) -> None:
    path = make_raster("a.tif", values, names=["p", "q"])
    out = align_raster(path, path, tmp_path / "out.tif", resampling=resampling)
    aligned, profile = read(out)
    np.testing.assert_array_equal(aligned, values)
    assert aligned.dtype == values.dtype
    assert profile["names"] == ("p", "q")


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic"])
def test_whole_pixel_shift_moves_values_only(
    make_raster: Callable[..., Path], like: Path, tmp_path: Path, resampling: str
) -> None:
    values = np.random.default_rng(0).integers(0, 255, (5, 20, 30)).astype(np.uint8)
    out = align_raster(
        make_raster("a.tif", values, names=list("abcde")), like, tmp_path / "out.tif", resampling=resampling
    )
    aligned, profile = read(out)
    np.testing.assert_array_equal(aligned[:, 10:30, 10:40], values)
    assert profile["names"] == tuple("abcde")
    with rasterio.open(out) as again:
        assert again.nodata is None
        expected = np.zeros((50, 60), bool)
        expected[10:30, 10:40] = True
        np.testing.assert_array_equal(again.dataset_mask() > 0, expected)


@pytest.mark.parametrize(("dtype", "nodata", "stored"), [("float32", None, np.nan), ("int16", -5, -5)])
def test_ground_that_the_source_does_not_reach_is_nodata(
    make_raster: Callable[..., Path],
    like: Path,
    tmp_path: Path,
    dtype: str,
    nodata: int | None,
    stored: float,
) -> None:
    values = np.random.default_rng(0).integers(2, 100, (20, 30)).astype(dtype)
    values[3, 4] = stored
    aligned, profile = read(
        align_raster(make_raster("a.tif", values, nodata=nodata), like, tmp_path / "out.tif")
    )
    np.testing.assert_equal(profile["nodata"], stored)
    expected = np.full((50, 60), stored, dtype)
    expected[10:30, 10:40] = values
    np.testing.assert_array_equal(aligned[0], expected)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_mask_inside_the_source_is_kept(
    make_raster: Callable[..., Path], like: Path, tmp_path: Path, count: int
) -> None:
    values = np.random.default_rng(0).integers(0, 255, (count, 20, 30)).astype(np.uint8)
    mask = np.random.default_rng(1).random((20, 30)) > 0.2
    out = align_raster(
        make_raster("a.tif", values, mask=mask), like, tmp_path / "out.tif", resampling="nearest"
    )
    with rasterio.open(out) as dataset:
        np.testing.assert_array_equal(dataset.dataset_mask()[10:30, 10:40] > 0, mask)
        assert not dataset.dataset_mask()[:10].any()


@pytest.mark.parametrize("nodata", [None, 0, 255, 9])
def test_mask_takes_its_nearest_pixel_and_ignores_what_is_unknown(
    make_raster: Callable[..., Path], like: Path, tmp_path: Path, nodata: int | None
) -> None:
    values = np.random.default_rng(0).choice(np.array([0, 1, 255], np.uint8), (20, 30))
    if nodata == 9:
        values[0, :5] = 9
    aligned, profile = read(
        align_raster(make_raster("a.tif", values, nodata=nodata), like, tmp_path / "out.tif")
    )
    expected = np.full((50, 60), 255, np.uint8)
    expected[10:30, 10:40] = np.where(values == 9, 255, values)
    np.testing.assert_array_equal(aligned[0], expected)
    assert profile["nodata"] == 255
    assert aligned.dtype == np.uint8


def test_mask_in_another_crs_keeps_its_classes_and_area(
    make_raster: Callable[..., Path], make_grid: Callable[..., Grid], tmp_path: Path
) -> None:
    values = np.zeros((200, 200), np.float32)
    values[50:150, 60:140] = 1
    source = make_raster("a.tif", values, make_grid(200, 200, size=10))
    zone = rasterio.warp.transform_bounds("EPSG:32644", "EPSG:32643", 300000, 3398000, 302000, 3400000)
    grid = make_grid(320, 320, size=10, left=zone[0] - 200, top=zone[3] + 200)
    like = make_raster("like.tif", np.zeros((320, 320)), replace(grid, crs=rasterio.CRS.from_epsg(32643)))
    aligned, _ = read(align_raster(source, like, tmp_path / "out.tif"))
    assert set(np.unique(aligned)) == {0, 1, 255}
    assert (aligned == 1).sum() == pytest.approx(8000, rel=0.01)


def test_finer_pixels_are_averaged(
    make_raster: Callable[..., Path], make_grid: Callable[..., Grid], tmp_path: Path
) -> None:
    """Noise of unit variance that is brought to pixels ten times as large loses most of it."""
    values = np.random.default_rng(0).standard_normal((300, 300))
    like = make_raster("like.tif", np.zeros((30, 30)), make_grid(30, 30, size=100))
    aligned, _ = read(align_raster(make_raster("a.tif", values), like, tmp_path / "out.tif"))
    assert np.nanstd(aligned) < 0.15


def test_requests_that_cannot_be_met(
    make_raster: Callable[..., Path], make_grid: Callable[..., Grid], like: Path, tmp_path: Path
) -> None:
    mask = make_raster("mask.tif", np.eye(20, dtype=np.uint8))
    with pytest.raises(RequestError, match="did you mean 'bilinear'"):
        align_raster(mask, like, tmp_path / "out.tif", resampling="bilinar")
    with pytest.raises(RequestError, match="is a mask, and cubic would mix them"):
        align_raster(mask, like, tmp_path / "out.tif", resampling="cubic")
    far = make_raster("far.tif", np.ones((5, 5)), make_grid(5, 5, left=700000))
    with pytest.raises(GridMismatchError, match="does not overlap"):
        align_raster(far, like, tmp_path / "out.tif")
    assert not (tmp_path / "out.tif").exists()


def test_paths_may_be_strings(make_raster: Callable[..., Path], like: Path, tmp_path: Path) -> None:
    source = make_raster("a.tif", np.ones((20, 30)))
    assert align_raster(str(source), str(like), f"{tmp_path}/out.tif") == tmp_path / "out.tif"


def test_progress_ends_at_one(make_raster: Callable[..., Path], like: Path, tmp_path: Path) -> None:
    shares: list[float] = []
    align_raster(make_raster("a.tif", np.ones((20, 30))), like, tmp_path / "out.tif", progress=shares.append)
    assert shares[-1] == 1


def test_classes_take_their_nearest_pixel_and_none_is_invented(
    make_raster: Callable[..., Path], make_grid: Callable[..., Grid], like: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    classes = rng.choice(np.array([0, 3, 5, 9, 11], np.uint8), (20, 30))
    coarse = make_raster("scl.tif", classes.repeat(4, 0).repeat(4, 1), make_grid(80, 120, size=3.1))
    aligned, _ = read(align_raster(coarse, like, tmp_path / "out.tif"))
    assert set(np.unique(aligned)) <= {0, 3, 5, 9, 11}
    stacked, _ = read(
        stack_rasters([like, coarse], tmp_path / "stack.tif", StackSettings(band_names=("like", "scl")))
    )
    assert set(np.unique(stacked[1][np.isfinite(stacked[1])])) <= {0, 3, 5, 9, 11}
    with pytest.raises(RequestError, match="holds classes, and bilinear would mix them"):
        align_raster(coarse, like, tmp_path / "other.tif", resampling="bilinear")
    assert not (tmp_path / "other.tif").exists()


def test_a_table_of_colours_means_classes_of_any_number(
    make_raster: Callable[..., Path], make_grid: Callable[..., Grid], like: Path, tmp_path: Path
) -> None:
    values = np.arange(200, dtype=np.uint8).reshape(10, 20)
    path = make_raster("cover.tif", values, make_grid(10, 20, size=17), photometric="PALETTE")
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {i: (i, i, i, 255) for i in range(256)})
    aligned, _ = read(align_raster(path, like, tmp_path / "out.tif"))
    assert set(np.unique(aligned)) <= set(values.ravel())
    with pytest.raises(RequestError, match="holds classes"):
        align_raster(path, like, tmp_path / "other.tif", resampling="cubic")


@pytest.mark.parametrize("nodata", [None, 0])
def test_a_mask_whose_glacier_is_255_is_refused(
    make_raster: Callable[..., Path], like: Path, tmp_path: Path, nodata: int | None
) -> None:
    path = make_raster("m.tif", np.eye(20, 30, dtype=np.uint8) * np.uint8(255), nodata=nodata)
    with pytest.raises(TruthError, match="holds 255 and no 1"):
        align_raster(path, like, tmp_path / "out.tif")
    assert not (tmp_path / "out.tif").exists()


def test_an_internal_mask_of_a_mask_is_ignored_on_another_grid(
    make_raster: Callable[..., Path], like: Path, tmp_path: Path
) -> None:
    truth = np.eye(20, 30, dtype=np.uint8)
    shown = np.ones(truth.shape, bool)
    shown[:8] = False
    aligned, profile = read(align_raster(make_raster("m.tif", truth, mask=shown), like, tmp_path / "out.tif"))
    expected = np.full((50, 60), 255)
    expected[10:30, 10:40] = np.where(shown, truth, 255)
    np.testing.assert_array_equal(aligned[0], expected)
    assert profile["nodata"] == 255
