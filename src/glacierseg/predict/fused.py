"""Networks made ready to predict on a processor: the same function in fewer passes over memory."""

import copy
import weakref
from collections import Counter

import torch
from torch import Tensor, nn

from glacierseg.models.blocks import AttentionGate, ResidualBlock
from glacierseg.predict.fused_layers import CastLinear, FusedConv, FusedGate, FusedResidual, has_fused_calls

_TOLERANCE = 1e-4


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
    # Layers are copied, weights are not: all that change are made anew.
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
