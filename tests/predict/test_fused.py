from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from glacierseg.models import MODELS, create_model
from glacierseg.models.blocks import ResidualBlock
from glacierseg.models.device import has_native_bf16
from glacierseg.models.scaling import Scaling
from glacierseg.predict import fused as fused_module
from glacierseg.predict.engines import TorchPredictor
from glacierseg.predict.fused import fused
from tests.predict.test_export import lively

BANDS = 5


def example(side_px: int = 64, count: int = 1) -> torch.Tensor:
    return torch.randn(count, BANDS, side_px, side_px, generator=torch.Generator().manual_seed(side_px))


def probability(network: nn.Module, x: torch.Tensor, *, bf16: bool = False) -> torch.Tensor:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        result: torch.Tensor = network(x).float().softmax(1)[:, -1]
        return result


def network_of(name: str) -> nn.Module:
    torch.manual_seed(1)
    network: Any = lively(create_model(name, BANDS, 2, 0.125))
    result: nn.Module = network.to(memory_format=torch.channels_last)
    return result


@pytest.mark.parametrize("calls", ["fused", "public"])
@pytest.mark.parametrize("name", MODELS)
def test_the_copy_is_the_same_function_without_batch_norm(
    name: str, calls: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if calls == "public":
        monkeypatch.setattr(fused_module, "has_fused_calls", lambda bf16: False)  # noqa: ARG005
    network = network_of(name)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    made = fused(network, example(), bf16=False)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in made.modules())
    for side, count in ((64, 3), (80, 1), (50, 2)):
        x = example(side, count)
        torch.testing.assert_close(probability(made, x), probability(network, x), atol=1e-5, rtol=0)
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, state[key], atol=0, rtol=0)


@pytest.mark.skipif(not has_native_bf16(), reason="this processor does not compute in bf16")
@pytest.mark.parametrize("name", MODELS)
def test_bf16_is_no_farther_off_than_autocast(name: str) -> None:
    network, x = network_of(name), example(64, 4)
    exact = probability(network, x)
    usual = (probability(network, x, bf16=True) - exact).abs()
    error = (probability(fused(network, example(), bf16=True), x, bf16=True) - exact).abs()
    assert 0 < error.mean() <= 1.2 * usual.mean()
    assert error.max() <= 1.5 * usual.max()


@pytest.mark.parametrize("fast", [True, False])
def test_a_residual_block_may_come_last(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then its shortcut is the last convolution and in float32, and its second one is not."""
    if not fast:
        monkeypatch.setattr(fused_module, "has_fused_calls", lambda bf16: False)  # noqa: ARG005
    torch.manual_seed(4)
    network = lively(nn.Sequential(ResidualBlock(BANDS, 4)))
    x = example(24, 2)
    made = fused(network, example(), bf16=True)
    torch.testing.assert_close(probability(made, x, bf16=True), probability(network, x), atol=0.02, rtol=0)


class Foreign(nn.Module):
    """What other people's networks do: layers as attributes, one ReLU for all, a norm with no convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first_norm = nn.BatchNorm2d(BANDS)
        self.conv = nn.Conv2d(BANDS, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8, affine=False)
        self.relu = nn.ReLU()
        self.strided = nn.Conv2d(8, 8, 3, padding=1, stride=2, groups=4, bias=False)
        self.strided_norm = nn.BatchNorm2d(8)
        self.mirrored = nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")
        self.mirrored_norm = nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.twice = nn.Conv2d(6, 6, 1)
        self.twice_norm = nn.BatchNorm2d(6)
        self.head = nn.Conv2d(6, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.norm(self.conv(self.first_norm(x))))
        x = self.relu(self.strided_norm(self.strided(x)))
        x = self.up(self.mirrored_norm(self.mirrored(x)))
        x = self.twice_norm(self.twice(x)) + self.twice(x)
        result: torch.Tensor = self.head(F.relu(x))
        return result


def test_a_foreign_network_keeps_what_cannot_be_folded() -> None:
    torch.manual_seed(2)
    network = lively(Foreign())
    made = fused(network, example(), bf16=False)
    left = [name for name, module in made.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert left == ["first_norm", "mirrored_norm", "twice_norm"]
    x = example(48, 2)
    with torch.inference_mode():
        torch.testing.assert_close(made(x), network(x), atol=1e-5, rtol=1e-5)


class Peeking(nn.Module):
    """Uses the result of a convolution beside its batch norm, which no look at the layers shows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(BANDS, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        result: torch.Tensor = self.head(self.norm(x) * x)
        return result


def test_a_network_whose_copy_differs_stays_as_it_is() -> None:
    network = lively(Peeking())
    assert fused(network, example(), bf16=True) is network


def test_a_network_without_convolutions_stays_as_it_is() -> None:
    network = nn.Identity()
    assert fused(network, example(), bf16=True) is network


def test_small_batches_on_a_processor_give_every_window_its_own_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, scaling = network_of("m_landsnet"), Scaling((2.0,) * BANDS, (3.0,) * BANDS)
    values, valid = example(64, 5).numpy(), np.ones((5, 64, 64), bool)
    valid[3, :9] = False
    whole = TorchPredictor(network, scaling)(values, valid)
    monkeypatch.setattr("glacierseg.predict.engines._CPU_PIXELS", 2 * 64**2)
    parts = TorchPredictor(network, scaling)(values, valid)
    np.testing.assert_allclose(parts, whole, atol=1e-6)
    alone = [TorchPredictor(network, scaling)(values[[i]], valid[[i]])[0] for i in range(5)]
    np.testing.assert_allclose(parts, alone, atol=1e-6)
    assert np.abs(np.diff(parts, axis=0)).max() > 0.01


def test_three_classes_give_the_softmax_of_the_last() -> None:
    torch.manual_seed(0)
    network = create_model("m_landsnet", BANDS, 3, 0.125).eval()
    values, valid = example(32, 2).numpy(), np.ones((2, 32, 32), bool)
    found = TorchPredictor(network, Scaling((0.0,) * BANDS, (1.0,) * BANDS))(values, valid)
    wanted = probability(network, torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_fused_calls_are_used_where_torch_has_them() -> None:
    """They are private: a torch that renames them costs speed and nothing else, and this tells of it."""
    assert fused_module.has_fused_calls(bf16=False) == torch.backends.mkldnn.is_available()
