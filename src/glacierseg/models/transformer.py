"""A Vision Transformer over the pixels of a coarse map (Dosovitskiy et al. 2021)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PositionalEmbedding(nn.Module):
    """Adds a learned vector to each place of a map; a map of another size gets them interpolated."""

    def __init__(self, channels: int, side_tokens: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(1, channels, side_tokens, side_tokens))
        nn.init.trunc_normal_(self.vectors, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, channels, H, W)` to the same."""
        vectors: Tensor = self.vectors
        if vectors.shape[-2:] != x.shape[-2:]:
            vectors = F.interpolate(vectors, x.shape[-2:], mode="bicubic", antialias=True)
        return x + vectors


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention of `(B, heads, N, C)`; of the type of `query`.

    Autocast would run it in bfloat16 on a CPU, too, where its backward pass over the 64 tokens of a patch
    takes more than four times as long as in float32 (`benchmarks/attention.py`).
    """
    if query.is_cpu and torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            mixed = F.scaled_dot_product_attention(query.float(), key.float(), value.float())
        return mixed.to(query.dtype)
    return F.scaled_dot_product_attention(query, key, value)


class SelfAttention(nn.Module):
    """Multi-head self-attention over tokens `(B, N, C)`."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """`(B, N, C)` to `(B, N, C)`."""
        parts = self.query_key_value(tokens).unflatten(2, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = attend(query, key, value)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class TransformerBlock(nn.Module):
    """Pre-norm block: attention, then a two-layer perceptron, each added to its input."""

    def __init__(self, channels: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(channels)
        self.attention = SelfAttention(channels, heads)
        self.mlp_norm = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, mlp_ratio * channels), nn.GELU(), nn.Linear(mlp_ratio * channels, channels)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """`(B, N, C)` to `(B, N, C)`."""
        tokens = tokens + self.attention(self.attention_norm(tokens))
        out: Tensor = tokens + self.mlp(self.mlp_norm(tokens))
        return out


class MapTransformer(nn.Module):
    """Every pixel of a map `(B, C, H, W)` as one token: position, blocks, a last norm, back to a map.

    Args:
        channels: width of a token; `heads` divides it.
        blocks: number of transformer blocks.
        heads: attention heads of each.
        mlp_ratio: hidden width of the perceptrons, in token widths.
        side_tokens: side of the map for which one positional vector per token is learned.
    """

    def __init__(self, channels: int, *, blocks: int, heads: int, mlp_ratio: int, side_tokens: int) -> None:
        super().__init__()
        self.position = PositionalEmbedding(channels, side_tokens)
        self.blocks = nn.Sequential(*(TransformerBlock(channels, heads, mlp_ratio) for _ in range(blocks)))
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, channels, H, W)` to the same."""
        # On a channels_last map neither this nor the way back moves a byte.
        tokens: Tensor = self.position(x).flatten(2).transpose(1, 2)
        tokens = self.norm(self.blocks(tokens))
        return tokens.transpose(1, 2).reshape(x.shape)
