import pytest
import torch
import torch.nn.functional as F
from torch import nn

from glacierseg.models.transformer import MapTransformer, PositionalEmbedding, SelfAttention, attend


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
