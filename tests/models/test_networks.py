"""What holds for every network alike."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from glacierseg.errors import RequestError
from glacierseg.models import MODELS, create_model
from glacierseg.models.blocks import band_readers, weighted_heads
from tests.helpers import present

# Every network as it comes, and with each option that changes its graph.
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in MODELS),
    ("unetplusplus", {"deep_supervision": True}),
    ("glavitu_global", {"deep_supervision": False, "groups": ((2, 0), (1,))}),
]
IDS = ["+".join([name, *options]) for name, options in VARIANTS]
every_network = pytest.mark.parametrize(("name", "options"), VARIANTS, ids=IDS)
# Capturing the largest network takes ten seconds: its variant has all its layers, and a second stem.
every_graph = pytest.mark.parametrize(
    ("name", "options"), [own for own in VARIANTS if own != ("glavitu_global", {})]
)


def make(
    name: str, options: dict[str, Any], in_channels: int = 3, classes: int = 2, width: float = 0.125
) -> nn.Module:
    torch.manual_seed(7)
    return create_model(name, in_channels, classes, width, **options)


def settled(network: nn.Module) -> nn.Module:
    """In evaluation mode, with statistics of batch norm that are not the neutral ones they start from.

    The heads start near zero; larger ones make a difference in the features a difference in the logits.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(present(module.running_mean), -0.2, 0.2)
            nn.init.uniform_(present(module.running_var), 0.5, 2.0)
    for key, parameter in network.named_parameters():
        if "head" in key and key.endswith("weight"):
            nn.init.normal_(parameter)
    return network.eval()


def image(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(11))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("in_channels", "classes", "width", "size_px"),
    [(1, 2, 0.125, (32, 32)), (3, 2, 0.125, (37, 53)), (6, 3, 0.3, (64, 48)), (18, 2, 0.125, (5, 70))],
)
@torch.inference_mode()
def test_logits_lie_on_the_pixels_of_the_input(
    name: str, in_channels: int, classes: int, width: float, size_px: tuple[int, int]
) -> None:
    network = make(name, {}, in_channels, classes, width).eval()
    logits = network(image(1, in_channels, *size_px))
    assert logits.shape == (1, classes, *size_px)
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", MODELS)
def test_first_weights_that_read_the_bands_are_small(name: str) -> None:
    network = make(name, {}, in_channels=5)
    marked: list[Any] = [network.get_submodule(key.removesuffix(".weight")) for key in band_readers(network)]
    read: list[nn.Module] = []
    bands = image(1, 5, 32, 32)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(
                lambda conv, inputs: read.append(conv) if torch.equal(inputs[0], bands) else None
            )
    network.eval()(bands)
    assert marked
    assert set(read) == set(marked)
    for conv in marked:
        full = (2 / (conv.in_channels * conv.kernel_size[0] ** 2)) ** 0.5
        assert float(conv.weight.detach().std()) == pytest.approx(0.1 * full, rel=0.5)


@every_network
@torch.inference_mode()
def test_a_band_is_read_by_the_marked_weights_and_no_others(
    name: str, options: dict[str, bool | tuple[tuple[int, int], tuple[int]]]
) -> None:
    network = settled(make(name, options))
    x = image(1, 3, 32, 32)
    changed = x.clone()
    changed[:, 1] += 3
    assert not torch.allclose(network(x), network(changed), atol=1e-3)
    state, readers = network.state_dict(), band_readers(network)
    assert readers
    for key, bands in readers.items():
        for place, band in enumerate(bands):
            if band == 1:
                state[key][:, place] = 0
    torch.testing.assert_close(network(x), network(changed))


@every_network
def test_the_same_seed_gives_the_same_step(
    name: str, options: dict[str, bool | tuple[tuple[int, int], tuple[int]]]
) -> None:
    results = []
    for _ in range(2):
        network = make(name, options).train()
        pairs = weighted_heads(network, image(2, 3, 32, 32))
        loss: Any = sum(weight * logits.square().mean() for weight, logits in pairs)
        loss.backward()
        results.append([*network.state_dict().values(), *(p.grad for p in network.parameters())])
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@every_graph
@torch.inference_mode()
def test_compiled_as_one_graph_it_gives_the_same(
    name: str, options: dict[str, bool | tuple[tuple[int, int], tuple[int]]]
) -> None:
    network = settled(make(name, options))
    x = image(2, 3, 32, 48)
    torch._dynamo.reset()
    # Without a C++ compiler: what can break is the capture of the graph, not the code made of it.
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), network(x), rtol=1e-4, atol=1e-4)


@every_graph
def test_exported_with_any_batch_it_gives_the_same(
    name: str, options: dict[str, bool | tuple[tuple[int, int], tuple[int]]]
) -> None:
    network = settled(make(name, options))
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(network, (image(2, 3, 32, 32),), dynamic_shapes=({0: batch},))
    for size in (2, 5):
        x = image(size, 3, 32, 32)
        torch.testing.assert_close(program.module()(x), network(x), rtol=1e-4, atol=1e-4)


