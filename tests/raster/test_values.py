import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from glacierseg.errors import RasterError
from glacierseg.raster.grid import Grid
from glacierseg.raster.prepare.align import align_raster
from glacierseg.raster.prepare.select import select_bands
from glacierseg.raster.prepare.stack import stack_rasters
from glacierseg.raster.scene import open_scene
from glacierseg.raster.values import (
    BandValues,
    alpha_of,
    bands_of,
    measure_values,
    sample_values,
    spread_starts,
)
from glacierseg.settings.prepare import StackSettings
from tests.helpers import write_scene
from tests.weights.shelves import BANDS, reflectances

H, W = 40, 50
NAMES = ("blue", "green", "red")


@pytest.fixture
def ground() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    values = rng.integers(100, 9000, (3, H, W)).astype(np.uint16)
    valid = np.ones((H, W), bool)
    valid[:7] = valid[20:25, 30:33] = False
    return values, valid


def _alpha(path: Path, index: int) -> None:
    with rasterio.open(path, "r+") as dataset:
        colours = [ColorInterp.gray] + [ColorInterp.undefined] * (dataset.count - 1)
        colours[index - 1] = ColorInterp.alpha
        dataset.colorinterp = colours


def _with_alpha(
    make_raster: Callable[..., Path], values: NDArray[np.uint16], valid: NDArray[np.bool_], place: int
) -> Path:
    opaque = np.where(valid, 65535, 0).astype(np.uint16)
    path = make_raster(f"alpha{place}.tif", np.insert(values, place, opaque, axis=0))
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = (*NAMES[:place], None, *NAMES[place:])
    _alpha(path, place + 1)
    return path


def _each_its_own(
    make_raster: Callable[..., Path], values: NDArray[np.uint16], valid: NDArray[np.bool_]
) -> Path:
    """A virtual mosaic whose bands have nodata values of their own."""
    members = []
    for number, (name, layer) in enumerate(zip(NAMES, values, strict=True)):
        nodata = (7, 8, 65535)[number]
        members.append(
            make_raster(
                f"m{number}.tif", np.where(valid, layer, np.uint16(nodata)), nodata=nodata, names=[name]
            )
        )
    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{n + 1}"><Description>{NAMES[n]}</Description>'
        f"<NoDataValue>{(7, 8, 65535)[n]}</NoDataValue><SimpleSource>"
        f'<SourceFilename relativeToVRT="1">{member.name}</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand>"
        for n, member in enumerate(members)
    )
    with rasterio.open(members[0]) as first:
        corners = ", ".join(map(repr, first.transform.to_gdal()))
        text = (
            f'<VRTDataset rasterXSize="{W}" rasterYSize="{H}"><SRS>{first.crs.to_wkt()}</SRS>'
            f"<GeoTransform>{corners}</GeoTransform>{bands}</VRTDataset>"
        )
    path = members[0].with_name("own.vrt")
    path.write_text(text)
    return path


def _sidecar(make_raster: Callable[..., Path], values: NDArray[np.uint16], valid: NDArray[np.bool_]) -> Path:
    path = make_raster("sidecar.tif", values, names=NAMES)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(np.where(valid, 255, 0).astype(np.uint8))
    assert path.with_name("sidecar.tif.msk").exists()
    return path


def turned(grid: Grid) -> Grid:
    """The same ground with rows that run northward."""
    flip = Affine.translation(0, grid.height) * Affine.scale(1, -1)
    return Grid(grid.crs, grid.transform * flip, grid.height, grid.width)


