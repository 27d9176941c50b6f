"""What depends on the device that runs a network: scaling of its input, and whether bfloat16 is fast."""

import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from glacierseg.models.scaling import Scaling

TORCH_TYPES = {np.dtype(name) for name in ("uint8", "int16", "int32", "float32", "float64")}
"""Types of band values that torch computes with; others have to become float32 first."""


class InputScaling(nn.Module):
    """Centres and scales bands as `Scaling.apply` does, a batch at a time.

    Patches travel as they are stored, mostly bytes, a quarter of what floats would take; and since all bands
    of a pixel lie side by side, the result has channels last without being copied.
    """

    def __init__(self, scaling: Scaling) -> None:
        """Keeps mean and spread of each band."""
        super().__init__()
        factor = 1 / torch.tensor(scaling.std, dtype=torch.float64)
        self.register_buffer("mean", torch.tensor(scaling.mean, dtype=torch.float32), persistent=False)
        self.register_buffer("factor", factor.float(), persistent=False)
        self.mean: Tensor
        self.factor: Tensor
        self._last_lines = self.mean, self.factor
        self.layout = torch.channels_last
        self.floor = tuple((band, floor) for band, floor in enumerate(scaling.floor) if floor is not None)

    def forward(self, values: Tensor, valid: Tensor, out: Tensor | None = None) -> Tensor:
        """Makes network input.

        Args:
            values: `(B, H, W, C)` in the scene's units.
            valid: `(B, H, W)`, True where there are data.
            out: `(B, H, W, C)` memory for the result.

        Returns:
            `(B, C, H, W)`, 0 where there are no data.
        """
        mean, factor = self._lines(values.shape[2])
        scaled = self._fresh(values) if out is None else out
        # A processor does better patch by patch, which stay in its cache; a GPU wants all at once.
        parts = ((values, scaled),) if scaled.is_cuda else zip(values, scaled, strict=True)
        for source, target in parts:
            target.copy_(source)
            for band, floor in self.floor:
                target[..., band].clamp_(min=floor).log_()
            target.flatten(-2).sub_(mean).mul_(factor)
        # Looking first may spare a pass over the batch, but would make a GPU wait.
        if scaled.is_cuda or not valid.all():
            scaled.masked_fill_(~valid[..., None], 0)
        return scaled.permute(0, 3, 1, 2).contiguous(memory_format=self.layout)

    def _lines(self, width_px: int) -> tuple[Tensor, Tensor]:
        """Mean and factor of a line of pixels by bands `(width_px * C,)`.

        Over the bands alone the innermost loops would be too short. The lines are kept, as making them takes
        a quarter of the time of scaling.
        """
        mean, factor = self._last_lines
        if len(mean) != width_px * len(self.mean) or (mean.device, mean.dtype) != (
            self.mean.device,
            self.mean.dtype,
        ):
            self._last_lines = mean, factor = self.mean.repeat(width_px), self.factor.repeat(width_px)
        return mean, factor

    def _fresh(self, values: Tensor) -> Tensor:
        if values.is_cuda or self.mean.dtype != torch.float32:
            return torch.empty_like(values, dtype=self.mean.dtype)
        # Large arrays of numpy get huge pages, ready several times sooner than memory of torch.
        return torch.from_numpy(np.empty(tuple(values.shape), np.float32))


def processor_name() -> str:
    """Returns the name of the processor's model, as far as the system tells."""
    description = Path("/proc/cpuinfo")
    if description.exists():
        for line in description.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def has_native_bf16() -> bool:
    """Whether this machine has bf16 in hardware; emulated bf16 is slower than single precision.

    On a processor oneDNN has to agree: told to use less of it (`ONEDNN_MAX_CPU_ISA=AVX2`), it refuses bf16.
    """
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if not (capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")):
        return False
    agrees = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return agrees is None or bool(agrees())
