"""Kill -9 at random moments, as often as it takes to make a test of resuming worth its name."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

import glacierseg
from glacierseg.training.checkpoint import ModelCard, save_model
from tests.helpers import write_scene


def test_ten_kills_at_random_moments_leave_the_bytes_of_an_undisturbed_run(tmp_path: Path) -> None:
    card = ModelCard(
        architecture="m_landsnet", width=0.25, bands=("red", "nir"), band_mean=(100.0, 90.0),
        band_std=(40.0, 50.0), patch_px=16,
    )  # fmt: skip
    torch.manual_seed(0)
    save_model(tmp_path / "model", card.build(), card)
    rng = np.random.default_rng(0)
    scene = write_scene(
        tmp_path / "s.tif", rng.integers(1, 250, (2, 640, 320)).astype(np.uint8), ["red", "nir"]
    )
    source = str(Path(glacierseg.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    # It says when all is imported, so that the kills hit the work.
    program = (
        "import os, sys, time, torch\n"
        "from glacierseg.predict.scene import predict_scene\n"
        "torch.set_num_threads(1)\n"
        "print('ready', flush=True)\n"
        "predict_scene(sys.argv[1], sys.argv[2], sys.argv[3], batch_size=8, precision='float32')\n"
    )

    def start(out: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", program, str(tmp_path / "model"), str(scene), str(out)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    started = time.monotonic()
    assert start(tmp_path / "whole").wait() == 0
    seconds = time.monotonic() - started
    out = tmp_path / "out"
    kills = 0
    while kills < 10:
        process = start(out)
        time.sleep(rng.uniform(0, 0.15) * seconds)
        if process.poll() is not None:
            break
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
        for path in out.glob("*.tif"):  # whatever stands there is whole
            assert path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes()
    assert kills >= 5
    assert start(out).wait() == 0
    for path in sorted((tmp_path / "whole").glob("*.tif")):
        assert (out / path.name).read_bytes() == path.read_bytes()
