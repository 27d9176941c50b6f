"""Fixtures that every test may use."""

import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run: what passes here passes elsewhere. To look for more, change the seed:
# `pytest --hypothesis-seed=N --hypothesis-profile=default`.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")

# One thread per test process: two processes that each start two threads slow each other down many times over.
# Set before anything imports torch or OpenCV; processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# More of them wait asleep, as in the command line: spinning took five times the processor time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Nothing of the user's is read or written: there no cache can be, so that what is measured is left as it is.
os.environ.setdefault("GLACIERSEG_CACHE_DIR", os.devnull)
# Without this package openvino and nncf do not report to their makers.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def _spare_openvino(limit: str) -> None:
    """Lets OpenVINO begin without a limit that is meant for torch: under it its own oneDNN crashes.

    Args:
        limit: Which instructions oneDNN may use at most, as for a run without bf16
            (`ONEDNN_MAX_CPU_ISA=AVX2`). Each copy of oneDNN looks once.
    """
    import numpy as np
    import openvino
    from openvino import opset13 as ops

    del os.environ["ONEDNN_MAX_CPU_ISA"]
    shown, kernel = ops.parameter([1, 1, 4, 4], np.float32), ops.constant(np.ones((1, 1, 3, 3), np.float32))
    model = openvino.Model([ops.convolution(shown, kernel, [1, 1], [0, 0], [0, 0], [1, 1])], [shown])
    openvino.Core().compile_model(model, "CPU")(np.ones((1, 1, 4, 4), np.float32))
    os.environ["ONEDNN_MAX_CPU_ISA"] = limit


if limit := os.environ.get("ONEDNN_MAX_CPU_ISA"):
    _spare_openvino(limit)


@pytest.fixture(autouse=True)
def _lines_are_heard() -> None:
    """Lets each test hear what the package logs, whatever one before it left."""
    ours = logging.getLogger("glacierseg")
    ours.setLevel(logging.NOTSET)
    ours.propagate = True


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real scenes; tests that need it skip when it is not given."""
    value = os.environ.get("GLACIERSEG_DATA_DIR")
    if not value or not Path(value).is_dir():
        pytest.skip("GLACIERSEG_DATA_DIR does not name a folder with real scenes")
    return Path(value).resolve()


@pytest.fixture
def glacierseg(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command in this process, which saves the seconds that importing torch takes."""

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        from glacierseg import cli

        command = ["glacierseg", *map(str, words)]
        capfd.readouterr()
        status = 0
        with monkeypatch.context() as patch, warnings.catch_warnings():
            patch.setattr(sys, "argv", command)
            try:
                cli.main()
            except SystemExit as stop:
                status = int(stop.code or 0)
        return subprocess.CompletedProcess(command, status, *capfd.readouterr())

    return run


@pytest.fixture(params=["stand-in", "real"])
def zoo(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The optional package behind `smp:` names: a stand-in, and the real one where it is installed.

    `make test` does not install it: it brings torchvision, which PyPI has for CUDA only, and beside a CPU
    build of torch that stops even Lightning from importing.
    """
    if request.param == "stand-in":
        from tests.zoo import stand_in

        monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", stand_in())
        return
    try:
        import_module("segmentation_models_pytorch")
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"the extra `zoo` is not installed, or its torchvision does not fit torch: {error}")
