"""Networks of segmentation_models.pytorch (the extra `zoo`), named `smp:<Architecture>/<encoder>`."""

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from glacierseg.errors import DownloadError, RequestError, UnknownModelError, did_you_mean
from glacierseg.models.blocks import INPUT_GAIN, check_sizes, crop_like, pad_to_multiple, quiet_inputs

PROBE_PX = 128
# Pools a map of stride 16 three times more.
_PAN_MULTIPLE_PX = 128
_ONE_VALUE = "Expected more than 1 value per channel"


class ZooNetwork(nn.Module):
    """A network of segmentation_models.pytorch that takes maps of any size.

    Args:
        in_channels: bands.
        classes: classes, background among them.
        width: only 1.0, for the sizes are those of the encoder.
        architecture: such as `Unet`, in any case.
        encoder: such as `resnet34`, or `tu-` and a name of timm.
        encoder_weights: which weights the encoder starts with, such as `imagenet`; fresh ones when None. They
            are downloaded once. The weights that read red, green and blue are then repeated over the bands.

    Raises:
        UnknownModelError: no such architecture or encoder.
        RequestError: impossible sizes; the extra is not installed or does not load; architecture and encoder
            do not go together; or the network cannot read maps of any size, or mixes bands as it reads them.
        DownloadError: the encoder's weights could not be fetched.
    """

    may_leave_weights_unused = True
    """Some encoders have layers that no decoder reads."""

    def __init__(
        self,
        in_channels: int,
        classes: int = 2,
        width: float = 1.0,
        *,
        architecture: str,
        encoder: str,
        encoder_weights: str | None = None,
    ) -> None:
        super().__init__()
        self.title = f"smp:{architecture}/{encoder}"
        check_sizes(in_channels, classes, width)
        if width != 1:
            raise RequestError(
                f"{self.title}: width is {width}, but the sizes of this network are those of its encoder; "
                "leave width out, and take a smaller encoder such as resnet18 for less work"
            )
        smp = _load_package(self.title)
        _check_names(smp, architecture, encoder)
        # Also where only a sketch without memory is asked for: many encoders compute with numbers as they are
        # built, and the probe reads some.
        with torch.device("cpu"):
            self.network = self._build(smp, architecture, encoder, encoder_weights, in_channels, classes)
            self.multiple_px = (
                _PAN_MULTIPLE_PX if architecture.lower() == "pan" else self.network.encoder.output_stride
            )
            readers = self._probe(in_channels, classes)
        for reader in readers:
            # The statistics that come with trained weights belong to their size.
            quiet_inputs(reader, range(in_channels), INPUT_GAIN if encoder_weights is None else 1.0)

    def _build(
        self,
        smp: Any,
        architecture: str,
        encoder: str,
        weights: str | None,
        in_channels: int,
        classes: int,
    ) -> Any:
        try:
            return smp.create_model(
                architecture,
                encoder_name=encoder,
                # An encoder of timm has one set of weights, which is part of its name.
                encoder_weights=True if weights and encoder.startswith("tu-") else weights,
                in_channels=in_channels,
                classes=classes,
            )
        except OSError as error:
            raise DownloadError(
                f"{self.title}: the weights {weights!r} of its encoder could not be downloaded "
                f"({_first_line(error)}); try again with internet, or leave encoder_weights out"
            ) from error
        except (KeyError, ValueError, RuntimeError, NotImplementedError) as error:
            raise RequestError(
                f"{self.title}: cannot be built ({_first_line(error)}); choose another encoder or weights"
            ) from error

    def _probe(self, in_channels: int, classes: int) -> list[nn.Conv2d]:
        """Runs the network once and returns the convolutions that read the bands."""
        x = torch.randn(1, in_channels, PROBE_PX, PROBE_PX, generator=torch.Generator().manual_seed(0))
        readers = []

        def watch(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if isinstance(module, nn.Conv2d) and inputs[0].shape == x.shape and torch.equal(inputs[0], x):
                readers.append(module)

        hooks = [
            m.register_forward_pre_hook(watch) for m in self.network.modules() if isinstance(m, nn.Conv2d)
        ]
        self.eval()
        try:
            with torch.no_grad():
                logits = self(x)
        except (AssertionError, RuntimeError, ValueError) as error:
            raise RequestError(
                f"{self.title}: cannot read maps of {PROBE_PX} px ({_first_line(error)}); "
                "choose an encoder that takes maps of any size"
            ) from error
        finally:
            for hook in hooks:
                hook.remove()
            self.train()
        if logits.shape != (1, classes, PROBE_PX, PROBE_PX):
            raise RequestError(
                f"{self.title}: gives {tuple(logits.shape)} for {tuple(x.shape)} instead of one value per "
                "class and pixel; choose another architecture"
            )
        if not readers:
            raise RequestError(
                f"{self.title}: mixes neighbouring pixels before its first weights, so that no weight "
                "belongs to one band; choose another encoder"
            )
        return readers

    def forward(self, x: Tensor) -> Tensor:
        """`(B, in_channels, H, W)` to logits `(B, classes, H, W)`."""
        try:
            logits: Tensor = self.network(pad_to_multiple(x, self.multiple_px))
        except ValueError as error:
            if not str(error).startswith(_ONE_VALUE):
                raise
            raise RequestError(
                f"{self.title}: its batch norm cannot learn from one patch at a time; "
                "give a batch_size of 2 or more"
            ) from error
        return crop_like(logits, x)


def _load_package(title: str) -> Any:
    advice = (
        "torch and torchvision must be of one build, for CPUs alone both from download.pytorch.org/whl/cpu"
    )
    try:
        return import_module("segmentation_models_pytorch")
    except ModuleNotFoundError as error:
        raise RequestError(
            f'{title} needs {error.name}: run `pip install "glacierseg[zoo]"` ({advice})'
        ) from error
    except (ImportError, RuntimeError) as error:
        raise RequestError(
            f"{title}: segmentation_models_pytorch does not load ({_first_line(error)}); {advice}"
        ) from error


def _check_names(smp: Any, architecture: str, encoder: str) -> None:
    architectures = [network.__name__ for network in smp.MODEL_ARCHITECTURES_MAPPING.values()]
    if architecture.lower() not in smp.MODEL_ARCHITECTURES_MAPPING:
        raise UnknownModelError(
            f"segmentation_models.pytorch has no architecture {architecture!r}"
            f"{did_you_mean(architecture, architectures)}; it has {', '.join(architectures)}"
        )
    if encoder.startswith("tu-"):
        timm = import_module("timm")
        if not timm.is_model(encoder.removeprefix("tu-")):
            known = [f"tu-{name}" for name in timm.list_models()]
            raise UnknownModelError(
                f"timm has no encoder {encoder!r}{did_you_mean(encoder, known)}; "
                "`timm.list_models()` names those it has, and tu- comes before them"
            )
    elif encoder not in (encoders := smp.encoders.get_encoder_names()):
        raise UnknownModelError(
            f"segmentation_models.pytorch has no encoder {encoder!r}{did_you_mean(encoder, encoders)}; "
            f"it has {', '.join(encoders)}, and those of timm as tu-<name>"
        )


def _first_line(error: Exception) -> str:
    # A KeyError shows its text in quotes.
    text = str(error.args[0] if isinstance(error, KeyError) else error) or type(error).__name__
    return text.splitlines()[0].rstrip(".")
