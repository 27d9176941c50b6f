"""Fixtures that every test may use."""

import os
import sys
from pathlib import Path

import pytest

# One thread per test process: two processes that each start two threads slow each other down many times over.
# Set before anything imports torch or OpenCV; processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Without this package openvino and nncf do not report to their makers.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real scenes; tests that need it skip when it is not given."""
    value = os.environ.get("GLACIERSEG_DATA_DIR")
    if not value or not Path(value).is_dir():
        pytest.skip("GLACIERSEG_DATA_DIR does not name a folder with real scenes")
    return Path(value).resolve()
