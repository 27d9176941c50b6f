from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from glacierseg.errors import BandError
from glacierseg.raster.prepare.select import select_bands
from glacierseg.raster.scene import open_scene


def test_bands_by_name_and_number(make_raster: Callable[..., Path], tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 9, (3, 20, 30)).astype(np.int16)
    scene = open_scene(make_raster("a.tif", values, names=["p", "q", "r"], nodata=4))
    out = select_bands(scene, ["r", 1], tmp_path / "out.tif", compress=False)
    with rasterio.open(out) as dataset:
        np.testing.assert_array_equal(dataset.read(), values[[2, 0]])
        assert dataset.descriptions == ("r", "p")
        assert dataset.nodata == 4
        assert dataset.dtypes == ("int16", "int16")
        assert dataset.transform == scene.grid.transform
    with pytest.raises(BandError, match="has no band 's'"):
        select_bands(scene, ["s"], tmp_path / "none.tif")


def test_mask_inside_the_file_is_kept(make_raster: Callable[..., Path], tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (4, 20, 30)).astype(np.uint8)
    mask = np.random.default_rng(1).random((20, 30)) > 0.5
    scene = open_scene(make_raster("a.tif", values, mask=mask))
    with rasterio.open(select_bands(scene, [4, 2], tmp_path / "out.tif")) as dataset:
        np.testing.assert_array_equal(dataset.dataset_mask() > 0, mask)
        np.testing.assert_array_equal(dataset.read()[:, mask], values[[3, 1]][:, mask])


def test_bands_that_disagree_on_nodata_keep_their_own_gaps(
    make_raster: Callable[..., Path], tmp_path: Path
) -> None:
    first, second = np.array([[0, 1]], np.uint8), np.array([[0, 7]], np.uint8)
    scene = open_scene(
        [make_raster("a.tif", first, nodata=0), make_raster("b.tif", second, nodata=7)], bands=["a", "b"]
    )
    with rasterio.open(select_bands(scene, ["a", "b"], tmp_path / "out.tif")) as dataset:
        np.testing.assert_array_equal(dataset.read(), [[[np.nan, 1]], [[0, np.nan]]])


@pytest.mark.parametrize(
    ("bands", "words"),
    [([], "no band is asked for; its bands are p, q"), (["p", 1], "'p' is asked for twice")],
)
def test_bands_that_cannot_be_selected(
    make_raster: Callable[..., Path], tmp_path: Path, bands: list[str | int], words: str
) -> None:
    scene = open_scene(make_raster("a.tif", np.zeros((2, 4, 4), np.uint8), names=["p", "q"]))
    with pytest.raises(BandError, match=words):
        select_bands(scene, bands, f"{tmp_path}/out.tif")
