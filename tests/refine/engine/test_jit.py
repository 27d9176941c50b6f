import os
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

import glacierseg
from glacierseg.refine.engine import jit

USE = """
import numpy as np
from glacierseg.refine.engine.bits import pack
assert pack(np.ones((3, 70), np.uint8)).count() == 210
"""


def run(environment: dict[str, str], code: str = USE) -> CompletedProcess[str]:
    source = str(Path(glacierseg.__file__).parent.parent)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": source,
        "PYTHONDONTWRITEBYTECODE": "1",
        **environment,
    }
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


def test_the_cache_is_written_where_the_user_says_and_used_again(tmp_path: Path) -> None:
    assert run({"NUMBA_CACHE_DIR": str(tmp_path)}).returncode == 0
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb?")}
    assert written
    assert run({"NUMBA_CACHE_DIR": str(tmp_path)}).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb?")} == written


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()  # no folder can be made in it, not even by root
    (tmp_path / "__pycache__").touch()
    (tmp_path / "module.py").write_text(
        "from glacierseg.refine.engine.jit import compiled\n\n\n@compiled\ndef double(x):\n    return 2 * x\n"
    )
    places = dict.fromkeys(("NUMBA_CACHE_DIR", "HOME", "XDG_CACHE_HOME"), str(tmp_path / "file" / "folder"))
    use = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import module; print(module.double(21))"
    result = run(places, use)
    assert result.stdout.strip() == "42", result.stderr
    # Numba alone gives up here.
    plain = use.replace(
        "import module", "import numba, module; numba.njit(cache=True)(module.double.py_func)"
    )
    assert "no locator available" in run(places, plain).stderr


def test_a_broken_cache_stops_nothing(tmp_path: Path) -> None:
    assert run({"NUMBA_CACHE_DIR": str(tmp_path)}).returncode == 0
    for path in tmp_path.rglob("*.nb?"):
        path.write_bytes(b"")
    result = run({"NUMBA_CACHE_DIR": str(tmp_path)})
    assert result.returncode == 0, result.stderr


def test_a_full_disk_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def double(value: int) -> int:
        return 2 * value

    function = jit.compiled(double)
    monkeypatch.setattr(type(function._cache._cache_file), "save", full_disk)  # type: ignore[attr-defined]
    assert function(21) == 42


def full_disk(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("word", [1, 2, 2**63, 2**64 - 1, 0b1011000])
def test_machine_instructions(word: int) -> None:
    import numba
    import numpy as np

    def both(value: np.uint64) -> tuple[int, int]:
        return jit.popcount(value), jit.trailing_zeros(value)

    compiled: Any = numba.njit(both)
    assert compiled(np.uint64(word)) == (word.bit_count(), (word & -word).bit_length() - 1)
