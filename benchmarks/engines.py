"""How fast each engine predicts, against torch in float32.

Every network runs at its default patch, with 18 bands. The engines take turns, and each one's fastest round
counts: whatever else the machine does only adds time.

    python benchmarks/engines.py [--model NAME ...] [--width 1.0] [--batch 2] [--rounds 5]
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from glacierseg.choices import Engine, Precision
from glacierseg.errors import RequestError
from glacierseg.models.registry import MODELS, create_model
from glacierseg.models.scaling import Scaling
from glacierseg.predict.engines import make_predictor

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.predict_scene import BANDS

WAYS: tuple[tuple[Engine, Precision], ...] = (
    ("torch", "float32"),
    ("torch", "bfloat16"),
    ("onnx", "float32"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
    ("openvino", "int8"),
)


def int8_file(network: torch.nn.Module, scaling: Scaling, values: np.ndarray, folder: Path) -> Path:
    """Quantises with the windows to come: speed is what counts here."""
    from glacierseg.models.card import fingerprint
    from glacierseg.predict.export import write_openvino
    from glacierseg.predict.int8 import quantised

    model = quantised(network, scaling, list(values))
    write_openvino(model, folder / "int8.xml", {"fingerprint": fingerprint(network, scaling)})
    return folder / "int8.xml"


def compare(name: str, arguments: argparse.Namespace) -> None:
    side = MODELS[name].default_patch_px
    torch.manual_seed(0)
    network = create_model(name, BANDS, 2, arguments.width).eval()
    scaling = Scaling((128.0,) * BANDS, (74.0,) * BANDS)
    values = np.random.default_rng(0).uniform(0, 255, (arguments.batch, BANDS, side, side))
    values = values.astype(np.float32)
    valid = np.ones((arguments.batch, side, side), bool)
    predictors = {}
    with tempfile.TemporaryDirectory() as folder:
        for engine, precision in WAYS:
            try:
                int8 = int8_file(network, scaling, values, Path(folder)) if precision == "int8" else None
                predictors[engine, precision] = make_predictor(
                    engine, network, scaling, window_px=side, precision=precision, int8_model=int8
                )
            except RequestError as error:
                print(f"{engine} {precision} is left out: {error}")
    for predictor in predictors.values():
        predictor(values, valid)
    seconds: dict[tuple[Engine, Precision], list[float]] = {way: [] for way in predictors}
    for _ in range(arguments.rounds):
        for way, predictor in predictors.items():
            started = time.perf_counter()
            predictor(values, valid)
            seconds[way].append(time.perf_counter() - started)
    exact = WAYS[0]
    print(f"{name}, {arguments.batch} windows of {side} px")
    for way, runs in seconds.items():
        print(
            f"  {' '.join(way):18s} {1000 * min(runs) / arguments.batch:8.1f} ms a window   "
            f"{min(seconds[exact]) / min(runs):5.2f} x as fast",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", nargs="+", default=list(MODELS))
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    for name in arguments.model:
        compare(name, arguments)


if __name__ == "__main__":
    main()
