"""A torch network as a predictor."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from glacierseg.data.batches import TORCH_TYPES, InputScaling
from glacierseg.models.scaling import Scaling
from glacierseg.predict.fused import fused

_CPU_PIXELS = 4 * 128**2
"""At once on a processor: of more, the maps inside a network fit no cache and are fresh memory every time."""

_EXAMPLE_PX = 64


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
        """Predicts windows.

        Args:
            values: `(B, C, H, W)` in the scene's units.
            valid: `(B, H, W)`.

        Returns:
            `(B, H, W)` glacier probability.
        """
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
