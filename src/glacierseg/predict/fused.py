"""Networks made ready to predict on a processor: the same function in fewer passes over memory.

Batch norm and ReLU go into the convolution, weights into the processor's order. What follows a convolution
then happens while its result is still in a register, instead of one pass over memory each. torch does that on
processors through oneDNN, by calls that are not public; where they are missing, the same arithmetic is done
with public ones (tests/test_private.py).
"""

import copy
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glacierseg.models.blocks import AttentionGate, ResidualBlock
from glacierseg.models.device import has_native_bf16

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
_TOLERANCE = 1e-4


def has_fused_calls(*, bf16: bool) -> bool:
    """Whether this build of torch has oneDNN's fused calls, and this processor them in bf16 if asked for."""
    present: bool = torch.backends.mkldnn.is_available()
    wanted = (_CONV, _CONV_INTO, _PACK, _TRANSPOSED, _PACK_TRANSPOSED)
    if not present or not all(hasattr(torch.ops.mkldnn, name) for name in wanted):
        return False
    return not bf16 or has_native_bf16()


def _call(name: str, *arguments: object, overload: str = "default") -> Tensor:
    result: Tensor = getattr(getattr(torch.ops.mkldnn, name), overload)(*arguments)
    return result


class FusedConv(nn.Module):
    """A convolution, padded with zeros if at all, and what follows it."""

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d) -> None:
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


@torch.inference_mode()
def fused(network: nn.Module, example: Tensor, *, bf16: bool) -> nn.Module:
    """Returns a copy that computes the same, faster; or the network itself where there is nothing to gain.

    A batch norm that follows a convolution goes into its weights, and a ReLU and, in our own blocks, the sum
    with a shortcut into the same call. Which follows which is seen as `example` passes through, so that this
    holds for any network; and if the copy then does not give the same result, the network stays as it is.

    Args:
        network: In evaluation mode, on the processor.
        example: Input `(1, C, H, W)` in float32.
        bf16: Compute convolutions and linear layers in bf16, but for the last convolution. All else follows
            its input: run the copy under `torch.autocast`.
    """
    if not any(_replaceable(module) for module in network.modules()):
        return network
    # Layers are copied, weights are not: all that change are new ones.
    made = copy.deepcopy(network, {id(own): own for own in (*network.parameters(), *network.buffers())})
    seen = _Seen(made, example)
    convs = _replace_convs(made, seen)
    _replace_blocks(made)
    if not _alike(made(example), seen.result):
        return network
    fast = has_fused_calls(bf16=bf16)
    last = convs[-1] if convs else None
    for conv in convs:
        rough = bf16 and conv is not last
        if fast:
            conv.pack(torch.bfloat16 if rough else torch.float32)
        elif rough:
            conv.weight = conv.weight.bfloat16()
            conv.bias = None if conv.bias is None else conv.bias.bfloat16()
    if bf16:
        _cast_linears(made)
    return made


class _Seen:
    """What follows what when a network is run once.

    Attributes:
        result: Of the network.
        calls: How often each layer was called, in the order of the first calls.
        before: For a batch norm or ReLU the layer whose very result it was given.
    """

    def __init__(self, network: nn.Module, example: Tensor) -> None:
        self.calls: Counter[nn.Module] = Counter()
        self.before: dict[nn.Module, nn.Module] = {}
        self._made_by: dict[int, tuple[weakref.ref[Tensor], nn.Module]] = {}
        layers = [m for m in network.modules() if _replaceable(m) or isinstance(m, nn.BatchNorm2d | nn.ReLU)]
        hooks = [layer.register_forward_hook(self._note) for layer in layers]
        try:
            self.result: Tensor = network(example)
        finally:
            for hook in hooks:
                hook.remove()

    def _note(self, layer: nn.Module, inputs: tuple[Tensor, ...], result: Tensor) -> None:
        self.calls[layer] += 1
        reference, maker = self._made_by.get(id(inputs[0]), (None, None))
        if maker is not None and reference is not None and reference() is inputs[0]:
            self.before[layer] = maker
        self._made_by[id(result)] = weakref.ref(result), layer

    def follower(self, layer: nn.Module, kind: type[nn.Module]) -> nn.Module | None:
        """The layer of a kind that takes the result of another one, when both are called just once."""
        for after, maker in self.before.items():
            if maker is layer and isinstance(after, kind):
                return after if self.calls[layer] == self.calls[after] == 1 else None
        return None


def _replaceable(module: nn.Module) -> bool:
    if vars(module).get("_forward_hooks") or vars(module).get("_forward_pre_hooks"):
        return False
    if type(module).forward is nn.ConvTranspose2d.forward:
        return True
    return (
        type(module).forward is nn.Conv2d.forward
        and getattr(module, "padding_mode", "") == "zeros"
        and not isinstance(module.padding, str)
    )


def _folds(norm: nn.Module | None) -> bool:
    return isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None


def _replace_convs(made: nn.Module, seen: _Seen) -> list[FusedConv]:
    """Puts fused convolutions in place, and returns them in the order of their calls."""
    instead: dict[nn.Module, nn.Module] = {}
    convs = []
    for layer in seen.calls:
        if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            continue
        instead[layer] = conv = FusedConv(layer)
        convs.append(conv)
        norm = seen.follower(layer, nn.BatchNorm2d)
        if isinstance(norm, nn.BatchNorm2d) and _folds(norm):
            conv.fold(norm)
            instead[norm] = nn.Identity()
        relu = seen.follower(norm if norm in instead else layer, nn.ReLU)
        if relu is not None:
            conv.after = "relu"
            instead[relu] = nn.Identity()
    for parent in list(made.modules()):
        for name, child in list(parent.named_children()):
            if child in instead:
                setattr(parent, name, instead[child])
    return convs


def _replace_blocks(made: nn.Module) -> None:
    for parent in list(made.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, ResidualBlock) and isinstance(child.second[0], FusedConv):
                setattr(parent, name, FusedResidual(child, child.first, child.second[0]))
            elif isinstance(child, AttentionGate) and isinstance(child.psi, FusedConv):
                setattr(parent, name, FusedGate(child))


def _cast_linears(made: nn.Module) -> None:
    for parent in list(made.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, CastLinear(child, torch.bfloat16))


def _alike(result: Tensor, wanted: Tensor) -> bool:
    scale = float(wanted.abs().max()) or 1.0
    return result.shape == wanted.shape and bool(((result - wanted).abs() <= _TOLERANCE * scale).all())
