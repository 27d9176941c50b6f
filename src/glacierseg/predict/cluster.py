"""Dask clusters: one that runs elsewhere, or processes of this machine."""

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from glacierseg.errors import GlaciersegWarning, RequestError


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
        from distributed.utils import silence_logging_cmgr  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise RequestError(
            'to share out work, distributed is needed; run `pip install "glacierseg[cluster]"`'
        ) from error
    if address is not None:
        try:
            client = Client(address, timeout=20)
        except (OSError, ValueError) as error:
            raise RequestError(f"{address}: no Dask scheduler answers there; start one or mend it") from error
        # When a scheduler goes away it writes tracebacks; ours is one line.
        with silence_logging_cmgr(logging.CRITICAL), client:
            if not client.scheduler_info()["workers"]:
                line = f"{address}: has no workers yet; the work waits for some"
                warnings.warn(line, GlaciersegWarning, stacklevel=3)
            yield client
        return
    threads = max(1, (os.cpu_count() or 1) // (workers or 1))
    with _deaf_to_ctrl_c():
        started = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            # A port of its own, since two commands may run at once.
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            env={"OMP_NUM_THREADS": str(threads)},
            silence_logs=logging.CRITICAL,
        )
    with started as cluster, Client(cluster) as client:
        yield client


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Starts processes that leave Ctrl-C, which a terminal sends to all, to the one that started them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
