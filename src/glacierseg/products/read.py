"""The one door to agencies' products: what a path is shows its content, never its name alone."""

import re
from pathlib import Path, PurePosixPath

from glacierseg.errors import ProductError
from glacierseg.products.contents import AGAIN, Contents, FolderContents, archive_contents
from glacierseg.products.landsat import read_landsat
from glacierseg.products.product import Product
from glacierseg.products.sentinel2 import read_sentinel2
from glacierseg.raster.deliveries import looks_like_product

__all__ = ["looks_like_product", "read_product"]

_SENTINEL2 = re.compile(r"MTD_MSIL(1C|2A)\.xml", re.IGNORECASE)
# macOS leaves a file `._NAME` beside each NAME on disks of other systems.
_LANDSAT = re.compile(r"(?!\._)(.*)_MTL\.(json|xml|txt)", re.IGNORECASE)
# Images of products, whose metadata have stayed behind.
_IMAGE = re.compile(r"(L\w\d\d_L2.*)_(?:SR|ST|QA)_\w+\.tif|T\d\d[A-Z]{3}_.*\.jp2", re.IGNORECASE)
_WEB_PAGE = (b"<!doctype html", b"<html")
# Which of a product's files of metadata is read where it has the same in several formats.
_PREFERRED = (".json", ".xml", ".txt")
_LISTED = 3
# Folders between an image of a SAFE folder and its metadata, both ends included.
_DEEPEST = 5


def read_product(path: Path) -> Product:
    """Reads a product's metadata and opens its images, whose pixels stay unread.

    Args:
        path: Sentinel-2 L2A: the SAFE folder, a folder that holds just one, its zip or its `MTD_MSIL2A.xml`.
            Landsat 4-9 Collection 2 Level-2: the folder, its tar or its `_MTL.json`, `.xml` or `.txt`.

    Raises:
        ProductError: It is no such product, or cannot be used; the message says why and what to do.
    """
    path = Path(path)
    if not path.exists():
        raise ProductError(f"{path}: no such file or folder; check the path")
    if path.is_dir():
        return _read_folder(path, path)
    contents = archive_contents(path)
    if contents is not None:
        return _read_contents(contents, path)
    return _read_metadata(path)


def _read_folder(folder: Path, given: Path) -> Product:
    contents = FolderContents.of(folder)
    if _metadata_in(contents) or folder != given:
        return _read_contents(contents, given)
    try:
        within = sorted(one for one in folder.iterdir() if one.is_dir() and _is_product_folder(one))
    except OSError as error:
        raise ProductError(f"{folder}: may not be read; ask for the right to read it") from error
    if len(within) > 1:
        names = ", ".join(one.name for one in within[:_LISTED]) + (", ..." if len(within) > _LISTED else "")
        raise ProductError(f"{folder}: holds {len(within)} products ({names}); give one of them")
    return _read_folder(within[0], given) if within else _read_contents(contents, given)


def _is_product_folder(folder: Path) -> bool:
    try:
        return any(_SENTINEL2.fullmatch(one.name) or _LANDSAT.fullmatch(one.name) for one in folder.iterdir())
    except OSError:
        return False


def _read_metadata(path: Path) -> Product:
    """Reads the product whose metadata a file is, by what it holds."""
    if not path.is_file():
        raise _unknown(path, [])
    with path.open("rb") as file:
        start = file.read(4096)
    if not start or start.lstrip().lower().startswith(_WEB_PAGE):
        what = "is a web page, perhaps one that asks for a login" if start else "is empty"
        raise ProductError(f"{path}: {what}; {AGAIN}")
    contents = FolderContents.of(path.parent)
    if b"Level-2A_User_Product" in start or b"Level-1C_User_Product" in start:
        return read_sentinel2(contents, path.name, path)
    if b"LANDSAT_METADATA_FILE" in start or b"L1_METADATA_FILE" in start:
        return read_landsat(contents, path.name, path)
    raise _unknown(path, [])


def _metadata_in(contents: Contents) -> list[str]:
    """Files of metadata, one for each product."""
    found: dict[str, str] = {}
    for name in contents.names:
        folder, _, file = name.rpartition("/")
        landsat = _LANDSAT.fullmatch(file)
        if landsat:
            key = f"{folder}/{landsat[1]}"
            rivals = [one for one in (found.get(key), name) if one]
            found[key] = min(rivals, key=lambda one: _PREFERRED.index(PurePosixPath(one).suffix.lower()))
        elif _SENTINEL2.fullmatch(file):
            found[name] = name
    return sorted(found.values())


def _read_contents(contents: Contents, given: Path) -> Product:
    found = _metadata_in(contents)
    if not found:
        raise _unknown(contents.source, contents.names)
    if len(found) > 1:
        names = ", ".join(found[:_LISTED]) + (", ..." if len(found) > _LISTED else "")
        cure = "" if given.is_dir() else "unpack it and "
        raise ProductError(f"{given}: holds {len(found)} products ({names}); {cure}give one of these")
    read = read_landsat if _LANDSAT.fullmatch(PurePosixPath(found[0]).name) else read_sentinel2
    return read(contents, found[0], given)


def _unknown(path: Path, names: tuple[str, ...] | list[str]) -> ProductError:
    listed = ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
    found = f" (found {listed})" if listed else ""
    cure = "stack single files with `glacierseg prepare stack`"
    images = [match for name in names if (match := _IMAGE.fullmatch(PurePosixPath(name).name))]
    if home := next((one for one in path.parents[:_DEEPEST] if _is_product_folder(one)), None):
        cure = f"give its whole product, {home}"
    elif images:
        metadata = f"{images[0][1]}_MTL.json" if images[0][1] else "MTD_MSIL2A.xml"
        cure = f"its metadata are missing, so put {metadata} beside its images, or {AGAIN}, whole"
    elif any(name.lower().endswith((".zip", ".tar", ".gz", ".tgz")) for name in names):
        cure = "unpack it, and give what it holds"
    return ProductError(
        f"{path}: is no product of Sentinel-2 L2A or Landsat Collection 2 Level-2 that glacierseg knows"
        f"{found}; {cure}"
    )
