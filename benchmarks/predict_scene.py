"""What full-scene prediction costs besides the network: time and peak memory of the strip loop.

A null network (the mean of its input) runs over an 18-band scene in 128 px windows at 50 % overlap, once
through `glacierseg` and once the plain way: read the whole scene, keep every window's result, then blend.
Each way runs in a process of its own, in turn, so that both see the same state of the machine.

    python benchmarks/predict_scene.py [--size-px 3000] [--height-px ...] [--rounds 3]

With --network it is one process and a real network with random weights: what of the whole, from the model to
the two finished files, is not its forward passes. On one thread also in processor seconds of all threads, for
the reading thread works beside the network.

    python benchmarks/predict_scene.py --network m_landsnet [--width 1.0] [--size-px 1000] [--rounds 3]
        [--threads 1]

The scene is noise that is not compressed, nor can its results be; with --scene it is another raster, of any
number of bands.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

BANDS, WINDOW_PX, OVERLAP, BATCH = 18, 128, 0.5, 32


def make_scene(path: Path, height: int, width: int) -> None:
    import numpy as np
    import rasterio
    from rasterio.crs import CRS
    from rasterio.transform import from_origin
    from rasterio.windows import Window

    from glacierseg.raster.grid import Grid
    from glacierseg.raster.write import tiff_profile

    grid = Grid(CRS.from_epsg(32643), from_origin(700_000, 3_600_000, 10, 10), height, width)
    profile = {**tiff_profile(grid, BANDS, "uint8", None), "compress": None, "predictor": 1}
    rng = np.random.default_rng(0)
    with rasterio.open(path, "w", **profile) as dataset:
        for top in range(0, height, 256):
            rows = min(256, height - top)
            block = rng.integers(1, 255, (BANDS, rows, width), dtype=np.uint8)
            dataset.write(block, window=Window(0, top, width, rows))


def null_network(values: "np.ndarray", valid: "np.ndarray | None") -> "np.ndarray":
    import numpy as np

    del valid
    scores: np.ndarray = values[:, 0].astype(np.float32) / 255
    return scores


def strips(scene_path: Path, out: Path) -> None:
    from glacierseg.predict.files import ScenePrediction
    from glacierseg.predict.scene import Job, write_prediction
    from glacierseg.raster.scene import open_scene
    from glacierseg.raster.tiling import Tiling

    files, tiling = ScenePrediction(out / "p.tif", out / "m.tif"), Tiling(WINDOW_PX, OVERLAP)
    write_prediction(Job(open_scene(scene_path), [null_network], files, tiling, windows_at_once=BATCH))


def whole_array(scene_path: Path, out: Path) -> None:
    import numpy as np
    import rasterio

    from glacierseg.raster.open import grid_of
    from glacierseg.raster.tiling import blend_weights, stride_of, window_starts
    from glacierseg.raster.write import write_raster

    with rasterio.open(scene_path) as dataset:
        values, grid = dataset.read(), grid_of(dataset)
    stride = stride_of(WINDOW_PX, OVERLAP)
    starts = [
        (r, c)
        for r in window_starts(grid.height, WINDOW_PX, stride)
        for c in window_starts(grid.width, WINDOW_PX, stride)
    ]
    windows = np.stack([values[:, r : r + WINDOW_PX, c : c + WINDOW_PX] for r, c in starts])
    scores = np.concatenate(
        [null_network(windows[i : i + BATCH], None) for i in range(0, len(windows), BATCH)]
    )
    weights = np.outer(blend_weights(WINDOW_PX), blend_weights(WINDOW_PX)).astype(np.float32)
    total, norm = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
    for (r, c), score in zip(starts, scores, strict=True):
        total[r : r + WINDOW_PX, c : c + WINDOW_PX] += score * weights
        norm[r : r + WINDOW_PX, c : c + WINDOW_PX] += weights
    probability = total / norm
    for name, band in (("p.tif", probability), ("m.tif", (probability >= 0.5).astype(np.uint8))):
        write_raster(out / name, band, grid, bands=["glacier"], nodata=None)


WAYS = {"strips": strips, "whole_array": whole_array}


def measure(way: str, scene: Path) -> dict[str, float]:
    """Runs one way in a process of its own."""
    command = [sys.executable, __file__, "--child", way, "--scene", str(scene)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    facts: dict[str, float] = json.loads(shown.splitlines()[-1])
    return facts


def share_of_forward_passes(name: str, width: float, scene: Path, rounds: int, threads: int) -> None:
    """Prints what a real network leaves to everything else."""
    import numpy as np
    import torch

    from glacierseg.models.registry import MODELS, create_model
    from glacierseg.models.scaling import Scaling
    from glacierseg.predict.engines import TorchPredictor, make_predictor
    from glacierseg.predict.files import ScenePrediction
    from glacierseg.predict.scene import Job, write_prediction
    from glacierseg.raster.scene import open_scene
    from glacierseg.raster.tiling import Tiling

    class Timed(torch.nn.Module):
        def __init__(self, network: torch.nn.Module) -> None:
            super().__init__()
            self.network, self.seconds = network, np.zeros(2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            started = np.array([time.perf_counter(), time.thread_time()])
            result: torch.Tensor = self.network(x)
            if x.is_cuda:  # which says that it is done before it has begun
                torch.cuda.synchronize()
            self.seconds += np.array([time.perf_counter(), time.thread_time()]) - started
            return result

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    opened = open_scene(scene)
    bands, pixels = len(opened.bands), opened.grid.height * opened.grid.width
    network = create_model(name, bands, 2, width).eval()
    window = MODELS[name].default_patch_px
    batch = max(1, 16 * WINDOW_PX**2 // window**2)
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            files = ScenePrediction(Path(folder) / "p.tif", Path(folder) / "m.tif")
            started = np.array([time.perf_counter(), time.process_time()])
            scaling = Scaling((128.0,) * bands, (74.0,) * bands)
            predictor = make_predictor("torch", network, scaling, window_px=window)
            assert isinstance(predictor, TorchPredictor)
            predictor.network = timed = Timed(predictor.network)
            ready = time.perf_counter() - started[0]
            tiling = Tiling(window, OVERLAP)
            write_prediction(Job(opened, [predictor], files, tiling, windows_at_once=batch))
            whole = np.array([time.perf_counter(), time.process_time()]) - started
        rest = whole - timed.seconds
        shares = {"wall clock": 0} if threads > 1 else {"wall clock": 0, "processor": 1}
        print(
            f"{name}, width {width:g}, {threads} threads: "
            + "; ".join(
                f"{clock} {whole[n]:.2f} s, forward passes {timed.seconds[n]:.2f} s, "
                f"the rest {rest[n]:.3f} s ({rest[n] / whole[n]:.1%})"
                for clock, n in shares.items()
            )
            + f"; {ready:.3f} s to make the predictor; {pixels / whole[0] / 1e6:.3g} Mpx/s",
            flush=True,
        )


def child(way: str, scene: Path) -> None:
    import glacierseg.predict.scene  # noqa: F401  (imports are not what is measured)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        WAYS[way](scene, Path(folder))
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "peak_mb": peak / 1024, "before_mb": before / 1024}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size-px", type=int, default=3000)
    parser.add_argument("--height-px", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", default=list(WAYS))
    parser.add_argument("--network", help="measure the share of its forward passes")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=1, help="of the network")
    parser.add_argument("--child")
    parser.add_argument("--scene", type=Path, help="a raster to predict in place of noise")
    asked = parser.parse_args()
    if asked.child:
        child(asked.child, asked.scene)
        return
    height = asked.height_px or asked.size_px
    if asked.network and asked.scene:
        share_of_forward_passes(asked.network, asked.width, asked.scene, asked.rounds, asked.threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        scene = Path(folder) / "scene.tif"
        make_scene(scene, height, asked.size_px)
        if asked.network:
            print(f"{BANDS} bands, {height} x {asked.size_px} px, overlap {OVERLAP:g}")
            share_of_forward_passes(asked.network, asked.width, scene, asked.rounds, asked.threads)
            return
        found: dict[str, list[dict[str, float]]] = {way: [] for way in asked.ways}
        for _ in range(asked.rounds):
            for way in asked.ways:
                found[way].append(measure(way, scene))
    print(f"{BANDS} bands, {height} x {asked.size_px} px, windows of {WINDOW_PX} px, overlap {OVERLAP:g}")
    for way, runs in found.items():
        seconds, peak = median(r["seconds"] for r in runs), median(r["peak_mb"] for r in runs)
        added = median(r["peak_mb"] - r["before_mb"] for r in runs)
        print(f"{way:12s} {seconds:7.2f} s  peak {peak:7.0f} MB, {added:.0f} MB of it besides the imports")
    if len(found) == 2:
        ratios = [
            b["seconds"] / a["seconds"] for a, b in zip(found["strips"], found["whole_array"], strict=True)
        ]
        print(f"whole_array / strips: {median(ratios):.2f} in time, pair by pair")


if __name__ == "__main__":
    main()
