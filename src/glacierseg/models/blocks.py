"""Blocks that the networks share. All maps are `(B, C, H, W)`."""

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glacierseg.errors import RequestError


def check_sizes(in_channels: int, classes: int, width: float) -> None:
    """Refuses sizes of which no network can be made."""
    if in_channels < 1:
        raise RequestError(f"in_channels is {in_channels}: a network needs at least one band")
    if classes < 2:
        raise RequestError(f"classes is {classes}: give at least 2, background counts as one")
    if not 0 < width < float("inf"):
        raise RequestError(f"width is {width}: give a number above 0, such as 1.0 or 0.25")


def scaled_channels(base: int, width: float) -> int:
    """Scales a number of channels by `width`, to a multiple of eight.

    Eight divides by every number of attention heads in use and fills a vector register.
    """
    return max(8, 8 * round(base * width / 8))


def pad_to_multiple(x: Tensor, multiple_px: int) -> Tensor:
    """Pads `(B, C, H, W)` at the bottom and right until height and width divide by `multiple_px`.

    Mirrors the pixels where the map is large enough for that, else repeats the last row or column.
    """
    rows, columns = (-size % multiple_px for size in x.shape[-2:])
    for size, pad in ((x.shape[-2], (0, 0, 0, rows)), (x.shape[-1], (0, columns, 0, 0))):
        if any(pad):
            x = F.pad(x, pad, mode="reflect" if sum(pad) < size else "replicate")
    return x


def crop_like(x: Tensor, like: Tensor) -> Tensor:
    """Cuts `x` to the height and width of `like`: the way back from `pad_to_multiple`."""
    return x[..., : like.shape[-2], : like.shape[-1]]


