"""Tests in QGIS itself, which has a Python of its own; without it they are skipped."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

_LOOK = Path(__file__).with_name("look.py")
Look = Callable[..., tuple[dict[str, Any], NDArray[np.uint8]]]


@pytest.fixture(scope="session")
def qgis_python() -> str:
    """The Python that knows QGIS: `QGIS_PYTHON`, or that of the system."""
    python = os.environ.get("QGIS_PYTHON") or shutil.which("python3", path="/usr/bin:/usr/local/bin")
    asked = ["-c", "import qgis.core"]
    if python is None or in_qgis([python, *asked]).returncode:
        pytest.skip("QGIS is not installed (Debian: `apt install qgis python3-qgis`)")
    return python


def in_qgis(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Runs a program without a window."""
    # The Python of QGIS must not see the packages of this one.
    known = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
    environment = known | {"QT_QPA_PLATFORM": "offscreen"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def look(qgis_python: str, tmp_path: Path) -> Look:
    """Opens a project in QGIS; returns what it found, and a picture of the map or of some layers."""

    def open_in_qgis(project: Path, *layers: str) -> tuple[dict[str, Any], NDArray[np.uint8]]:
        picture = tmp_path / "seen.png"
        done = in_qgis([qgis_python, str(_LOOK), str(project), str(picture), *layers])
        assert done.returncode == 0, done.stderr
        with Image.open(picture) as image:
            return json.loads(done.stdout[done.stdout.index("{") :]), np.asarray(image.convert("RGBA"))

    return open_in_qgis
