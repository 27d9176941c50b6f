"""A whole run on basins as large as the original's, by stage: processor seconds and peak memory.

The five basins of the original study have 192 megapixels of 18 bands. Those made here show one made-up valley
again and again, mirrored, so that making them takes about a minute. `--share 0.1` makes every side a tenth as
long, `--basins 1` takes the smallest alone. The run is `glacierseg run` with one narrow network that sees few
patches: training and forward passes are as short as can be, all else is as much as in any run.

    python benchmarks/scale.py --share 0.25
    python benchmarks/scale.py --folder /scratch

Seconds are those of the processor, user and system, which other work on a machine changes less than those of
a clock. The peak is the highest resident memory of the process in that stage (Linux only), with all that is
held meanwhile.
"""

import argparse
import functools
import importlib
import multiprocessing
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from glacierseg.raster.blocks import iterate_blocks, open_writer
from glacierseg.raster.grid import Grid
from glacierseg.synthetic import BAND_NAMES, make_basin

# Rows and columns from the smallest basin up, and what each is for.
BASINS = (
    ("miyar", 2816, 4224, "test"),
    ("kashmir", 4224, 4608, "validate"),
    ("sikkim", 4864, 4992, "train"),
    ("alaknanda", 6144, 4480, "train"),
    ("chandra", 10240, 10624, "test"),
)
PARTS = {"train": {"x": [0, 0.5]}, "validate": {"x": [0.5, 0.75]}, "test": {"x": [0.75, 1]}}
"""What parts of fewer than three basins are for."""
VALLEY_PX = 768
SETTINGS: dict[str, Any] = {
    "training": {"epochs": 1, "patches_per_epoch": 16, "batch_size": 8},
    "bands": {"top": 0},
    "prediction": {"overlap": 0.0, "dtype": "uint8"},
}
RUN = "glacierseg.experiment.run"
STAGES = {
    f"{RUN}.load_regions": "truth and roles",
    f"{RUN}.check_inputs": "checks",
    f"{RUN}.threshold_masks": "threshold rule",
    f"{RUN}.train": "training",
    f"{RUN}.predict_regions": "prediction",
    f"{RUN}.calibrate": "calibration",
    f"{RUN}.refine_regions": "refinement",
    f"{RUN}.write_outlines": "outlines",
    f"{RUN}.score_regions": "scores",
    "glacierseg.report.write_report": "report",
}
PASSES = "its forward passes"


