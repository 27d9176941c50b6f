"""In which order of memory a network trains faster on this processor, measured once and kept.

With bfloat16 in hardware it is channels last. In float32 it depends on network and processor, by a tenth to
either side; which of the two it is changes no more than the rounding.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from statistics import median
from typing import Literal

import torch
from torch import nn

from glacierseg.catalogues.cache import cache_folder
from glacierseg.errors import OutputError
from glacierseg.models.blocks import weighted_heads
from glacierseg.models.device import processor_name
from glacierseg.raster.write import write_text

Layout = Literal["channels_last", "contiguous"]
DEFAULT: Layout = "channels_last"
FORMATS: dict[Layout, torch.memory_format] = {
    "channels_last": torch.channels_last,
    "contiguous": torch.contiguous_format,
}
CLEARLY = 1.05
"""Times as fast that the other layout must be."""
_SECONDS, _MOST_TURNS, _FEWEST_TURNS = 1.5, 8, 3
_WINDOWS, _SIDE_PX = 2, 64


def training_layout(network: nn.Module, bands: int) -> Layout:
    """Returns the layout to train a network with on this processor in float32.

    Where it is not known it is measured, in at most two seconds or two steps; where it cannot be kept it is
    `DEFAULT`, so that the same machine always trains alike.

    Args:
        network: The network; it is not changed.
        bands: That it reads.
    """
    path, machine = _file(), machine_key()
    parameters = sum(weights.numel() for weights in network.parameters())
    key = f"{type(network).__name__}, {parameters} parameters, {bands} bands"
    if known := read_layouts().get(machine, {}).get(key):
        return known
    try:
        # Written before it is measured: what cannot be kept need not be known.
        _keep(path, machine, {})
        measured = chosen(_turns(network, bands))
        _keep(path, machine, {key: measured})
    except OutputError:
        return DEFAULT
    return read_layouts().get(machine, {}).get(key, DEFAULT)


def chosen(seconds: Sequence[tuple[float, float]]) -> Layout:
    """Returns the layout by the seconds of turns, each of a step channels last and a contiguous one.

    It is the default unless the other one wins every turn, and clearly in the middle of them.
    """
    gains = [last / contiguous for last, contiguous in seconds]
    clear = len(gains) >= _FEWEST_TURNS and min(gains) > 1 and median(gains) >= CLEARLY
    return "contiguous" if clear else DEFAULT


def read_layouts() -> dict[str, dict[str, Layout]]:
    """Returns what is known, by machine and network; a file that is damaged knows nothing."""
    try:
        stored = json.loads(_file().read_text(encoding="utf-8"))
        return {
            str(machine): {str(key): layout for key, layout in own.items() if layout in FORMATS}
            for machine, own in stored.items()
        }
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def machine_key() -> str:
    """Returns what a layout holds for: processor, instructions, threads and torch."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
    instructions = torch.backends.cpu.get_cpu_capability() + (f" ({limit})" if limit else "")
    return f"{processor_name()}, {instructions}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def _file() -> Path:
    return cache_folder() / "layouts.json"


def _keep(path: Path, machine: str, found: dict[str, Layout]) -> None:
    known = read_layouts()
    own = known.setdefault(machine, {})
    # Another process may have measured meanwhile; all take what came first.
    own |= {key: layout for key, layout in found.items() if key not in own}
    write_text(path, json.dumps(known, indent=1) + "\n")


def _turns(network: nn.Module, bands: int) -> list[tuple[float, float]]:
    with torch.random.fork_rng(devices=[]):
        image = torch.randn(_WINDOWS, bands, _SIDE_PX, _SIDE_PX)
        steps = [_step(network, image, layout) for layout in FORMATS.values()]
        found: list[tuple[float, float]] = []
        started = time.perf_counter()
        while len(found) <= _MOST_TURNS and time.perf_counter() - started < _SECONDS:
            found.append((steps[0](), steps[1]()))
    # In the first one kernels are made.
    return found[1:]


def _step(network: nn.Module, image: torch.Tensor, layout: torch.memory_format) -> Callable[[], float]:
    """Returns what makes a step of a copy and tells its seconds."""
    own = deepcopy(network).train().to(memory_format=layout)  # type: ignore[call-overload]
    given = image.contiguous(memory_format=layout)

    def step() -> float:
        started = time.perf_counter()
        heads = [weight * logits.square().mean() for weight, logits in weighted_heads(own, given)]
        torch.stack(heads).sum().backward()
        return time.perf_counter() - started

    return step
