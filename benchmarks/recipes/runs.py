"""Running `glacierseg run` for every fold, some side by side; finished runs are skipped."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.recipes.study import Study, fingerprint


def run_all(study: Study, jobs: int, folds: Sequence[int] | None = None) -> None:
    """Runs what is not finished yet; a run that was cut off goes on where it stopped.

    Args:
        study: What to run.
        jobs: So many side by side.
        folds: Only these; None for all.

    Raises:
        SystemExit: A run failed; its log says why.
    """
    folds = tuple(range(1, study.folds + 1)) if folds is None else folds
    study.write_configs(folds)
    # The sets come with the longest first, so that no core waits for the last run.
    tasks = [(networks, fold) for networks in study.sets for fold in folds]
    with ThreadPoolExecutor(jobs) as pool:
        failed = [log for log in pool.map(lambda task: _run(study, *task), tasks) if log is not None]
    if failed:
        raise SystemExit("not finished: " + "; ".join(f"see {log}" for log in failed))


def _run(study: Study, networks: str, fold: int) -> Path | None:
    """Returns the log when the run failed."""
    folder, config = study.run_folder(networks, fold), study.config_path(networks, fold)
    marker, wanted = folder / "finished", fingerprint(config.read_text())
    if marker.exists() and marker.read_text() == wanted:
        _say(f"{networks} fold {fold}: finished already")
        return None
    log = study.out / "logs" / f"{networks}_fold{fold}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    _say(f"{networks} fold {fold}: running, see {log}")
    started = time.monotonic()
    with log.open("a") as file:
        done = subprocess.run(
            [sys.executable, "-m", "glacierseg", "run", str(config), "--out", str(folder)],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")},
            check=False,
        )
    if done.returncode:
        _say(f"{networks} fold {fold}: failed, see {log}")
        return log
    marker.write_text(wanted)
    _say(f"{networks} fold {fold}: done in {(time.monotonic() - started) / 60:.1f} min")
    return None


def _say(line: str) -> None:
    """Prints in one piece, since several runs talk."""
    print(f"{line}\n", end="", flush=True)
