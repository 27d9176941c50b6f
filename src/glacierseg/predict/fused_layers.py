"""Layers for prediction alone: batch norm and ReLU inside the convolution, weights in the processor's own order.

What follows a convolution then happens while its result is still in a register, instead of one pass over memory
each. torch computes that on processors through oneDNN, whose fused calls are not public; where they are missing,
the same arithmetic is done with public ones.
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glacierseg.models.blocks import AttentionGate, ResidualBlock

After = Literal["none", "relu", "sigmoid"]
"""What happens to the result of a convolution."""

_PLAIN = {"none": lambda x: x, "relu": F.relu, "sigmoid": torch.sigmoid}


def has_fused_calls() -> bool:
    """Whether this build of torch has oneDNN's fused calls."""
    wanted = ("_convolution_pointwise", "_convolution_pointwise_", "_reorder_convolution_weight",
              "_convolution_transpose_pointwise", "_reorder_convolution_transpose_weight")  # fmt: skip
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in wanted)


class FusedConv(nn.Module):
    """A convolution, and what follows it."""

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d) -> None:
        """Takes over weights.

        Args:
            conv: Whose padding, if any, is with zeros.
        """
        super().__init__()
        self.weight = conv.weight.detach()
        self.bias = None if conv.bias is None else conv.bias.detach()
        self.transposed = isinstance(conv, nn.ConvTranspose2d)
        self.after: After = "none"
        self._where = tuple(conv.padding), tuple(conv.stride), tuple(conv.dilation), conv.groups
        self._more = tuple(conv.output_padding)
        self._packed: dict[tuple[int, ...], Tensor] | None = None

    def fold(self, norm: nn.BatchNorm2d) -> None:
        """Takes in the batch norm that follows.

        It multiplies and shifts each channel by numbers that are fixed after the training (Jacob et al. 2018),
        so the weights can be multiplied instead.
        """
        assert norm.running_mean is not None and norm.running_var is not None  # noqa: S101  (`_folds`)
        factor = torch.rsqrt(norm.running_var.double() + norm.eps)
        if norm.weight is not None:
            factor = factor * norm.weight.detach()
        bias = -norm.running_mean if self.bias is None else self.bias - norm.running_mean
        bias = bias * factor if norm.bias is None else bias * factor + norm.bias.detach()
        self.weight = (self.weight * factor[:, None, None, None]).to(self.weight.dtype)
        self.bias = bias.to(self.weight.dtype)

    def pack(self, dtype: torch.dtype) -> None:
        """Makes ready to compute in `dtype` with fused calls.

        The weights are brought into the order that oneDNN wants for a size of window when the first one comes.
        """
        self.weight = self.weight.to(dtype, memory_format=torch.channels_last)
        self.bias = None if self.bias is None else self.bias.to(dtype)
        self._packed = {}

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` to the result."""
        x = x.to(self.weight.dtype)
        if self._packed is None:
            return _PLAIN[self.after](self._plainly(x))
        padding, stride, dilation, groups = self._where
        weight = self._packed_for(x)
        if self.transposed:
            call = torch.ops.mkldnn._convolution_transpose_pointwise
            return call(
                x, weight, self.bias, padding, self._more, stride, dilation, groups, self.after, [], ""
            )
        call = torch.ops.mkldnn._convolution_pointwise
        return call(x, weight, self.bias, padding, stride, dilation, groups, self.after, [], "")

    def added_relu(self, x: Tensor, other: Tensor, *, overwrite: bool) -> Tensor:
        """ReLU of the sum of the convolution's result and `other`.

        Args:
            x: `(B, C, H, W)`.
            other: Of the result's shape.
            overwrite: Put the result in the memory of `other`, which nobody else may need.
        """
        x = x.to(self.weight.dtype)
        if self._packed is None:
            return F.relu(self._plainly(x) + other)
        weight, after = self._packed_for(x), ("add", 1.0, "relu", [], None)
        if overwrite:
            call = torch.ops.mkldnn._convolution_pointwise_.binary
            return call(other, x, weight, self.bias, *self._where, *after)
        call = torch.ops.mkldnn._convolution_pointwise.binary
        return call(x, other.to(x.dtype), weight, self.bias, *self._where, *after)

    def _plainly(self, x: Tensor) -> Tensor:
        padding, stride, dilation, groups = self._where
        if self.transposed:
            return F.conv_transpose2d(
                x, self.weight, self.bias, stride, padding, self._more, groups, dilation
            )
        return F.conv2d(x, self.weight, self.bias, stride, padding, dilation, groups)

    def _packed_for(self, x: Tensor) -> Tensor:
        assert self._packed is not None  # noqa: S101  (asked by the callers)
        shape = tuple(x.shape[1:])
        if shape not in self._packed:
            padding, stride, dilation, groups = self._where
            ops = torch.ops.mkldnn
            self._packed[shape] = (
                ops._reorder_convolution_transpose_weight(
                    self.weight, padding, self._more, stride, dilation, groups, x.shape
                )
                if self.transposed
                else ops._reorder_convolution_weight(self.weight, padding, stride, dilation, groups, x.shape)
            )
        return self._packed[shape]


class CastLinear(nn.Module):
    """A linear layer whose weights are cast once and not in every call."""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = linear.weight.detach().to(dtype)
        self.bias = None if linear.bias is None else linear.bias.detach().to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """`(..., inputs)` to `(..., outputs)`."""
        return F.linear(x.to(self.weight.dtype), self.weight, self.bias)


class FusedResidual(nn.Module):
    """A `ResidualBlock` whose sum and last ReLU happen inside its second convolution."""

    def __init__(self, block: ResidualBlock, first: nn.Module, second: FusedConv) -> None:
        super().__init__()
        self.first, self.second, self.shortcut = first, second, block.shortcut

    def forward(self, x: Tensor) -> Tensor:
        """`(B, in_channels, H, W)` to `(B, out_channels, H, W)`."""
        x = x.to(self.second.weight.dtype)
        beside = self.shortcut(x)
        return self.second.added_relu(self.first(x), beside, overwrite=beside is not x)


class FusedGate(nn.Module):
    """An `AttentionGate` whose sum happens inside a convolution."""

    def __init__(self, gate: AttentionGate) -> None:
        super().__init__()
        self.theta, self.phi, self.psi = gate.theta, gate.phi, gate.psi
        assert isinstance(self.psi, FusedConv)  # noqa: S101  (asked by the caller)
        self.psi.after = "sigmoid"

    def forward(self, skip: Tensor, gate: Tensor) -> Tensor:
        """Returns `skip` times its weights."""
        theta: Any = self.theta
        inner = theta.added_relu(skip, self.phi(gate), overwrite=True)
        weights: Tensor = self.psi(inner)
        return skip * weights
