"""Folders of windows, which stand under their names when they are whole and go on where they ended.

Until then a folder is hidden beside its name (`.NAME.part`). `windows.json` in it says of each window where
it comes from and which content it has; a window is taken as finished only if all of that still holds.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glacierseg.catalogues.addresses import shown
from glacierseg.catalogues.tally import Tally
from glacierseg.catalogues.web import Web
from glacierseg.catalogues.windows import Window, save_window
from glacierseg.errors import DataError, OutputError, ProductError, RequestError
from glacierseg.products.contents import leads_out
from glacierseg.raster.write import digest_of, full_disk_refused, read_json, write_json

RECORD = "windows.json"
"""File of a folder that says where its windows come from."""


@dataclass(frozen=True)
class Wanted:
    """What a folder is to hold.

    Attributes:
        facts: What its record says of it as a whole.
        files: Files by path in the folder, as they came.
        windows: Windows by path in the folder.
        add: What is added to numbers other than 0 of a window; nothing where it is missing.
    """

    facts: Mapping[str, Any]
    files: Mapping[str, bytes] = field(repr=False)
    windows: Mapping[str, Window] = field(repr=False)
    add: Mapping[str, int]

    def facts_of(self, file: str) -> dict[str, Any]:
        """Returns what identifies a window."""
        window = self.windows[file]
        return {
            "address": shown(window.asset.address),
            "version": window.version,
            "crs": window.grid.crs.to_string(),
            "transform": list(window.grid.transform[:6]),
            "shape": list(window.grid.shape),
            "add": self.add.get(file, 0),
        }


def write_windows(
    web: Web,
    final: Path,
    wanted: Wanted,
    *,
    check: Callable[[Path], None],
    tally: Tally | None = None,
) -> Path:
    """Writes a folder of windows, of which finished ones are kept.

    Args:
        web: Reads them.
        final: The folder.
        wanted: What it is to hold.
        check: Is called with the folder before it gets its name, and raises an error if it cannot be used.
        tally: Of what is read.

    Returns:
        `final`.

    Raises:
        ProductError: A window is damaged.
        DownloadError: One cannot be read.
        OutputError: One cannot be written.
        RequestError: Something that no fetch wrote has the folder's name.
    """
    for file in (*wanted.files, *wanted.windows):
        if leads_out(file) or file == RECORD:
            raise ProductError(f"{final.name}: its file {file[:80]!r} would lie outside of it")
    part, old = (final.with_name(f".{final.name}.{end}") for end in ("part", "old"))
    with _failures_worded(final):
        if final.exists() and not (final / RECORD).is_file():
            raise RequestError(f"{final}: exists and is of no fetch; remove it, or give another --out")
        if _is_whole(final, wanted):
            return final
        part.mkdir(parents=True, exist_ok=True)
        with full_disk_refused(part):
            _fill(web, part, wanted, tally)
        try:
            check(part)
        except Exception:
            shutil.rmtree(part, ignore_errors=True)
            raise
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            final.rename(old)
        part.rename(final)
        shutil.rmtree(old, ignore_errors=True)
    return final


def _fill(web: Web, part: Path, wanted: Wanted, tally: Tally | None) -> None:
    known = _windows_of(part)
    for path in sorted(part.rglob("*"), reverse=True):
        name = path.relative_to(part).as_posix()
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        elif not path.is_dir() and name not in wanted.windows and name != RECORD:
            path.unlink()
    # What an earlier try finished stays known until it is looked at.
    found: dict[str, Any] = {file: known[file] for file in wanted.windows if file in known}
    for file, window in wanted.windows.items():
        path, facts = part / file, wanted.facts_of(file)
        if not _is_kept(path, known.get(file), facts):
            path.parent.mkdir(parents=True, exist_ok=True)
            save_window(web, window, path, add=wanted.add.get(file, 0), progress=tally.add if tally else None)
        found[file] = {**facts, "bytes": path.stat().st_size, "sha256": digest_of(path)}
        if tally:
            tally.end_window()
        in_order = {one: found[one] for one in wanted.windows if one in found}
        write_json(part / RECORD, {"folder": wanted.facts, "windows": in_order})
    for file, data in wanted.files.items():
        path = part / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _windows_of(folder: Path) -> dict[str, Any]:
    """Returns what a folder's record says of its windows; nothing where there is none."""
    try:
        windows = read_json(folder / RECORD)["windows"]
    except (OSError, DataError, KeyError, TypeError):
        return {}
    return windows if isinstance(windows, dict) else {}


def _is_kept(path: Path, said: Any, facts: Mapping[str, Any]) -> bool:
    if not isinstance(said, dict) or not path.is_file():
        return False
    own = {"bytes": path.stat().st_size, "sha256": digest_of(path)}
    return said == {**facts, **own}


def _is_whole(final: Path, wanted: Wanted) -> bool:
    said = _windows_of(final)
    return (
        said.keys() == wanted.windows.keys()
        and all((final / file).is_file() for file in wanted.files)
        and all((final / file).read_bytes() == data for file, data in wanted.files.items())
        and all(_is_kept(final / file, said[file], wanted.facts_of(file)) for file in wanted.windows)
    )


@contextmanager
def _failures_worded(final: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{final}: cannot be written ({error.strerror}); choose a folder that you may write to"
        ) from error
