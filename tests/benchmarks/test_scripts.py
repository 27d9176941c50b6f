"""Every benchmark runs, at a size at which it measures nothing."""

import contextlib
import io
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from affine import Affine
from rasterio.crs import CRS
from tests.correct.kept import run_folder
from tests.helpers import blobs, easy_scene, write_mask, write_scene
from tests.weights.shelves import model_folder

from benchmarks import run_all
from glacierseg.raster.grid import Grid
from glacierseg.raster.write import write_raster
from glacierseg.synthetic import BAND_NAMES, NOISE_BANDS

FOLDER = Path(run_all.__file__).parent
# Options, what else is made smaller, and words that it has to say.
SCRIPTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "attention": ("--rounds 1", {"SIDES": (8,), "TOKENS": 64, "BATCH": 2}, "attention in bfloat16 takes"),
    "change": ("--size-px 150", {}, "holes: "),
    "corrections": (
        "run --model m_landsnet --out found --epochs 1 --least-km2 0",
        {"PLACES": 6, "WRONG": (("inverted", 0, 0), ("snow", 0, 0))},
        "wrong corrections refused: ",
    ),
    "area_bounds": ("folds truths --calibration card.json", {"GROUPS": 2}, "| whole folds | 2 |"),
    "eighteen_bands": (
        "--epochs 1 --patches 8 --repeats 1 --size-px 64",
        {"TRAIN": (101,), "TEST": (105,), "NETWORKS": {"18 bands, modality dropout": (BAND_NAMES, True)}},
        "dropout, radar missing",
    ),
    # What quantises changes torch for the process that imports it.
    "engines": (
        "--model m_landsnet --width 0.25 --batch 1 --rounds 1",
        {"WAYS": (("torch", "float32"), ("onnx", "float32"))},
        "onnx float32",
    ),
    "fetch": ("--side 300 --files 2 --latency-s 0 --rounds 1", {"BLOCK_PX": 128}, "times what is needed"),
    "gpu": (
        "--quick --out found",
        {"NETWORKS": ("m_landsnet",), "COMPILE": lambda network: network},
        "x as fast as eager",
    ),
    "noise_bands": ("--models m_landsnet --epochs 1 --patches 2 --run run", {}, "correlation of all bands"),
    "original_way": (
        f"{sys.executable} --models m_landsnet --size-px 128 --rounds 1", {}, "has no TensorFlow"
    ),
    "patch_supply": ("--patches 8 --rounds 1", {"PATCH_PX": 32, "SIDE_PX": 96}, "memory, scaled"),
    "peers": ("--size-px 130 --null-px 130 --width 0.125", {}, "original way"),
    "places": ("folds truths --count 3", {"DRAWS": 2}, "| mean of 2 | 499 |"),
    "predict_scene": ("--size-px 140 --rounds 1", {}, "whole_array / strips"),
    "prepare_memory": ("--side 300", {}, "check "),
    "refine": ("--size-px 300 --rounds 1", {}, "search, 4 distances x 5 passes of closing"),
    "scale": ("--share 0.02 --basins 1 --patch-px 32", {"VALLEY_PX": 96}, "| threshold rule |"),
    "scores": ("--size-px 120 --rounds 1 --sklearn --scipy", {}, "scipy distance transform"),
    "training_step": (
        "--model glavitu --width 0.125 --batch 2 --steps 2 --rounds 1", {}, "glavitu         plain"
    ),
    "vectors": ("--side 200 --rounds 1 --memory-side 200", {}, "200 x 200 px, to a GeoPackage"),
}  # fmt: skip
NO_BENCHMARKS = {"house", "keras_networks", "rows", "run_all"}  # house and rows have tests of their own


class InThisProcess:
    """Stands in for the processes that a benchmark starts to measure their memory."""

    exitcode = 0

    def __init__(self, target: Any, args: tuple[Any, ...]) -> None:
        self.start = lambda: target(*args)

    def join(self) -> None:
        pass


class Queue(list[Any]):
    put = list.append
    get = list.pop


