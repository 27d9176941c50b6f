"""Folders of windows, which stand under their names when they are whole and go on where they ended.

Until then a folder is hidden beside its name (`.NAME.part`). `windows.json` in it says of each window where
it comes from and which content it has; a window is taken as finished only if all of that still holds.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glacierseg.catalogues.addresses import shown
from glacierseg.catalogues.web import Web
from glacierseg.catalogues.windows import Tally, Window, save_window
from glacierseg.errors import DataError, RequestError
from glacierseg.raster.write import digest_of, full_disk_refused, read_json, write_json

RECORD = "windows.json"
"""File of a folder that says where its windows come from."""


@dataclass(frozen=True)
class Wanted:
    """What a folder is to hold.

    Attributes:
        windows: Windows by path in the folder.
        files: Further files by path in the folder, as they came.
        facts: What its record says of it as a whole.
        add: By path, what is added to a window's numbers other than 0; nothing where it is missing.
    """

    windows: Mapping[str, Window] = field(repr=False)
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict)
    add: Mapping[str, int] = field(default_factory=dict)

    def record(self, folder: Path) -> dict[str, Any]:
        """Returns what a folder's record has to say of the windows that are there."""
        return {
            "folder": self.facts,
            "windows": {
                file: {
                    "address": shown(window.asset.address),
                    "version": window.version,
                    "crs": window.grid.crs.to_string(),
                    "transform": list(window.grid.transform[:6]),
                    "shape": list(window.grid.shape),
                    "add": self.add.get(file, 0),
                    "sha256": digest_of(folder / file),
                }
                for file, window in self.windows.items()
                if (folder / file).is_file()
            },
        }


def write_windows(web: Web, final: Path, wanted: Wanted, tally: Tally | None = None) -> Path:
    """Writes a folder of windows, of which finished ones are kept.

    Args:
        web: Reads them.
        final: The folder.
        wanted: What it is to hold.
        tally: Of what is read.

    Returns:
        `final`.

    Raises:
        ProductError: A window is damaged.
        DownloadError: One cannot be read.
        OutputError: One cannot be written.
        RequestError: Something that no fetch wrote has the folder's name.
    """
    if final.exists() and not (final / RECORD).is_file():
        raise RequestError(f"{final}: exists and is of no fetch; remove it, or give another --out")
    if _is_whole(final, wanted):
        return final
    part = final.with_name(f".{final.name}.part")
    part.mkdir(parents=True, exist_ok=True)
    with full_disk_refused(part):
        _fill(web, part, wanted, tally or Tally("", ()))
    if final.exists():
        shutil.rmtree(final)
    part.rename(final)
    return final


def _fill(web: Web, part: Path, wanted: Wanted, tally: Tally) -> None:
    known = _said_of(part).get("windows", {})
    found = wanted.record(part)["windows"]
    for path in sorted(part.rglob("*"), reverse=True):
        name = path.relative_to(part).as_posix()
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        elif path.is_file() and name != RECORD and (name not in found or known.get(name) != found[name]):
            path.unlink()
    for file, window in wanted.windows.items():
        path = part / file
        if not path.is_file():
            save_window(web, window, path, add=wanted.add.get(file, 0), progress=tally.add)
            write_json(part / RECORD, wanted.record(part))
        tally.end_window()
    write_json(part / RECORD, wanted.record(part))
    for file, data in wanted.files.items():
        (part / file).parent.mkdir(parents=True, exist_ok=True)
        (part / file).write_bytes(data)


def _said_of(folder: Path) -> dict[str, Any]:
    """Returns what a folder's record says; nothing where there is none."""
    try:
        said = read_json(folder / RECORD)
    except (OSError, DataError):
        return {}
    return said if isinstance(said, dict) else {}


def _is_whole(final: Path, wanted: Wanted) -> bool:
    record = wanted.record(final)
    return (
        record["windows"].keys() == wanted.windows.keys()
        and _said_of(final) == record
        and all((final / file).is_file() for file in wanted.files)
        and all((final / file).read_bytes() == data for file, data in wanted.files.items())
    )
