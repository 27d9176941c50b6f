"""A torch network as a predictor."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

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
        self.scaling = scaling
        self.bf16 = bf16

    @torch.inference_mode()
    def __call__(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Predicts windows.

        Args:
            values: `(B, C, H, W)` in the scene's units.
            valid: `(B, H, W)`.

        Returns:
            `(B, H, W)` glacier probability.
        """
        scaled = np.stack([self.scaling.apply(v, ok) for v, ok in zip(values, valid, strict=True)])
        image = torch.from_numpy(scaled).to(self.device).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            logits = self.network(image)
        probability: NDArray[np.float32] = logits.float().softmax(1)[:, -1].cpu().numpy()
        return probability
