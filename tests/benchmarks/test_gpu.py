"""What the benchmark of a GPU does where memory, time or a part of it fails."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.predict_scene import BANDS
from benchmarks.rows import Part, Report, Row

from benchmarks import gpu
from glacierseg.models.m_landsnet import MLandsNet


def report(folder: Path, left_s: float = 60.0) -> Report:
    return Report(folder / "rows.json", {"machine": "made up"}, left_s, folder / "scratch")


def run(part: Part) -> Row:
    return part.run()


def fails() -> Row:
    raise RuntimeError("no compiler\nand more")


def waits() -> Row:
    time.sleep(0.2)
    return Row(1.0)


def test_a_failure_costs_one_row_and_goals_are_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [
        Part("low", "a", 1, lambda: Row(2.0, "Mpx/s", 0.44, "of peak", 0.45)),
        Part("broken", "b", 1, fails),
        Part("high", "c", 1, lambda: Row(3.0, "Mpx/s", 0.45, "of peak", 0.45, peak_gb=1.25)),
    ]
    report(tmp_path).measure(parts, run)
    stored = json.loads((tmp_path / "rows.json").read_text())
    assert stored["facts"] == {"machine": "made up"}
    rows = {row["part"]: row for row in stored["rows"]}
    assert [row["falls_short"] for row in rows.values()] == [True, False, False]
    assert (rows["broken"]["note"], rows["broken"]["rate"]) == ("failed: RuntimeError: no compiler", None)
    assert (rows["high"]["ratio"], rows["high"]["peak_gb"], rows["high"]["network"]) == (0.45, 1.25, "c")
    table = capsys.readouterr().out
    assert table.count("FALLS SHORT of 45%") == 1
    assert "falls short: low (a)" in table


def test_a_part_that_takes_longer_than_is_left_is_left_out(tmp_path: Path) -> None:
    # The first part takes a tenth of what was thought, and so do the others then.
    parts = [
        Part("known", "", 2, waits),
        Part("dear", "", 10_000, fails),
        Part("cheap", "", 100, lambda: Row(1.0)),
    ]
    found = report(tmp_path, 60.0)
    found.measure(parts, run)
    assert [row.rate for row in found.rows] == [1.0, None, 1.0]
    assert found.rows[1].note.startswith("left out: takes about 1")


def test_the_process_ends_when_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended: list[int] = []
    monkeypatch.setattr("os._exit", ended.append)
    (tmp_path / "scratch").mkdir()

    def hangs() -> Row:
        while not ended:
            time.sleep(0.01)
        return Row()

    report(tmp_path, 0.3).measure(
        [Part("quick", "", 0.01, lambda: Row(1.0)), Part("hangs", "", 0.01, hangs)], run
    )
    assert ended == [0]
    assert "time was over before it was measured" in capsys.readouterr().out
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [row["part"] for row in rows][:2] == ["quick", "the rest"]
    assert not (tmp_path / "scratch").exists()


@pytest.fixture
def bench(tmp_path: Path) -> gpu.Bench:
    return gpu.Bench(torch.device("cpu"), gpu.QUICK, tmp_path)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate"),
            "8: OutOfMemoryError: CUDA out of",
        ),
        (RuntimeError("canUse32BitIndexMath(input)"), "8: RuntimeError: canUse32BitIndexMath"),
    ],
)
def test_the_batch_doubles_until_memory_is_out(bench: gpu.Bench, error: RuntimeError, words: str) -> None:
    bench.sizes = replace(gpu.QUICK, last_batch=64)
    tried: list[int] = []

    def kind(name: str, batch: int) -> Callable[[], Any]:
        assert name == "glavitu"
        tried.append(batch)

        def call() -> None:
            if batch == 8:
                raise error

        return call

    row = bench.largest_batch("glavitu", kind)
    assert tried == [1, 2, 4, 8]
    assert (row.rate, row.unit) == (4, "samples")
    assert words in row.note


def test_flop_are_those_of_the_networks_arithmetic() -> None:
    # GMAC per window, as docs/networks.md has them.
    assert gpu.forward_flop("unetplusplus", 256, 1.0) == pytest.approx(2 * 119.6e9, rel=0.001)
    # A convolution is 2 k^2 C_in C_out FLOP per pixel it makes: by hooks, on real tensors.
    network, counted = MLandsNet(BANDS, 2, width=0.125).eval(), [0]

    def count(module: torch.nn.Module, _: Any, made: torch.Tensor) -> None:
        weight = module.get_parameter("weight")
        # A transposed convolution of stride 2 uses each weight at a quarter of the pixels that it makes.
        pixels = made[0, 0].numel() // (4 if isinstance(module, torch.nn.ConvTranspose2d) else 1)
        counted[0] += 2 * weight.numel() * pixels

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, BANDS, 32, 32))
    assert gpu.forward_flop("m_landsnet", 32, 0.125) == counted[0]


def test_prediction_is_measured_by_the_calls_that_a_scene_takes(bench: gpu.Bench) -> None:
    row = bench.prediction("m_landsnet")
    # 96 px in windows of 32 at half their side: 5 x 5 windows, 5 to a strip and a call.
    assert "5 calls of 16 windows of 32 px" in row.note
    assert row.goal == 0.9
    assert row.ratio is not None
    assert 0 < row.ratio < 2


def test_a_gpu_that_is_asked_for_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.chosen_device("auto").type == "cpu"
    with pytest.raises(SystemExit, match="torch sees no CUDA device"):
        gpu.chosen_device("cuda")


def test_a_gpu_that_shall_not_be_used_is_hidden_from_a_new_start(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, list[str], str]] = []

    def start(program: str, words: list[str]) -> None:
        started.append((program, words, os.environ["CUDA_VISIBLE_DEVICES"]))
        raise SystemExit

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("os.execv", start)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert gpu.chosen_device("cuda").type == "cuda"
    with pytest.raises(SystemExit):
        gpu.chosen_device("cpu")
    assert started == [(sys.executable, [sys.executable, "gpu.py", "--device", "cpu"], "")]
