"""Compiling with Numba, with a cache that may fail."""

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compiles a function at its first call and keeps the machine code for the next process.

    Numba stores the code beside the source, or in the user's cache when that folder is read-only, or in
    NUMBA_CACHE_DIR. When it can write to none of them, or the disk is full, every process compiles anew:
    slower by a second or two, but no reason to stop.
    """
    try:
        dispatcher: Any = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # "no locator available": there is no place that could be written
        dispatcher = numba.njit(nogil=True)(function)
    cache = getattr(dispatcher, "_cache", None)
    for name in ("load_overload", "save_overload"):
        if hasattr(cache, name):
            setattr(cache, name, _forgiving(getattr(cache, name)))
    kept: Function = dispatcher
    return kept


def _forgiving(original: Callable[..., Any]) -> Callable[..., Any]:
    def attempt(*arguments: Any) -> Any:
        try:
            return original(*arguments)
        except (OSError, EOFError):
            return None

    return attempt
