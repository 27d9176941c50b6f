"""Predicting a scene with us and as it was done before, in one run: `predict` of Keras, window by window.

The network is the same on both sides, random weights and all: its layers are built in Keras, take over the
weights that torch drew, and have to give the same probabilities. Our side goes from the raster to the two
finished files; the other one starts with a scaled array in memory and ends with a blended one, so that its
reading and writing cost nothing.

TensorFlow is no dependency of ours. It lives in an environment of its own, whose interpreter is given:

    python -m venv DIR && DIR/bin/pip install tensorflow-cpu==2.12.0
    python benchmarks/original_way.py DIR/bin/python [--models m_landsnet glavitu] [--size-px 1024]
        [--rounds 3]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

LARGEST_DIFFERENCE = 1e-3
"""Between the probabilities of torch and Keras, both in float32, in standard deviations of them."""


def in_keras(name: str, folder: Path) -> None:
    """Predicts what `make_job` left, in TensorFlow's interpreter, and prints what it took."""
    try:
        import tensorflow as tf
    except ImportError:
        raise SystemExit(f"{sys.executable} has no TensorFlow; see the head of original_way.py") from None
    from benchmarks.keras_networks import KerasNetwork

    tf.config.threading.set_intra_op_parallelism_threads(int(os.environ["THREADS"]))
    with np.load(folder / "weights.npz") as file:
        weights = dict(file)
    with np.load(folder / "scene.npz") as file:
        image, starts, wanted = file["image"], file["starts"], file["wanted"]
    window_px = wanted.shape[0]
    model = KerasNetwork(name, weights, window_px).model

    def predicted(row: int, column: int) -> np.ndarray:
        window = image[row : row + window_px, column : column + window_px]
        result: np.ndarray = model.predict(window[None], verbose=0)[0, ..., -1]
        return result

    difference = float(np.abs(predicted(*starts[0]) - wanted).max() / wanted.std())
    total, count = np.zeros(image.shape[:2], np.float32), np.zeros(image.shape[:2], np.float32)
    started = time.perf_counter()
    for row, column in starts:
        part = np.s_[row : row + window_px, column : column + window_px]
        total[part] += predicted(row, column)
        count[part] += 1
    total /= count
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "difference": difference, "version": tf.__version__}))


def make_job(scene_path: Path, network: "torch.nn.Module", window_px: int, folder: Path) -> int:
    """Writes weights, scaled scene and its first window's probabilities; returns the number of windows."""
    import torch
    from benchmarks.peers import whole

    from glacierseg.raster.scene import open_scene
    from glacierseg.raster.tiling import window_starts

    image = whole(open_scene(scene_path))
    with torch.inference_mode():
        wanted = network(torch.from_numpy(image[None, :, :window_px, :window_px])).softmax(1)[0, -1]
    starts = [
        (row, column)
        for row in window_starts(image.shape[1], window_px, window_px // 2)
        for column in window_starts(image.shape[2], window_px, window_px // 2)
    ]
    np.savez(folder / "weights.npz", **{key: value.numpy() for key, value in network.state_dict().items()})
    np.savez(
        folder / "scene.npz",
        image=np.ascontiguousarray(image.transpose(1, 2, 0)),
        starts=starts,
        wanted=wanted.numpy(),
    )
    return len(starts)


def ours(scene_path: Path, network: "torch.nn.Module", window_px: int, folder: Path) -> float:
    from benchmarks.peers import ours as predict

    from glacierseg.raster.scene import open_scene
    from glacierseg.raster.tiling import Tiling

    started = time.perf_counter()
    predict(open_scene(scene_path), network, folder, tiling=Tiling(window_px))
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tensorflow_python", help="interpreter of an environment that has TensorFlow")
    parser.add_argument("--models", nargs="+", default=["m_landsnet", "glavitu"])
    parser.add_argument("--size-px", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    import torch
    from benchmarks.predict_scene import BANDS, make_scene

    from glacierseg.models.registry import MODELS, create_model

    for name in asked.models:
        torch.manual_seed(0)
        network, window_px = create_model(name, BANDS, 2).eval(), MODELS[name].default_patch_px
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            make_scene(folder / "scene.tif", asked.size_px, asked.size_px)
            windows = make_job(folder / "scene.tif", network, window_px, folder)
            rows = []
            for _ in range(asked.rounds):
                mine = ours(folder / "scene.tif", network, window_px, folder)
                rows.append((mine, theirs(asked.tensorflow_python, name, folder)))
        report(name, asked.size_px, windows, rows)


def theirs(interpreter: str, name: str, folder: Path) -> dict[str, Any]:
    import torch

    env = {**os.environ, "THREADS": str(torch.get_num_threads()), "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [interpreter, __file__, "--child", name, str(folder)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, env=env)
    if done.returncode:
        raise SystemExit(done.returncode)  # it has said why
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if told["difference"] > LARGEST_DIFFERENCE:
        raise SystemExit(
            f"{name}: not the same network in Keras, probabilities differ by {told['difference']}"
        )
    return told


def report(name: str, size_px: int, windows: int, rows: list[tuple[float, dict[str, Any]]]) -> None:
    import torch

    ratios = [told["seconds"] / mine for mine, told in rows]
    mine, seconds = median(mine for mine, _ in rows), median(told["seconds"] for _, told in rows)
    print(
        f"{name}, {size_px} x {size_px} px, {windows} windows, {torch.get_num_threads()} threads: "
        f"ours {mine:.2f} s ({mine / windows * 1e3:.1f} ms a window), TensorFlow {rows[0][1]['version']} "
        f"{seconds:.2f} s ({seconds / windows * 1e3:.1f} ms), "
        f"{median(ratios):.2f} times ({min(ratios):.2f}-{max(ratios):.2f}); "
        f"probabilities differ by {rows[0][1]['difference']:.1g} of their deviation",
        flush=True,
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        in_keras(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
