import json
import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from distributed import LocalCluster
from scipy.special import expit, logit
from scipy.stats import t

from glacierseg.models.card import ModelCard, save_model
from glacierseg.predict.calibration import Calibration, Dispersion, LogitScale, store_calibration
from tests.helpers import write_scene

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    """Two small m_landsnet and a glavitu."""
    folders = []
    for seed, name in enumerate(("m_landsnet", "m_landsnet", "glavitu")):
        torch.manual_seed(seed)
        card = ModelCard(
            architecture=name, width=0.125, bands=("red", "nir"), band_mean=(100.0, 90.0),
            band_std=(40.0, 50.0), patch_px=32,
        )  # fmt: skip
        folders.append(tmp_path / f"model{seed}")
        save_model(folders[-1], card.build(), card)
    return folders


def write_config(folder: Path, **rare: object) -> Path:
    """Writes a configuration that sets options which have none on the command line."""
    path = folder / "config.yaml"
    path.write_text(json.dumps({"prediction": rare}))
    return path


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).integers(1, 250, (2, 150, 90)).astype(np.uint8)
    return write_scene(tmp_path / "valley.tif", values, ["red", "nir"])


def test_an_ensemble_with_symmetries_in_eight_bits_by_local_workers(
    glacierseg: Command, models: list[Path], scene: Path, tmp_path: Path
) -> None:
    asked = (
        models[0],
        scene,
        "--with",
        models[1],
        "--symmetries",
        "--dtype",
        "uint8",
        "--precision",
        "float32",
    )
    for folder, more in (("alone", ()), ("shared", ("--workers", 2))):
        done = glacierseg("predict", *asked, "--out", tmp_path / folder, *more)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""  # no bar where there is no terminal
        assert done.stdout.split() == [
            str(tmp_path / folder / f"valley_{kind}.tif") for kind in ("probability", "mask")
        ]
    with rasterio.open(tmp_path / "alone" / "valley_probability.tif") as one:
        assert one.count == 2
        with rasterio.open(tmp_path / "shared" / "valley_probability.tif") as other:
            # Threads are shared out among workers, and their number may move the last bit.
            assert np.abs(one.read().astype(int) - other.read()).max() <= 1


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_a_calibrated_network_tells_the_area_with_bounds(
    glacierseg: Command, models: list[Path], scene: Path, tmp_path: Path, dtype: str
) -> None:
    scale, dispersion = LogitScale(1.7, -0.3), Dispersion(12.5, 64, 9.5, 7.5, 1e9)
    store_calibration(models[0], Calibration(scale, 99, ("a",), 0.5, 0.4, 0.1, 0.02, dispersion))
    config = write_config(tmp_path, confidence=0.8)
    done = glacierseg("predict", models[0], scene, "--out", tmp_path, "--dtype", dtype, "--config", config)
    assert done.returncode == 0, done.stderr
    with rasterio.open(tmp_path / "valley_probability.tif") as dataset:
        probability = dataset.read(1).astype(float) * dataset.scales[0]
    calibrated = expit(logit(np.clip(probability, 1e-9, 1 - 1e-9)) / 1.7 - 0.3)
    expected, variance = calibrated.sum(), (calibrated * (1 - calibrated)).sum()
    reach = t.ppf(0.9, 7.5) * np.sqrt(12.5 * variance)
    found = re.search(r"area (\S+) km2, (\S+) to (\S+) km2 with 80% confidence", done.stdout)
    assert found is not None
    told = [float(number) for number in found.groups()]
    # Pixels of the made-up grid are 10 m wide.
    area = [value * 1e-4 for value in (expected, expected - reach, expected + reach)]
    assert told == pytest.approx(area, rel=5e-3)


def test_a_cluster_without_workers_is_told_in_one_line_and_waited_for(
    glacierseg: Command, models: list[Path], scene: Path, tmp_path: Path
) -> None:
    nobody = {"n_workers": 0, "processes": False, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    waited = []
    with LocalCluster(protocol="tcp", silence_logs=logging.CRITICAL, **nobody) as cluster:

        def come_when_work_waits() -> None:
            for _ in range(600):
                if waits := len(cluster.scheduler.tasks):
                    waited.append(waits)
                    break
                time.sleep(0.1)
            cluster.scale(1)  # in any case: it would be waited for for ever

        worker = threading.Thread(target=come_when_work_waits, daemon=True)
        worker.start()
        address = cluster.scheduler_address
        done = glacierseg("predict", models[0], scene, "--out", tmp_path / "out", "--dask", address)
        worker.join()
    assert waited
    assert done.returncode == 0
    assert done.stderr == f"warning: {address}: has no workers yet; waiting for some\n"
    assert (tmp_path / "out" / "valley_mask.tif").exists()


def test_a_scheduler_that_goes_away_is_told_in_one_line(
    models: list[Path], scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "2s")
    known = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard"]
    with subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--scheduler-file", str(known)], stderr=subprocess.DEVNULL
    ) as scheduler:
        try:
            while not known.exists() or not known.read_text().strip():
                assert scheduler.poll() is None
                time.sleep(0.1)
            address = json.loads(known.read_text())["address"]
            command = [
                sys.executable,
                "-m",
                "glacierseg",
                "predict",
                str(models[0]),
                str(scene),
                "--dask",
                address,
            ]
            with subprocess.Popen(
                [*map(str, command), "--out", str(tmp_path / "out")], stderr=subprocess.PIPE, text=True
            ) as waiting:
                assert waiting.stderr is not None
                waiting.stderr.readline()  # there are no workers
                scheduler.kill()
                told = waiting.stderr.read()
                assert waiting.wait() == 1
        finally:
            scheduler.kill()
    assert told.startswith("glacierseg: ")
    assert told.count("\n") == 1, told
    assert "scheduler stopped" in told


