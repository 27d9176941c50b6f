"""Small made-up rasters for tests."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import from_origin

from glacierseg.raster.grid import Grid
from glacierseg.raster.write import write_raster

T = TypeVar("T")


def present(value: T | None) -> T:
    """Returns what may be missing by its type and must not be here."""
    assert value is not None
    return value


def utm_grid(height: int, width: int, pixel_m: float = 10.0) -> Grid:
    return Grid(CRS.from_epsg(32643), from_origin(700_000, 3_600_000, pixel_m, pixel_m), height, width)


def write_scene(
    path: Path,
    values: NDArray[Any],
    bands: Sequence[str] | None = None,
    nodata: float | None = None,
    pixel_m: float = 10.0,
    tags: Mapping[str, str] | None = None,
) -> Path:
    """Writes `(C, H, W)` as a scene in UTM."""
    names = bands or [f"b{i + 1}" for i in range(len(values))]
    height, width = values.shape[1:]
    grid = utm_grid(height, width, pixel_m)
    write_raster(path, values, grid, bands=names, nodata=nodata, tags=tags, cog=False)
    return path


def write_mask(path: Path, mask: NDArray[np.uint8]) -> Path:
    return write_scene(path, mask[None].astype(np.uint8), ["glacier"])


def blobs(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A mask of a few large smooth blobs."""
    rows, columns = np.mgrid[:height, :width]
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), bool)
    for _ in range(4):
        row, column = rng.uniform(0, height), rng.uniform(0, width)
        radius = rng.uniform(0.12, 0.22) * min(height, width)
        mask |= (rows - row) ** 2 + (columns - column) ** 2 < radius**2
    return mask.astype(np.uint8)


def easy_scene(mask: NDArray[np.uint8], bands: int = 4, seed: int = 0) -> NDArray[np.uint8]:
    """Bands of which the first two show the mask through noise and the others show nothing."""
    rng = np.random.default_rng(seed)
    values = rng.normal(100, 20, (bands, *mask.shape))
    values[0] += 45.0 * mask
    if bands > 1:
        values[1] -= 45.0 * mask
    return values.clip(1, 255).astype(np.uint8)


class Fork:
    """A run of a program in a process of its own.

    Attributes:
        pid: Of that process.
        told: What it printed, as far as it was read.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self.pid = int(stream.readline())
        self.told = ""
        self._status: int | None = None

    def lines(self) -> Iterator[str]:
        """What it prints, line by line, until it ends."""
        while self._status is None:
            line = self._stream.readline()
            assert line, "the process that forks has ended"
            if line.startswith("ended "):
                self._status = int(line.split()[1])
            else:
                self.told += line
                yield line

    def kill(self) -> None:
        """Ends it at once, unless it has ended; then its number is kept from others until the next fork."""
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        """Reads on to its end and returns its exit status, that of a killed one below zero."""
        for _ in self.lines():
            pass
        assert self._status is not None
        return self._status


@contextmanager
def forks(imports: str, program: str) -> Iterator[Callable[..., Fork]]:
    """A process that imports once what a program needs, and runs it in forks of itself, which may be killed.

    Importing torch and Lightning takes longer than what tests of killed processes do with them.

    Args:
        imports: Statements that are run once.
        program: Statements that are run in each fork, with its words in the list `words`.

    Yields:
        Starts a fork with some words.
    """
    serve = f"""
import os, sys, traceback
{imports}
program = compile({program!r}, "program", "exec")
fork = None
for line in sys.stdin:
    if fork:
        os.waitpid(fork, 0)
    fork = os.fork()
    if fork == 0:
        try:
            print(os.getpid(), flush=True)
            exec(program, {{**globals(), "words": line[:-1].split("\\t")}})
            sys.stdout.flush()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    end = os.waitid(os.P_PID, fork, os.WEXITED | os.WNOWAIT)
    # What a killed one left may be the beginning of a line.
    print("\\nended", end.si_status if end.si_code == os.CLD_EXITED else -end.si_status, flush=True)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", serve],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        requests, answers = server.stdin, server.stdout

        def start(*words: object) -> Fork:
            requests.write("\t".join(map(str, words)) + "\n")
            requests.flush()
            return Fork(answers)

        try:
            yield start
        finally:
            requests.close()
