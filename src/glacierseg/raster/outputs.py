"""What a result may be written over: never an input, nor layers of others, nor one file of a group alone.

Light to import, for the command line looks at it before anything else is loaded.
"""

import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, is_dataclass
from functools import cached_property, wraps
from inspect import signature
from pathlib import Path
from types import EllipsisType
from typing import Any, ParamSpec, TypeVar
from urllib.request import pathname2url

from glacierseg.errors import GlaciersegError, OutputError, RequestError
from glacierseg.runs.layout import JSON_FILES, ModelFolder, RunFolder

TIFF = (".tif", ".tiff")

P = ParamSpec("P")
R = TypeVar("R")
_KEPT: ContextVar[tuple["_Inputs", ...]] = ContextVar("kept", default=())

# Files that belong to another one: what their names add to its whole name, and to its name without suffix.
_BESIDE_RASTER = (".aux.xml", ".ovr", ".msk", ".msk.ovr", ".vat.dbf", ".vat.cpg", ".xml")
_BESIDE = {
    ".gpkg": (("-wal", "-shm", "-journal"), ()),
    ".tif": (_BESIDE_RASTER, (".tfw", ".tifw")),
    ".tiff": (_BESIDE_RASTER, (".tfw", ".tiffw")),
    ".shp": (
        (".xml",),
        (".shx", ".dbf", ".prj", ".cpg", ".qpj", ".qix", ".sbn", ".sbx", ".qmd", ".idm", ".ind", ".fix"),
    ),
    ".xml": ((), (".bin",)),
}
# What a command reads of a folder that it is given, a network's or a run's.
_OF_A_NETWORK = (ModelFolder.card.name, ModelFolder.weights.name, "card.json")
_OF_A_RUN = ("*.yaml", "*.safetensors", "*.tif", "*.gpkg", "*.csv", "*.npz", *JSON_FILES)
_OURS_IN_A_GEOPACKAGE = ("gpkg_", "rtree_", "sqlite_", "ogr_", "layer_styles")


