"""Predicting a scene with us, with MONAI's sliding window and the original way, in one run.

All use the same network (m_landsnet, random weights) on an 18-band scene in 128 px windows, and write the
same two files. MONAI gets the whole scene as one scaled array, since it reads nothing. It is no dependency of
ours and need only be importable:

    pip install --target DIR --no-deps monai
    PYTHONPATH=DIR python benchmarks/peers.py [--size-px 1024] [--width 1.0] [--rounds 1]
        [--processor]

The original way predicts one window after another in float32 and blends in the end. What is spent beyond the
forward passes is measured with a network that returns one of its bands.

With --processor the seconds are those that all threads of the process computed, which other work on the
machine disturbs less; then give it one thread (OMP_NUM_THREADS=1), for threads that wait count too.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from glacierseg.choices import Precision
from glacierseg.models.registry import create_model
from glacierseg.models.scaling import Scaling
from glacierseg.predict.engines import make_predictor
from glacierseg.predict.files import ScenePrediction
from glacierseg.predict.scene import Job, write_prediction
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.raster.tiling import Tiling, window_starts
from glacierseg.raster.write import write_raster

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.predict_scene import BANDS, make_scene

WINDOW_PX, SCALING = 128, Scaling((128.0,) * BANDS, (74.0,) * BANDS)


class Null(torch.nn.Module):
    """Logits that are a band of the input and its negative."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([-x[:, 0], x[:, 0]], 1)


def ours(
    scene: Scene,
    network: torch.nn.Module,
    out: Path,
    *,
    precision: Precision = "auto",
    tiling: Tiling | None = None,
) -> None:
    tiling = tiling or Tiling(WINDOW_PX)
    batch = max(1, 16 * WINDOW_PX**2 // tiling.window_px**2)
    predictor = make_predictor("torch", network, SCALING, window_px=tiling.window_px, precision=precision)
    files = ScenePrediction(out / "p.tif", out / "m.tif")
    write_prediction(Job(scene, [predictor], files, tiling, windows_at_once=batch))


def whole(scene: Scene) -> np.ndarray:
    with scene.open() as reader:
        values, valid = reader.read(0, 0, *scene.grid.shape)
    return SCALING.apply(values, valid)


def write(probability: np.ndarray, scene: Scene, out: Path) -> None:
    for name, band in (("p.tif", probability), ("m.tif", (probability >= 0.5).astype(np.uint8))):
        write_raster(out / name, band, scene.grid, bands=["glacier"], nodata=None)


@torch.inference_mode()
def monai(scene: Scene, network: torch.nn.Module, out: Path, **settings: Any) -> None:
    from monai.inferers import sliding_window_inference

    settings = {"sw_batch_size": 4, **settings}
    image = torch.from_numpy(whole(scene))[None]
    logits = sliding_window_inference(image, (WINDOW_PX, WINDOW_PX), predictor=network, **settings)
    write(logits.softmax(1)[0, -1].numpy(), scene, out)


@torch.inference_mode()
def original_way(scene: Scene, network: torch.nn.Module, out: Path) -> None:
    image, (height, width) = whole(scene), scene.grid.shape
    total, count = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    for row in window_starts(height, WINDOW_PX, WINDOW_PX // 2):
        for column in window_starts(width, WINDOW_PX, WINDOW_PX // 2):
            part = np.s_[row : row + WINDOW_PX, column : column + WINDOW_PX]
            logits = network(torch.from_numpy(np.ascontiguousarray(image[:, *part]))[None])
            total[part] += logits.softmax(1)[0, -1].numpy()
            count[part] += 1
    write(total / count, scene, out)


def timed(
    clock: Callable[[], float],
    way: Callable[..., None],
    scene: Scene,
    network: torch.nn.Module,
    **settings: Any,
) -> float:
    layout = torch.channels_last if way is ours else torch.contiguous_format
    network.to(memory_format=layout).eval()  # type: ignore[call-overload]
    with tempfile.TemporaryDirectory() as folder:
        started = clock()
        way(scene, network, Path(folder), **settings)
        return clock() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size-px", type=int, default=1024)
    parser.add_argument("--null-px", type=int, default=3000)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--processor", action="store_true")
    asked = parser.parse_args()
    clock = time.process_time if asked.processor else time.perf_counter
    torch.manual_seed(0)
    network = create_model("m_landsnet", BANDS, 2, asked.width)
    plans: dict[str, dict[str, tuple[Callable[..., None], dict[str, Any]]]] = {
        "real network": {
            "ours, our defaults": (ours, {}),
            "ours, float32": (ours, {"precision": "float32"}),
            "ours, overlap 1/8": (ours, {"tiling": Tiling(WINDOW_PX, 1 / 8)}),
            "ours, 1/16 of 512": (ours, {"tiling": Tiling(4 * WINDOW_PX, 1 / 16)}),
            "MONAI, its defaults": (monai, {}),
            "MONAI, 50 % blended": (monai, {"overlap": 0.5, "mode": "gaussian"}),
            "original way": (original_way, {}),
        },
        "null network": {
            "ours": (ours, {"precision": "float32"}),
            "MONAI, 50 % blended": (monai, {"overlap": 0.5, "mode": "gaussian", "sw_batch_size": 16}),
        },
    }
    if find_spec("monai"):
        import_module("monai.inferers")  # which takes two seconds, and would be counted with its first way
    else:
        print("MONAI is not installed, so it is left out; see the head of this file")
        plans = {
            kind: {way: how for way, how in ways.items() if how[0] is not monai}
            for kind, ways in plans.items()
        }
    with tempfile.TemporaryDirectory() as name:
        for kind, ways in plans.items():
            side, net = (asked.size_px, network) if kind == "real network" else (asked.null_px, Null())
            path = Path(name) / f"{side}.tif"
            make_scene(path, side, side)
            scene = open_scene(path)
            rows = [
                {way: timed(clock, run, scene, net, **settings) for way, (run, settings) in ways.items()}
                for _ in range(asked.rounds)
            ]
            print(
                f"{kind}, {side} x {side} px, {torch.get_num_threads()} threads, "
                f"{'processor' if asked.processor else 'wall clock'} seconds"
            )
            first = next(iter(ways))
            for way in ways:
                ratio = median(row[way] / row[first] for row in rows)
                print(f"  {way:22s} {median(row[way] for row in rows):7.2f} s   {ratio:5.2f} of ours")


if __name__ == "__main__":
    main()