DISGUISES = {
    "nodata 0": lambda make, values, valid: make("z.tif", np.where(valid, values, 0), nodata=0, names=NAMES),
    "nodata 65535": lambda make, values, valid: make(
        "m.tif", np.where(valid, values, 65535).astype(np.uint16), nodata=65535, names=NAMES
    ),
    "NaN": lambda make, values, valid: make(
        "n.tif", np.where(valid, values, np.nan).astype(np.float32), names=NAMES
    ),
    "internal mask": lambda make, values, valid: make("i.tif", values, mask=valid, names=NAMES),
    "internal mask of floats": lambda make, values, valid: make(
        "if.tif", values.astype(np.float32), mask=valid, names=NAMES
    ),
    "mask and nodata": lambda make, values, valid: make(
        "b.tif",
        np.where(np.arange(W) < 25, np.where(valid, values, 0), values).astype(np.uint16),
        nodata=0,
        mask=valid | (np.arange(W) < 25),
        names=NAMES,
    ),
    "mask beside the file": _sidecar,
    "alpha first": lambda make, values, valid: _with_alpha(make, values, valid, 0),
    "alpha in the middle": lambda make, values, valid: _with_alpha(make, values, valid, 2),
    "alpha last": lambda make, values, valid: _with_alpha(make, values, valid, 3),
    "nodata of each band": _each_its_own,
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_pixels_without_data_mean_the_same_however_they_are_marked(
    make_raster: Callable[..., Path],
    make_grid: Callable[..., Grid],
    ground: tuple[np.ndarray, np.ndarray],
    tmp_path: Path,
    disguise: str,
) -> None:
    values, valid = ground
    path = DISGUISES[disguise](make_raster, values, valid)
    scene = open_scene(path)
    assert scene.band_names == NAMES
    with scene.open() as reader:
        read, found = reader.read(0, 0, H, W)
    np.testing.assert_array_equal(found, valid)
    np.testing.assert_array_equal(read[:, valid], values[:, valid])
    # Onto a grid that is turned upside down every pixel has a twin, so that warping must give it back.
    like = make_raster("like.tif", values[0, ::-1], turned(make_grid(H, W)))
    for out in (
        align_raster(path, like, tmp_path / "aligned.tif"),
        stack_rasters(path, tmp_path / "stacked.tif", like=like),
    ):
        moved = open_scene(out)
        assert moved.band_names == NAMES
        with moved.open() as reader:
            read, found = reader.read(0, 0, H, W)
        np.testing.assert_array_equal(found[::-1], valid)
        np.testing.assert_array_equal(read[:, ::-1][:, valid], values[:, valid])


def test_scale_and_offset_are_read_and_carried_along(
    make_raster: Callable[..., Path],
    make_grid: Callable[..., Grid],
    ground: tuple[np.ndarray, np.ndarray],
    tmp_path: Path,
) -> None:
    values, valid = ground
    path = make_raster("s.tif", np.where(valid, values, 0), nodata=0, names=NAMES)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets, dataset.units = (1e-4,) * 3, (-0.1,) * 3, ("1", "1", "1")
    expected = (values * 1e-4 - 0.1).astype(np.float32)
    like = make_raster("like.tif", values[0], make_grid(H, W - 3))
    for out in (
        path,
        select_bands(open_scene(path), NAMES, tmp_path / "selected.tif"),
        align_raster(path, path, tmp_path / "same.tif"),
        align_raster(path, like, tmp_path / "aligned.tif"),
        stack_rasters(path, tmp_path / "stacked.tif"),
    ):
        scene = open_scene(out)
        assert scene.dtype == np.float32
        with scene.open() as reader:
            read, found = reader.read(0, 0, H, W - 3)
        np.testing.assert_array_equal(found, valid[:, :-3])
        np.testing.assert_array_equal(read[:, found], expected[:, :, :-3][:, found])
        with rasterio.open(out) as dataset:
            assert dataset.dtypes[0] == "uint16"
            assert dataset.scales == (1e-4,) * 3
            assert dataset.units == ("1", "1", "1")
    # A recipe makes bands of what the numbers mean.
    made = stack_rasters(path, tmp_path / "made.tif", StackSettings(recipe="red,ndgi"))
    with rasterio.open(made) as dataset:
        np.testing.assert_array_equal(dataset.read(1)[valid], expected[2][valid])
        assert dataset.scales == (1.0, 1.0)


def test_a_scale_that_leaves_no_values_is_refused(
    make_raster: Callable[..., Path], ground: tuple[np.ndarray, np.ndarray]
) -> None:
    path = make_raster("s.tif", ground[0])
    with rasterio.open(path, "r+") as dataset:
        dataset.scales = (0.0,) * 3
    with pytest.raises(RasterError, match="declares scale 0"):
        open_scene(path)


def test_near_infrared_that_gdal_takes_for_alpha_is_data(make_raster: Callable[..., Path]) -> None:
    values = np.random.default_rng(0).integers(1, 250, (4, H, W)).astype(np.uint8)
    path = make_raster("nir.tif", values, photometric="RGB", alpha="yes")
    with rasterio.open(path) as dataset:
        assert dataset.colorinterp[3] == ColorInterp.alpha
        assert alpha_of(dataset) is None
        assert len(bands_of(dataset, path)) == 4


def test_no_warning_of_rasterio_reaches_the_user(
    make_raster: Callable[..., Path], ground: tuple[np.ndarray, np.ndarray]
) -> None:
    path = make_raster("plain.tif", ground[0], crs=False)
    with rasterio.open(path, "r+") as dataset:
        dataset.transform = rasterio.Affine.identity()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RasterError, match="has no geotransform"):
            open_scene(path)


def test_alpha_that_is_named_by_hand_is_data(make_raster: Callable[..., Path]) -> None:
    values = np.zeros((4, H, W), np.uint8)
    values[:, 5:] = 255
    values[:3] //= 2
    path = make_raster("four.tif", values, photometric="RGB", alpha="yes")
    assert open_scene(path).band_names == ("band_1", "band_2", "band_3")
    scene = open_scene(path, bands=["red", "green", "blue", "nir"])
    with scene.open() as reader:
        read, valid = reader.read(0, 0, H, W)
    assert valid.all()
    np.testing.assert_array_equal(read, values)


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
