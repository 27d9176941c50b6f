"""Which precision pays on this machine."""

from typing import Any

import torch


def has_native_bf16() -> bool:
    """Whether this machine computes in bf16 in hardware; emulated bf16 is slower than single precision.

    On a processor oneDNN has to agree: told to use less of it (`ONEDNN_MAX_CPU_ISA=AVX2`), it refuses bf16.
    """
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if not (capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")):
        return False
    agrees = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return agrees is None or bool(agrees())
