"""The runner of the plug-in, without QGIS: against a stand-in for the command, and the command itself."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import glacierseg
from glacierseg_qgis.command import CommandError, clean_environment, find_command, run, scenes_in
from tests.helpers import blobs, write_mask

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script with #!")
OF_QGIS = {
    "PYTHONHOME": "/nonsense",
    "PYTHONPATH": "/nonsense",
    "PYTHONNOUSERSITE": "1",
    "GDAL_DATA": "/nonsense",
    "GDAL_DRIVER_PATH": "/nonsense",
    "PROJ_LIB": "/nonsense",
    "PROJ_DATA": "/nonsense",
    "QT_PLUGIN_PATH": "/nonsense",
    "QGIS_PREFIX_PATH": "/nonsense",
    "LD_LIBRARY_PATH": "/nonsense",
    "OSGEO4W_ROOT": "/nonsense",
}


class Heard:
    """What a command said; cancels once it has said a word."""

    def __init__(self, cancel_at: str = "") -> None:
        self.infos: list[str] = []
        self.warnings: list[str] = []
        self.shares: list[tuple[float, str]] = []
        self._cancel_at = cancel_at

    def info(self, text: str) -> None:
        self.infos.append(text)

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def progress(self, share: float, label: str) -> None:
        self.shares.append((share, label))

    def is_cancelled(self) -> bool:
        return bool(self._cancel_at) and self._cancel_at in self.infos


def script(path: Path, body: str, version: str = "glacierseg 9.9.9") -> Path:
    """A stand-in for the command, which answers `--version` and else runs some Python."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"#!{sys.executable}\nimport json, os, signal, subprocess, sys, time\n"
        f"if sys.argv[1:] == ['--version']:\n    print({version!r})\n    sys.exit()\n"
        "def say(**entry):\n    print(json.dumps(entry), flush=True)\n" + body,
        encoding="utf-8",
    )
    path.chmod(0o755)
    return path


def real_command(path: Path) -> Path:
    """The command of this checkout, by which interpreter ever."""
    source = Path(glacierseg.__file__).parents[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nPYTHONPATH="{source}" exec "{sys.executable}" -m glacierseg "$@"\n')
    path.chmod(0o755)
    return path


def test_the_environment_keeps_all_but_what_qgis_sets() -> None:
    kept = {
        "PATH": "/bin",
        "HOME": "/home/x",
        "CUDA_VISIBLE_DEVICES": "1",
        "GLACIERSEG_DATA_DIR": "/d",
        "SSL_CERT_FILE": "/c",
        "GDAL_CACHEMAX": "512",
        "HTTPS_PROXY": "p",
    }
    assert clean_environment({**kept, **OF_QGIS}) == kept


@pytest.mark.parametrize("given", ["file", "folder", "environment", "path", "quoted"])
def test_the_command_is_found(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = script(tmp_path / "mein Gletscher é" / "bin" / "glacierseg", "")
    monkeypatch.setenv("PATH", str(command.parent) if given == "path" else os.defpath)
    setting = {
        "file": str(command),
        "folder": str(command.parent),
        "environment": str(command.parents[1]),
        "path": "",
        "quoted": f' "{command}" ',
    }[given]
    assert find_command(setting, "0.1.0") == str(command)


@pytest.mark.parametrize("setting", ["", "/no/such/glacierseg", "folder"])
def test_a_missing_command_is_said_with_a_cure(
    setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match=r"holds no glacierseg command.*Options > Processing > Providers"):
        find_command(str(tmp_path) if setting == "folder" else setting, "0.1.0")


@pytest.mark.parametrize(
    ("said", "needed", "fault"),
    [
        ("glacierseg 0.1.9", "0.2.0", "is glacierseg 0.1.9, and this plug-in needs 0.2.0 or newer"),
        ("glacierseg 0.9.0", "0.10.0", "needs 0.10.0"),
        ("something else", "0.1.0", r"not a glacierseg command that works \(something else\)"),
        ("", "0.1.0", "it says nothing"),
    ],
)
def test_a_command_that_will_not_do_is_refused(said: str, needed: str, fault: str, tmp_path: Path) -> None:
    command = script(tmp_path / "glacierseg", "", said)
    with pytest.raises(CommandError, match=fault):
        find_command(str(command), needed)


@pytest.mark.parametrize("version", ["9.9.9", "9.9.8", "0.10.0"])
def test_the_same_and_newer_versions_do(version: str, tmp_path: Path) -> None:
    command = script(tmp_path / "glacierseg", "")
    assert find_command(str(command), version) == str(command)


def test_a_command_that_breaks_is_quoted(tmp_path: Path) -> None:
    command = script(tmp_path / "glacierseg", "")
    command.write_text(f"#!{sys.executable}\nraise ImportError('torch is broken')\n")
    with pytest.raises(CommandError, match="ImportError: torch is broken"):
        find_command(str(command), "0.1.0")
    command.write_text("#!/no/such/interpreter\n")
    with pytest.raises(CommandError, match="cannot be run"):
        find_command(str(command), "0.1.0")


def test_lines_go_where_they_belong(tmp_path: Path) -> None:
    body = """
say(time="t", progress=0.0, label="predicting é", about="")
say(time="t", progress=0.5, label="predicting é", about="glavitu all")
say(time="t", level="info", about="", message="a\\nb")
say(time="t", level="warning", about="T45", message="snow")
print("no JSON", flush=True)
print("[1, 2]", flush=True)
print("from a library", file=sys.stderr, flush=True)
say(time="t", level="info", about="", message=" ".join(sys.argv[1:]))
"""
    heard = Heard()
    lines = run(str(script(tmp_path / "g", body)), ["map", "é ü.tif"], heard)
    assert heard.shares == [(0.0, "predicting é"), (0.5, "[glavitu all] predicting é")]
    assert heard.warnings == ["[T45] snow"]
    assert lines == ["a\nb", "no JSON", "[1, 2]", "--json map é ü.tif"]
    assert sorted(heard.infos) == sorted([*lines, "from a library"])


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("say(level='error', message='x.tif: no such file'); sys.exit(1)", "x.tif: no such file"),
        ("say(level='info', message='all\\nreadable: check the path'); sys.exit(1)",
         "the command ended with status 1: readable: check the path"),
        ("raise MemoryError('gone')", "the command ended with status 1: MemoryError: gone"),
        ("os.kill(os.getpid(), 9)", "the command ended with status -9: it said nothing"),
    ],
)  # fmt: skip
def test_failures_say_why(body: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError) as failed:
        run(str(script(tmp_path / "g", body)), [], Heard())
    assert str(failed.value) == why


