"""What the package makes of one GPU, in eight minutes at most: a table, and `gpu.json` in --out.

    pip install . && python benchmarks/gpu.py --out DIR [--device auto|cpu|cuda] [--minutes 8] [--quick]

For every network at full width, with 18 bands in its own windows and batches: whole scenes by `predict_scene`
beside bare forward passes of the same windows; training steps on one batch, and by `fit` with patches from
disk, as a share of the rate of a large matrix product in bf16; the largest batch; whether `torch.compile`
pays. FLOP of a training step are three times those of a forward pass, as `torch.utils.flop_counter` counts
them. All is in bf16 by autocast where the hardware has it, as by default.

A part that fails has a row that says why. Where time runs short, dear parts are left out, and have a row too.
On a processor everything is smaller, to show that it runs: the goals are those of a GPU.
"""

import argparse
import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode

from glacierseg.cli.info import machine_facts
from glacierseg.models.blocks import weighted_heads
from glacierseg.models.card import ModelCard
from glacierseg.models.device import has_native_bf16
from glacierseg.models.registry import MODELS, create_model
from glacierseg.predict.engines import TorchPredictor
from glacierseg.predict.ensemble import Ensemble
from glacierseg.predict.scene import plan, predict_scene, write_prediction
from glacierseg.raster.scene import open_scene
from glacierseg.settings.predict import PredictSettings

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.predict_scene import BANDS, make_scene
from benchmarks.rows import Part, Report, Row, first_line
from benchmarks.training_step import make_step, plan_of, through_fit

NETWORKS = tuple(MODELS)
PREDICTION_GOAL, TRAINING_GOAL = 0.9, 0.45
DEAR = {"unetplusplus": 2.0, "glavitu_global": 2.0}
"""How much longer parts of a network take than those of the others."""
COMPILE: Callable[..., Any] = torch.compile
Call = Callable[[], Any]


@dataclass(frozen=True)
class Sizes:
    """How large everything is: on a GPU, on a processor, and for a test."""

    scene_px: int
    width: float
    matrix: int
    steps: int
    first_batch: int
    last_batch: int
    least_s: float
    workers: int = 4
    patch_px: int | None = None
    batch: int | None = None


GPU = Sizes(4096, 1.0, 8192, 40, 8, 2**14, 1.0)
PROCESSOR = Sizes(400, 1.0, 1024, 1, 1, 2, 0.5, batch=1)
QUICK = Sizes(96, 0.125, 128, 2, 1, 2, 0.0, workers=0, patch_px=32, batch=2)


