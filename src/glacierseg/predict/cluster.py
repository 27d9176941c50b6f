"""Prediction shared out over a Dask cluster, or over processes of this machine.

A task predicts a run of strips and keeps them where a single process would. Tasks can be repeated and killed:
what is finished is not done again, and a killed worker costs only the strips that it was at. All workers must
see the model folders, the scene and the results' folder under the same paths, and should be machines of one
kind, since kinds round differently.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from glacierseg.errors import RequestError
from glacierseg.predict.engines import resolved
from glacierseg.predict.members import Ensemble, load_ensemble
from glacierseg.predict.scene import begin_strips, predict_strips
from glacierseg.raster.scene import Scene

# A task starts with the strips above it that reach into its own, so longer tasks waste less.
_STRIPS_PER_TASK = 16


@contextmanager
def connected(address: str | None, workers: int | None) -> Iterator[Any]:
    """Connects with a cluster, or starts one on this machine; gives None when neither is asked for.

    Args:
        address: Of a Dask scheduler, such as ``tcp://10.0.0.1:8786``.
        workers: Processes to start on this machine; its cores are shared out among them.

    Raises:
        RequestError: Both are asked for, Dask is not installed, or nothing answers at the address.
    """
    if address is None and workers is None:
        yield None
        return
    if address is not None and workers is not None:
        raise RequestError("a cluster and local workers are asked for; choose one of the two")
    try:
        from distributed import Client, LocalCluster  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise RequestError(
            "to share out work, Dask's distributed is needed; run `pip install 'glacierseg[cluster]'`"
        ) from error
    if address is not None:
        try:
            client = Client(address, timeout=20)
        except (OSError, ValueError) as error:
            raise RequestError(f"{address}: no Dask scheduler answers there; start one or mend it") from error
        with client:
            yield client
        return
    threads = max(1, (os.cpu_count() or 1) // (workers or 1))
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=None,
            env={"OMP_NUM_THREADS": str(threads)},
            silence_logs=50,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def predict_shares(
    client: Any,
    folders: Sequence[Path],
    scene: Scene,
    out_dir: Path,
    *,
    prune_level: int | None = None,
    progress: Callable[[float], None] | None = None,
    **settings: Any,
) -> None:
    """Predicts all strips of a scene on a cluster; `predict_scene` then only puts them together.

    Args:
        client: A `distributed.Client`.
        folders: Model folders.
        scene: The scene.
        out_dir: Where the results will go.
        prune_level: See `load_model`.
        progress: Called with the share done.
        settings: Those of `predict_scene`, the same for both.

    Raises:
        GlaciersegError: As `predict_scene`.
    """
    from distributed import as_completed  # noqa: PLC0415

    models = tuple(str(Path(folder).resolve()) for folder in folders)
    out_dir = Path(out_dir).resolve()
    # Workers may run elsewhere in the file tree.
    bands = tuple(replace(band, path=band.path.resolve()) for band in scene.bands)
    scene = replace(scene, bands=bands)
    # What is automatic could be something else there.
    engine, precision = resolved(settings.get("engine", "auto"), settings.get("precision", "auto"))
    settings = {**settings, "engine": engine, "precision": precision}
    total = begin_strips(load_ensemble(models, prune_level=prune_level), scene, out_dir, **settings)
    firsts = range(0, total, _STRIPS_PER_TASK)
    tasks = [
        client.submit(
            _predict_share,
            models,
            prune_level,
            scene,
            out_dir,
            first,
            min(first + _STRIPS_PER_TASK, total) - 1,
            settings,
            pure=False,
        )
        for first in firsts
    ]
    for done, _ in enumerate(as_completed(tasks, with_results=True, raise_errors=True), start=1):
        if progress:
            progress(done / len(tasks))


def _predict_share(
    models: tuple[str, ...],
    prune_level: int | None,
    scene: Scene,
    out_dir: Path,
    first: int,
    last: int,
    settings: dict[str, Any],
) -> None:
    predict_strips(_loaded(models, prune_level), scene, out_dir, first, last, **settings)


@lru_cache(maxsize=1)
def _loaded(models: tuple[str, ...], prune_level: int | None) -> Ensemble:
    """A worker loads networks once."""
    return load_ensemble(models, prune_level=prune_level)
