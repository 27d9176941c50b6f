"""Several processes that train one network together, under `torchrun` or SLURM.

The result shall be that of one process with the whole batch. A loss and batch norm depend on sums over all
patches of a batch, so these sums go over all processes, and so do their gradients.
"""

import atexit
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from glacierseg.errors import RequestError

# So long the other processes wait while the first one prepares large scenes.
_TIMEOUT = timedelta(hours=12)
_ALONE = ContextVar("alone", default=False)


@dataclass(frozen=True)
class Processes:
    """Where this process stands among those of one training: its rank, their number, those of each node."""

    rank: int = 0
    count: int = 1
    per_node: int = 1

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return self.count // self.per_node

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and logs."""
        return self.rank == 0


def find_processes(environment: Mapping[str, str] | None = None) -> Processes:
    """Reads from the environment what `torchrun` or `srun` says of this process; alone without them."""
    env = os.environ if environment is None else environment
    if "TORCHELASTIC_RUN_ID" in env:
        rank, count, per_node = (int(env[key]) for key in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    # Lightning reads the same two: an interactive shell of SLURM is no distributed training.
    elif int(env.get("SLURM_NTASKS", "1")) > 1 and env.get("SLURM_JOB_NAME") not in {"bash", "interactive"}:
        rank, count = int(env["SLURM_PROCID"]), int(env["SLURM_NTASKS"])
        per_node = int(env.get("SLURM_NTASKS_PER_NODE", str(count // int(env.get("SLURM_NNODES", "1")))))
    else:
        return Processes()
    if count % per_node:
        raise RequestError(f"{count} processes do not share out evenly at {per_node} a node; change one")
    return Processes(rank, count, per_node)


def join(processes: Processes) -> None:
    """Connects this process with the others; nothing to do when it is alone or connected."""
    if processes.count == 1 or dist.is_initialized():
        return
    # A connection still open when Python ends may crash the interpreter on its way out.
    atexit.register(leave)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group(backend, timeout=_TIMEOUT)
        return
    # Lightning knows how to find the first node of a SLURM job.
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment  # noqa: PLC0415

    slurm = SLURMEnvironment()
    os.environ.setdefault("MASTER_ADDR", slurm.main_address)
    os.environ.setdefault("MASTER_PORT", str(slurm.main_port))
    if torch.cuda.is_available():
        torch.cuda.set_device(slurm.local_rank())
    dist.init_process_group(
        "nccl" if torch.cuda.is_available() else "gloo",
        rank=processes.rank,
        world_size=processes.count,
        timeout=_TIMEOUT,
    )


def wait_for_others() -> None:
    """Returns when every process has called this; at once when it is alone."""
    if _together():
        dist.barrier()


def leave() -> None:
    """Ends the connection with the other processes, if there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def process_count() -> int:
    """Number of connected processes, 1 when alone."""
    return dist.get_world_size() if _together() else 1


@contextmanager
def alone() -> Iterator[None]:
    """Makes sums over processes mean this process only, while the block runs."""
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


def global_sum(values: Tensor) -> Tensor:
    """Sums a tensor over all processes; its gradient is that of this process's own share.

    Every process then computes the same loss, and the sum over processes of their gradients is the gradient
    of that loss. Lightning's DDP takes their mean instead, so `SegmentationTask` multiplies by their number.
    """
    return _OwnShare.apply(values) if _together() else values  # type: ignore[no-untyped-call]


def global_sum_through(values: Tensor) -> Tensor:
    """Sums a tensor over all processes and its gradient too: for sums inside a network, as in batch norm."""
    return _Everywhere.apply(values) if _together() else values  # type: ignore[no-untyped-call]


class _OwnShare(torch.autograd.Function):
    # The gradient is passed on as it is: DDP adds up those of all processes afterwards.
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # noqa: ARG004
        summed = values.clone()
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        return gradients[0]


class _Everywhere(_OwnShare):
    # Inside a network the sum enters the loss of every process, so the gradients of all come back to each.
    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        summed = gradients[0].contiguous().clone()
        dist.all_reduce(summed)
        return summed


def _together() -> bool:
    connected = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    return connected and not _ALONE.get()


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the maps `(B, C, H, W)` of all processes, where torch's own needs GPUs: on processors.

    In evaluation, and in a single process, it is `nn.BatchNorm2d`.
    """

    @classmethod
    def replace_in(cls, network: nn.Module) -> None:
        """Puts one in the place of every batch norm of a network, with the same parameters and buffers."""
        for parent in list(network.modules()):
            for name, norm in parent.named_children():
                if type(norm) is nn.BatchNorm2d:
                    synchronised = cls(norm.num_features, norm.eps, norm.momentum)
                    synchronised.train(norm.training)
                    for key, values in (*norm.named_parameters(), *norm.named_buffers()):
                        setattr(synchronised, key, values)
                    setattr(parent, name, synchronised)

    def forward(self, x: Tensor) -> Tensor:
        """Normalises each channel; `(B, C, H, W)` to the same."""
        if not self.training:
            return super().forward(x)
        wide = x if x.dtype == torch.float64 else x.float()
        own_count = wide.new_full((1,), x.numel() // x.shape[1])
        sums = global_sum_through(torch.cat([own_count, wide.sum((0, 2, 3))]))
        count, mean = sums[0], sums[1:] / sums[0]
        centred = wide - mean[:, None, None]
        # Squares of what is centred, in a second sum: the mean of squares less the squared mean would cancel.
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