class ConvBnRelu(nn.Sequential):
    """3 × 3 convolution, batch norm, ReLU; height and width stay."""

    def __init__(self, in_channels: int, out_channels: int, dilation: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class ResidualBlock(nn.Module):
    """Two 3 × 3 convolutions with batch norm beside a shortcut, ReLU after the sum (He et al. 2016).

    The shortcut is a 1 × 1 convolution with batch norm where the number of channels changes, else nothing.
    """

    def __init__(self, in_channels: int, out_channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = ConvBnRelu(in_channels, out_channels, dilation)
        self.second = nn.Sequential(
            nn.Conv2d(out_channels, out_channels, 3, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """`(B, in_channels, H, W)` to `(B, out_channels, H, W)`."""
        return F.relu(self.second(self.first(x)) + self.shortcut(x), inplace=True)


class ResidualEncoder(nn.Module):
    """A residual block for each level's filters, the finest first, with 2 × 2 max-pooling after each."""

    def __init__(
        self, in_channels: int, filters: Sequence[int], dilations: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            ResidualBlock(before, after, dilation)
            for (before, after), dilation in zip(
                pairwise([in_channels, *filters]), dilations or [1] * len(filters), strict=True
            )
        )

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Returns the pooled map of the last level, and each level's map before pooling, the finest first."""
        skips = []
        for block in self.blocks:
            skips.append(block(x))
            x = F.max_pool2d(skips[-1], 2)
        return x, skips


class ResidualDecoder(nn.Module):
    """The way back up, per level: transposed convolution, the encoder's map beside it, residual block."""

    def __init__(self, in_channels: int, filters: Sequence[int]) -> None:
        super().__init__()
        coarse_first = [in_channels, *reversed(filters)]
        levels = list(pairwise(coarse_first))
        self.ups = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for coarse, fine in levels)
        self.blocks = nn.ModuleList(ResidualBlock(2 * fine, fine) for _, fine in levels)

    def forward(self, x: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """Returns a map `(B, filters[0], H, W)` as fine as `skips[0]`."""
        for up, block, skip in zip(self.ups, self.blocks, reversed(skips), strict=True):
            x = block(torch.cat([skip, up(x)], dim=1))
        return x


class AttentionGate(nn.Module):
    """Weighs the pixels of a skip by what the coarser level has seen (Oktay et al. 2018, additive attention).

    `weight = sigmoid(psi(relu(theta(skip) + phi(gate))))`, all 1 × 1 convolutions.
    """

    def __init__(self, skip_channels: int, gate_channels: int, inner_channels: int) -> None:
        super().__init__()
        self.theta = nn.Conv2d(skip_channels, inner_channels, 1, bias=False)
        self.phi = nn.Conv2d(gate_channels, inner_channels, 1)
        self.psi = nn.Conv2d(inner_channels, 1, 1)

    def forward(self, skip: Tensor, gate: Tensor) -> Tensor:
        """Returns `skip` times its weights; `gate` lies on the same pixels."""
        inner = F.relu(self.theta(skip) + self.phi(gate), inplace=True)
        return skip * torch.sigmoid(self.psi(inner))


class SqueezeExcitation(nn.Module):
    """Weighs the channels of a map by their means over the window (Hu et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner_channels = max(4, channels // 4)
        self.squeeze = nn.Conv2d(channels, inner_channels, 1)
        self.excite = nn.Conv2d(inner_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Returns `x` times one weight per sample and channel."""
        means = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.excite(F.relu(self.squeeze(means), inplace=True)))


INPUT_GAIN = 0.1
"""Size of the first weights that read the bands, relative to all others."""


def quiet_inputs(block: nn.Module, bands: Sequence[int], gain: float = INPUT_GAIN) -> None:
    """Makes the first weights that read the bands small, and marks them; call after `initialise`.

    Batch norm follows, so the size of the signal stays. But a band that shows nothing keeps its random first
    weights for good, and at full size they would shine through as importance: with small ones, what a band
    weighs in a trained network was learned.

    Args:
        block: Whose every path starts with a convolution that reads the bands: a `ResidualBlock`, a sequence
            that starts with one, or the convolution itself.
        bands: Positions of the bands that it reads.
        gain: What its first weights are multiplied by.
    """
    paths = [block.first, block.shortcut] if isinstance(block, ResidualBlock) else [block]
    for path in paths:
        reader = next((module for module in path.modules() if isinstance(module, nn.Conv2d)), None)
        if reader is not None:
            with torch.no_grad():
                reader.weight.mul_(gain)
            reader.bands_read = tuple(bands)  # type: ignore[assignment]


def band_readers(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Finds the weights that read the bands.

    Returns:
        For the key of each such weight in the network's state, the positions of the bands that its second
        dimension stands for.
    """
    return {
        f"{name}.weight": module.bands_read
        for name, module in network.named_modules()
        if hasattr(module, "bands_read")
    }


class Head(nn.Conv2d):
    """1 × 1 convolution from features to logits, `(B, in_channels, H, W)` to `(B, classes, H, W)`."""

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__(in_channels, classes, 1)


def initialise(network: nn.Module) -> None:
    """Draws first weights that keep the size of the signal through the layers.

    Convolutions before a ReLU after He et al. 2015; heads small, so that the first probabilities are even;
    linear layers of transformers with a deviation of 0.02 (Dosovitskiy et al. 2021).
    """
    for module in network.modules():
        if isinstance(module, Head):
            nn.init.normal_(module.weight, std=0.01)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.ConvTranspose2d):
            # Stride equals kernel size, so each output pixel is a sum over the input channels alone.
            nn.init.normal_(module.weight, std=1 / sqrt(module.in_channels))
        elif isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


@runtime_checkable
class DeeplySupervised(Protocol):
    """A network with several heads. Its `forward` still gives the logits of one, the best."""

    @property
    def head_weights(self) -> tuple[float, ...]:
        """Weight of each head in the training loss; they sum to one."""

    def forward_heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """`(B, C, H, W)` to the logits `(B, classes, H, W)` of each head, the one of `forward` last."""


def weighted_heads(network: nn.Module, x: Tensor) -> tuple[tuple[float, Tensor], ...]:
    """Runs any network for training: the pairs of weight and logits over which the loss is summed.

    A network with one head gives `((1.0, logits),)`.
    """
    if isinstance(network, DeeplySupervised):
        return tuple(zip(network.head_weights, network.forward_heads(x), strict=True))
    return ((1.0, network(x)),)


def may_leave_weights_unused(network: nn.Module) -> bool:
    """Whether a training step may leave some weights without a gradient, as the network itself says."""
    return bool(getattr(network, "may_leave_weights_unused", False))


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

    Positional vectors are learned for a map of `side_tokens`.
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
