"""Compiling: Numba with a cache that may fail, and two machine instructions that it does not offer."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])

ZERO, ONE, FULL = np.uint64(0), np.uint64(1), np.uint64(0xFFFFFFFFFFFFFFFF)
U63 = np.uint64(63)


def compiled(function: Function) -> Function:
    """Compiles a function at its first call and keeps the machine code for the next process.

    Numba stores the code beside the source, or in the user's cache when that folder is read-only, or in
    NUMBA_CACHE_DIR. When it can write to none of them, or the disk is full, every process compiles again:
    slower by some seconds, but no reason to stop.
    """
    try:
        dispatcher = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # "no locator available": there is no place that could be written
        return cast("Function", numba.njit(nogil=True)(function))
    _forgive_disk(dispatcher)
    return cast("Function", dispatcher)


def _forgive_disk(dispatcher: Any) -> None:
    """Lets reading and writing the cache fail, which Numba otherwise hands to whoever called the function.

    Numba has no public way to that; without these names errors come through again (tests/test_private.py).
    """
    cache = getattr(dispatcher, "_cache", None)
    for name in ("load_overload", "save_overload"):
        original = getattr(cache, name, None)
        if original is not None:
            setattr(cache, name, _forgiving(original))


def _forgiving(original: Callable[..., Any]) -> Callable[..., Any]:
    def attempt(*arguments: Any) -> Any:
        try:
            return original(*arguments)
        except (OSError, EOFError):
            return None

    return attempt


def _popcount(_typing_context: Any, _word: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


def _trailing_zeros(_typing_context: Any, _word: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        zero_is_undefined = context.get_constant(types.boolean, 1)
        return builder.cttz(arguments[0], zero_is_undefined)

    return types.int64(types.uint64), generate


# For use in compiled functions: how many bits of a uint64 are set, and the number of the lowest of them when
# there is one.
popcount: Callable[[np.uint64], int] = cast("Any", intrinsic(_popcount))
trailing_zeros: Callable[[np.uint64], int] = cast("Any", intrinsic(_trailing_zeros))
