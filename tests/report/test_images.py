from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.windows import Window

from glacierseg.errors import RasterError
from glacierseg.raster.grid import Grid
from glacierseg.raster.scene import open_scene
from glacierseg.raster.write import write_raster
from glacierseg.report import images
from glacierseg.report.images import (
    Frame,
    composite_recipes,
    frame_of,
    grey_of,
    part_of,
    read_classes,
    read_composite,
    read_values,
)
from tests.report.conftest import GRID

LARGE = Grid(CRS.from_epsg(32645), Affine(10, 0, 0, 0, -10, 0), 900, 1300)
S2_18 = [*("blue", "green", "red", "nir", "swir1", "swir2"), *("ndsi", "ndvi", "red_swir1", "s3", "slope")]


@pytest.mark.parametrize(
    ("height", "width"), [(10, 10), (1200, 700), (6000, 10), (5000, 10000), (1201, 1201)]
)
def test_frames_fit_the_screen(height: int, width: int) -> None:
    frame = part_of(Window(3, 4, width, height), 1200)
    assert max(frame.shape) <= 1200
    assert min(frame.shape) >= 1
    if max(height, width) <= 1200:
        assert frame.shape == (height, width)


def test_masks_with_and_without_overviews_are_sampled_alike(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 2, LARGE.shape).astype(np.uint8)
    for name, is_cog in (("plain.tif", False), ("cog.tif", True)):
        write_raster(tmp_path / name, values, LARGE, bands=["m"], nodata=255, cog=is_cog)
    frame = frame_of(LARGE, 200)
    plain, cog = (read_classes(tmp_path / name, frame) for name in ("plain.tif", "cog.tif"))
    assert plain.shape == frame.shape == (138, 200)
    assert (plain == cog).all()


def test_values_are_means_without_nodata(tmp_path: Path) -> None:
    values = np.arange(900 * 1300, dtype=np.float32).reshape(LARGE.shape)
    values[:300] = np.nan
    write_raster(tmp_path / "p.tif", values, LARGE, bands=["p"], nodata=np.nan, cog=False)
    found = read_values(tmp_path / "p.tif", part_of(Window(0, 0, 1300, 900), 13))
    assert np.isnan(found[:3]).all()
    assert found[5, 6] == pytest.approx(values[500:600, 600:700].mean(), rel=1e-5)


@pytest.mark.parametrize("layout", [{}, {"tiled": True, "blockxsize": 64, "blockysize": 64}])
def test_a_file_of_bands_by_pixel_is_decoded_once_and_reads_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: dict[str, Any]
) -> None:
    values = np.random.default_rng(1).integers(0, 4000, (5, 900, 700)).astype(np.uint16)
    values[:, 300:420, 100:400] = 0
    grid = Grid(LARGE.crs, LARGE.transform, 900, 700)
    profile = {"crs": grid.crs, "transform": grid.transform, "nodata": 0, "interleave": "pixel", **layout}
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", "GTiff", 700, 900, 5, dtype="uint16", **profile) as file:
        file.write(values)
    scene, frame = open_scene(path), frame_of(grid, 333)
    with rasterio.open(path) as file:
        whole = [
            file.read(index, out_shape=frame.shape, resampling=Resampling.average, masked=True)
            for index in range(1, 6)
        ]
    read: list[Frame] = []

    def noted(window: Window, shape: tuple[int, int]) -> Frame:
        read.append(Frame(window, shape))
        return read[-1]

    monkeypatch.setattr(images, "CACHE_MB", 1)
    monkeypatch.setattr(images, "Frame", noted)
    found = images.read_layers(scene, [4, 2, 0], frame)
    assert len(read) > 3
    assert list(found) == [4, 2, 0]
    for position, layer in found.items():
        assert np.array_equal(np.isnan(layer), np.ma.getmaskarray(whole[position]))
        # Means of whole numbers are rounded, and halves may go either way.
        assert np.abs(layer[~np.isnan(layer)] - whole[position].compressed()).max() <= 1


def test_unreadable_raster(tmp_path: Path) -> None:
    (tmp_path / "m.tif").write_text("x")
    with pytest.raises(RasterError, match=r"m\.tif"):
        read_classes(tmp_path / "m.tif", frame_of(LARGE))