class Spent:
    """What stages have taken.

    Attributes:
        seconds: Of the processor, by stage.
        peak_mb: Highest resident memory, by stage.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.peak_mb: dict[str, float] = defaultdict(float)

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns the function, which then adds what it takes."""

        @functools.wraps(function)
        def run(*args: Any, **options: Any) -> Any:
            reset_peak()
            started = processor_s()
            try:
                return function(*args, **options)
            finally:
                self.seconds[stage] += processor_s() - started
                self.peak_mb[stage] = max(self.peak_mb[stage], peak_mb())

        return run

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Times every stage of a run, and forward passes in prediction."""
        from glacierseg.predict.engines import TorchPredictor

        make = TorchPredictor.__init__

        def make_timed(predictor: Any, *args: Any, **options: Any) -> None:
            make(predictor, *args, **options)
            predictor.network = Timed(predictor.network, self)

        with ExitStack() as stack:
            for name, stage in STAGES.items():
                module, function = name.rsplit(".", 1)
                found = getattr(importlib.import_module(module), function)
                stack.enter_context(mock.patch(name, self.timed(stage, found)))
            stack.enter_context(mock.patch.object(TorchPredictor, "__init__", make_timed))
            yield


class Timed(torch.nn.Module):
    """A network that adds up the time of its forward passes."""

    def __init__(self, network: torch.nn.Module, spent: Spent) -> None:
        super().__init__()
        self.network, self.spent = network, spent

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        started = processor_s()
        result: torch.Tensor = self.network(x)
        self.spent.seconds[PASSES] += processor_s() - started
        return result


def processor_s() -> float:
    """User and system seconds of this process, all its threads together."""
    times = os.times()
    return times.user + times.system


def reset_peak() -> None:
    """Lets the kernel measure the highest resident memory anew."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> float:
    """Highest resident memory since `reset_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def make_set(folder: Path, share: float, basins: int) -> list[dict[str, Any]]:
    """Writes the smallest basins and returns the regions of a configuration."""
    valley = make_basin(7, VALLEY_PX, VALLEY_PX)
    layers = {"scene": (valley.bands, BAND_NAMES, 0), "truth": (valley.truth[None], ["glacier"], 255)}
    regions = []
    for number, (name, *size, role) in enumerate(BASINS[:basins]):
        shape = max(round(size[0] * share), 64), max(round(size[1] * share), 64)
        transform = Affine(10, 0, 200_000 + 200_000 * number, 0, -10, 3_600_000)
        grid = Grid(CRS.from_epsg(32643), transform, *shape)
        # Each basin begins at another place of the valley.
        rows, columns = (mirrored(side, 101 * number) for side in shape)
        paths = {kind: folder / f"{name}_{kind}.tif" for kind in layers}
        for kind, (values, bands, nodata) in layers.items():
            with open_writer(paths[kind], grid, bands, "uint8", nodata, compress=False) as writer:
                for block in iterate_blocks(shape):
                    across = columns[block.column : block.column + block.width]
                    part = values[:, rows[block.row : block.row + block.height]][:, :, across]
                    writer.write(block, part, np.ones(part.shape, bool))
        files = {kind: str(path) for kind, path in paths.items()}
        regions.append({"name": name, **files, "roles": role if basins > 2 else PARTS})
    return regions


def mirrored(size: int, start: int) -> NDArray[np.intp]:
    """Returns places in the valley, forth and back."""
    places = (np.arange(size) + start) % (2 * VALLEY_PX)
    return np.minimum(places, 2 * VALLEY_PX - 1 - places)


def measure(regions: list[dict[str, Any]], folder: Path, width: float, patch_px: int, queue: Any) -> None:
    """Runs everything and says what each stage took; in a process of its own."""
    from glacierseg.experiment import run_experiment
    from glacierseg.settings import parse_config

    models = [{"name": "m_landsnet", "width": width, "patch_px": patch_px}]
    config = parse_config({"name": "scale", "regions": regions, "models": models, **SETTINGS}, folder)
    spent, started, clock = Spent(), processor_s(), time.monotonic()
    with spent.watching():
        run_experiment(config, folder / "run")
    whole = processor_s() - started
    report = (folder / "run" / "report.html").stat().st_size / 1e6
    queue.put((dict(spent.seconds), dict(spent.peak_mb), whole, time.monotonic() - clock, report))


def lines(seconds: dict[str, float], peaks: dict[str, float], whole: float) -> Iterator[str]:
    """Yields the table."""
    yield "| stage | seconds | share | peak, MB |"
    yield "|---|---|---|---|"
    rest = whole - sum(seconds[stage] for stage in seconds if stage != PASSES)
    for stage in (*dict.fromkeys(STAGES.values()), "all else", "the whole"):
        spent = {"all else": rest, "the whole": whole}.get(stage, seconds.get(stage, 0.0))
        peak = max(peaks.values()) if stage == "the whole" else peaks.get(stage)
        yield f"| {stage} | {spent:.1f} | {spent / whole:.1%} | {'' if peak is None else f'{peak:.0f}'} |"
        if stage == "prediction":
            yield f"| {PASSES} | {seconds[PASSES]:.1f} | {seconds[PASSES] / whole:.1%} | |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--share", type=float, default=1.0, help="of the length of every side")
    parser.add_argument("--basins", type=int, default=len(BASINS), help="how many, from the smallest up")
    parser.add_argument("--folder", type=Path, help="where all of it is kept; a temporary one without it")
    parser.add_argument("--width", type=float, default=0.125, help="of the network")
    parser.add_argument("--patch-px", type=int, default=128)
    asked = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(asked.folder or name)
        folder.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        regions = make_set(folder, asked.share, asked.basins)
        sizes = [tuple(max(round(side * asked.share), 64) for side in own[1:3]) for own in BASINS]
        pixels = sum(height * width for height, width in sizes[: asked.basins])
        print(f"{pixels / 1e6:.1f} Mpx in {asked.basins} basins, made in {time.monotonic() - started:.0f} s")
        queue = context.Queue()
        options = (regions, folder, asked.width, asked.patch_px, queue)
        process = context.Process(target=measure, args=options)
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit("the run failed")
        seconds, peaks, whole, elapsed, report_mb = queue.get()
        print("\n".join(lines(seconds, peaks, whole)))
        print(f"report of {report_mb:.1f} MB; {elapsed:.0f} s by the clock")


if __name__ == "__main__":
    main()
