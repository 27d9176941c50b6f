"""Runs the `glacierseg` command of its own environment, and reads the lines of its `--json`.

Nothing of QGIS or of glacierseg is imported here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import IO, Any, Protocol

SETTING = "Settings > Options > Processing > Providers > glacierseg"
GRACE_S = 30.0
"""How long a cancelled command may take to end by itself."""
_POLL_S = 0.1
# What QGIS sets for its own Python, GDAL, PROJ and Qt, and what makes another program load their files.
_OF_QGIS = re.compile(
    r"PYTHON.*|__PYVENV_LAUNCHER__|VIRTUAL_ENV|PROJ_(LIB|DATA)|GDAL_(DATA|DRIVER_PATH)|OGR_DRIVER_PATH"
    r"|GEOTIFF_CSV|QT.*|QML.*|QGIS.*|GIS(BASE|RC)|OSGEO4W_ROOT|O4W_.*|LD_(LIBRARY_PATH|PRELOAD)|DYLD_.*",
    re.IGNORECASE,
)


class CommandError(Exception):
    """Says in one line why a command did not do its work."""


class Listener(Protocol):
    """Who is told what the command says."""

    def info(self, text: str) -> None:
        """A line of the command."""

    def warning(self, text: str) -> None:
        """A reason to doubt the result."""

    def progress(self, share: float, label: str) -> None:
        """The share done, 0-1, of what a label says."""

    def is_cancelled(self) -> bool:
        """Whether the command shall end."""


def clean_environment(found: Mapping[str, str]) -> dict[str, str]:
    """Returns an environment without what QGIS sets for itself."""
    return {name: value for name, value in found.items() if not _OF_QGIS.fullmatch(name)}


def find_command(setting: str, version: str) -> str:
    """Returns the path of the command, which is there and new enough.

    Args:
        setting: What the user set: the command, or a folder that holds it; empty for the search path.
        version: The oldest version that will do.

    Raises:
        CommandError: It is missing, cannot be run, or is too old.
    """
    setting = os.path.expanduser(setting.strip().strip('"'))
    folders = [os.path.join(setting, part) for part in ("", "bin", "Scripts")]
    if os.path.isdir(setting):
        found = shutil.which("glacierseg", path=os.pathsep.join(folders))
    else:
        found = shutil.which(setting or "glacierseg")
    if found is None:
        where = setting or "the search path (PATH)"
        raise CommandError(
            f"{where}: holds no glacierseg command that can be run; install glacierseg in an environment of "
            f"its own and give the path of its command in {SETTING} (`which glacierseg`, on Windows `where "
            "glacierseg`, prints it in a terminal in which it works)"
        )
    has = _version(found)
    if _numbers(has) < _numbers(version):
        raise CommandError(
            f"{found}: is glacierseg {has}, and this plug-in needs {version} or newer; update glacierseg, or "
            "install the plug-in that was packed with that version"
        )
    return found


def _version(command: str) -> str:
    try:
        done = subprocess.run(
            [command, "--version"],
            **_quiet(),
            capture_output=True,
            check=False,
            timeout=120,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandError(f"{command}: cannot be run ({error}); give another path in {SETTING}") from error
    said = str(done.stdout, "utf-8", "replace").strip()
    if done.returncode or not re.fullmatch(r"glacierseg \d+(\.\d+)*\S*", said):
        last = (str(done.stderr, "utf-8", "replace").strip() or said or "it says nothing").splitlines()[-1]
        raise CommandError(
            f"{command}: is not a glacierseg command that works ({last}); run `glacierseg --version` in a "
            f"terminal, and give the path of one that works in {SETTING}"
        )
    return said.split()[1]


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]


def _quiet() -> dict[str, Any]:
    """Returns how processes are started: in a clean environment, without input, without a window."""
    how: dict[str, Any] = {"env": clean_environment(os.environ), "stdin": subprocess.DEVNULL}
    if sys.platform == "win32":
        how["creationflags"] = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
    else:
        how["start_new_session"] = True
    return how


def run(command: str, words: list[str], listener: Listener, *, grace_s: float = GRACE_S) -> list[str]:
    """Runs a command until it ends; returns its lines.

    Args:
        command: Path of the `glacierseg` command.
        words: What is typed after it.
        listener: Who is told what it says, and asked whether it shall end.
        grace_s: How long it may take to end by itself after it was interrupted.

    Raises:
        CommandError: The command failed or was cancelled.
    """
    try:
        process = subprocess.Popen(
            [command, "--json", *words], **_quiet(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as error:
        raise CommandError(f"{command}: cannot be run ({error}); give another path in {SETTING}") from error
    said = _Said(listener)
    try:
        for read, line in _lines(process, said, listener, grace_s):
            read(line)
        status = process.wait()
    except BaseException:
        _kill(process)
        process.wait()
        raise
    if status == 0:
        return said.lines
    if listener.is_cancelled():
        raise CommandError(
            "cancelled; run the algorithm again with the same output to continue, finished work is kept"
        )
    raise CommandError(said.why(status))


class _Said:
    """What a command has said so far."""

    def __init__(self, listener: Listener) -> None:
        self.lines: list[str] = []
        self._listener = listener
        self._error = ""
        self._beside = ""

    def entry(self, line: str) -> None:
        """Takes a line of standard output, which is an object of JSON; any other text is a line as it is."""
        try:
            entry = json.loads(line)
        except ValueError:
            entry = line
        if not isinstance(entry, dict):
            entry = {"level": "info", "message": line}
        head = f"[{entry['about']}] " if entry.get("about") else ""
        if "progress" in entry:
            self._listener.progress(float(entry["progress"]), head + str(entry.get("label", "")))
            return
        level, text = entry.get("level", "info"), head + str(entry.get("message", ""))
        if level in {"error", "critical"}:
            self._error = text
        elif level == "warning":
            self._listener.warning(text)
        else:
            self.lines.append(text)
            self._listener.info(text)

    def beside(self, line: str) -> None:
        """Takes a line of standard error: what other libraries say, or a traceback."""
        self._beside = line
        self._listener.info(line)

    def why(self, status: int) -> str:
        """Returns why the command failed."""
        if self._error:
            return self._error
        last = self._beside or (self.lines[-1].splitlines()[-1] if self.lines else "it said nothing")
        return f"the command ended with status {status}: {last}"


def _lines(
    process: subprocess.Popen[bytes], said: _Said, listener: Listener, grace_s: float
) -> Iterator[tuple[Callable[[str], None], str]]:
    """Gives each line with what takes it, until both streams have ended; interrupts on request."""
    queue: Queue[tuple[Callable[[str], None], str | None]] = Queue()
    for source in ((process.stdout, said.entry), (process.stderr, said.beside)):
        Thread(target=_copy, args=(*source, queue), daemon=True).start()
    still_open, until = 2, None
    while still_open:
        if until is None and listener.is_cancelled():
            listener.info(f"cancelled; waiting up to {grace_s:g} s for the command to end")
            until = time.monotonic() + grace_s
            _interrupt(process)
        if until is not None and time.monotonic() > until:
            _kill(process)
        with suppress(Empty):
            read, line = queue.get(timeout=_POLL_S)
            if line is None:
                still_open -= 1
            elif line:
                yield read, line


def _copy(
    stream: IO[bytes], read: Callable[[str], None], queue: Queue[tuple[Callable[[str], None], str | None]]
) -> None:
    with stream:
        for line in stream:
            queue.put((read, line.decode("utf-8", "replace").rstrip()))
    queue.put((read, None))


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    """Sends what Ctrl-C sends, to the command and to the processes that it started."""
    if sys.platform == "win32":
        try:
            process.send_signal(signal.CTRL_BREAK_EVENT)
        except OSError:  # QGIS has no console from which to send it
            process.kill()
    else:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        process.kill()
    else:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def scenes_in(folder: Path, suffix: str, lines: list[str]) -> list[tuple[Path, str]]:
    """Returns the folder of each scene that a command named, and what the names of its files begin with.

    Args:
        folder: Where the command wrote.
        suffix: How a file ends that it names for each scene.
        lines: Lines of the command. Those about a result begin with its path.
    """
    named = {Path(line.split("\n")[0].split(": ")[0]).name for line in lines}
    found = [path for path in sorted(folder.rglob(f"*{suffix}")) if path.name in named]
    return [(path.parent, path.name[: -len(suffix)]) for path in found]
