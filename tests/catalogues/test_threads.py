"""Jobs at one time."""

import threading
import time
from collections.abc import Callable
from contextvars import ContextVar

import pytest

from glacierseg.catalogues.threads import at_once

SUBJECT = ContextVar("SUBJECT", default="nobody")


def test_results_come_in_order_and_jobs_run_together() -> None:
    meeting = threading.Barrier(3, timeout=5)

    def job(number: int) -> Callable[[], tuple[int, str]]:
        def run() -> tuple[int, str]:
            if number < 3:
                meeting.wait()
            time.sleep(0.01 * (5 - number))
            return number, SUBJECT.get()

        return run

    token = SUBJECT.set("T45RVL")
    try:
        assert at_once([job(number) for number in range(5)], 3) == [(number, "T45RVL") for number in range(5)]
    finally:
        SUBJECT.reset(token)
    assert at_once([], 3) == []


def test_the_first_error_ends_the_waiting_and_later_jobs_do_not_begin() -> None:
    begun: list[int] = []

    def job(number: int) -> Callable[[], None]:
        def run() -> None:
            begun.append(number)
            if number == 1:
                raise ZeroDivisionError
            time.sleep(0.1)

        return run

    with pytest.raises(ZeroDivisionError):
        at_once([job(number) for number in range(50)], 2)
    time.sleep(0.3)
    assert set(begun) <= {0, 1, 2}
