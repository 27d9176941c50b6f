from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from glacierseg.predict import members
from glacierseg.predict.members import Ensemble
from glacierseg.predict.scene import predict_scene
from glacierseg.raster.grid import Grid
from glacierseg.raster.scene import open_scene
from glacierseg.raster.write import write_raster
from glacierseg.training.checkpoint import ModelCard, save_model
from tests.helpers import utm_grid, write_scene


@pytest.mark.parametrize(
    ("names", "bands", "looks"),
    [
        (("texture_mlp", "m_landsnet"), ("red", "nir"), [1, 8]),
        (("texture_mlp", "m_landsnet"), ("red", "aspect_sin", "aspect_cos"), [8, 8]),
        (("texture_mlp",), ("red", "nir"), [1]),
        (("texture_mlp",), ("red", "aspect_sin", "aspect_cos"), [8]),
    ],
)
def test_a_network_that_sees_the_same_in_all_symmetries_looks_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...],
    bands: tuple[str, ...],
    looks: list[int],
) -> None:
    seen = [0] * len(names)

    def predictor(engine: str, network: Any, *_: object, **__: object) -> members.Predictor:
        number = list(ensemble.networks).index(network)

        def predict(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
            seen[number] += 1
            return np.zeros(valid.shape, np.float32)

        return predict

    cards = tuple(
        ModelCard(
            architecture=name, width=0.125, bands=bands, patch_px=16,
            band_mean=(0.5,) * len(bands), band_std=(0.2,) * len(bands),
        )
        for name in names
    )  # fmt: skip
    ensemble = Ensemble(tuple(card.build() for card in cards), cards)
    values = np.random.default_rng(1).random((len(bands), 16, 16)).astype(np.float32)
    scene = open_scene(write_scene(tmp_path / "s.tif", values, list(bands)))
    monkeypatch.setattr(members, "make_predictor", predictor)
    for predict in ensemble.predictors(scene, window_px=16, symmetries=True):
        predict(values[None], np.ones((1, 16, 16), bool))
    assert seen == looks


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
