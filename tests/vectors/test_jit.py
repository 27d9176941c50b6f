import os
import subprocess
import sys
from pathlib import Path

import pytest

import glacierseg

TRACE = (
    "import numpy as np; from glacierseg.vectors.trace import trace_polygons; "
    "print(len(trace_polygons(np.eye(3, dtype=np.uint8))))"
)


@pytest.mark.parametrize("place", ["file", "missing"])
def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(tmp_path, place):
    """Numba is sent to a folder that cannot be made, as on a read-only machine."""
    (tmp_path / "file").write_text("")
    cache = tmp_path / "file" / "cache" if place == "file" else Path("/proc/glacierseg")
    done = subprocess.run(
        [sys.executable, "-c", TRACE],
        env=os.environ
        | {
            "NUMBA_CACHE_DIR": str(cache),
            "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator",
            "PYTHONPATH": str(Path(glacierseg.__file__).parents[1]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
