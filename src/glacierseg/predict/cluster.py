"""Prediction shared out over a Dask cluster: one that runs elsewhere, or processes of this machine.

A task predicts a run of strips and keeps them where a single process would. Tasks can be repeated and killed:
what is finished is not done again, and a killed worker costs only the strips that it was at. All workers must
see the model folders, the scene and the results' folder under the same paths, and should be machines of one
kind, since kinds round differently.
"""

import logging
import os
import signal
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from glacierseg.errors import GlaciersegError, GlaciersegWarning, RequestError
from glacierseg.log import Progress
from glacierseg.predict.engines import resolved
from glacierseg.predict.ensemble import Ensemble, load_ensemble
from glacierseg.predict.scene import begin_strips, predict_strips
from glacierseg.predict.stream import StripsFolder
from glacierseg.raster.scene import Scene
from glacierseg.settings.predict import ClusterSettings, PredictSettings

# A task starts with the strips above it that reach into its own, so longer tasks waste less.
_STRIPS_PER_TASK = 16

# A worker that dies while it starts is not started again. One that dies at work is back within seconds, or
# half a minute where all cores are busy.
_WORKERS_BACK_WITHIN_S = 60.0
_LOOK_FOR_WORKERS_EVERY_S = 5.0


@contextmanager
def shared_out(
    cluster: ClusterSettings,
    ensemble: Ensemble,
    scenes: Sequence[Scene],
    out_dir: Path,
    settings: PredictSettings,
) -> Iterator[tuple["Shares", ...]]:
    """Has a cluster predict the strips of scenes, see `connected` and `submitted`."""
    with (
        connected(cluster) as client,
        submitted(client, ensemble, scenes, out_dir, settings) as shares,
    ):
        yield shares


@contextmanager
def connected(settings: ClusterSettings) -> Iterator[Any]:
    """Connects with a cluster, or starts processes on this machine and shares its cores out among them.

    Args:
        settings: The address of a Dask scheduler, such as ``tcp://10.0.0.1:8786``, or a number of processes.
    """
    address, workers = settings.dask, settings.workers
    try:
        from distributed import Client, LocalCluster  # noqa: PLC0415
        from distributed.utils import silence_logging_cmgr  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise RequestError('distributed is not installed; run `pip install "glacierseg[cluster]"`') from error
    if address is not None:
        try:
            client = Client(address, timeout=20)
        except (OSError, ValueError) as error:
            raise RequestError(
                f"{address}: no Dask scheduler answers there; start one, or correct the address"
            ) from error
        # When a scheduler goes away it writes tracebacks; ours is one line.
        with silence_logging_cmgr(logging.CRITICAL), client:
            if not client.scheduler_info()["workers"]:
                line = f"{address}: has no workers yet; waiting for some"
                warnings.warn(line, GlaciersegWarning, stacklevel=5)
            yield client
        return
    threads = max(1, (os.cpu_count() or 1) // (workers or 1))
    with ExitStack() as stack:
        with _ctrl_c_later():
            started = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                # A port of its own, since two commands may run at once.
                scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                env={"OMP_NUM_THREADS": str(threads)},
                silence_logs=logging.CRITICAL,
            )
            stack.enter_context(_closing(started))
        yield stack.enter_context(Client(started))


@contextmanager
def _closing(cluster: Any) -> Iterator[None]:
    """Closes a local cluster, whatever `distributed` thinks of a worker that died and is just coming back.

    It then asserts that the new process has started, which would hide how the work ended. That process is a
    child of this one and ends with it.
    """
    try:
        yield
    finally:
        with suppress(AssertionError):
            cluster.close()


