"""M-LandsNet: a residual U-Net with dilated convolutions in the encoder and attention gates on the skips.

No paper describes a network of this name. This is the project's own specification of those three ideas.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glacierseg.models.blocks import (
    AttentionGate,
    Head,
    ResidualBlock,
    ResidualEncoder,
    check_sizes,
    crop_like,
    initialise,
    pad_to_multiple,
    quiet_inputs,
    scaled_channels,
)

FILTERS = (32, 64, 128, 256, 512)
DILATIONS = (1, 2, 4, 8)


class MLandsNet(nn.Module):
    """Four levels of residual blocks with dilation 1, 2, 4 and 8, a residual bottleneck, and the way back.

    Each level of the decoder doubles the coarser map bilinearly, lets it gate the skip, and sends both
    through a residual block.
    """

    def __init__(self, in_channels: int, classes: int = 2, width: float = 1.0) -> None:
        super().__init__()
        check_sizes(in_channels, classes, width)
        filters = [scaled_channels(base, width) for base in FILTERS]
        self.encoder = ResidualEncoder(in_channels, filters[:-1], DILATIONS)
        self.bottleneck = ResidualBlock(filters[-2], filters[-1])
        levels = [(coarse, fine) for fine, coarse in pairwise(filters)][::-1]
        self.gates = nn.ModuleList(AttentionGate(fine, coarse, fine // 2) for coarse, fine in levels)
        self.blocks = nn.ModuleList(ResidualBlock(coarse + fine, fine) for coarse, fine in levels)
        self.head = Head(filters[0], classes)
        initialise(self)
        quiet_inputs(self.encoder.blocks[0], range(in_channels))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, in_channels, H, W)` to logits `(B, classes, H, W)`."""
        features, skips = self.encoder(pad_to_multiple(x, 2 ** len(DILATIONS)))
        features = self.bottleneck(features)
        for gate, block, skip in zip(self.gates, self.blocks, reversed(skips), strict=True):
            features = F.interpolate(features, scale_factor=2, mode="bilinear")
            features = block(torch.cat([gate(skip, features), features], dim=1))
        return crop_like(self.head(features), x)