@every_network
def test_every_parameter_learns(
    name: str, options: dict[str, bool | tuple[tuple[int, int], tuple[int]]]
) -> None:
    network = make(name, options).train()
    loss: Any = sum(
        weight * nn.functional.cross_entropy(logits, torch.arange(2).repeat(2, 32, 16))
        for weight, logits in weighted_heads(network, image(2, 3, 32, 32))
    )
    loss.backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().max() > 0, key


@every_network
def test_a_few_steps_fit_one_patch(
    name: str, options: dict[str, bool | tuple[tuple[int, int], tuple[int]]]
) -> None:
    network = make(name, options, width=0.25).train()
    x = image(2, 3, 32, 32)
    truth = (nn.functional.avg_pool2d(x[:, 0], 5, 1, 2) > 0).long()
    optimizer = torch.optim.Adam(network.parameters(), max(2e-3, MODELS[name].learning_rate))
    losses = []
    for _ in range(80):
        pairs = weighted_heads(network, x)
        loss: Any = sum(weight * nn.functional.cross_entropy(logits, truth) for weight, logits in pairs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if losses[-1] < 0.4:  # well below what is asked
            break
    assert losses[0] == pytest.approx(0.693, abs=0.1), "the first probabilities are even"
    # The slowest, with dropout, comes to 0.46 or less with three seeds; chance alone gives 0.69.
    assert losses[-1] < 0.5


@every_network
@torch.inference_mode()
def test_evaluation_repeats_itself(
    name: str, options: dict[str, bool | tuple[tuple[int, int], tuple[int]]]
) -> None:
    network = settled(make(name, options))
    x = image(2, 3, 48, 32)
    assert torch.equal(network(x), network(x))


@every_network
@torch.inference_mode()
def test_a_sample_does_not_see_its_neighbours_in_the_batch(
    name: str, options: dict[str, bool | tuple[tuple[int, int], tuple[int]]]
) -> None:
    network = settled(make(name, options))
    x = image(3, 3, 32, 48)
    together = network(x)
    alone = torch.cat([network(sample[None]) for sample in x])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=1e-2), "samples differ, or the test is blind"


@every_network
@torch.inference_mode()
def test_weights_survive_safetensors(
    name: str, options: dict[str, bool | tuple[tuple[int, int], tuple[int]]], tmp_path: Path
) -> None:
    network = settled(make(name, options))
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    torch.manual_seed(8)
    other = create_model(name, 3, 2, 0.125, **options).eval()
    x = image(1, 3, 32, 32)
    assert not torch.equal(network(x), other(x))
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(network(x), other(x))


@every_network
@torch.inference_mode()
def test_memory_layout_does_not_matter(
    name: str, options: dict[str, bool | tuple[tuple[int, int], tuple[int]]]
) -> None:
    network = settled(make(name, options))
    x = image(2, 3, 32, 48)
    plain = network(x)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    other = network(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(other, plain, rtol=1e-4, atol=1e-4)


@every_network
@torch.inference_mode()
def test_bfloat16_stays_close(
    name: str, options: dict[str, bool | tuple[tuple[int, int], tuple[int]]]
) -> None:
    network = settled(make(name, options))
    x = image(1, 3, 32, 32)
    exact = network(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = network(x)
    # bfloat16 keeps 8 bits: about half a percent per layer, over some thirty layers.
    assert (rough.float() - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize("name", ["m_landsnet", "unetplusplus"])
@torch.inference_mode()
def test_padding_leaves_far_pixels_alone_where_the_network_is_local(name: str) -> None:
    """A window that has to be padded gives the same logits away from its rim as one that has not."""
    network = settled(make(name, {}))
    x = image(1, 3, 352, 48)
    whole = network(x)
    cut = network(x[..., :344, :])
    tolerance = 1e-3 * whole.std()
    assert (whole[..., :64, :] - cut[..., :64, :]).abs().max() < tolerance
    assert (whole[..., :344, :] - cut).abs().max() > tolerance


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("sizes", "word"),
    [
        ((0, 2, 1.0), "in_channels"),
        ((3, 1, 1.0), "classes"),
        ((3, 2, 0.0), "width"),
        ((3, 2, float("nan")), "width"),
    ],
)
def test_impossible_sizes_are_refused(name: str, sizes: tuple[int, int, float], word: str) -> None:
    with pytest.raises(RequestError, match=word):
        create_model(name, *sizes)


@torch.inference_mode()
@pytest.mark.parametrize("side_px", [40, 96])
def test_glavitu_sees_the_whole_window_of_any_size(side_px: int) -> None:
    network = settled(make("glavitu", {}))
    x = image(1, 3, side_px, side_px)
    changed = x.clone()
    changed[..., -1, -1] += 50
    assert not torch.equal(network(x)[..., 0, 0], network(changed)[..., 0, 0])
