"""UNet++ (Zhou et al. 2018, 2020): a U-Net whose skips are themselves filled with convolutions."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glacierseg.errors import RequestError
from glacierseg.models.blocks import (
    ConvBnRelu,
    Head,
    check_sizes,
    crop_like,
    initialise,
    pad_to_multiple,
    quiet_inputs,
    scaled_channels,
)

FILTERS = (64, 128, 256, 512, 1024)
DEPTH = len(FILTERS) - 1


class UNetPlusPlus(nn.Module):
    """Nodes X(i, j) at level i of resolution and step j along the skip, fifteen in all.

    X(i, 0) reads the pooled X(i - 1, 0); any other X(i, j) reads X(i, 0) to X(i, j - 1) and the up-sampled
    X(i + 1, j - 1). The logits come from a head on X(0, 4).

    With `deep_supervision` X(0, 1) to X(0, 4) each have a head, and training sums their losses
    (`glacierseg.models.blocks.weighted_heads`). Such a network can afterwards be cut to a smaller
    `prune_level`: it then computes only the nodes that X(0, prune_level) needs. `forward` always gives the
    logits of that one head, in training and in evaluation alike.

    Args:
        in_channels: bands.
        classes: classes, background among them.
        width: multiplies the filters 64-128-256-512-1024.
        deep_supervision: whether the inner steps have heads too.
        prune_level: steps to compute, 1 to 4; fewer than 4 need `deep_supervision`.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int = 2,
        width: float = 1.0,
        *,
        deep_supervision: bool = False,
        prune_level: int = DEPTH,
    ) -> None:
        super().__init__()
        check_sizes(in_channels, classes, width)
        filters = [scaled_channels(base, width) for base in FILTERS]
        self.nodes = nn.ModuleDict()
        self.ups = nn.ModuleDict()
        for level, here in enumerate(filters):
            for step in range(DEPTH - level + 1):
                if step:
                    self.ups[f"{level}_{step}"] = nn.ConvTranspose2d(filters[level + 1], here, 2, stride=2)
                    before = here * (step + 1)
                else:
                    before = filters[level - 1] if level else in_channels
                self.nodes[f"{level}_{step}"] = nn.Sequential(
                    ConvBnRelu(before, here), ConvBnRelu(here, here)
                )
        steps = range(1, DEPTH + 1) if deep_supervision else [DEPTH]
        self.heads = nn.ModuleDict({str(step): Head(filters[0], classes) for step in steps})
        self.prune_level = prune_level
        initialise(self)
        quiet_inputs(self.nodes["0_0"], range(in_channels))

    @property
    def prune_level(self) -> int:
        """How many steps are computed; settable."""
        return self._prune_level

    @prune_level.setter
    def prune_level(self, level: int) -> None:
        if str(level) not in self.heads:
            known = ", ".join(self.heads)
            why = "" if len(self.heads) > 1 else "; train with deep_supervision to prune"
            raise RequestError(f"prune_level is {level}: this unetplusplus has heads at {known} only{why}")
        self._prune_level = level

    @property
    def may_leave_weights_unused(self) -> bool:
        """Whether training leaves weights without a gradient: those behind `prune_level`."""
        return self.prune_level != DEPTH

    @property
    def head_weights(self) -> tuple[float, ...]:
        """Weight of each head in the training loss: even (Zhou et al. 2020)."""
        heads = self.prune_level if len(self.heads) > 1 else 1
        return (1 / heads,) * heads

    def _top_row(self, x: Tensor) -> list[Tensor]:
        """X(0, 0) to X(0, prune_level)."""
        grid: list[list[Tensor]] = [[] for _ in range(self.prune_level + 1)]
        # Along the anti-diagonals level + step = reach, the inputs of each node are there before it.
        for reach in range(self.prune_level + 1):
            for step in range(reach + 1):
                level = reach - step
                if step:
                    up = self.ups[f"{level}_{step}"](grid[level + 1][step - 1])
                    seen = torch.cat([*grid[level], up], dim=1)
                else:
                    seen = F.max_pool2d(grid[level - 1][0], 2) if level else x
                grid[level].append(self.nodes[f"{level}_{step}"](seen))
        return grid[0]

    def forward(self, x: Tensor) -> Tensor:
        """`(B, in_channels, H, W)` to the logits `(B, classes, H, W)` of the head at `prune_level`."""
        features = self._top_row(pad_to_multiple(x, 2**DEPTH))[-1]
        return crop_like(self.heads[str(self.prune_level)](features), x)

    def forward_heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """`(B, in_channels, H, W)` to the logits `(B, classes, H, W)` of every head up to `prune_level`."""
        row = self._top_row(pad_to_multiple(x, 2**DEPTH))
        return tuple(
            crop_like(self.heads[str(step)](features), x)
            for step, features in enumerate(row)
            if str(step) in self.heads
        )
