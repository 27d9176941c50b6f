import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from glacierseg.models.blocks import (
    AttentionGate,
    MapTransformer,
    PositionalEmbedding,
    ResidualBlock,
    SelfAttention,
    SqueezeExcitation,
    attend,
    crop_like,
    initialise,
    pad_to_multiple,
    scaled_channels,
)
from tests.helpers import present


@given(base=st.sampled_from([32, 64, 128, 256, 512, 1024]), width=st.floats(0.001, 4))
def test_channels_divide_by_eight_and_follow_the_width(base: int, width: float) -> None:
    channels = scaled_channels(base, width)
    assert channels % 8 == 0
    assert channels >= 8
    assert channels == 8 or abs(channels - base * width) <= 4


def test_channels_of_width_one_are_the_base() -> None:
    assert [scaled_channels(base, 1.0) for base in (32, 64, 1024)] == [32, 64, 1024]


@given(rows=st.integers(1, 40), columns=st.integers(1, 40), multiple_px=st.sampled_from([1, 8, 16]))
def test_padding_mirrors_or_repeats_and_is_cut_off_again(rows: int, columns: int, multiple_px: int) -> None:
    x = torch.arange(2 * rows * columns).reshape(1, 2, rows, columns).float()
    padded = pad_to_multiple(x, multiple_px)
    expected = x.numpy()
    for axis in (2, 3):
        size, pad = x.shape[axis], -x.shape[axis] % multiple_px
        widths = [(0, pad if at == axis else 0) for at in range(4)]
        expected = np.pad(expected, widths, mode="reflect" if pad < size else "edge")
    assert np.array_equal(padded.numpy(), expected)
    assert torch.equal(crop_like(padded, x), x)


def test_a_map_that_fits_is_not_copied() -> None:
    x = torch.zeros(1, 2, 16, 32)
    assert pad_to_multiple(x, 16) is x


def test_a_residual_block_with_silent_convolutions_passes_its_input_on() -> None:
    block = ResidualBlock(4, 4, dilation=2).eval()
    convolution = block.second[0]
    assert isinstance(convolution, nn.Conv2d)
    nn.init.zeros_(convolution.weight)
    x = torch.rand(1, 4, 8, 8)
    torch.testing.assert_close(block(x), x)


@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_dilation_widens_what_a_pixel_sees(dilation: int) -> None:
    block = ResidualBlock(1, 8, dilation)
    initialise(block)
    x = torch.randn(1, 1, 41, 41, requires_grad=True)
    block.eval()(x)[..., 20, 20].sum().backward()
    rows = present(x.grad)[0, 0].abs().sum(1).nonzero()
    assert (rows.min().item(), rows.max().item()) == (20 - 2 * dilation, 20 + 2 * dilation)


@pytest.mark.parametrize(("bias", "share"), [(-50.0, 0.0), (0.0, 0.5), (50.0, 1.0)])
def test_an_attention_gate_opens_and_closes(bias: float, share: float) -> None:
    gate = AttentionGate(4, 8, 2)
    nn.init.zeros_(gate.psi.weight)
    nn.init.constant_(present(gate.psi.bias), bias)
    skip = torch.randn(1, 4, 5, 5)
    torch.testing.assert_close(gate(skip, torch.randn(1, 8, 5, 5)), share * skip)


def test_squeeze_excitation_gives_one_weight_per_channel() -> None:
    x = torch.rand(2, 8, 6, 6) + 1
    ratio = SqueezeExcitation(8)(x) / x
    torch.testing.assert_close(ratio, ratio[..., :1, :1].expand_as(ratio))
    assert ((ratio > 0) & (ratio < 1)).all()


def test_first_weights_keep_the_size_of_the_signal() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(*(nn.Sequential(nn.Conv2d(64, 64, 3), nn.ReLU()) for _ in range(8)))
    up = nn.ConvTranspose2d(64, 64, 2, stride=2)
    for module in (network, up):
        initialise(module)
    x = torch.randn(1, 64, 40, 40)
    assert network(x).square().mean().item() == pytest.approx(x.square().mean().item(), rel=0.4)
    assert up(x).square().mean().item() == pytest.approx(x.square().mean().item(), rel=0.2)


def test_attention_agrees_with_torchs_own_layer() -> None:
    attention = SelfAttention(16, 4).eval()
    oracle = nn.MultiheadAttention(16, 4, batch_first=True).eval()
    oracle.load_state_dict(
        {
            "in_proj_weight": attention.query_key_value.weight,
            "in_proj_bias": attention.query_key_value.bias,
            "out_proj.weight": attention.out.weight,
            "out_proj.bias": attention.out.bias,
        }
    )
    tokens = torch.randn(2, 9, 16)
    torch.testing.assert_close(attention(tokens), oracle(tokens, tokens, tokens)[0])


def test_mixed_precision_on_a_cpu_attends_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    query, key, value = (torch.randn(2, 4, 9, 8).bfloat16() for _ in range(3))
    seen = []

    def attention(*parts: torch.Tensor) -> torch.Tensor:
        # Under autocast float32 would become bfloat16 on its way in.
        seen.append((*(part.dtype for part in parts), torch.is_autocast_enabled("cpu")))
        return parts[0]

    monkeypatch.setattr(F, "scaled_dot_product_attention", attention)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = attend(query, key, value)
    assert seen == [(torch.float32, torch.float32, torch.float32, False)]
    assert mixed.dtype == torch.bfloat16
    assert torch.equal(mixed, query)


def test_positions_are_interpolated_to_another_window() -> None:
    position = PositionalEmbedding(3, 8)
    assert torch.equal(position(torch.zeros(1, 3, 8, 8)), position.vectors)
    ramp = torch.linspace(-1, 1, 8).expand(1, 3, 8, 8)
    with torch.no_grad():
        position.vectors.copy_(ramp)
    wider = position(torch.zeros(2, 3, 8, 16))
    assert wider.shape == (2, 3, 8, 16)
    assert (wider.diff(dim=3) > 0).all(), "a ramp stays a ramp"
    torch.testing.assert_close(wider.mean(), ramp.mean(), atol=1e-4, rtol=0)


def test_a_map_without_positions_is_a_set_of_tokens() -> None:
    transformer = MapTransformer(8, blocks=2, heads=2, mlp_ratio=2, side_tokens=4).eval()
    nn.init.zeros_(transformer.position.vectors)
    x = torch.randn(1, 8, 4, 4)
    torch.testing.assert_close(transformer(x.flip(2)), transformer(x).flip(2))
    torch.testing.assert_close(transformer(x.transpose(2, 3)), transformer(x).transpose(2, 3))
    nn.init.normal_(transformer.position.vectors)
    assert not torch.allclose(transformer(x.flip(2)), transformer(x).flip(2), atol=1e-2)
