from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from glacierseg.models.card import ModelCard, save_model
from glacierseg.predict.scene import predict_scene
from glacierseg.raster.grid import Grid
from glacierseg.raster.scene import open_scene
from glacierseg.raster.write import write_raster
from tests.helpers import utm_grid


@pytest.mark.parametrize(
    ("turn", "back"),
    [
        (Affine.translation(0, 48) @ Affine.scale(1, -1), np.s_[::-1]),
        (Affine.translation(40, 0) @ Affine.scale(-1, 1), np.s_[:, ::-1]),
        (Affine.translation(40, 48) @ Affine.scale(-1, -1), np.s_[::-1, ::-1]),
    ],
    ids=["rows run north", "columns run west", "both"],
)
def test_networks_see_north_at_the_top(tmp_path: Path, turn: Affine, back: Any) -> None:
    rng = np.random.default_rng(2)
    card = ModelCard(
        architecture="m_landsnet", width=0.125, bands=("red", "nir"), patch_px=16,
        band_mean=(0.5, 0.5), band_std=(0.2, 0.2),
    )  # fmt: skip
    save_model(tmp_path / "model", card.build(), card)
    values = rng.random((2, 48, 40)).astype(np.float32)
    grid = utm_grid(48, 40)
    turned = Grid(grid.crs, grid.transform @ turn, 48, 40)
    maps = []
    mirrored = np.stack([layer[back] for layer in values])
    for name, layers, own in (("plain", values, grid), ("turned", mirrored, turned)):
        write_raster(tmp_path / f"{name}.tif", layers, own, bands=["red", "nir"], nodata=None, cog=False)
        files = predict_scene(
            tmp_path / "model", open_scene(tmp_path / f"{name}.tif"), tmp_path / "maps", precision="float32"
        )
        with rasterio.open(files.probability) as dataset:
            maps.append(dataset.read(1))
            assert Grid(dataset.crs, dataset.transform, 48, 40).difference(own) is None
    assert np.ptp(maps[0]) > 1e-3
    np.testing.assert_allclose(maps[1][back], maps[0], atol=1e-5)
