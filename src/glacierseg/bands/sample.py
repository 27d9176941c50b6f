"""The patches that band importance is measured on."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Item = TypeVar("Item")
BatchOfPatches = tuple["Tensor", "Tensor"]
"""Scaled images `(B, C, H, W)` and targets `(B, H, W)` of 0, 1 and 255."""


@dataclass(frozen=True)
class PatchSample:
    """Patches in memory, as measures need them that swap bands between patches.

    Attributes:
        images: `(P, C, H, W)`, scaled; 0, a band's mean, where there are no data.
        targets: `(P, H, W)` of 0, 1 and 255.
        regions: Number of the region of each patch; None for one region.
        batch_size: Patches per pass.
    """

    images: "Tensor"
    targets: "Tensor"
    regions: Sequence[int] | None = None
    batch_size: int = 8

    @classmethod
    def collect(
        cls, batches: Iterable[BatchOfPatches], regions: Sequence[int] | None = None, batch_size: int = 8
    ) -> "PatchSample":
        """Puts batches together."""
        import torch  # noqa: PLC0415

        images, targets = zip(*batches, strict=True)
        return cls(torch.cat(images), torch.cat(targets), regions, batch_size)

    def mixed(self) -> "PatchSample":
        """Returns the same patches in an order that puts different ground into a batch."""
        order = mix(range(len(self)), self.batch_size)
        regions = None if self.regions is None else [self.regions[i] for i in order]
        return PatchSample(self.images[order], self.targets[order], regions, self.batch_size)

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[BatchOfPatches]:
        for first in range(0, len(self), self.batch_size):
            batch = slice(first, first + self.batch_size)
            yield self.images[batch], self.targets[batch]


def mix(items: Sequence[Item], batch_size: int) -> list[Item]:
    """Orders items so that those of a batch lie far apart: every n-th, where there are n batches."""
    batches = -(-len(items) // batch_size)
    return [item for first in range(batches) for item in items[first::batches]]


def spread_evenly(count: int, most: int) -> list[int]:
    """Returns at most `most` of the numbers below `count`, evenly over them."""
    places: list[int] = np.linspace(0, count - 1, min(most, count)).round().astype(int).tolist()
    return places


def device_of(network: "nn.Module") -> "torch.device":
    """Returns where a network computes; the processor for one without weights."""
    import torch  # noqa: PLC0415

    first = next(network.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def glacier_margin(network: "nn.Module", image: "Tensor") -> "Tensor":
    """Returns how far the glacier logit lies above the strongest other one.

    Args:
        network: Gives logits `(B, classes, H, W)`, glacier last.
        image: `(B, C, H, W)`.

    Returns:
        `(B, H, W)`, positive where the network says glacier.
    """
    logits = network(image).float()
    margin: Tensor = logits[:, -1] - logits[:, :-1].amax(1)
    return margin
