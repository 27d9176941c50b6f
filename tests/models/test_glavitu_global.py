import pytest
import torch

from glacierseg.errors import RequestError
from glacierseg.models.blocks import weighted_heads
from glacierseg.models.glavitu_global import Fusion, GlaViTUGlobal


@torch.inference_mode()
def test_fusion_sums_one_branch_per_group() -> None:
    fusion = Fusion([[2, 0], [1]], 8).eval()
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(fusion(x), fusion.branches[0](x[:, [2, 0]]) + fusion.branches[1](x[:, [1]]))


def test_groups_are_not_among_the_weights() -> None:
    keys = GlaViTUGlobal(3, width=0.125, groups=[[0, 1], [2]]).state_dict()
    assert not [key for key in keys if "group" in key]


@pytest.mark.parametrize(
    "groups", [[[0, 1]], [[0, 1], [1, 2]], [[0, 1, 2], []], [[0, 1], [3]], [[-1, 0, 1]], []]
)
def test_groups_hold_each_channel_once(groups: list[list[int]]) -> None:
    with pytest.raises(RequestError, match="each of the channels 0 to 2"):
        GlaViTUGlobal(3, width=0.125, groups=groups)


def test_the_coarse_head_counts_half_and_does_not_see_the_unet() -> None:
    network = GlaViTUGlobal(3, width=0.125).eval()
    x = torch.randn(1, 3, 32, 32)
    (coarse_weight, coarse), (weight, logits) = weighted_heads(network, x)
    assert coarse_weight == pytest.approx(weight / 2)
    assert torch.equal(logits, network(x))
    coarse.square().sum().backward()
    assert all(p.grad is None for p in network.unet.parameters())
    assert all(p.grad is not None for p in network.transformer.parameters())