class Bench:
    """The machine and the parts that are measured on it."""

    def __init__(self, device: torch.device, sizes: Sizes, folder: Path) -> None:
        self.device, self.sizes, self.folder = device, sizes, folder
        self.bf16 = has_native_bf16()
        self.peak_flop_per_s: float | None = None
        make_scene(folder / "scene.tif", sizes.scene_px, sizes.scene_px)

    def parts(self) -> list[Part]:
        """All of them, the dear ones last, with seconds as on a large GPU."""
        every: list[tuple[str, float, Callable[[str], Row]]] = [
            ("prediction", 15, self.prediction),
            ("training step", 5, self.training),
            ("training by fit", 12, self.fitting),
            ("largest batch, forward", 8, partial(self.largest_batch, kind=self.forward)),
            ("largest batch, step", 10, partial(self.largest_batch, kind=self.step)),
            ("training by fit, workers", 20, partial(self.fitting, workers=self.sizes.workers)),
            ("compile, forward", 30, partial(self.compiling, kind=self.forward)),
            ("compile, step", 60, partial(self.compiling, kind=self.step)),
        ]
        return [
            Part("matrix product", "", 4, self.matrix_product),
            Part("copies to the device", "", 4, self.copies),
            *(
                Part(part, name, seconds * DEAR.get(name, 1.0), partial(run, name))
                for part, seconds, run in every
                for name in NETWORKS
            ),
        ]

    def wait(self) -> None:
        """Returns when the device has done what it was asked for; a GPU says so before it has begun."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds_of(self, *ways: Call, rounds: int = 3) -> list[float]:
        """Seconds that one call of each takes: they take turns, and the fastest round of each counts."""
        found, counts = [float("inf")] * len(ways), []
        for way in ways:
            way()  # warm-up: memory, kernels, algorithms
            self.wait()
            started = time.perf_counter()
            way()
            self.wait()
            once = time.perf_counter() - started
            counts.append(max(1, min(1000, int(self.sizes.least_s / rounds / max(once, 1e-6)))))
        for _ in range(rounds):
            for number, way in enumerate(ways):
                started = time.perf_counter()
                for _ in range(counts[number]):
                    way()
                self.wait()
                each = (time.perf_counter() - started) / counts[number]
                found[number] = min(found[number], each)
        return found

    def network(self, name: str) -> torch.nn.Module:
        torch.manual_seed(0)
        made = create_model(name, BANDS, 2, self.sizes.width)
        return made.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def side(self, name: str) -> int:
        return self.sizes.patch_px or MODELS[name].default_patch_px

    def batch(self, name: str) -> int:
        return self.sizes.batch or MODELS[name].batch_size

    def image(self, name: str, batch: int) -> torch.Tensor:
        shape = batch, BANDS, self.side(name), self.side(name)
        return torch.randn(shape, device=self.device).contiguous(memory_format=torch.channels_last)

    def forward(self, name: str, batch: int, *, compiled: bool = False) -> Call:
        """What makes one forward pass."""
        network, image = self.network(name).eval(), self.image(name, batch)
        run: Callable[..., Any] = COMPILE(network) if compiled else network

        return lambda: self.pass_through(run, image)

    def pass_through(self, network: Callable[..., Any], image: torch.Tensor) -> None:
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            network(image)

    def step(self, name: str, batch: int, *, compiled: bool = False) -> Call:
        """What makes one training step."""
        image = self.image(name, batch)
        target = torch.randint(0, 2, (batch, *image.shape[2:]), device=self.device)
        heads: Callable[..., Any] = COMPILE(weighted_heads) if compiled else weighted_heads
        return make_step(self.network(name).train(), image, target, plan_of(name, batch), heads=heads)

    def of_peak(self, name: str, samples_per_s: float) -> float | None:
        """The share of the matrix product's rate, of training steps."""
        flop = 3 * forward_flop(name, self.side(name), self.sizes.width)
        return flop * samples_per_s / self.peak_flop_per_s if self.peak_flop_per_s else None

    def matrix_product(self) -> Row:
        size, rates = self.sizes.matrix, {}
        for dtype in (torch.bfloat16, torch.float32):
            one, other = (torch.randn(size, size, device=self.device, dtype=dtype) for _ in range(2))
            out = torch.empty_like(one)
            (seconds,) = self.seconds_of(lambda a=one, b=other, c=out: torch.mm(a, b, out=c))  # type: ignore[misc]
            rates[dtype] = 2 * size**3 / seconds
        self.peak_flop_per_s = rates[torch.bfloat16]
        note = f"{size} x {size} in bf16; in float32 {rates[torch.float32] / 1e12:.3g} TFLOP/s"
        return Row(rate=self.peak_flop_per_s / 1e12, unit="TFLOP/s", note=note)

    def copies(self) -> Row:
        """Pinned and not, as windows travel: what a batch waits for."""
        values = torch.zeros(self.sizes.matrix**2, dtype=torch.uint8)
        pinned = values.pin_memory() if self.device.type == "cuda" else values
        plainly, fast = self.seconds_of(
            lambda: values.to(self.device, copy=True),
            lambda: pinned.to(self.device, non_blocking=True, copy=True),
        )
        size_gb = len(values) / 1e9
        note = f"from pinned memory; {size_gb / plainly:.3g} GB/s from other"
        return Row(rate=size_gb / fast, unit="GB/s", ratio=plainly / fast, of="x other", note=note)

    def prediction(self, name: str) -> Row:
        scene, out = open_scene(self.folder / "scene.tif"), self.folder / "maps"
        card = ModelCard(
            architecture=name,
            width=self.sizes.width,
            bands=scene.band_names,
            band_mean=(128.0,) * BANDS,
            band_std=(74.0,) * BANDS,
            patch_px=self.side(name),
        )
        network, settings = self.network(name).eval(), PredictSettings()
        job = plan(Ensemble((network,), (card,)), scene, out, settings)
        (predictor,) = job.members
        assert isinstance(predictor, TorchPredictor)
        image, sizes = self.image(name, job.windows_at_once), list[int]()

        def bare() -> None:
            # Where the predictor has a copy of the network, that is what it is measured by.
            for size in sizes:
                self.pass_through(predictor.network, image[:size])

        def timed(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
            started = time.perf_counter()
            result: np.ndarray = predictor(values, valid)
            in_calls.append(time.perf_counter() - started)
            return result

        in_calls: list[float] = []
        sizes.append(len(image))
        self.seconds_of(bare, rounds=1)
        sizes.clear()
        counter = predictor.network.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
        started = time.perf_counter()
        write_prediction(replace(job, members=[timed]))
        share_of_calls = sum(in_calls) / (time.perf_counter() - started)
        counter.remove()
        bare_s = whole_s = float("inf")
        for _ in range(2):
            bare_s = min(bare_s, self.seconds_once(bare))
            whole_s = min(
                whole_s,
                self.seconds_once(
                    lambda: predict_scene(network, scene, out, settings, card=card, again=True)
                ),
            )
        megapixels = scene.grid.height * scene.grid.width / 1e6
        note = (
            f"bare {megapixels / bare_s:.3g} Mpx/s, {len(sizes)} calls of {len(image)} windows of "
            f"{self.side(name)} px; {share_of_calls:.0%} of the time in calls with their copies"
        )
        return Row(
            rate=megapixels / whole_s,
            unit="Mpx/s",
            ratio=bare_s / whole_s,
            of="of bare",
            goal=PREDICTION_GOAL,
            note=note,
        )

    def seconds_once(self, call: Call) -> float:
        self.wait()
        started = time.perf_counter()
        call()
        self.wait()
        return time.perf_counter() - started

    def training(self, name: str) -> Row:
        batch = self.batch(name)
        (seconds,) = self.seconds_of(self.step(name, batch))
        rate = batch / seconds
        note = f"{1000 * seconds:.3g} ms, {batch} x {self.side(name)} px, the batch on the device"
        return self.trained(name, rate, note)

    def trained(self, name: str, rate: float, note: str) -> Row:
        return Row(
            rate=rate,
            unit="samples/s",
            ratio=self.of_peak(name, rate),
            of="of peak",
            goal=TRAINING_GOAL,
            note=note,
        )

    def fitting(self, name: str, workers: int = 0) -> Row:
        batch, steps = self.batch(name), self.sizes.steps
        how = plan_of(name, batch, patches_per_epoch=batch * steps, workers=workers)
        record = through_fit(name, self.sizes.width, self.side(name), how, self.folder)
        rate = batch * steps / record.seconds
        waiting = f"{record.waiting_seconds / record.seconds:.0%} of the time waiting for patches"
        note = f"{waiting}, {workers} workers, {steps} steps"
        return self.trained(name, rate, note)

    def compiling(self, name: str, kind: Callable[..., Call]) -> Row:
        eager, compiled = kind(name, self.batch(name)), kind(name, self.batch(name), compiled=True)
        first_s = self.seconds_once(compiled)
        eager_s, compiled_s = self.seconds_of(eager, compiled)
        rate, note = self.batch(name) / compiled_s, f"compiling took {first_s:.0f} s"
        return Row(
            rate=rate, unit="samples/s", ratio=eager_s / compiled_s, of="x as fast as eager", note=note
        )

    def largest_batch(self, name: str, kind: Callable[[str, int], Call]) -> Row:
        """Doubles the batch until memory runs out, or for ten seconds."""
        sizes, started, rates = self.sizes, time.perf_counter(), dict[int, float]()
        batch, end = sizes.first_batch, f"none larger than {sizes.last_batch} was tried"
        while batch <= sizes.last_batch:
            if time.perf_counter() - started > 10 * DEAR.get(name, 1.0):
                end = "its time was over"
                break
            try:
                rates[batch] = batch / self.seconds_of(kind(name, batch), rounds=1)[0]
            except RuntimeError as error:  # also of kernels that cannot count so far
                if not rates:
                    raise
                end = f"{batch}: {first_line(error)}"
                break
            finally:
                self.tidy()
            batch *= 2
        best = max(rates, key=lambda size: rates[size])
        note = f"fastest at {best}: {rates[best]:.4g} samples/s; {end}"
        return Row(max(rates), "samples", note=note)

    def tidy(self) -> None:
        """Gives memory back."""
        gc.collect()
        if self.device.type == "cuda":
            # An error that no call survives has its row already.
            with suppress(RuntimeError):
                torch.cuda.empty_cache()

    def measured(self, part: Part) -> Row:
        """Runs a part, and adds the memory that it took on a GPU."""
        try:
            if self.device.type != "cuda":
                return part.run()
            torch.cuda.reset_peak_memory_stats()
            row = part.run()
            return replace(row, peak_gb=torch.cuda.max_memory_allocated() / 1e9)
        finally:
            if part.name.startswith("compile"):
                torch.compiler.reset()
            self.tidy()


@cache
def forward_flop(name: str, side_px: int, width: float) -> int:
    """FLOP of a forward pass of one patch in training."""
    with torch.device("meta"):
        network, image = create_model(name, BANDS, 2, width), torch.empty(2, BANDS, side_px, side_px)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        weighted_heads(network.train(), image)
    return int(counter.get_total_flops()) // len(image)


def chosen_device(asked: str) -> torch.device:
    found = torch.cuda.is_available()
    if asked == "cpu" and found:
        # The package takes a GPU where there is one, and torch has seen this one: only a new start hides it.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606
    if asked == "cuda" and not found:
        sys.exit("gpu.py: torch sees no CUDA device; see `glacierseg info`, or give --device cpu")
    return torch.device("cuda" if found else "cpu")


def main(age_s: float = 0.0) -> None:
    """Measures; the process has run for `age_s` already."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--quick", action="store_true", help="tiny networks, to see that it runs")
    asked = parser.parse_args()
    device = chosen_device(asked.device)
    sizes = QUICK if asked.quick else GPU if device.type == "cuda" else PROCESSOR
    facts: dict[str, Any] = {
        **machine_facts(),
        "device": device.type,
        "CUDA": f"{torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}",
        "TF32": f"{torch.backends.cuda.matmul.allow_tf32} for matrix products, "
        f"{torch.backends.cudnn.allow_tf32} for convolutions, of what is left in float32",
        "threads": torch.get_num_threads(),
        "sizes": asdict(sizes),
    }
    for key in ("GPU", "processor", "torch", "CUDA", "precision", "TF32", "threads"):
        print(f"{key}: {facts[key]}")
    with tempfile.TemporaryDirectory() as folder:
        report = Report(asked.out / "gpu.json", facts, 60 * asked.minutes - age_s, Path(folder))
        bench = Bench(device, sizes, Path(folder))
        report.measure(bench.parts(), bench.measured)


if __name__ == "__main__":
    main(time.time() - psutil.Process().create_time())
