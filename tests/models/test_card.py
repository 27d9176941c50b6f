import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from glacierseg.errors import CheckpointError, RequestError
from glacierseg.models.card import ModelCard, load_model, save_model
from glacierseg.models.registry import create_model

CARD = ModelCard(
    architecture="m_landsnet",
    width=0.125,
    bands=("red", "nir"),
    band_mean=(1.5, 2.5),
    band_std=(0.1, 3.0),
    patch_px=32,
    training={"best_epoch": 3},
)


def test_a_saved_model_loads_with_equal_output_and_card(tmp_path: Path) -> None:
    network = CARD.build().eval()
    save_model(tmp_path, network, CARD)
    loaded, card = load_model(tmp_path)
    image = torch.randn(1, 2, 40, 33)
    assert card == CARD
    assert torch.equal(loaded(image), network(image))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]


def test_whoever_may_read_the_card_may_read_the_weights(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        save_model(tmp_path, CARD.build(), CARD)
    finally:
        os.umask(before)
    card, weights = (tmp_path / name for name in ("model.json", "model.safetensors"))
    assert weights.stat().st_mode & 0o777 == card.stat().st_mode & 0o777


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    network = CARD.build()
    for number in range(8):
        save_model(tmp_path / str(number), network, CARD)
    assert len({path.read_bytes() for path in tmp_path.glob("*/model.safetensors")}) == 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "model.json").unlink(), "is no model folder"),
        (lambda f: (f / "model.safetensors").unlink(), "its training did not finish"),
        (lambda f: (f / "model.json").write_text("{}"), "is not a card"),
        (lambda f: (f / "model.json").write_text("not json"), "is not a card"),
        (lambda f: (f / "model.safetensors").write_bytes(b"1234567890"), "is damaged"),
        (
            lambda f: (f / "model.json").write_text(
                CARD.model_copy(update={"width": 0.25}).model_dump_json()
            ),
            "does not fit",
        ),
        (
            lambda f: (f / "model.json").write_text(
                CARD.model_copy(update={"architecture": "texture_mlp"}).model_dump_json()
            ),
            r"model\.json: no network is called 'texture_mlp'; there are .*; train another network",
        ),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(
    tmp_path: Path, damage: Callable[[Path], Any], message: str
) -> None:
    save_model(tmp_path, CARD.build(), CARD)
    damage(tmp_path)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_loaded_network_may_be_pruned_and_others_may_not(tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = {"deep_supervision": True}
    for name, own in (("unetplusplus", options), ("glavitu", {})):
        network = create_model(name, 2, 2, 0.125, **own)
        card = ModelCard(
            architecture=name, width=0.125, options=own, bands=("a", "b"), band_mean=(0, 0), band_std=(1, 1),
            patch_px=32,
        )  # fmt: skip
        save_model(tmp_path / name, network, card)
    x = torch.randn(1, 2, 32, 32)
    with torch.inference_mode():
        whole: Any = load_model(tmp_path / "unetplusplus")[0]
        heads = whole.forward_heads(x)
        for level in (1, 2, 3, 4):
            pruned, _ = load_model(tmp_path / "unetplusplus", prune_level=level)
            assert torch.equal(pruned(x), heads[level - 1])
    with pytest.raises(RequestError, match="is a glavitu, which cannot be pruned"):
        load_model(tmp_path / "glavitu", prune_level=2)


def test_card_shows_itself_in_a_line() -> None:
    assert repr(CARD) == str(CARD) == "ModelCard(m_landsnet; bands red, nir; patch 32 px)"
    regions = {"regions": ["a", "b", "c", "d", "e", "f"]}
    more = CARD.model_copy(update={"unit": "reflectance", "pixel_m": 10.0, "training": regions})
    assert repr(more) == (
        "ModelCard(m_landsnet; bands red, nir; patch 32 px of 10 m; unit reflectance; "
        "trained on a, b, c, d, 2 more regions)"
    )
