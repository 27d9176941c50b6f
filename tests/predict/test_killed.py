"""Kill -9 at random moments, as often as it takes to make a test of resuming worth its name."""

import time
from pathlib import Path

import numpy as np
import torch

from glacierseg.models.card import ModelCard, save_model
from tests.helpers import forks, write_scene


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
    imports = "import torch\nfrom glacierseg.predict.scene import predict_scene\ntorch.set_num_threads(1)"
    program = "predict_scene(*words, batch_size=8, precision='float32')"
    out, whole = tmp_path / "out", tmp_path / "whole"
    with forks(imports, program) as start:
        started = time.monotonic()
        assert start(tmp_path / "model", scene, whole).wait() == 0
        seconds = time.monotonic() - started
        kills = 0
        while kills < 10:
            process = start(tmp_path / "model", scene, out)
            time.sleep(rng.uniform(0, 0.15) * seconds)
            process.kill()
            if process.wait() == 0:
                break
            kills += 1
            for path in out.glob("*.tif"):  # whatever stands there is whole
                assert path.read_bytes() == (whole / path.name).read_bytes()
        assert kills >= 5
        assert start(tmp_path / "model", scene, out).wait() == 0
    for path in sorted(whole.glob("*.tif")):
        assert (out / path.name).read_bytes() == path.read_bytes()
