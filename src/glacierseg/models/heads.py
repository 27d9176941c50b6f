"""Deep supervision: networks that can be judged at more than one place while they learn."""

from typing import Protocol, runtime_checkable

from torch import Tensor, nn


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
