"""GlaViTU, the small one: a residual U-Net on 64 px patches with a Vision Transformer as its bottleneck."""

from torch import Tensor, nn

from glacierseg.models.blocks import (
    Head,
    MapTransformer,
    ResidualBlock,
    ResidualDecoder,
    ResidualEncoder,
    check_sizes,
    crop_like,
    initialise,
    pad_to_multiple,
    quiet_inputs,
    scaled_channels,
)

FILTERS = (64, 128, 256)
TOKEN_CHANNELS = 512
PATCH_PX = 64


class GlaViTU(nn.Module):
    """Residual encoder, self-attention between all pixels of the coarsest map, mirrored residual decoder.

    A 64 px patch becomes 8 × 8 tokens. A window of any other size works: its positional vectors are
    interpolated from those 8 × 8. The published network of this name is `glavitu_global`.
    """

    def __init__(self, in_channels: int, classes: int = 2, width: float = 1.0) -> None:
        super().__init__()
        check_sizes(in_channels, classes, width)
        filters = [scaled_channels(base, width) for base in FILTERS]
        tokens = scaled_channels(TOKEN_CHANNELS, width)
        self.encoder = ResidualEncoder(in_channels, filters)
        self.to_tokens = ResidualBlock(filters[-1], tokens)
        self.transformer = MapTransformer(
            tokens, blocks=4, heads=8, mlp_ratio=4, side_tokens=PATCH_PX // 2 ** len(FILTERS)
        )
        self.decoder = ResidualDecoder(tokens, filters)
        self.head = Head(filters[0], classes)
        initialise(self)
        quiet_inputs(self.encoder.blocks[0], range(in_channels))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, in_channels, H, W)` to logits `(B, classes, H, W)`."""
        features, skips = self.encoder(pad_to_multiple(x, 2 ** len(FILTERS)))
        features = self.transformer(self.to_tokens(features))
        return crop_like(self.head(self.decoder(features, skips)), x)
