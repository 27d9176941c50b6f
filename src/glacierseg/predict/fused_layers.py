"""Layers for prediction alone: batch norm and ReLU inside the convolution, weights in the processor's order.

What follows a convolution then happens while its result is still in a register, instead of one pass over
memory each. torch does that on processors through oneDNN, by calls that are not public; where they are
missing, the same arithmetic is done with public ones (tests/test_private.py).
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glacierseg.models.blocks import AttentionGate, ResidualBlock
from glacierseg.training.precision import has_native_bf16

After = Literal["none", "relu", "sigmoid"]
"""What happens to the result of a convolution."""

_PLAIN: dict[After, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": F.relu,
    "sigmoid": torch.sigmoid,
}
_CONV, _CONV_INTO, _PACK = "_convolution_pointwise", "_convolution_pointwise_", "_reorder_convolution_weight"
_TRANSPOSED = "_convolution_transpose_pointwise"
_PACK_TRANSPOSED = "_reorder_convolution_transpose_weight"


def has_fused_calls(*, bf16: bool) -> bool:
    """Whether this build of torch has oneDNN's fused calls, and this processor them in bf16 if asked for."""
    present: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    wanted = (_CONV, _CONV_INTO, _PACK, _TRANSPOSED, _PACK_TRANSPOSED)
    if not present or not all(hasattr(torch.ops.mkldnn, name) for name in wanted):
        return False
    return not bf16 or has_native_bf16()


def _call(name: str, *arguments: object, overload: str = "default") -> Tensor:
    result: Tensor = getattr(getattr(torch.ops.mkldnn, name), overload)(*arguments)
    return result


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
        # A convolution's padding can be a word too; such ones are not taken over.
        self._padding: Any = tuple(conv.padding)
        self._stride = tuple(conv.stride)
        self._dilation, self._groups = tuple(conv.dilation), conv.groups
        self._more: tuple[int, ...] = tuple(conv.output_padding)
        self._packed: dict[tuple[int, ...], Tensor] | None = None

    def fold(self, norm: nn.BatchNorm2d) -> None:
        """Takes in the batch norm that follows.

        It multiplies and shifts each channel by numbers that are fixed after the training, so the weights can
        be multiplied instead (Jacob et al. 2018).
        """
        assert norm.running_mean is not None  # noqa: S101  (asked by the caller)
        assert norm.running_var is not None  # noqa: S101
        factor = torch.rsqrt(norm.running_var.double() + norm.eps)
        if norm.weight is not None:
            factor = factor * norm.weight.detach()
        bias = -norm.running_mean if self.bias is None else self.bias - norm.running_mean
        bias = bias * factor if norm.bias is None else bias * factor + norm.bias.detach()
        self.weight = (self.weight * factor[:, None, None, None]).to(self.weight.dtype)
        self.bias = bias.to(self.weight.dtype)

    def pack(self, dtype: torch.dtype) -> None:
        """Makes ready to compute in `dtype` with fused calls.

        The weights are brought into the order that oneDNN wants for a size of window when that first comes.
        """
        self.weight = self.weight.to(dtype, memory_format=torch.channels_last)
        self.bias = None if self.bias is None else self.bias.to(dtype)
        self._packed = {}

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` to the result."""
        x = x.to(self.weight.dtype)
        if self._packed is None:
            return _PLAIN[self.after](self._plainly(x))
        end: tuple[object, ...] = self._stride, self._dilation, self._groups, self.after, [], ""
        start = x, self._packed_for(x), self.bias, self._padding
        return _call(_TRANSPOSED, *start, self._more, *end) if self.transposed else _call(_CONV, *start, *end)

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
        where = self._padding, self._stride, self._dilation, self._groups
        rest: tuple[object, ...] = self._packed_for(x), self.bias, *where, "add", 1.0, "relu", [], None
        if overwrite:
            return _call(_CONV_INTO, other.to(x.dtype), x, *rest, overload="binary")
        return _call(_CONV, x, other.to(x.dtype), *rest, overload="binary")

    def _plainly(self, x: Tensor) -> Tensor:
        if self.transposed:
            return F.conv_transpose2d(
                x,
                self.weight,
                self.bias,
                self._stride,
                self._padding,
                self._more,
                self._groups,
                self._dilation,
            )
        return F.conv2d(x, self.weight, self.bias, self._stride, self._padding, self._dilation, self._groups)

    def _packed_for(self, x: Tensor) -> Tensor:
        assert self._packed is not None  # noqa: S101  (asked by the callers)
        shape = tuple(x.shape[1:])
        if shape not in self._packed:
            start, end = (self.weight, self._padding), (self._stride, self._dilation, self._groups, x.shape)
            self._packed[shape] = (
                _call(_PACK_TRANSPOSED, *start, self._more, *end)
                if self.transposed
                else _call(_PACK, *start, *end)
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