def run_here(command: list[str], *, check: bool, **_: object) -> SimpleNamespace:
    """Stands in for `subprocess.run` of one of the benchmarks or of a piece of Python."""
    out, status = io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        if command[1] == "-c":
            patch.setattr(sys, "argv", command[2:])
            exec(command[2], {})  # noqa: S102
        else:
            patch.setattr(sys, "argv", command[1:])
            script = Path(command[1]).read_text()
            try:
                exec(compile(script, command[1], "exec"), {"__name__": "__main__", "__file__": command[1]})  # noqa: S102
            except SystemExit as stop:
                sys.stderr.write(f"{stop}\n")
                status = 1
    assert not (check and status)
    return SimpleNamespace(returncode=status, stdout=out.getvalue())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with what the benchmarks ask for, and the benchmarks importable as when they are started."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(subprocess, "run", run_here)
    monkeypatch.setattr(
        "multiprocessing.get_context", lambda _: SimpleNamespace(Process=InThisProcess, Queue=Queue)
    )
    threads, known = torch.get_num_threads(), set(sys.modules)
    yield tmp_path
    torch.set_num_threads(threads)
    cv2.setNumThreads(-1)
    for name in set(sys.modules) - known:
        if Path(getattr(sys.modules[name], "__file__", None) or ".").parent == FOLDER:
            del sys.modules[name]


def make_folds(place: Path) -> None:
    """Ten squares of 10 km in a row, of two folds, with glaciers of several sizes in each."""
    rng = np.random.default_rng(3)
    for number in range(10):
        mask = (blobs(100, 100, number) * (rng.random((100, 100)) > 0.02)).astype(np.uint8)
        grid = Grid(CRS.from_epsg(32643), Affine(100, 0, 1e4 * number, 0, -100, 0), 100, 100)
        chance = np.where(mask, 0.8, 0.1).astype(np.float32) + rng.uniform(-0.1, 0.15, mask.shape)
        path = place / f"folds/{number // 5}/t{number}_probability.tif"
        write_raster(path, chance.astype(np.float32), grid, bands=["p"], nodata=np.nan)
        write_raster(place / f"truths/t{number}_label.tif", mask, grid, bands=["glacier"], nodata=None)
        light = easy_scene(mask, 1) | 1
        write_raster(place / f"truths/t{number}.tif", light, grid, bands=["light"], nodata=0)


def make_noisy_basins(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, names = import_module("noise_bands"), (*NOISE_BANDS, *BAND_NAMES)
    (place / "run/data").mkdir(parents=True)
    for seed, name in enumerate(("basin_a", "basin_b", "basin_c")):
        mask = blobs(96, 96, seed + 4)
        write_scene(place / f"run/data/{name}_scene.tif", easy_scene(mask, len(names)), names)
        write_mask(place / f"run/data/{name}_mask.tif", mask)
    settings = module.synthetic_settings

    def fewer(folder: Path) -> dict[str, Any]:
        asked = settings(folder)
        asked["training"] |= {"patches_per_epoch": 8, "batch_size": 4}
        asked["models"] = [{"name": "m_landsnet", "width": 0.125, "patch_px": 32}]
        result: dict[str, Any] = asked
        return result

    monkeypatch.setattr(module, "synthetic_settings", fewer)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_benchmark_runs(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    options, smaller, words = SCRIPTS[name]
    module = import_module(name)
    for constant, value in smaller.items():
        monkeypatch.setattr(module, constant, value)
    if name in {"area_bounds", "places"}:
        make_folds(place)
    if name == "corrections":
        model_folder(run_folder(place / "run").model("m_landsnet", "all").path)
    if name == "noise_bands":
        make_noisy_basins(place, monkeypatch)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *options.split()])
    # TensorFlow is wanted in an environment of its own, so this one lacks it.
    with pytest.raises(SystemExit) if name == "original_way" else contextlib.nullcontext():
        module.main()
    assert words in "".join(capfd.readouterr())


START_EACH = """
import runpy, sys
before = sys.path[1:]
for script in sys.argv[2:]:
    sys.path[:] = [sys.argv[1], *before]
    import numba  # asks for optional packages such as coverage, whose names no script may have
    runpy.run_path(script)
    for name in [name for name in sys.modules if name.split(".")[0] in ("benchmarks", "tests")]:
        del sys.modules[name]
"""


def test_scripts_find_one_another_from_any_folder(tmp_path: Path) -> None:
    """As `python benchmarks/NAME.py` does, which puts the scripts' own folder on the path and no other."""
    scripts = [str(path) for path in sorted(FOLDER.glob("*.py")) if "\nfrom benchmarks." in path.read_text()]
    assert scripts
    subprocess.run([sys.executable, "-c", START_EACH, str(FOLDER), *scripts], check=True, cwd=tmp_path)


def test_every_script_has_a_row_above() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == set(SCRIPTS) | NO_BENCHMARKS


@pytest.mark.parametrize("run", run_all.RUNS, ids=lambda run: run[0])
def test_make_bench_starts_scripts_with_options_that_they_have(
    run: tuple[str, ...], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ParsedError(Exception):
        pass

    import argparse

    parse = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser) -> None:
        parse(parser)
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(sys, "argv", list(run))
    with pytest.raises(ParsedError):
        import_module(run[0].removesuffix(".py")).main()