@contextmanager
def _ctrl_c_later() -> Iterator[None]:
    """Lets Ctrl-C wait for the end of a block; processes that start in it leave it to their parent for good.

    A terminal sends it to all of them. Ignored in the parent instead, it would be lost.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows has no such mask
        yield
        return
    # The first process of all brings this one along, after which Ctrl-C would get through.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass(frozen=True)
class Shares:
    """Tasks of one scene that a cluster works on.

    Attributes:
        scene: Name of the scene.
        tasks: The futures, first strips first; none once all are done.
        folder: Where the strips are kept.
        client: The `distributed.Client` that they were submitted to.
    """

    scene: str
    tasks: list[Any]
    folder: StripsFolder
    client: Any

    def wait(self, progress: Progress | None = None) -> None:
        """Waits until all strips are there; `predict_scene` then only puts them together."""
        from distributed import CancelledError, KilledWorker  # noqa: PLC0415

        try:
            for share in self._done():
                if progress:
                    progress(share)
        except GlaciersegError:
            raise
        except KilledWorker as error:
            raise RequestError(
                f"{self.scene}: workers died several times at the same strips, usually for lack of memory; "
                "take fewer workers or a smaller batch_size, and run the same command again"
            ) from error
        except CancelledError as error:
            raise RequestError(
                f"{self.scene}: the cluster cancelled the work, usually because its scheduler stopped; check "
                "that it runs, and run the same command again to continue"
            ) from error
        except Exception as error:
            raise RequestError(
                f"{self.scene}: a worker failed ({type(error).__name__}: {error}); correct that, and run the "
                "same command again"
            ) from error
        # Of a task that is held, a result that a dying worker takes along would be computed again.
        for task in self.tasks:
            task.release()
        self.tasks.clear()

    def _done(self) -> Iterator[float]:
        """Gives the share done, again and again, and looks after the workers meanwhile."""
        waiting = set(self.tasks)
        last_seen_s = time.monotonic()
        while waiting:
            collected = _collected(waiting)
            waiting -= collected
            if collected or self.client.scheduler_info().get("workers"):
                last_seen_s = time.monotonic()
            elif time.monotonic() - last_seen_s > _WORKERS_BACK_WITHIN_S:
                self._without_workers()
                last_seen_s = float("inf")
            yield 1 - len(waiting) / len(self.tasks)

    def _without_workers(self) -> None:
        """Nobody starts workers on this machine again; on a cluster some may come, so it warns once."""
        if self.client.cluster is None:
            line = f"{self.scene}: the cluster has no workers; waiting for some"
            warnings.warn(line, GlaciersegWarning, stacklevel=2)
            return
        raise RequestError(
            f"{self.scene}: all workers died, usually for lack of memory; take fewer workers or a smaller "
            "batch_size, and run the same command again"
        )

    def give_up(self) -> None:
        """Takes back what is not done yet; strips that are there stay for the next time."""
        for task in self.tasks:
            if not task.done():
                task.cancel()
        self.folder.remove_if_empty()


@contextmanager
def submitted(
    client: Any, ensemble: Ensemble, scenes: Sequence[Scene], out_dir: Path, settings: PredictSettings
) -> Iterator[tuple[Shares, ...]]:
    """Has a cluster predict the strips of scenes, in their order; no worker waits while there is work of any.

    Yields:
        The tasks of each scene. What is not done when the block ends is taken back.
    """
    models = tuple(str(folder.resolve()) for folder in ensemble.folders)
    # What is automatic could be something else there.
    engine, precision = resolved(settings.engine, settings.precision)
    settings = ensemble.resolved(settings.replaced(engine=engine, precision=precision))
    if settings.int8_model:
        settings = settings.replaced(int8_model=settings.int8_model.resolve())
    shares: list[Shares] = []
    try:
        for scene in scenes:
            # Workers may run elsewhere in the file tree. A link keeps its name, which the strips know.
            bands = tuple(replace(band, path=band.path.absolute()) for band in scene.bands)
            there = replace(scene, bands=bands), Path(out_dir).resolve(), settings
            folder, total, source = begin_strips(ensemble, *there)
            tasks = [
                client.submit(
                    _predict_share,
                    models,
                    *there,
                    range(first, min(first + _STRIPS_PER_TASK, total)),
                    ensemble.tags,
                    source,
                    pure=False,
                )
                for first in range(0, total, _STRIPS_PER_TASK)
            ]
            shares.append(Shares(scene.name, tasks, folder, client))
        yield tuple(shares)
    finally:
        for own in shares:
            own.give_up()


def _collected(waiting: set[Any]) -> set[Any]:
    """Waits a while for tasks to end; returns those that did well, and raises what a worker found wrong."""
    from distributed import wait  # noqa: PLC0415

    try:
        wait(waiting, timeout=_LOOK_FOR_WORKERS_EVERY_S, return_when="FIRST_COMPLETED")
    except TimeoutError:
        return set()
    collected = set()
    # What a worker that died took along is done again; `wait` gives such tasks too.
    for task in [task for task in waiting if task.done()]:
        try:
            refused = task.result(timeout=_LOOK_FOR_WORKERS_EVERY_S)
        except TimeoutError:
            if task.status == "error":
                raise
            continue
        if refused is not None:
            raise refused
        collected.add(task)
    return collected


def _predict_share(
    models: tuple[str, ...],
    scene: Scene,
    out_dir: Path,
    settings: PredictSettings,
    numbers: range,
    tags: dict[str, str],
    source: str,
) -> GlaciersegError | None:
    """Predicts some strips; returns what was wrong with data or request as a new error without causes.

    Raised, an error would take its causes along, and those of GDAL cannot travel.
    """
    try:
        ensemble = _loaded(models, settings.prune_level)
        predict_strips(ensemble, scene, out_dir, settings, numbers, tags=tags, source=source)
    except GlaciersegError as error:
        return type(error)(str(error))
    return None


@lru_cache(maxsize=1)
def _loaded(models: tuple[str, ...], prune_level: int | None) -> Ensemble:
    """A worker loads networks once."""
    return load_ensemble(models, prune_level=prune_level)
