"""Networks that describe each pixel by fixed rules, and learn from these descriptions alone."""

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class PixelNetwork(Protocol):
    """A network that can learn from single pixels. Its `forward` is `classify` of `describe`."""

    @property
    def reach_px(self) -> int:
        """How far around a pixel its description looks."""

    @property
    def is_symmetric(self) -> bool:
        """Whether a flipped or turned window gives the flipped or turned result."""

    def describe(self, x: Tensor) -> Tensor:
        """Network input `(B, C, H, W)` to descriptions `(B, F, H, W)`; nothing in here is learned."""

    def classify(self, descriptions: Tensor) -> Tensor:
        """Descriptions `(B, F, H, W)` to logits `(B, classes, H, W)`, each pixel by itself."""
