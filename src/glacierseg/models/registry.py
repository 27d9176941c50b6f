"""The networks by name, and how each is trained unless told otherwise.

Importing this module does not import torch: a configuration can be checked without it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from glacierseg.choices import LossName
from glacierseg.errors import RequestError, UnknownModelError, did_you_mean

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ModelSpec:
    """A network and its defaults for training.

    Attributes:
        name: what the user calls it.
        builder: where its class lies, `module:class`.
        default_patch_px: side of a training patch.
        loss: name of the loss.
        learning_rate: of Adam.
        batch_size: patches per step.
        batch_size_six_bands: the same when only the six best bands are used.
        clip_norm: largest norm of the gradient; None: not clipped.
        original_top_bands: the six bands that the original study found most important, one-based, the best
            first; empty where it did not use the network.
        convolutional: whether a result depends on the surroundings of a pixel only, wherever its window lies.
        parts: what the name alone tells the builder; empty but for `smp:` names.
    """

    name: str
    builder: str
    default_patch_px: int
    loss: LossName
    learning_rate: float
    batch_size: int = 16
    batch_size_six_bands: int = 16
    clip_norm: float | None = None
    original_top_bands: tuple[int, ...] = ()
    convolutional: bool = False
    parts: Mapping[str, str] = field(default_factory=dict)


MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec(
            name="glavitu",
            builder="glacierseg.models.glavitu:GlaViTU",
            default_patch_px=64,
            loss="cross_entropy",
            learning_rate=1e-4,
            clip_norm=1.0,
            original_top_bands=(8, 4, 5, 1, 11, 14),
        ),
        ModelSpec(
            name="m_landsnet",
            builder="glacierseg.models.m_landsnet:MLandsNet",
            default_patch_px=128,
            loss="dice_focal",
            learning_rate=1e-3,
            original_top_bands=(5, 4, 1, 8, 11, 6),
            convolutional=True,
        ),
        ModelSpec(
            name="unetplusplus",
            builder="glacierseg.models.unetplusplus:UNetPlusPlus",
            default_patch_px=256,
            loss="dice_focal",
            learning_rate=1e-3,
            batch_size_six_bands=8,
            original_top_bands=(5, 17, 1, 2, 16, 7),
            convolutional=True,
        ),
        ModelSpec(
            name="glavitu_global",
            builder="glacierseg.models.glavitu_global:GlaViTUGlobal",
            default_patch_px=384,
            loss="focal",
            # Not from its papers: a rate between those of its convolutional and its transformer relatives.
            learning_rate=5e-4,
            batch_size=8,
            batch_size_six_bands=8,
        ),
    )
}


ZOO_PREFIX = "smp:"
ZOO_FORM = "smp:<Architecture>/<encoder>"
_ZOO_NAME = re.compile(r"smp:(?P<architecture>[A-Za-z0-9]+)/(?P<encoder>\w(?:[\w.-]*\w)?)", re.ASCII)


def model_spec(name: str) -> ModelSpec:
    """The network of that name: a key of `MODELS`, or `smp:<Architecture>/<encoder>` of the extra `zoo`.

    Whether the zoo has that architecture and that encoder shows only when the network is made.

    Raises:
        UnknownModelError: no network has that name.
    """
    if name in MODELS:
        return MODELS[name]
    if not name.startswith(ZOO_PREFIX):
        known = ", ".join(MODELS)
        raise UnknownModelError(
            f"no network is called {name!r}{did_you_mean(name, MODELS)}; there are {known}, "
            f"and {ZOO_FORM} of the extra `zoo`"
        )
    match = _ZOO_NAME.fullmatch(name)
    if match is None:
        raise UnknownModelError(f"{name!r} is not of the form {ZOO_FORM}; write it like smp:Unet/resnet34")
    return ModelSpec(
        name=name,
        builder="glacierseg.models.zoo:ZooNetwork",
        default_patch_px=256,
        loss="dice_focal",
        learning_rate=1e-3,
        parts=match.groupdict(),
    )


def create_model(
    name: str, in_channels: int, classes: int = 2, width: float = 1.0, **options: Any
) -> "nn.Module":
    """Makes a network with fresh weights: `(B, in_channels, H, W)` float in, `(B, classes, H, W)` logits out.

    Args:
        name: a key of `MODELS`, or `smp:<Architecture>/<encoder>`.
        in_channels: bands.
        classes: classes, background among them.
        width: multiplies the channels of every layer.
        options: what else that network's class takes, such as `deep_supervision`.

    Raises:
        UnknownModelError: no network has that name.
        RequestError: impossible sizes, an option that the network does not have, or a value of another type.
    """
    spec = model_spec(name)
    options = checked_options(name, options)
    network: nn.Module = _builder(spec)(in_channels, classes, width, **spec.parts, **options)
    return network


def checked_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options of a network in the types that it takes, refusing those that it does not have."""
    known = option_names(name)
    types = get_type_hints(_builder(model_spec(name)).__init__)
    checked = {}
    for option, value in options.items():
        if option not in known:
            listed = ", ".join(known) or "no options"
            raise RequestError(
                f"{name} has no option {option!r}{did_you_mean(option, known)}; it has {listed}"
            )
        try:
            checked[option] = TypeAdapter(types[option]).validate_python(value)
        except ValidationError as error:
            problem = error.errors()[0]
            raise RequestError(f"option {option} of {name} is {value!r}: {problem['msg']}") from error
    return checked


def option_names(name: str) -> tuple[str, ...]:
    """Returns the names of the options that a network takes."""
    spec = model_spec(name)
    given = {"in_channels", "classes", "width", *spec.parts}
    return tuple(option for option in signature(_builder(spec)).parameters if option not in given)


def _builder(spec: ModelSpec) -> "type[nn.Module]":
    module_name, class_name = spec.builder.split(":")
    builder: type[nn.Module] = getattr(import_module(module_name), class_name)
    return builder


def is_of(network: "nn.Module", name: str) -> bool:
    """Whether a network is one that `create_model` makes under a name, and not a class of somebody else's."""
    kind = type(network)
    return model_spec(name).builder == f"{kind.__module__}:{kind.__qualname__}"


def count_parameters(module: "nn.Module") -> int:
    """Number of learned values in a module."""
    return sum(parameter.numel() for parameter in module.parameters())
