"""Texture MLP: each pixel by its bands and by mean and spread of its surroundings, without learned shapes."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glacierseg.errors import RequestError
from glacierseg.models.blocks import Head, check_sizes, initialise, quiet_inputs, scaled_channels

WINDOWS_PX = (3, 9, 21)
HIDDEN_CHANNELS = 128

_LEAST_VARIANCE = 1e-4
"""Keeps the slope of the root finite where all pixels are alike: a hundredth of a band's own spread."""


class TextureMLP(nn.Module):
    """Band values, their local mean and spread in square windows, and a perceptron over these for each pixel.

    A result depends on the pixels around it as far as half the largest window reaches, and on nothing else. A
    pixel that is 0 in all bands has no data (`glacierseg.data.scaling`) and counts in no window; neither
    does what lies beyond the rim.

    Args:
        in_channels: bands.
        classes: classes, background among them.
        width: multiplies the 128 hidden channels.
        windows_px: sides of the windows, odd.
        layers: hidden layers.
        dropout: chance of each hidden channel to be silenced at a pixel, in training only.

    Raises:
        RequestError: impossible sizes.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int = 2,
        width: float = 1.0,
        *,
        windows_px: Sequence[int] = WINDOWS_PX,
        layers: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_sizes(in_channels, classes, width)
        if not windows_px or any(side_px < 3 or side_px % 2 == 0 for side_px in windows_px):
            raise RequestError(f"windows_px is {list(windows_px)}: give odd numbers from 3 on")
        if layers < 1:
            raise RequestError(f"layers is {layers}: give at least 1")
        if not 0 <= dropout < 1:
            raise RequestError(f"dropout is {dropout:g}: give 0, or a number below 1")
        self.windows_px = tuple(windows_px)
        features, hidden = in_channels * (1 + 2 * len(windows_px)), scaled_channels(HIDDEN_CHANNELS, width)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(hidden if number else features, hidden, 1, bias=False),
                    nn.BatchNorm2d(hidden),
                    nn.ReLU(inplace=True),
                    # Not of whole maps: in training, pixels of a patch have nothing to do with one another.
                    *([nn.Dropout(dropout)] if dropout else []),
                )
                for number in range(layers)
            )
        )
        self.head = Head(hidden, classes)
        initialise(self)
        quiet_inputs(self.layers[0], tuple(range(in_channels)) * (1 + 2 * len(windows_px)))

    @property
    def reach_px(self) -> int:
        """How far around a pixel its description looks."""
        return max(self.windows_px) // 2

    @property
    def is_symmetric(self) -> bool:
        """Whether a flipped or turned window gives the flipped or turned result: its windows are squares."""
        return True

    def describe(self, x: Tensor) -> Tensor:
        """`(B, in_channels, H, W)` to what `local_statistics` tells of each pixel."""
        return local_statistics(x, self.windows_px)

    def classify(self, descriptions: Tensor) -> Tensor:
        """What `describe` returns to logits `(B, classes, H, W)`."""
        logits: Tensor = self.head(self.layers(descriptions))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """`(B, in_channels, H, W)` to logits `(B, classes, H, W)`."""
        return self.classify(self.describe(x))


def local_statistics(x: Tensor, windows_px: Sequence[int]) -> Tensor:
    """Describes each pixel by its surroundings.

    Args:
        x: `(B, C, H, W)`; pixels that are 0 in all bands have no data.
        windows_px: Odd sides of square windows around each pixel.

    Returns:
        `(B, C * (1 + 2 * windows), H, W)`: the bands, and for each window mean and standard deviation of each
        band over the pixels with data; the latter is a little rounded off where it is nearly 0.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    known, square = (x != 0).any(dim=1, keepdim=True).to(x.dtype), x * x
    found = [x]
    for side_px in windows_px:
        per_known = _box(known, side_px).clamp_min(0.5 / side_px**2).reciprocal()
        mean = _box(x, side_px) * per_known
        variance = (_box(square, side_px) * per_known - mean * mean).clamp_min(0)
        found += [mean, (variance + _LEAST_VARIANCE).sqrt() - _LEAST_VARIANCE**0.5]
    return torch.cat(found, dim=1)


def _box(x: Tensor, side_px: int) -> Tensor:
    """Mean over a square with zeros beyond the rim, by rows and then by columns, which is less work.

    Variances are small differences of these, so nothing here may be rounded to fewer digits.
    """
    bands, reach_px = x.shape[1], side_px // 2
    if not x.is_cpu or torch.onnx.is_in_onnx_export():
        # OpenVINO rounds what goes into a convolution to bf16, and CUDA to TF32.
        x = F.avg_pool2d(x, (side_px, 1), stride=1, padding=(reach_px, 0))
        return F.avg_pool2d(x, (1, side_px), stride=1, padding=(0, reach_px))
    kernel = x.new_full((bands, 1, side_px, 1), 1 / side_px)
    # On a processor that takes a tenth of the time.
    with torch.autocast("cpu", enabled=False):
        x = F.conv2d(x, kernel, padding=(reach_px, 0), groups=bands)
        return F.conv2d(x, kernel.transpose(2, 3), padding=(0, reach_px), groups=bands)
