from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from glacierseg.errors import CheckpointError
from glacierseg.models.card import ModelCard, save_model
from glacierseg.models.registry import create_model
from glacierseg.training.finetune import Inherited, start_from

OLD = ("blue", "red", "slope")


def trained(folder: Path, name: str, **options: object) -> nn.Module:
    torch.manual_seed(1)
    network = create_model(name, 3, 2, 0.125, **options).eval()
    card = ModelCard(
        architecture=name, width=0.125, options=options, bands=OLD, band_mean=(0, 0, 0), band_std=(1, 1, 1),
        patch_px=32,
    )  # fmt: skip
    save_model(folder, network, card)
    return network


NETWORKS = [
    ("m_landsnet", {}, {}),
    ("unetplusplus", {"deep_supervision": True}, {"deep_supervision": True}),
    ("glavitu", {}, {}),
    ("glavitu_global", {"groups": [[1, 0], [2]]}, {"groups": [[1, 2], [0, 3]]}),
]


@pytest.mark.parametrize(("name", "old_options", "options"), NETWORKS, ids=[n[0] for n in NETWORKS])
def test_weights_go_over_by_band_name(
    tmp_path: Path, name: str, old_options: dict[str, Any], options: dict[str, Any]
) -> None:
    source = trained(tmp_path, name, **old_options)
    torch.manual_seed(2)
    bands = ("slope", "nir", "red", "elevation")
    network = create_model(name, 4, 2, 0.125, **options).eval()
    inherited = start_from(network, bands, tmp_path, name)
    assert inherited == Inherited(("slope", "red"), ("nir", "elevation"), ("blue",))
    x = torch.randn(1, 4, 32, 32)
    x[:, [1, 3]] = 0
    old = torch.zeros(1, 3, 32, 32)
    old[:, 1], old[:, 2] = x[:, 2], x[:, 0]
    torch.testing.assert_close(network(x), source(old))


def test_the_same_bands_give_the_same_network(tmp_path: Path) -> None:
    source = trained(tmp_path, "glavitu")
    torch.manual_seed(2)
    network = create_model("glavitu", 3, 2, 0.125).eval()
    start_from(network, OLD, tmp_path, "glavitu")
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), source.parameters(), strict=True))


@pytest.mark.parametrize(
    ("name", "width", "bands", "message"),
    [
        ("m_landsnet", 0.125, OLD, "is a glavitu, and m_landsnet is to start from it"),
        ("glavitu", 0.25, OLD, "has another width"),
        ("glavitu", 0.125, ("ndsi",), "has none of the bands ndsi; it was trained on blue, red, slope"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, name: str, width: float, bands: tuple[str, ...], message: str
) -> None:
    trained(tmp_path, "glavitu")
    with pytest.raises(CheckpointError, match=message):
        start_from(create_model(name, len(bands), 2, width), bands, tmp_path, name)
