"""A torch network as a predictor."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from glacierseg.dataset.batches import TORCH_TYPES, InputScaling
from glacierseg.dataset.scaling import Scaling


class TorchPredictor:
    """Scales windows, runs the network and returns the probability of its last class."""

    def __init__(self, network: nn.Module, scaling: Scaling, *, bf16: bool = False) -> None:
        """Moves the network to the GPU when there is one.

        Args:
            network: `(B, C, H, W)` to logits `(B, classes, H, W)`.
            scaling: How band values become input.
            bf16: Compute in bf16.
        """
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.scale = InputScaling(scaling).to(self.device)
        self.bf16 = bf16
        self._interleaved: NDArray[Any] = np.empty((0, 0, 0, 0))
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
        image = self._input(values, valid)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            logits = self.network(image)
        probability: NDArray[np.float32] = logits.float().softmax(1)[:, -1].cpu().numpy()
        return probability

    def _input(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> Tensor:
        if values.dtype not in TORCH_TYPES:
            values = values.astype(np.float32)
        count, channels, height, width = values.shape
        # The same memory again and again: to get it fresh from the system costs more than the arithmetic.
        kept = self._interleaved
        if len(kept) < count or kept.shape[1:] != (height, width, channels) or kept.dtype != values.dtype:
            self._interleaved = np.empty((count, height, width, channels), values.dtype)
            self._scaled = torch.empty(self._interleaved.shape, device=self.device)
        interleaved = self._interleaved[:count]
        for number in range(count):
            for band in range(channels):  # while a band is in the processor's cache it is cheap to spread
                interleaved[number, :, :, band] = values[number, band]
        arrays = (torch.from_numpy(array).to(self.device) for array in (interleaved, valid))
        image: Tensor = self.scale(*arrays, out=self._scaled[:count])
        return image
