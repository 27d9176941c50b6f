"""Many areas: a folder of results for each, several at a time, and a failed one stops no other."""

import csv
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from glacierseg import log
from glacierseg.catalogues.place import TABLE, Place
from glacierseg.errors import GlaciersegError, GlaciersegWarning, RequestError
from glacierseg.raster.write import write_text

_log = logging.getLogger(__name__)
_NAMED = 5

Work = Callable[[Place, Path], str]
"""Makes the results of a place in a folder, unless they are up to date; returns a line about them."""


@dataclass(frozen=True)
class AreaResult:
    """How the work on an area ended.

    Attributes:
        area: Its name.
        status: `done` or `failed`.
        result: What was made, or what was wrong.
    """

    area: str
    status: str
    result: str


_COLUMNS = [field.name for field in fields(AreaResult)]


def each_area(
    places: Sequence[Place], out_dir: Path, work: Work, *, client: Any = None
) -> tuple[AreaResult, ...]:
    """Works on areas, each in a folder of its name, and keeps `areas.csv` with how it went.

    Args:
        places: The areas.
        out_dir: Folder of their folders.
        work: What is done; where others do it, a function of a module with arguments that can be pickled.
        client: A `distributed.Client`, whose workers take the areas; one after the other here when None.

    Returns:
        The results, in the order of the areas.

    Raises:
        OutputError: The table cannot be written.
        RequestError: A file of another kind has its name.
    """
    table = out_dir / TABLE
    if table.exists() and not table.read_bytes().startswith(",".join(_COLUMNS).encode()):
        raise RequestError(f"{table}: exists already and is not from this command; give another --out")
    found: dict[str, AreaResult] = {}
    results = (
        _one_by_one(places, out_dir, work) if client is None else _by_workers(places, out_dir, work, client)
    )
    for result in results:
        found[result.area] = result
        (_log.info if result.status == "done" else _log.error)(f"{result.area}: {result.result}")
        _write(table, [found[one.name] for one in places if one.name in found])
    return tuple(found[one.name] for one in places)


def require_all_done(results: Sequence[AreaResult], out_dir: Path) -> None:
    """Raises RequestError where the work on an area failed."""
    failed = [one.area for one in results if one.status != "done"]
    if not failed:
        return
    names = ", ".join(failed[:_NAMED]) + (f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else "")
    raise RequestError(
        f"{out_dir / TABLE}: {len(failed)} of {len(results)} areas failed ({names}); correct what it "
        "says of them, and run the same command again, which skips the finished ones"
    )


def _one_by_one(places: Sequence[Place], out_dir: Path, work: Work) -> Iterator[AreaResult]:
    for place in places:
        with log.about(place.name):
            result = _attempt(work, place, out_dir / place.name)
        yield result


def _by_workers(places: Sequence[Place], out_dir: Path, work: Work, client: Any) -> Iterator[AreaResult]:
    from distributed import as_completed  # noqa: PLC0415

    # Workers may run elsewhere in the file tree.
    folder = out_dir.absolute()
    tasks = {
        client.submit(_attempt_elsewhere, work, place, folder / place.name, pure=False): place.name
        for place in places
    }
    with log.bar(f"{len(places)} areas") as progress:
        for number, task in enumerate(as_completed(tasks), 1):
            error = task.exception()
            result, said = task.result() if error is None else (_lost(tasks[task], error), [])
            for line in said:
                _log.warning(f"{result.area}: {line}")
            yield result
            progress(number / len(places))


def _attempt(work: Work, place: Place, folder: Path) -> AreaResult:
    try:
        return AreaResult(place.name, "done", work(place, folder))
    except GlaciersegError as error:
        return AreaResult(place.name, "failed", _as_line(error))
    except MemoryError:
        return AreaResult(place.name, "failed", "not enough memory; take fewer workers, or a smaller area")
    except OSError as error:
        said = f"{error.filename or ''}: {error.strerror or error}".removeprefix(": ")
        return AreaResult(place.name, "failed", said)


def _attempt_elsewhere(work: Work, place: Place, folder: Path) -> tuple[AreaResult, list[str]]:
    """As `_attempt`, with the warnings, which a worker would otherwise print where it runs."""
    said: list[str] = []
    handler, ours = logging.Handler(logging.WARNING), logging.getLogger("glacierseg")
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    ours.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", GlaciersegWarning)
            result = _attempt(work, place, folder)
    finally:
        ours.removeHandler(handler)
    return result, [str(one.message) for one in caught if isinstance(one.message, GlaciersegWarning)] + said


def _lost(area: str, error: BaseException) -> AreaResult:
    kind = type(error).__name__
    if kind == "KilledWorker":
        said = "its worker died several times, usually for lack of memory; take fewer workers"
        return AreaResult(area, "failed", said)
    return AreaResult(area, "failed", f"a worker failed ({kind}: {_as_line(error)})")


def _as_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _write(path: Path, results: Sequence[AreaResult]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(astuple(one) for one in results)
    write_text(path, text.getvalue())