def writes(**outputs: Sequence[str] | EllipsisType | None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Guards all files that a function is given, but those that it is to write, against what it writes.

    Before it begins, each output is looked at (`require_output`), and no file that is written while it runs
    may take the place of an input or of what belongs to one, see `keeping`.

    Args:
        outputs: By name of the parameter, the suffixes that the file may have, none for any; None for a
            folder; ... for what the function looks at by itself.

    Returns:
        A decorator. The function then also raises RequestError for an output that is an input or another
        output or has a wrong suffix, and OutputError for one that cannot be written.
    """

    def guard(function: Callable[P, R]) -> Callable[P, R]:
        known = signature(function)

        @wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            given = known.bind(*args, **kwargs).arguments
            with keeping(*(value for name, value in given.items() if name not in outputs)):
                seen: list[Path] = []
                for name, suffixes in outputs.items():
                    if given.get(name) is None or suffixes is ...:
                        continue
                    path = Path(given[name])
                    if suffixes is None:
                        require_folder(path)
                        continue
                    require_output(path, suffixes)
                    if any(path.absolute() == other.absolute() for other in seen):
                        raise RequestError(f"{path}: two results cannot go to one file; name another for one")
                    seen.append(path)
                return function(*args, **kwargs)

        return guarded

    return guard


@contextmanager
def keeping(*inputs: Any) -> Iterator[None]:
    """Refuses whatever would be written in the block over one of these files or over what belongs to it.

    Args:
        inputs: Paths, words that are names of files, and objects that hold such (a scene, a list, ...). Of a
            folder these are the files of a network or a run.
    """
    token = _KEPT.set((*_KEPT.get(), _Inputs(tuple(_paths_in(inputs)))))
    try:
        yield
    finally:
        _KEPT.reset(token)


def require_output(
    path: Path, suffixes: Sequence[str] = (), *, tables: Collection[str] | None = None
) -> None:
    """Makes sure, before any work is done for it, that a file can be written.

    Args:
        path: The file.
        suffixes: What its name may end in; none for anything.
        tables: Of an existing GeoPackage, the layers and tables that may be replaced; None for all.

    Raises:
        RequestError: The suffix is another one, the file is an input or belongs to one, or it holds layers of
            others.
        OutputError: The name is a folder's, its folder cannot be written to, or another program has the file
            open.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        raise RequestError(f"{path}: is written in another format; end the name in {' or '.join(suffixes)}")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; choose the name of a file")
    refuse_inputs([path])
    _require_writable(path, path.parent)
    if path.exists() and not os.access(path, os.W_OK):
        raise OutputError(f"{path}: is protected against writing; write the result to another file")
    if path.suffix.lower() == ".gpkg" and path.is_file():
        _require_own(path, tables)


def require_folder(path: Path) -> None:
    """Makes sure, before any work is done for it, that a folder can be made or written to.

    Raises:
        OutputError: A file has that name, or the folder cannot be written to.
    """
    if path.exists() and not path.is_dir():
        raise OutputError(f"{path}: is a file; choose the name of a folder")
    _require_writable(path, path)


def _require_writable(path: Path, folder: Path) -> None:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise OutputError(f"{path}: cannot write there ({folder} is a file); choose another folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(
            f"{path}: cannot write there (no right to write in {folder}); choose a folder that you may write "
            "to"
        )


def refuse_inputs(paths: Iterable[Path]) -> None:
    """Raises RequestError when a file that is to be written or removed is an input or belongs to one."""
    for path in paths:
        identity = _identity(path)
        for inputs in _KEPT.get() if identity else ():
            if identity in inputs.members:
                source, is_itself = inputs.members[identity]
                what = "is" if is_itself else f"belongs to {source},"
                raise RequestError(
                    f"{path}: {what} an input of the same command; write the result to another file"
                )


def belongings(path: Path) -> list[Path]:
    """Returns the existing files that belong to a file, such as indices and statistics."""
    whole, bare = _BESIDE.get(path.suffix.lower(), ((), ()))
    named = {f"{path.name}{more}".lower() for more in whole} | {f"{path.stem}{more}".lower() for more in bare}
    if not named or not path.parent.is_dir():
        return []
    return sorted(other for other in path.parent.iterdir() if other.name.lower() in named)


@dataclass(frozen=True)
class _Inputs:
    """What must not be written over; looked into only when a file would be."""

    given: tuple[Path, ...]

    @cached_property
    def members(self) -> dict[tuple[int, int], tuple[Path, bool]]:
        """By identity of a file, the input that it belongs to and whether it is that input itself."""
        found: dict[tuple[int, int], tuple[Path, bool]] = {}
        for source in self.given:
            for member in _members(source):
                if (identity := _identity(member)) is not None:
                    found.setdefault(identity, (source, member == source))
        return found


def _identity(path: Path) -> tuple[int, int] | None:
    """The same for all names of a file, links among them; None for none."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def _paths_in(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, str):
        # A path as a word, also of FILE=NAME; most words are none.
        for word in (value, value.rpartition("=")[0]):
            if word and "\0" not in word and len(word) < 1000 and os.path.exists(word):  # noqa: PTH110
                yield Path(word)
    elif isinstance(value, Mapping):
        yield from _paths_in(list(value.values()))
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            yield from _paths_in(one)
    elif (is_dataclass(value) and not isinstance(value, type)) or hasattr(type(value), "model_fields"):
        yield from _paths_in(vars(value))


def _members(path: Path) -> Iterator[Path]:
    """The files that an input consists of: itself, what belongs to it, the tiles of a mosaic."""
    if path.is_dir():
        if RunFolder(path).config.exists():
            for pattern in _OF_A_RUN:
                yield from path.rglob(pattern)
        else:
            for name in _OF_A_NETWORK:
                yield from path.rglob(name)
        return
    seen: set[Path] = set()
    waiting = [path]
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        yield one
        waiting += belongings(one)
        if not any(one.name.lower().endswith(end) for end in (*_BESIDE[".shp"][1], ".shp", ".gpkg", ".json")):
            waiting += _files_of_raster(one)


def _files_of_raster(path: Path) -> list[Path]:
    from glacierseg.raster.open import open_raster  # noqa: PLC0415  (brings GDAL)

    # A file that cannot be opened counts as one file; its reader says what is wrong with it.
    with suppress(GlaciersegError), open_raster(path) as dataset:
        return [Path(name) for name in dataset.files]
    return []


def _require_own(path: Path, tables: Collection[str] | None) -> None:
    """Refuses a GeoPackage that another program holds open, or that has tables of others."""
    found: list[str] = []
    address = f"file:{pathname2url(str(path.absolute()))}?mode=rw"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=0)) as database:
            # Readers and writers keep this lock from us; a journal that a crash left does not.
            database.execute("PRAGMA locking_mode=EXCLUSIVE")
            database.execute("BEGIN EXCLUSIVE")
            rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            found = [name for (name,) in rows if not name.startswith(_OURS_IN_A_GEOPACKAGE)]
            database.execute("ROLLBACK")
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise OutputError(
                f"{path}: is open in another program; close it there (in QGIS, remove its layers), or give "
                "another --out"
            ) from error
        # A file that is no database has no layers of others.
    others = [] if tables is None else [name for name in found if name not in tables]
    if others:
        shown = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
        raise RequestError(
            f"{path}: holds layers that this command does not write ({shown}); give another --out, or "
            "--overwrite to replace the whole file"
        )
