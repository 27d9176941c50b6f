"""Outlines that were edited in QGIS itself, which still has them open."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from glacierseg.review.corrections import write_corrections
from glacierseg.review.edits import read_edits
from tests.review.drawn import drawn

pytestmark = pytest.mark.qgis
# What the command does that runs while the file is open: nothing in the folder may change by it.
READ = """
import json, sys
from pathlib import Path
sys.path[:0] = json.loads(sys.argv[1])
from glacierseg.review.edits import read_edits
def state():
    folder = Path(sys.argv[2]).parent
    return {one.name: (one.read_bytes(), one.stat().st_mtime_ns) for one in folder.iterdir()}
before = state()
found = read_edits(Path(sys.argv[3]), Path(sys.argv[2]))
assert state() == before
told = {"files": sorted(before), "changes": found.changes.values.tolist(), "said": found.warnings}
print("READ", json.dumps(told))
"""


def test_edits_in_qgis_are_read_while_it_has_the_file_open(qgis_python: str, tmp_path: Path) -> None:
    mask, path = drawn(tmp_path)
    script = Path(__file__).with_name("edit_layers.py")
    known = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
    reading = [sys.executable, "-c", READ, json.dumps(sys.path), str(path), str(mask)]
    done = subprocess.run(
        [qgis_python, str(script), str(path), *reading],
        capture_output=True,
        text=True,
        check=False,
        env=known | {"QT_QPA_PLATFORM": "offscreen"},
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("READ"))[5:])
    assert {"corrections.gpkg", "corrections.gpkg-wal", "corrections.gpkg-shm"} <= set(told["files"])
    # Both pieces of the split are still glacier 1, of which nothing changed.
    kinds = [(one[0], one[1], round(one[2], 6), round(one[3], 6), one[4]) for one in told["changes"]]
    assert kinds == [("2", "removed", 0, 0.0036, "anna"), ("new 1", "added", 0.0016, 0, "anna")]
    assert any("1 invalid outline repaired" in line for line in told["said"])
    assert any("is open in another program" in line for line in told["said"])
    # What was not saved is gone, and so is the journal.
    assert len(read_edits(mask, path).changes) == 2
    assert sorted(one.name for one in tmp_path.iterdir()) == ["corrections.gpkg", "mask.tif"]
    assert not write_corrections(path, mask)
