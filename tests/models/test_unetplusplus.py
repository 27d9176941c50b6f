import pytest
import torch

from glacierseg.errors import RequestError
from glacierseg.models.blocks import weighted_heads
from glacierseg.models.unetplusplus import UNetPlusPlus


@pytest.fixture
def network() -> UNetPlusPlus:
    torch.manual_seed(0)
    return UNetPlusPlus(3, width=0.125, deep_supervision=True).eval()


def test_there_are_fifteen_nodes(network: UNetPlusPlus) -> None:
    assert len(network.nodes) == 15
    assert len(network.ups) == 10


@torch.inference_mode()
def test_forward_gives_the_head_of_the_prune_level(network: UNetPlusPlus) -> None:
    x = torch.randn(1, 3, 40, 32)
    heads = network.forward_heads(x)
    assert len(heads) == 4
    for level in (1, 2, 3, 4):
        network.prune_level = level
        # Pruning leaves the nodes that remain as they were.
        torch.testing.assert_close(network(x), heads[level - 1])
        assert len(network.forward_heads(x)) == level
    assert not torch.equal(heads[0], heads[3])


def test_a_pruned_network_ignores_the_nodes_it_does_not_need(network: UNetPlusPlus) -> None:
    network.prune_level = 2
    network(torch.randn(1, 3, 32, 32)).sum().backward()
    touched = {
        key for key, node in network.nodes.items() if any(p.grad is not None for p in node.parameters())
    }
    assert touched == {"0_0", "1_0", "2_0", "0_1", "1_1", "0_2"}


def test_training_weighs_all_heads_alike(network: UNetPlusPlus) -> None:
    x = torch.randn(1, 3, 32, 32)
    weights, logits = zip(*weighted_heads(network, x), strict=True)
    assert weights == (0.25,) * 4
    assert torch.equal(logits[3], network(x))
    plain = UNetPlusPlus(3, width=0.125).eval()
    ((weight, only),) = weighted_heads(plain, x)
    assert weight == 1.0
    assert torch.equal(only, plain(x))


@pytest.mark.parametrize("level", [0, 5])
def test_a_level_that_does_not_exist_is_refused(network: UNetPlusPlus, level: int) -> None:
    with pytest.raises(RequestError, match="heads at 1, 2, 3, 4 only"):
        network.prune_level = level


def test_pruning_needs_deep_supervision() -> None:
    with pytest.raises(RequestError, match="train with deep_supervision"):
        UNetPlusPlus(3, prune_level=2, width=0.125)
