from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glacierseg.predict import members
from glacierseg.predict.members import Ensemble
from glacierseg.raster.scene import open_scene
from glacierseg.training.checkpoint import ModelCard
from tests.helpers import write_scene


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
