"""Batch norm over the batch of all processes, on processors where torch's own only works on GPUs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from glacierseg.training.processes import global_sum_through, process_count


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """Batch norm whose mean and variance while training are those of all processes' maps `(B, C, H, W)`."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalises each channel; `(B, C, H, W)` to the same."""
        if not self.training:
            return super().forward(x)
        wide = x if x.dtype == torch.float64 else x.float()
        own_count = wide.new_full((1,), x.numel() // x.shape[1])
        sums = global_sum_through(torch.cat([own_count, wide.sum((0, 2, 3))]))
        count, mean = sums[0], sums[1:] / sums[0]
        centred = wide - mean[:, None, None]
        # A second sum instead of the mean of squares: no cancellation.
        variance = global_sum_through(centred.square().sum((0, 2, 3))) / count
        self._track(mean.detach(), variance.detach(), count.detach())
        factor = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * factor[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    def _track(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        assert self.running_mean is not None  # noqa: S101  (our networks track theirs)
        assert self.running_var is not None  # noqa: S101
        assert self.num_batches_tracked is not None  # noqa: S101
        self.num_batches_tracked.add_(1)
        momentum = 0.1 if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        unbiased = variance * (count / (count - 1).clamp(min=1))
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)


@contextmanager
def synchronised_norms(network: nn.Module) -> Iterator[None]:
    """Lets a network's batch norms look at all processes' maps while the block runs.

    The modules only change their class: their parameters, and so the optimiser, stay what they are.
    """
    own = [module for module in network.modules() if type(module) is nn.BatchNorm2d]
    if process_count() == 1:
        own = []
    for module in own:
        module.__class__ = SynchronisedBatchNorm
    try:
        yield
    finally:
        for module in own:
            module.__class__ = nn.BatchNorm2d
