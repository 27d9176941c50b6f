"""Folders of windows, which get their names when they are complete, and keep finished windows until then.

An unfinished folder is hidden beside its name (`.NAME.part`). Its `windows.json` lists the origin and the
checksum of each window; a window counts as finished only if both still agree.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glacierseg.catalogues.addresses import shown
from glacierseg.catalogues.tally import Tally
from glacierseg.catalogues.web import Web
from glacierseg.catalogues.windows import Window, save_window
from glacierseg.errors import DataError, OutputError, RequestError
from glacierseg.raster.write import digest_of, full_disk_refused, read_json, write_json

RECORD = "windows.json"
"""File of a folder that lists where its windows come from."""


def write_windows(
    web: Web,
    final: Path,
    windows: Mapping[str, Window],
    files: Mapping[str, bytes],
    tally: Tally | None = None,
) -> Path:
    """Writes a folder of windows; finished ones are kept.

    Args:
        web: Reads them.
        final: The folder.
        windows: By path in the folder.
        files: Content of further files by path in the folder.
        tally: Counts what is read.

    Returns:
        `final`.

    Raises:
        ProductError: A window is damaged.
        DownloadError: One cannot be read.
        OutputError: One cannot be written.
        RequestError: A folder of that name exists and no fetch wrote it.
    """
    if final.exists() and not (final / RECORD).is_file():
        raise RequestError(f"{final}: exists and was not made by a fetch; remove it, or give another --out")
    if _is_whole(final, windows, files):
        return final
    part = final.with_name(f".{final.name}.part")
    try:
        part.mkdir(parents=True, exist_ok=True)
        with full_disk_refused(part):
            _fill(web, part, windows, tally or Tally("", ()))
            for file, data in files.items():
                (part / file).parent.mkdir(parents=True, exist_ok=True)
                (part / file).write_bytes(data)
        if final.exists():
            shutil.rmtree(final)
        part.rename(final)
    except FileNotFoundError as error:
        raise OutputError(
            f"{final}: was removed or finished by another process meanwhile; run the same command again when "
            "no other one works in this folder"
        ) from error
    return final


def _fill(web: Web, part: Path, windows: Mapping[str, Window], tally: Tally) -> None:
    said, found = _said_of(part), _record(part, windows)
    for path in sorted(part.rglob("*"), reverse=True):
        name = path.relative_to(part).as_posix()
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        elif path.is_file() and name != RECORD and (name not in found or said.get(name) != found[name]):
            path.unlink()
    for file, window in windows.items():
        if not (part / file).is_file():
            save_window(web, window, part / file, progress=tally.add)
            write_json(part / RECORD, _record(part, windows))
        tally.end_window()
    write_json(part / RECORD, _record(part, windows))


def _record(folder: Path, windows: Mapping[str, Window]) -> dict[str, Any]:
    """Returns the record that the windows in a folder should have."""
    return {
        file: {
            "address": shown(window.asset.address),
            "version": window.version,
            "crs": window.grid.crs.to_string(),
            "transform": list(window.grid.transform[:6]),
            "shape": list(window.grid.shape),
            "added_to_numbers": window.add,
            "sha256": digest_of(folder / file),
        }
        for file, window in windows.items()
        if (folder / file).is_file()
    }


def _said_of(folder: Path) -> dict[str, Any]:
    """Returns the record in a folder; empty if it is missing or damaged."""
    try:
        said = read_json(folder / RECORD)
    except (OSError, DataError):
        return {}
    return said if isinstance(said, dict) else {}


def _is_whole(folder: Path, windows: Mapping[str, Window], files: Mapping[str, bytes]) -> bool:
    record = _record(folder, windows)
    return (
        record.keys() == windows.keys()
        and _said_of(folder) == record
        and all((folder / file).is_file() for file in files)
        and all((folder / file).read_bytes() == data for file, data in files.items())
    )