@pytest.mark.parametrize(
    ("bands", "chosen"),
    [
        (["red", "green", "blue", "nir"], {"natural": (0, 1, 2), "false": (3, 0, 1)}),
        (["RED", "Green", "BLUE", "SWIR1", "NIR"], {"natural": (0, 1, 2), "false": (3, 4, 0)}),
        (S2_18, {"natural": (2, 1, 0), "false": (4, 3, 2)}),
        (["red_swir1", "ndsi", *S2_18[:5]], {"natural": (4, 3, 2), "false": (6, 5, 4)}),
        (["B02", "B03", "B04", "B08", "B11", "B12"], {"natural": (2, 1, 0), "false": (4, 3, 2)}),
        (["B02", "B03", "B04", "B08"], {"natural": (2, 1, 0), "false": (3, 2, 1)}),
        (["b2", "b3", "b4", "b8"], {"natural": (2, 1, 0)}),
        (["B2", "B3", "B4", "B6", "B10"], {"natural": (2, 1, 0)}),
        (["B1", "B2", "B3", "B4", "B5", "B7"], {"natural": (2, 1, 0), "false": (4, 3, 2)}),
        (["B2 blue", "B3 green", "B4 red"], {"natural": (2, 1, 0)}),
        (["a", "b", "c", "d"], {"first": (0, 1, 2)}),
        (["B2", "B3", "B4", "band_5"], {"natural": (2, 1, 0)}),  # the fifth band is not B5
        ([f"band_{number}" for number in range(1, 13)], {"first": (0, 1, 2)}),
        (["nir"], {"first": (0, 0, 0)}),
        ([], {}),
    ],
)
def test_bands_are_chosen_by_name(bands: list[str], chosen: dict[str, tuple[int, int, int]]) -> None:
    assert {recipe.key: recipe.bands for recipe in composite_recipes(bands)} == chosen


def test_stretch_and_holes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(100, 1100, (3, *GRID.shape)).astype(np.uint16)
    values[:, :5, :5] = 0
    write_raster(tmp_path / "s.tif", values, GRID, bands=["red", "green", "blue"], nodata=0, cog=False)
    scene = open_scene(tmp_path / "s.tif")
    recipe = composite_recipes(scene.band_names)[0]
    image = read_composite(scene, recipe, frame_of(scene.grid))
    assert (image.pixels[..., 3] == 0).sum() == 25
    assert not image.pixels[:5, :5].any()
    low, high = np.percentile(values[0][values[0] > 0], (1, 99))
    assert image.limits[0] == pytest.approx((low, high))
    expected = np.clip((values[0] - low) / (high - low), 0, 1)[10:] * 255
    assert np.abs(image.pixels[10:, :, 0] - expected).max() <= 0.5 + 1e-3
    assert (grey_of(image)[:5, :5] == 255).all()
    again = read_composite(scene, recipe, frame_of(scene.grid), ((0, 1), (0, 1), (0, 1)))
    assert (again.pixels[10:, :, :3] == 255).all()


def test_flat_scene_is_no_division_by_zero(tmp_path: Path) -> None:
    write_raster(tmp_path / "s.tif", np.full((1, 48, 64), 7, np.uint8), GRID, bands=["x"], nodata=None)
    scene = open_scene(tmp_path / "s.tif")
    image = read_composite(scene, composite_recipes(scene.band_names)[0], frame_of(scene.grid))
    assert (image.pixels == [0, 0, 0, 255]).all()


def test_dark_image_is_brightened_as_a_whole(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(0, 60, (3, *GRID.shape))
    values[:, :, :8] = 1000
    write_raster(
        tmp_path / "s.tif", values.astype(np.uint16), GRID, bands=["red", "green", "blue"], nodata=None
    )
    scene = open_scene(tmp_path / "s.tif")
    recipe, frame = composite_recipes(scene.band_names)[0], frame_of(scene.grid)
    image, plain = read_composite(scene, recipe, frame), read_composite(scene, recipe, frame, exponent=1.0)
    assert image.exponent < 1
    shares = plain.pixels[..., :3] / 255
    expected = 255 * shares**image.exponent
    # The plain image is rounded, and the curve is steep near black.
    bright = shares > 0.02
    np.testing.assert_allclose(image.pixels[..., :3][bright], expected[bright], atol=4)
    assert (image.pixels[:, :8, :3] == 255).all()
    assert np.median(image.pixels[..., :3]) > 2 * np.median(plain.pixels[..., :3])
    part = read_composite(scene, recipe, part_of(Window(20, 10, 8, 8), 8), image.limits, image.exponent)
    np.testing.assert_array_equal(part.pixels, image.pixels[10:18, 20:28])


def test_sensor_tells_what_numbered_bands_are() -> None:
    bands = ["B1", "B2", "B3", "B4"]
    assert composite_recipes(bands, "landsat8")[0].bands == (3, 2, 1)
    assert composite_recipes(bands, "landsat7")[0].bands == (2, 1, 0)
