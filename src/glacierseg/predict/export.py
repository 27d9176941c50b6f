"""A trained network as one file for other programs: ONNX or OpenVINO.

The graph takes band values as they stand in a scene and gives probabilities: the scaling comes before the
network and the softmax after it, so whoever runs the file needs no arithmetic of ours.
"""

import io
import json
import sys
import warnings
from collections.abc import Mapping
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glacierseg._version import __version__
from glacierseg.choices import ExportFormat
from glacierseg.errors import RequestError
from glacierseg.models.blocks import PositionalEmbedding
from glacierseg.models.card import ModelCard, fingerprint, load_model
from glacierseg.models.scaling import Scaling
from glacierseg.raster.outputs import writes
from glacierseg.raster.write import atomic_path
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.predict import ExportSettings

SUFFIX: dict[ExportFormat, str] = {"onnx": ".onnx", "openvino": ".xml"}
# The oldest that has layer norm as one operator: programs in the field carry old runtimes.
_OPSET = 17


def require(package: str, extra: str) -> Any:
    """Imports an optional package, or says which extra of glacierseg installs it."""
    # openvino and nncf report to their makers as soon as they are imported, unless this package is missing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return import_module(package)
    except ImportError as error:
        raise RequestError(f'{package} is not installed; run `pip install "glacierseg[{extra}]"`') from error


class RawGraph(nn.Module):
    """Band values to class probabilities: scaling, network, softmax.

    A pixel where any band is NaN (or infinite) becomes the mean in all bands, as `Scaling.apply` does it with
    pixels without data.
    """

    def __init__(self, network: nn.Module, scaling: Scaling) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(scaling.mean)[None, :, None, None])
        factor = 1 / torch.tensor(scaling.std, dtype=torch.float64)
        self.register_buffer("factor", factor.float()[None, :, None, None])
        floors = [0.0 if floor is None else floor for floor in scaling.floor]
        self.logarithmic = any(floors)
        self.register_buffer("floor", torch.tensor(floors)[None, :, None, None])

    def forward(self, values: Tensor) -> Tensor:
        """`(B, C, H, W)` in the scene's units to probabilities `(B, classes, H, W)`."""
        if self.logarithmic:
            floor = self.get_buffer("floor")
            # A maximum would make a number of NaN in some engines: a comparison keeps it.
            raised = torch.where(values < floor, floor, values)
            values = torch.where(floor > 0, torch.where(floor > 0, raised, 1.0).log(), values)
        scaled = (values - self.get_buffer("mean")) * self.get_buffer("factor")
        missing = (scaled - scaled).sum(1, keepdim=True).isnan()
        logits: Tensor = self.network(torch.where(missing, 0.0, scaled))
        return logits.softmax(1)


def raw_graph(network: nn.Module, scaling: Scaling, window_px: int) -> RawGraph:
    """Copies a network into a graph for windows of one size, on the CPU.

    Positional vectors are interpolated here, once: neither ONNX nor OpenVINO has torch's interpolation.
    """
    graph = RawGraph(deepcopy(network).cpu().float(), scaling).eval().requires_grad_(requires_grad=False)
    graph.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def settle(place: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        size = inputs[0].shape[-2:]
        if isinstance(place, PositionalEmbedding) and place.vectors.shape[-2:] != size:
            vectors = F.interpolate(place.vectors, size, mode="bicubic", antialias=True)
            place.vectors = nn.Parameter(vectors, requires_grad=False)

    hooks = [
        module.register_forward_pre_hook(settle)
        for module in graph.modules()
        if isinstance(module, PositionalEmbedding)
    ]
    with torch.no_grad():
        graph(torch.zeros(1, len(scaling.mean), window_px, window_px))
    for hook in hooks:
        hook.remove()
    return graph


def onnx_model(network: nn.Module, scaling: Scaling, window_px: int) -> Any:
    """Converts a network to an `onnx.ModelProto` with input `values` and output `probability`.

    The number of windows is free, their size is not: padding and positions are worked out for it.
    """
    onnx = require("onnx", "onnx")
    graph = raw_graph(network, scaling, window_px)
    example = torch.zeros(2, len(scaling.mean), window_px, window_px)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # torch calls this exporter old. The new one needs 10 to 30 times as long for the same numbers.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            (example,),
            buffer,  # type: ignore[arg-type]
            input_names=["values"],
            output_names=["probability"],
            dynamic_axes={"values": {0: "batch"}, "probability": {0: "batch"}},
            opset_version=_OPSET,
            dynamo=False,
        )
    model = onnx.load_model_from_string(buffer.getvalue())
    # Tools such as Deepness read the size of the result before they run anything.
    for dimension in model.graph.output[0].type.tensor_type.shape.dim[2:]:
        dimension.dim_value = window_px
    return model


