"""Beginning and continuing a run: who works in its folder, what was asked for, on what it is computed."""

import csv
import importlib.metadata
import io
import platform
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import yaml

from glacierseg._version import __version__
from glacierseg.errors import ConfigError, DataError, OutputError, RequestError
from glacierseg.raster.write import digest_of, read_json, remove_leftovers, write_json, write_text
from glacierseg.runs.layout import ModelFolder, RunFolder
from glacierseg.settings import RunConfig, dump_config, first_difference, parse_config

try:
    import fcntl
except ImportError:  # Windows; there nobody keeps two runs apart
    fcntl = None  # type: ignore[assignment]

PACKAGES = (
    "torch",
    "pytorch-lightning",
    "numpy",
    "rasterio",
    "opencv-python-headless",
    "geopandas",
    "shapely",
)


def forget_results(folder: ModelFolder) -> None:
    """Removes what was made with an earlier network, so that nothing of it outlives its weights."""
    made = [
        path
        for pattern in ("*.tif", "*.gpkg", folder.importance.with_suffix(".*").name)
        for path in folder.path.glob(pattern)
    ]
    for path in (*made, folder.reliability, folder.refinement, folder.scores, folder.timings):
        path.unlink(missing_ok=True)


def forget_region(folder: ModelFolder, region: str) -> None:
    """Removes what was made from an earlier prediction of a region, the tuning and scores among it."""
    for path in (folder.refined(region), folder.outlines(region), folder.refinement, folder.scores):
        path.unlink(missing_ok=True)


@contextmanager
def locked(folder: RunFolder) -> Iterator[None]:
    """Keeps other processes out of the folder; the system lets go when this one ends, however it ends.

    Raises:
        OutputError: The folder cannot be written to.
        RequestError: Another process is working in it.
    """
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        file = folder.lock.open("w")
    except OSError as error:
        raise OutputError(
            f"{folder.path}: cannot write there ({error.strerror}); choose another folder with --out"
        ) from error
    with file:
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RequestError(
                f"{folder.path}: another process is working there; wait for it, or give another --out"
            ) from error
        yield


def forget_beginning(folder: RunFolder) -> None:
    """Undoes `begin`, so that a corrected configuration may begin again."""
    for path in (folder.config, folder.inputs, folder.environment, folder.regions, folder.checks):
        path.unlink(missing_ok=True)
    shutil.rmtree(folder.rasters, ignore_errors=True)


def begin(folder: RunFolder, config: RunConfig, inputs: Iterable[Path]) -> bool:
    """Makes the folder, or makes sure that it belongs to the same configuration and the same files.

    Args:
        folder: The run's folder.
        config: What is asked for.
        inputs: The files it is asked for.

    Returns:
        Whether there is something to continue.

    Raises:
        RequestError: The folder was begun with another configuration, or an input changed since.
        DataError: An input cannot be read.
        OutputError: The folder cannot be written to.
    """
    asked = yaml.safe_load(dump_config(config))
    paths = sorted(set(inputs))
    written = folder.config
    if not written.exists():
        write_json(folder.environment, environment())
        write_json(folder.inputs, {str(path): _stamp(path) for path in paths})
        write_text(written, dump_config(config))
        return False
    if not folder.inputs.exists():
        raise RequestError(
            f"{folder.path}: is not a run folder, but holds a {written.name} that would be lost; give "
            "another --out"
        )
    try:
        before = yaml.safe_load(written.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise DataError(f"{written}: is damaged; remove the folder and run again") from error
    difference = first_difference(_with_defaults(before, written), asked)
    if difference:
        raise RequestError(
            f"{folder.path}: was begun with another configuration ({difference}); "
            "give another --out, or remove that folder"
        )
    known = read_json(folder.inputs)
    for path in paths:
        if not _is_as_stamped(path, known.get(str(path))):
            raise RequestError(
                f"{path}: changed since {folder.path} was begun; give another --out, or remove that folder"
            )
    remove_leftovers(folder.path)
    return True


def _with_defaults(before: Any, path: Path) -> Any:
    """Fills in the settings that an earlier version did not know, so that its runs can be continued."""
    try:
        return yaml.safe_load(dump_config(parse_config(before, path)))
    except (ConfigError, TypeError):
        return before


def _stamp(path: Path) -> list[int | str]:
    facts = path.stat()
    return [facts.st_size, facts.st_mtime_ns, digest_of(path)]


def _is_as_stamped(path: Path, stamp: list[int | str] | None) -> bool:
    """Copies and checkouts get new times, so a new time alone is no change; bytes are read only then."""
    if stamp is None:
        return False
    facts = path.stat()
    size, time_ns, *digest = stamp
    if facts.st_size != size:
        return False
    return facts.st_mtime_ns == time_ns or (bool(digest) and digest_of(path) == digest[0])


def environment() -> dict[str, Any]:
    """Returns what a result depends on besides data and configuration."""
    return {
        "glacierseg": __version__,
        "git_revision": _git_revision(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor_cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 1024**3, 1),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def _git_revision() -> str | None:
    """Returns the revision of the source tree that runs, None when it was installed from a package."""
    if not (Path(__file__).parents[3] / ".git").exists():
        return None
    try:
        asked = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],  # noqa: S607
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() or None


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a CSV file that is whole or absent; numbers with as many digits as they have."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: repr(v) if isinstance(v, float) else v for key, v in row.items()})
    write_text(path, text.getvalue())
