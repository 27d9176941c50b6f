import numpy as np
import pytest

from glacierseg.raster.scene import open_scene
from glacierseg.raster.write import write_raster
from glacierseg.report.composites import composite_recipes, grey_of, read_composite
from glacierseg.report.decimate import frame_of
from tests.report.conftest import GRID

S2_18 = [*("blue", "green", "red", "nir", "swir1", "swir2"), *("ndsi", "ndvi", "red_swir1", "s3", "slope")]


@pytest.mark.parametrize(
    ("bands", "chosen"),
    [
        (["red", "green", "blue", "nir"], {"natural": (0, 1, 2), "false": (3, 0, 1)}),
        (["RED", "Green", "BLUE", "SWIR1", "NIR"], {"natural": (0, 1, 2), "false": (3, 4, 0)}),
        (S2_18, {"natural": (2, 1, 0), "false": (4, 3, 2)}),
        (["red_swir1", "ndsi", *S2_18[:5]], {"natural": (4, 3, 2), "false": (6, 5, 4)}),
        (["B02", "B03", "B04", "B08", "B11", "B12"], {"natural": (2, 1, 0), "false": (4, 3, 2)}),
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
def test_bands_are_chosen_by_name(bands, chosen):
    assert {recipe.key: recipe.bands for recipe in composite_recipes(bands)} == chosen


def test_stretch_and_holes(tmp_path):
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


def test_flat_scene_is_no_division_by_zero(tmp_path):
    write_raster(tmp_path / "s.tif", np.full((1, 48, 64), 7, np.uint8), GRID, bands=["x"], nodata=None)
    scene = open_scene(tmp_path / "s.tif")
    image = read_composite(scene, composite_recipes(scene.band_names)[0], frame_of(scene.grid))
    assert (image.pixels == [0, 0, 0, 255]).all()
