"""What agencies deliver, told from rasters at a glance: folders, archives and metadata of products.

Whether a product can be used, `glacierseg.products` finds out; here it is only named, so that whoever gives
one where a raster is wanted learns how to make a scene of it.
"""

import re
import shlex
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

_KINDS = (
    (re.compile(r"MTD_MSIL2A\.xml", re.IGNORECASE), "a Sentinel-2 L2A product"),
    (re.compile(r"MTD_MSIL1C\.xml", re.IGNORECASE), "a Sentinel-2 L1C product"),
    (re.compile(r"L\w\d\d_L1.*_MTL\.(txt|xml|json)", re.IGNORECASE), "a Landsat Level-1 product"),
    (re.compile(r".*_MTL\.(txt|xml|json)", re.IGNORECASE), "a Landsat product"),
)
_MARKS = (
    (b"Level-2A_User_Product", "a Sentinel-2 L2A product"),
    (b"Level-1C_User_Product", "a Sentinel-2 L1C product"),
    (b"LANDSAT_METADATA_FILE", "a Landsat product"),
)
_AT_THE_TOP = ", reflectance at the top of the atmosphere; take the Level-2 product of the same day"


def looks_like_product(path: Path | str) -> str | None:
    """Says in words which agency's product a path is: its folder, archive or metadata; None where it is none.

    Args:
        path: A folder or file, which may be missing.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return _kind_of_folder(path)
        if not path.is_file():
            return None
        named = _kind([path.name])
        if named or path.suffix.lower() not in {".xml", ".json", ".txt"}:
            return named or _kind(Path(one).name for one in archive_members(path))
        with path.open("rb") as file:
            start = file.read(4096)
        return next((kind for mark, kind in _MARKS if mark in start), None)
    except OSError:
        return None


def product_refused(path: Path | str) -> str | None:
    """Says that a product is no raster, and what to do with it; None of all else.

    Args:
        path: What was given for a raster.
    """
    kind = looks_like_product(path)
    if kind is None:
        return None
    if re.search("L1C|Level-1", kind):
        return f"is {kind}{_AT_THE_TOP}"
    command = ["glacierseg", "prepare", "scene", str(path), "--dem", "DEM.tif", "--out", "scene.tif"]
    return (
        f"is {kind}, not a raster; make a scene of it first: `{shlex.join(command)}` (in Python "
        "`prepare_scene`), or map its glaciers with `glacierseg map` (in Python `map_glaciers`)"
    )


def archive_members(path: Path) -> list[str]:
    """Returns the names of what a zip or tar holds; none of what is neither."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return archive.namelist()
        if path.is_file() and tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                return archive.getnames()
    except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError):
        pass
    return []


def _kind(names: Iterable[str]) -> str | None:
    return next((kind for name in names for pattern, kind in _KINDS if pattern.fullmatch(name)), None)


def _kind_of_folder(folder: Path) -> str | None:
    """The kind of a folder's product, or of the only one in a folder below."""
    entries = list(folder.iterdir())
    own = _kind(one.name for one in entries)
    if own:
        return own
    below = [
        kind
        for one in entries
        if one.suffix.upper() == ".SAFE"
        and one.is_dir()
        and (kind := _kind(file.name for file in one.iterdir()))
    ]
    return below[0] if len(below) == 1 else None