def test_a_lot_of_text_on_both_streams_does_not_block(tmp_path: Path) -> None:
    body = "for n in range(3000): say(level='info', message='x' * 99); print('y' * 99, file=sys.stderr)"
    heard = Heard()
    assert len(run(str(script(tmp_path / "g", body)), [], heard)) == 3000
    assert len(heard.infos) == 6000


def test_what_is_written_while_ending_is_waited_for(tmp_path: Path) -> None:
    body = "os.close(1); os.close(2); time.sleep(0.5); open(sys.argv[-1], 'w').write('whole'); os._exit(0)"
    run(str(script(tmp_path / "g", body)), [str(tmp_path / "out")], Heard())
    assert (tmp_path / "out").read_text() == "whole"


INTERRUPTIBLE = """
try:
    say(level="info", message="begun")
    time.sleep(60)
except KeyboardInterrupt:
    open(sys.argv[-1], "w").write("kept")
    say(level="error", message="interrupted; run the same command again, finished work is kept")
    sys.exit(130)
"""
# Neither it nor the process that it starts minds an interruption.
STUBBORN = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(sys.argv[-1], "w").write(str(child.pid))
say(level="info", message="begun")
time.sleep(60)
"""


def test_cancelling_interrupts_as_ctrl_c_does(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(CommandError, match=r"^cancelled; run the algorithm again with the same output"):
        run(str(script(tmp_path / "g", INTERRUPTIBLE)), [str(tmp_path / "out")], Heard("begun"))
    assert (tmp_path / "out").read_text() == "kept"
    assert time.monotonic() - began < 20


def test_what_does_not_end_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(CommandError, match="cancelled"):
        run(str(script(tmp_path / "g", STUBBORN)), [str(tmp_path / "pid")], Heard("begun"), grace_s=0.3)
    assert time.monotonic() - began < 20
    pid = int((tmp_path / "pid").read_text())
    until = time.monotonic() + 5
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" and time.monotonic() < until:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"


def test_the_real_command_runs_in_the_environment_of_qgis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in OF_QGIS.items():
        monkeypatch.setenv(name, value)
    command = find_command(str(real_command(tmp_path / "ä b" / "glacierseg")), glacierseg.__version__)
    mask = write_mask(tmp_path / "mask é.tif", blobs(32, 32))
    heard = Heard()
    out = tmp_path / "out.tif"
    run(command, ["prepare", "align", str(mask), "--like", str(mask), "--out", str(out)], heard)
    assert out.exists()
    assert heard.infos == [str(out)]
    assert heard.shares[-1] == (1.0, "aligning")
    missing = tmp_path / "none.tif"
    with pytest.raises(CommandError, match=rf"^{missing}: ") as failed:
        run(command, ["prepare", "align", str(missing), "--like", str(mask), "--out", str(out)], heard)
    assert "\n" not in str(failed.value)


def test_results_are_those_that_the_command_named(tmp_path: Path) -> None:
    for name in ("a_probability.tif", "b_probability.tif", "deep/c_probability.tif", "ab_probability.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    lines = [
        f"{tmp_path}/a_probability.tif",
        f"{tmp_path}/deep/c_probability.tif: is up to date; --again predicts it again",
        "c_probability: 1 glacier",
        "",
    ]
    found = scenes_in(tmp_path, "_probability.tif", lines)
    assert found == [(tmp_path, "a"), (tmp_path / "deep", "c")]


def test_the_lines_are_those_that_the_command_writes(glacierseg: Any, tmp_path: Path) -> None:
    """The form that docs/qgis.md promises: one object a line, of either kind."""
    write_mask(tmp_path / "mask.tif", blobs(32, 32))
    done = glacierseg("--json", "check", tmp_path / "mask.tif")
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    assert {frozenset(entry) for entry in entries} == {
        frozenset({"time", "progress", "label", "about"}),
        frozenset({"time", "level", "about", "message"}),
    }
