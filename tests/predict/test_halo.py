from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from glacierseg.errors import RequestError
from glacierseg.models.card import ModelCard, save_model
from glacierseg.predict.ensemble import Ensemble, load_ensemble
from glacierseg.predict.halo import halo_agreement
from glacierseg.predict.scene import predict_scene
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.settings import PredictSettings
from tests.helpers import write_scene

WAYS = PredictSettings(halo_px=16, window_px=64, batch_size=4)
CARD = ModelCard(architecture="m_landsnet", bands=("red",), band_mean=(0.0,), band_std=(1.0,), patch_px=32)


class Local(nn.Module):
    """Looks so many pixels far; with `whole`, at its window's mean too."""

    def __init__(self, *, whole: bool) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(5, 1, 2, count_include_pad=False)
        self.whole = whole

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        margin = 3 * (self.pool(x)[:, 0] - 0.5)
        if self.whole:
            margin = margin + 40 * (x[:, 0].mean((1, 2), keepdim=True) - 0.5)
        return torch.stack([-margin, margin], 1)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    patches = np.random.default_rng(0).random((1, 30, 26)).astype(np.float32)
    values = np.kron(patches, np.ones((1, 10, 10), np.float32))
    return open_scene(write_scene(tmp_path / "s.tif", values, ["red"]))


def test_a_network_that_looks_no_farther_than_the_halo_agrees(scene: Scene) -> None:
    # Inside a blended window its rim shows, where the network cannot look farther; its weight there is small.
    agreement = halo_agreement(Ensemble((Local(whole=False),), (CARD,)), scene, WAYS)
    assert agreement.equal > 0.98
    assert agreement.iou is not None
    assert agreement.iou > 0.97


def test_a_network_that_looks_at_its_whole_window_does_not(scene: Scene) -> None:
    agreement = halo_agreement(Ensemble((Local(whole=True),), (CARD,)), scene, WAYS)
    assert agreement.iou is not None
    assert agreement.iou < 0.95
    assert f"IoU {agreement.iou:.4f}" in str(agreement)
    assert str(agreement).endswith("train on larger patches")


def test_a_scene_without_data_or_glacier_has_no_iou(tmp_path: Path) -> None:
    for value, nodata, pixels in ((0.0, None, 300 * 260), (7.0, 7.0, 0)):
        path = write_scene(
            tmp_path / f"{value}.tif", np.full((1, 300, 260), value, np.float32), ["red"], nodata=nodata
        )
        agreement = halo_agreement(Ensemble((Local(whole=False),), (CARD,)), open_scene(path), WAYS)
        assert agreement.iou is None
        assert 0 <= agreement.pixels <= pixels
        assert "no glacier" in str(agreement)


@pytest.mark.parametrize(
    ("name", "allowed"), [("m_landsnet", True), ("unetplusplus", True), ("glavitu", False)]
)
def test_a_halo_is_for_convolutional_networks_only(
    scene: Scene, tmp_path: Path, name: str, *, allowed: bool
) -> None:
    card = ModelCard(
        architecture=name, width=0.125, bands=("red",), band_mean=(0.5,), band_std=(0.3,), patch_px=32
    )
    save_model(tmp_path / "model", card.build(), card)
    ensemble = load_ensemble([tmp_path / "model"])
    if allowed:
        assert predict_scene(
            ensemble, scene, tmp_path, PredictSettings(window_px=64, halo_px=16)
        ).mask.exists()
    else:
        with pytest.raises(RequestError, match="glavitu looks at whole windows"):
            predict_scene(ensemble, scene, tmp_path, PredictSettings(window_px=64, halo_px=16))
