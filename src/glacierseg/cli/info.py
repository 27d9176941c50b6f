"""What this machine offers: one answer to "is my GPU seen"."""

import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path

import psutil

ENGINES = {"torch": "torch", "ONNX Runtime": "onnxruntime", "OpenVINO": "openvino", "Dask": "distributed"}


def machine_facts() -> dict[str, str]:
    """Returns versions, processor, GPU, precision, engines and the data folder, in words."""
    from glacierseg._version import __version__
    from glacierseg.models.device import has_native_bf16, processor_name

    gibibytes = psutil.virtual_memory().total / 1024**3
    facts = {
        "glacierseg": __version__,
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": f"{processor_name()}, {psutil.cpu_count()} cores, {gibibytes:.1f} GiB of memory",
        "GPU": _gpus(),
        "precision": "bf16 mixed, in hardware" if has_native_bf16() else "fp32 (no bf16 in hardware)",
    }
    if not has_native_bf16():
        facts["training layout"] = _layouts()
    for name in ("torch", "pytorch-lightning", "rasterio", "geopandas", "numpy"):
        facts[name] = importlib.metadata.version(name)
    import rasterio

    facts["GDAL"] = rasterio.__gdal_version__
    found = [name for name, module in ENGINES.items() if importlib.util.find_spec(module)]
    missing = [name for name in ENGINES if name not in found]
    facts["engines"] = ", ".join(found) + (f" (not installed: {', '.join(missing)})" if missing else "")
    facts["weights"] = _weights()
    facts["data folder"] = _data_folder()
    return facts


def _layouts() -> str:
    from glacierseg.models.layout import machine_key, read_layouts

    known = read_layouts().get(machine_key(), {})
    measured = "; ".join(f"{layout} for {network}" for network, layout in known.items())
    return measured or "channels_last (none measured; float32 training measures one for each network)"


def _gpus() -> str:
    import torch

    if torch.cuda.is_available():
        listed = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        return "; ".join(f"{gpu.name}, {gpu.total_memory / 1024**3:.1f} GiB" for gpu in listed)
    built = "this torch is built for CUDA" if torch.version.cuda else "this torch is built for CPU only"
    return f"none seen ({built})"


def _weights() -> str:
    from glacierseg.errors import GlaciersegError
    from glacierseg.weights import list_weights

    try:
        names = ", ".join(weights.name for weights in list_weights())
    except GlaciersegError as error:
        return str(error)
    return names or "none come with this version"


def _data_folder() -> str:
    value = os.environ.get("GLACIERSEG_DATA_DIR")
    if not value:
        return "GLACIERSEG_DATA_DIR is not set"
    return f"{Path(value).resolve()}" + ("" if Path(value).is_dir() else " (does not exist)")
