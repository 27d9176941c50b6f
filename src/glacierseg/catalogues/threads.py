"""Several jobs at one time, which are no obstacle to the end of the program."""

import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")


def at_once(jobs: Sequence[Callable[[], T]], threads: int) -> list[T]:
    """Runs jobs in threads and waits for them.

    The standard pool of threads would let Ctrl-C wait until every server has answered.

    Args:
        jobs: What is to be done.
        threads: How many are done at one time.

    Returns:
        What they return, in their order. The first error ends the waiting, and jobs that have not begun are
        left out.
    """
    waiting: SimpleQueue[int] = SimpleQueue()
    done: SimpleQueue[tuple[int, T | None, BaseException | None]] = SimpleQueue()
    given_up = threading.Event()
    for number in range(len(jobs)):
        waiting.put(number)

    def work() -> None:
        while not given_up.is_set():
            try:
                number = waiting.get_nowait()
            except Empty:
                return
            try:
                done.put((number, jobs[number](), None))
            except BaseException as error:  # noqa: BLE001  (is raised where the jobs are waited for)
                done.put((number, None, error))

    for _ in range(min(threads, len(jobs))):
        # What is kept from being written over, and who is told of progress, holds in threads too.
        context = copy_context()
        threading.Thread(target=context.run, args=(work,), daemon=True, name="glacierseg-fetch").start()
    results: dict[int, T] = {}
    try:
        for _ in jobs:
            number, result, error = done.get()
            if error:
                raise error
            results[number] = result  # type: ignore[assignment]
    finally:
        given_up.set()
    return [results[number] for number in range(len(jobs))]
