"""GlaViTU as published for the mapping of glaciers world-wide (Maslov et al. 2023, 2025)."""

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from glacierseg.errors import RequestError
from glacierseg.models.blocks import (
    ConvBnRelu,
    Head,
    MapTransformer,
    ResidualBlock,
    ResidualDecoder,
    ResidualEncoder,
    SqueezeExcitation,
    check_sizes,
    crop_like,
    initialise,
    pad_to_multiple,
    quiet_inputs,
    scaled_channels,
)

CHANNELS = 64
UNET_FILTERS = (64, 128, 256)
UNET_BOTTLENECK = 512
TOKEN_PX = 16
PATCH_PX = 384


class Fusion(nn.Module):
    """One branch per group of bands (two convolutions, squeeze-excitation), and their sum.

    Args:
        groups: the channel numbers of each group, such as optical bands and terrain.
        out_channels: channels of the sum.
    """

    def __init__(self, groups: Sequence[Sequence[int]], out_channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                ConvBnRelu(len(group), out_channels),
                ConvBnRelu(out_channels, out_channels),
                SqueezeExcitation(out_channels),
            )
            for group in groups
        )
        for number, group in enumerate(groups):
            self.register_buffer(f"group_{number}", torch.tensor(group), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` to `(B, out_channels, H, W)`."""
        fused: Tensor = reduce(
            torch.add,
            (
                branch(x.index_select(1, self.get_buffer(f"group_{number}")))
                for number, branch in enumerate(self.branches)
            ),
        )
        return fused


class TransformerBranch(nn.Module):
    """SETR with progressive up-sampling (Zheng et al. 2021): sees the whole window at once, coarsely."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.to_tokens = nn.Conv2d(channels, channels, TOKEN_PX, stride=TOKEN_PX)
        self.transformer = MapTransformer(
            channels, blocks=12, heads=4, mlp_ratio=4, side_tokens=PATCH_PX // TOKEN_PX
        )
        doublings = TOKEN_PX.bit_length() - 1
        self.up = nn.Sequential(
            *(
                nn.Sequential(ConvBnRelu(channels, channels), nn.Upsample(scale_factor=2, mode="bilinear"))
                for _ in range(doublings)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(B, channels, H, W)` to the same."""
        features: Tensor = self.up(self.transformer(self.to_tokens(x)))
        return features


class ResidualUNet(nn.Module):
    """A residual U-Net of three levels: sees the neighbourhood of a pixel sharply."""

    def __init__(self, in_channels: int, filters: Sequence[int], bottleneck: int) -> None:
        super().__init__()
        self.encoder = ResidualEncoder(in_channels, filters)
        self.bottleneck = ResidualBlock(filters[-1], bottleneck)
        self.decoder = ResidualDecoder(bottleneck, filters)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, in_channels, H, W)` to `(B, filters[0], H, W)`."""
        features, skips = self.encoder(x)
        fine: Tensor = self.decoder(self.bottleneck(features), skips)
        return fine


class GlaViTUGlobal(nn.Module):
    """Fused bands, plus what a transformer makes of them, plus what a residual U-Net makes of that sum.

    Built from the papers' description alone. With `deep_supervision` a second head judges the sum after the
    transformer while training, at half the weight of the first (`glacierseg.models.blocks.weighted_heads`).

    Args:
        in_channels: bands.
        classes: classes, background among them.
        width: multiplies all channels: 64 in the branches and tokens, 64-128-256-512 in the U-Net.
        groups: the zero-based channels of each modality, each channel once, such as
            `((0, 1, 2, 3, 4, 5), (6, 7))` for optical and terrain; None: all channels are one modality.
        deep_supervision: whether the second head exists.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int = 2,
        width: float = 1.0,
        *,
        groups: Sequence[Sequence[int]] | None = None,
        deep_supervision: bool = True,
    ) -> None:
        super().__init__()
        check_sizes(in_channels, classes, width)
        if groups is None:
            groups = [range(in_channels)]
        if sorted(band for group in groups for band in group) != list(range(in_channels)) or not all(groups):
            listed = [list(group) for group in groups]
            raise RequestError(
                f"groups is {listed}: each of the channels 0 to {in_channels - 1} must be in one group"
            )
        channels = scaled_channels(CHANNELS, width)
        self.fusion = Fusion(groups, channels)
        self.transformer = TransformerBranch(channels)
        # The U-Net's first level is as wide as the sum that it is added to.
        self.unet = ResidualUNet(
            channels,
            [scaled_channels(base, width) for base in UNET_FILTERS],
            scaled_channels(UNET_BOTTLENECK, width),
        )
        self.head = Head(channels, classes)
        self.coarse_head = Head(channels, classes) if deep_supervision else None
        initialise(self)
        for branch, group in zip(self.fusion.branches, groups, strict=True):
            quiet_inputs(branch, group)

    @property
    def head_weights(self) -> tuple[float, ...]:
        """Weights of the coarse and the final head in the training loss, one to two."""
        return (1.0,) if self.coarse_head is None else (1 / 3, 2 / 3)

    def _features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        fused = self.fusion(pad_to_multiple(x, TOKEN_PX))
        coarse = fused + self.transformer(fused)
        return coarse, coarse + self.unet(coarse)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, in_channels, H, W)` to the logits `(B, classes, H, W)` of the final head."""
        return crop_like(self.head(self._features(x)[1]), x)

    def forward_heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """`(B, in_channels, H, W)` to the logits `(B, classes, H, W)` of the coarse and the final head."""
        coarse, fine = self._features(x)
        logits = crop_like(self.head(fine), x)
        if self.coarse_head is None:
            return (logits,)
        return crop_like(self.coarse_head(coarse), x), logits