def openvino_model(network: nn.Module, scaling: Scaling, window_px: int) -> Any:
    """Converts a network to an `openvino.Model`, by way of ONNX, which is quick and exact."""
    openvino = require("openvino", "openvino")
    require("onnx", "openvino")
    return openvino.Core().read_model(onnx_model(network, scaling, window_px).SerializeToString())


def facts_of(network: nn.Module, card: ModelCard, window_px: int) -> dict[str, str]:
    """Returns what an exported file says about itself: text by key, lists and tables as JSON."""
    names = ["background", *(f"class {number}" for number in range(1, card.classes - 1)), "glacier"]
    return {
        "glacierseg_version": __version__,
        "architecture": card.architecture,
        "bands": json.dumps(card.bands),
        "band_mean": json.dumps(card.band_mean),
        "band_std": json.dumps(card.band_std),
        **({"band_log_floor": json.dumps(card.band_log_floor)} if card.band_log_floor else {}),
        "class_names": json.dumps(dict(enumerate(names))),
        "patch_px": str(card.patch_px),
        "window_px": str(window_px),
        "input": "band values in the scene's units, NaN where there is no data",
        "output": "probability per class, the last is glacier",
        "fingerprint": fingerprint(network, card.scaling),
    }


def deepness_facts(card: ModelCard, window_px: int) -> dict[str, str]:
    """Returns the further keys, each JSON, from which the QGIS plug-in Deepness fills its form.

    Deepness divides every value by 255, then takes the mean off and divides by the spread: these spreads undo
    the first step, since the graph wants the values themselves.
    """
    bands = len(card.bands)
    entries = {
        "model_type": "Segmentor",
        "tile_size": window_px,
        "tiles_overlap": 50,
        "seg_thresh": 0.5,
        "standardization_mean": [0.0] * bands,
        "standardization_std": [1 / 255] * bands,
    }
    return {key: json.dumps(value) for key, value in entries.items()}


def write_openvino(model: Any, path: Path, facts: Mapping[str, str]) -> None:
    """Writes `<name>.xml` with its facts and `<name>.bin`, both whole or absent."""
    for key, value in facts.items():
        model.set_rt_info(value, ["glacierseg", key])
    with atomic_path(path) as part:
        require("openvino", "openvino").save_model(model, part, compress_to_fp16=False)


def target_path(model_dir: Path | str, to: ExportFormat, out: Path | str | None, stem: str = "model") -> Path:
    """Returns where an export goes."""
    if to not in SUFFIX:
        raise RequestError(f"cannot export to {to!r}; give onnx or openvino")
    path = Path(out) if out is not None else Path(model_dir) / f"{stem}{SUFFIX[to]}"
    if path.suffix != SUFFIX[to]:
        raise RequestError(f"{path}: an export to {to} ends in {SUFFIX[to]}; name the file so")
    return path


@fields_as_keywords(settings=ExportSettings)
@writes(out=())
def export_model(
    model_dir: Path | str,
    to: ExportFormat = "onnx",
    out: Path | str | None = None,
    settings: ExportSettings | None = None,
) -> Path:
    """Writes a trained network as ONNX (one file) or OpenVINO (.xml and .bin), in float32.

    Args:
        model_dir: A model folder.
        to: ``onnx`` or ``openvino``.
        out: The file; `model.onnx` or `model.xml` in the model folder when None.
        settings: Window and pruning; its fields may be given as keywords instead.

    Returns:
        Path of the file.

    Raises:
        CheckpointError: The folder is not a model folder.
        OutputError: The file cannot be written.
        RequestError: The format is unknown, a setting is out of its bounds, or a package is not installed.
    """
    path = target_path(model_dir, to, out)
    settings = settings or ExportSettings()
    network, card = load_model(model_dir, prune_level=settings.prune_level)
    window_px = settings.window_px or card.patch_px
    facts = facts_of(network, card, window_px)
    if to == "openvino":
        write_openvino(openvino_model(network, card.scaling, window_px), path, facts)
        return path
    model = onnx_model(network, card.scaling, window_px)
    require("onnx", "onnx").helper.set_model_props(model, facts | deepness_facts(card, window_px))
    with atomic_path(path) as part:
        part.write_bytes(model.SerializeToString())
    return path
