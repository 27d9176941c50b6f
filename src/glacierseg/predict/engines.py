"""The libraries that run a network: torch, ONNX Runtime or OpenVINO, each behind the same call."""

import shlex
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from glacierseg.choices import Engine, Precision
from glacierseg.errors import RequestError
from glacierseg.models.card import fingerprint
from glacierseg.models.device import TORCH_TYPES, InputScaling, has_native_bf16
from glacierseg.models.scaling import Scaling
from glacierseg.predict.fused import fused
from glacierseg.predict.stream import Predictor

PRECISIONS: dict[Engine, tuple[Precision, ...]] = {
    "torch": ("auto", "float32", "bfloat16"),
    "openvino": ("auto", "float32", "bfloat16", "int8"),
    "onnx": ("auto", "float32"),
}
_CPU_PIXELS = 4 * 128**2
"""At once on a processor: of more, the maps inside a network fit no cache and are fresh memory every time."""
_EXAMPLE_PX = 64


def make_predictor(
    engine: Engine,
    network: nn.Module,
    scaling: Scaling,
    *,
    window_px: int,
    precision: Precision = "auto",
    int8_model: Path | None = None,
    as_it_is: bool = False,
) -> Predictor:
    """Makes what predicts windows.

    Args:
        engine: ``auto`` is torch.
        network: `(B, C, H, W)` scaled to logits `(B, classes, H, W)`.
        scaling: How band values become input.
        window_px: Side of all windows to come.
        precision: ``auto`` is bf16 where the hardware computes in it and the engine can, else float32; never
            int8, which moves outlines.
        int8_model: The file that `glacierseg export --int8-with` made of this network; for int8 alone.
        as_it_is: With torch, call the network itself, see `TorchPredictor`.
    """
    chosen, precision = resolved(engine, precision)
    if chosen == "openvino":
        return _openvino_predictor(network, scaling, window_px, precision, int8_model)
    if chosen == "onnx":
        from glacierseg.predict.export import onnx_model  # noqa: PLC0415

        return OnnxPredictor(onnx_model(network, scaling, window_px).SerializeToString())
    return TorchPredictor(network, scaling, bf16=precision == "bfloat16", as_it_is=as_it_is)


def resolved(engine: Engine, precision: Precision) -> tuple[Engine, Precision]:
    """Returns what ``auto`` means on this machine.

    A result is that of one engine and one precision all over, so whoever goes on with an interrupted one, or
    helps with it on another machine, has to know.
    """
    chosen: Engine = "torch" if engine == "auto" else engine
    if chosen not in PRECISIONS:
        raise RequestError(f"no engine is called {engine!r}; there are auto, {', '.join(PRECISIONS)}")
    if precision not in PRECISIONS[chosen]:
        able = [name for name, known in PRECISIONS.items() if precision in known]
        engine_cure = f"--engine {' or '.join(able)}, or " if able else ""
        raise RequestError(
            f"{chosen} does not predict in {precision}; give {engine_cure}"
            f"--precision {' or '.join(PRECISIONS[chosen])}"
        )
    if precision != "auto":
        return chosen, precision
    if chosen == "torch":
        return chosen, "bfloat16" if has_native_bf16() else "float32"
    return chosen, "bfloat16" if chosen == "openvino" and _openvino_has_bf16() else "float32"


def _openvino_has_bf16() -> bool:
    from glacierseg.predict.export import require  # noqa: PLC0415

    core = require("openvino", "openvino").Core()
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _openvino_predictor(
    network: nn.Module, scaling: Scaling, window_px: int, precision: Precision, int8_model: Path | None
) -> "OpenVinoPredictor":
    from glacierseg.predict.export import openvino_model  # noqa: PLC0415

    if precision == "int8":
        model = read_int8(int8_model, network, scaling, window_px)
    else:
        model = openvino_model(network, scaling, window_px)
    return OpenVinoPredictor(model, precision)


def read_int8(path: Path | None, network: nn.Module, scaling: Scaling, window_px: int | None = None) -> Any:
    """Reads what `quantize_model` wrote, an `openvino.Model`; one of another network is refused."""
    from glacierseg.predict.export import require  # noqa: PLC0415

    openvino = require("openvino", "openvino")
    words = ["export", "MODEL_DIR", "--to", "openvino", "--int8-with", "SCENE", "--truth", "TRUTH"]
    asked = {"--prune-level": getattr(network, "prune_level", None), "--window-px": window_px, "--out": path}
    words += [str(word) for option in asked.items() if option[1] is not None for word in option]
    cure = f"make one with `{shlex.join(['glacierseg', *words])}`"
    if path is None or not path.is_file():
        raise RequestError(f"{path or 'int8'}: there is no quantised network; {cure}")
    try:
        model = openvino.Core().read_model(path)
    except RuntimeError as error:
        raise RequestError(f"{path}: is damaged; {cure}") from error
    key = ["glacierseg", "fingerprint"]
    if not model.has_rt_info(key) or model.get_rt_info(key).astype(str) != fingerprint(network, scaling):
        raise RequestError(f"{path}: was made of another network than this one; {cure}")
    side_px = model.inputs[0].get_partial_shape()[2].get_length()
    if window_px not in {None, side_px}:
        raise RequestError(f"{path}: takes windows of {side_px} px, not {window_px}; {cure}")
    return model


