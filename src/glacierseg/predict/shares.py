"""Prediction shared out over a Dask cluster.

A task predicts a run of strips and keeps them where a single process would. Tasks can be repeated and killed:
what is finished is not done again, and a killed worker costs only the strips that it was at. All workers must
see the model folders, the scene and the results' folder under the same paths, and should be machines of one
kind, since kinds round differently.
"""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from glacierseg.errors import GlaciersegError, GlaciersegWarning, RequestError
from glacierseg.predict.engines import resolved
from glacierseg.predict.members import Ensemble, load_ensemble
from glacierseg.predict.scene import begin_strips, predict_strips
from glacierseg.predict.strips_folder import StripsFolder
from glacierseg.raster.scene import Scene

# A task starts with the strips above it that reach into its own, so longer tasks waste less.
_STRIPS_PER_TASK = 16

# A worker that dies while it starts is not started again. One that dies at work is back within seconds, or
# half a minute where all cores are busy.
_WORKERS_BACK_WITHIN_S = 60.0
_LOOK_FOR_WORKERS_EVERY_S = 5.0


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

    def wait(self, progress: Callable[[float], None] | None = None) -> None:
        """Waits until all strips are there; `predict_scene` then only puts them together.

        Args:
            progress: Called with the share done.

        Raises:
            GlaciersegError: As `predict_scene`, workers died of the same strips again and again, or the
                scheduler is gone.
        """
        from distributed import CancelledError, KilledWorker  # noqa: PLC0415

        try:
            for share in self._done():
                if progress:
                    progress(share)
        except GlaciersegError:
            raise
        except KilledWorker as error:
            raise RequestError(
                f"{self.scene}: workers died of the same strips again and again, most often for want of "
                "memory; take fewer workers or a smaller batch, and run the same command again"
            ) from error
        except CancelledError as error:
            raise RequestError(
                f"{self.scene}: the cluster gave the work up, most often since its scheduler went away; see "
                "that it runs, and run the same command again, which goes on with what is done"
            ) from error
        except Exception as error:
            raise RequestError(
                f"{self.scene}: a worker failed ({type(error).__name__}: {error}); mend that, and run the "
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
        """Nobody starts workers on this machine again; on a cluster some may come, so that is told once."""
        if self.client.cluster is None:
            line = f"{self.scene}: the cluster has no workers; the work waits for some"
            warnings.warn(line, GlaciersegWarning, stacklevel=2)
            return
        raise RequestError(
            f"{self.scene}: all workers died, most often for want of memory; take fewer workers or a smaller "
            "batch, and run the same command again"
        )

    def give_up(self) -> None:
        """Takes back what is not done yet; strips that are there stay for the next time."""
        for task in self.tasks:
            if not task.done():
                task.cancel()
        self.folder.remove_if_empty()


@contextmanager
def submitted(
    client: Any,
    folders: Sequence[Path],
    scenes: Sequence[Scene],
    out_dir: Path,
    *,
    prune_level: int | None = None,
    **settings: Any,
) -> Iterator[tuple[Shares, ...]]:
    """Has a cluster predict the strips of scenes, in their order; no worker waits while there is work of any.

    Args:
        client: A `distributed.Client`; without one (None) nothing is submitted.
        folders: Model folders.
        scenes: The scenes.
        out_dir: Where the results will go.
        prune_level: See `load_model`.
        settings: Those of `predict_scene`, the same for both.

    Yields:
        The tasks of each scene. What is not done when the block ends is taken back.

    Raises:
        GlaciersegError: As `predict_scene`.
    """
    if client is None:
        yield ()
        return
    models = tuple(str(Path(folder).resolve()) for folder in folders)
    ensemble = load_ensemble(models, prune_level=prune_level)
    # What is automatic could be something else there.
    engine, precision = resolved(settings.get("engine", "auto"), settings.get("precision", "auto"))
    quantised = settings.get("int8_model")
    settings = {
        **settings,
        "engine": engine,
        "precision": precision,
        "int8_model": quantised and Path(quantised).resolve(),
    }
    shares: list[Shares] = []
    try:
        for scene in scenes:
            # Workers may run elsewhere in the file tree. A link keeps its name, which the strips know.
            bands = tuple(replace(band, path=band.path.absolute()) for band in scene.bands)
            there = replace(scene, bands=bands), Path(out_dir).resolve()
            folder, total, source = begin_strips(ensemble, *there, **settings)
            tasks = [
                client.submit(
                    _predict_share,
                    models,
                    prune_level,
                    *there,
                    first,
                    min(first + _STRIPS_PER_TASK, total) - 1,
                    {**settings, "source": source},
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
    """Waits a while for tasks to end; returns those that did well.

    Raises:
        GlaciersegError: What a worker found wrong with data or request.
    """
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
    prune_level: int | None,
    scene: Scene,
    out_dir: Path,
    first: int,
    last: int,
    settings: dict[str, Any],
) -> GlaciersegError | None:
    """Predicts some strips; returns what was wrong with data or request, anew and without its causes.

    Raised, an error would take its causes along, and those of GDAL cannot travel.
    """
    try:
        predict_strips(_loaded(models, prune_level), scene, out_dir, first, last, **settings)
    except GlaciersegError as error:
        return type(error)(str(error))
    return None


@lru_cache(maxsize=1)
def _loaded(models: tuple[str, ...], prune_level: int | None) -> Ensemble:
    """A worker loads networks once."""
    return load_ensemble(models, prune_level=prune_level)