def test_calibrated_probabilities_are_stored_on_request(
    glacierseg: Command, models: list[Path], scene: Path, tmp_path: Path
) -> None:
    refused = glacierseg("predict", models[0], scene, "--out", tmp_path, "--calibrated")
    assert refused.returncode == 1
    assert "has no calibration" in refused.stderr
    scale, dispersion = LogitScale(1.7, -0.3), Dispersion(12.5, 64, 9.5, 7.5, 1e9)
    store_calibration(models[0], Calibration(scale, 99, ("a",), 0.5, 0.4, 0.1, 0.02, dispersion))
    told = []
    for folder, more in (("own", ()), ("calibrated", ("--calibrated",))):
        done = glacierseg("predict", models[0], scene, "--out", tmp_path / folder, *more)
        assert done.returncode == 0, done.stderr
        told.append(done.stdout.splitlines()[-1])
    assert told[0] == told[1]  # the area is not calibrated twice
    maps = {}
    for folder in ("own", "calibrated"):
        with (
            rasterio.open(tmp_path / folder / "valley_probability.tif") as probability,
            rasterio.open(tmp_path / folder / "valley_mask.tif") as mask,
        ):
            maps[folder] = probability.read(1), mask.read(1), probability.tags().get("calibration")
    expected = expit(logit(maps["own"][0].astype(float)) / 1.7 - 0.3)
    assert np.abs(maps["calibrated"][0] - expected).max() < 1e-6
    assert (maps["own"][1] == maps["calibrated"][1]).all()
    assert maps["own"][2] is None
    assert maps["calibrated"][2] == "temperature 1.7 bias -0.3"
    # Means over the symmetries are other probabilities than those that were calibrated.
    refused = glacierseg("predict", models[0], scene, "--out", tmp_path, "--calibrated", "--symmetries")
    assert refused.returncode == 1
    assert "without symmetries; add --no-symmetries, or leave" in " ".join(refused.stderr.split())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--dask", "tcp://127.0.0.1:1", "--workers", "2"), "give one of the two"),
        (("--workers", "0"), "workers must be greater than or equal to 1 (got 0)"),
        (("--precision", "int8"), "does not predict in int8"),
        (("--window-px", "0"), "--window-px must be greater than or equal to 8 (got 0)"),
        ((("confidence", 90),), "confidence must be less than 1 (got 90)"),
    ],
)
def test_wrong_requests_are_one_line_and_leave_nothing(
    glacierseg: Command,
    models: list[Path],
    scene: Path,
    tmp_path: Path,
    options: tuple[object, ...],
    words: str,
) -> None:
    rare: dict[str, Any] = dict(option for option in options if isinstance(option, tuple))
    typed: list[object] = [option for option in options if isinstance(option, str)]
    typed += ["--config", write_config(tmp_path, **rare)] if rare else []
    done = glacierseg("predict", models[0], scene, "--out", tmp_path / "out", *typed)
    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list((tmp_path / "out").glob("*"))


def test_scenes_that_are_there_already_are_left_unless_asked_for_again(
    glacierseg: Command, models: list[Path], scene: Path, tmp_path: Path
) -> None:
    other = scene.with_name("other.tif")
    other.write_bytes(scene.read_bytes())
    out = tmp_path / "out"
    assert glacierseg("predict", models[0], scene, "--out", out).returncode == 0
    first, second = out / "valley_mask.tif", out / "other_mask.tif"
    written = first.stat().st_mtime_ns
    done = glacierseg("predict", models[0], scene, other, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "valley_probability.tif: is up to date; --again predicts it again" in done.stdout
    assert first.stat().st_mtime_ns == written
    assert second.exists()
    done = glacierseg("predict", models[0], scene, other, "--out", out, "--again")
    assert "is up to date" not in done.stdout
    assert first.stat().st_mtime_ns > written
    done = glacierseg("predict", models[0], scene, other, "--out", out, "--threshold", "0.4")
    assert "is up to date" not in done.stdout