class TorchPredictor:
    """Scales windows, runs the network and returns the probability of its last class."""

    def __init__(
        self,
        network: nn.Module,
        scaling: Scaling,
        *,
        bf16: bool = False,
        as_it_is: bool = False,
    ) -> None:
        """Moves the network to the GPU when there is one; for a processor makes a faster copy of it.

        Args:
            network: `(B, C, H, W)` to logits `(B, classes, H, W)`.
            scaling: How band values become input.
            bf16: Compute in bf16.
            as_it_is: Call the network itself and no copy: one that is not ours may do more than compute.
        """
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.scale = InputScaling(scaling).to(self.device)
        self.bf16 = bf16
        if self.device.type == "cpu" and not as_it_is:
            example = torch.randn(
                1, len(scaling.mean), _EXAMPLE_PX, _EXAMPLE_PX, generator=torch.Generator().manual_seed(0)
            )
            self.network = fused(self.network, example, bf16=bf16)
        self._scaled = torch.empty(0)

    @torch.inference_mode()
    def __call__(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Predicts windows, see `Predictor`."""
        if values.dtype not in TORCH_TYPES:
            values = values.astype(np.float32)
        at_once = max(1, len(values) if self.device.type == "cuda" else _CPU_PIXELS // valid[0].size)
        probability = np.empty(valid.shape, np.float32)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            for start in range(0, len(values), at_once):
                part = slice(start, start + at_once)
                logits = self.network(self._input(values[part], valid[part]))
                torch.from_numpy(probability[part]).copy_(of_last_class(logits))
        return probability

    def _input(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> Tensor:
        interleaved = values.transpose(0, 2, 3, 1)
        # The same memory again and again: to get it fresh from the system costs more than the arithmetic.
        if len(self._scaled) < len(values) or self._scaled.shape[1:] != interleaved.shape[1:]:
            self._scaled = torch.empty(interleaved.shape, device=self.device)
        arrays = (_as_tensor(array).to(self.device) for array in (interleaved, valid))
        image: Tensor = self.scale(*arrays, out=self._scaled[: len(values)])
        return image


def _as_tensor(array: NDArray[Any]) -> Tensor:
    # torch knows no steps backwards, which mirrored windows have.
    return torch.from_numpy(np.ascontiguousarray(array) if min(array.strides) < 0 else array)


def of_last_class(logits: Tensor) -> Tensor:
    """Softmax of logits `(B, classes, H, W)` in float32, of which only the last `(B, H, W)` is made."""
    if logits.shape[1] == 2:
        return logits[:, 1].float().sub(logits[:, 0]).sigmoid_()
    return logits.float().softmax(1)[:, -1]


class OnnxPredictor:
    """Runs an exported network in ONNX Runtime, on the GPU where its build has one."""

    def __init__(self, model: bytes) -> None:
        """Loads the graph.

        Args:
            model: An ONNX file's bytes, from `glacierseg.predict.export.onnx_model`.
        """
        from glacierseg.predict.export import require  # noqa: PLC0415

        runtime = require("onnxruntime", "onnx")
        options = runtime.SessionOptions()
        # One setting for all engines: torch follows OMP_NUM_THREADS and the scheduler of a cluster.
        options.intra_op_num_threads = torch.get_num_threads()
        wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
        available = runtime.get_available_providers()
        self._session = runtime.InferenceSession(
            model, options, providers=[name for name in wanted if name in available]
        )

    def __call__(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Predicts windows: `(B, C, H, W)`, `(B, H, W)` to glacier probability `(B, H, W)`."""
        probability: NDArray[np.float32] = self._session.run(None, {"values": missing_as_nan(values, valid)})[
            0
        ]
        return probability[:, -1]


class OpenVinoPredictor:
    """Runs an exported network in OpenVINO on the CPU."""

    def __init__(self, model: Any, precision: Precision) -> None:
        """Compiles the graph.

        Args:
            model: An `openvino.Model`, from `glacierseg.predict.export.openvino_model` or a quantised one.
            precision: Of all that is not quantised: bf16, else float32.
        """
        from glacierseg.predict.export import require  # noqa: PLC0415

        openvino = require("openvino", "openvino")
        core = openvino.Core()
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._compiled = core.compile_model(model, "CPU", settings)

    def __call__(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Predicts windows: `(B, C, H, W)`, `(B, H, W)` to glacier probability `(B, H, W)`."""
        probability: NDArray[np.float32] = self._compiled(missing_as_nan(values, valid))[0]
        return probability[:, -1]


def missing_as_nan(values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Returns values `(..., C, H, W)` with NaN where `(..., H, W)` is not valid, for exported graphs."""
    marked = np.array(values, np.float32, order="C")
    if not valid.all():
        np.moveaxis(marked, -3, -1)[~valid] = np.nan
    return marked


def int8_fingerprint(path: Path) -> str:
    """Returns a word that changes with a quantised file; an empty one where it is missing."""
    weights = path.with_suffix(".bin")
    if not (path.is_file() and weights.is_file()):
        return ""  # who makes the predictor says so better
    return sha256(path.read_bytes() + weights.read_bytes()).hexdigest()[:16]
