"""The one place that opens rasters, and says in one line what cannot be used, and why.

Accepted is whatever GDAL reads: GeoTIFF, JPEG 2000, virtual mosaics (VRT), a member of an archive
(`/vsizip/scene.zip/b4.tif`) or one raster of a file of several (`NETCDF:scene.nc:red`). Rows may run
northward or be rotated. Refused, each in words of its own, is what has no place on Earth (no CRS, one that is
only a name, no geotransform, ground control points or RPCs instead), a mosaic that lacks a member, a raw file
that is cut short, and what is no raster: a folder, an archive, a product, outlines.
"""

import html
import re
import shlex
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import rasterio
from pyproj.exceptions import CRSError as UnknownCRSError
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from glacierseg.errors import RasterError

try:
    from rasterio._err import (
        CPLE_BaseError,  # what GDAL itself raises has no public name (tests/test_private.py)
    )
except ImportError:
    CPLE_BaseError = RasterioError
from glacierseg.raster.deliveries import archive_members, product_refused
from glacierseg.raster.environment import keep_environment
from glacierseg.raster.grid import Grid

# `NETCDF:scene.nc:red`; one letter would be a drive of Windows.
_PART_OF_FILE = re.compile(r"[A-Za-z][A-Za-z0-9_]+:")
_RASTER_SUFFIXES = frozenset({".tif", ".tiff", ".jp2", ".vrt", ".img", ".nc"})
_LISTED = 3
# Filters of warnings belong to the process: threads that open files together would leave them changed.
_FILTERING = threading.Lock()


def open_raster(path: Path | str, *, opener: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Opens a raster for reading.

    Args:
        path: A file, or a name that GDAL knows (`/vsizip/...`, `NETCDF:...`).
        opener: Opens the file in Python in place of GDAL, where its bytes are not on this disk.
        options: GDAL's options of opening.

    Raises:
        RasterError: It is missing, is not one raster, lacks a member, or is a raw one that is cut short.
    """
    name = _gdal_name(path)
    if not (opener or _is_gdal_name(name) or Path(name).exists()):
        raise RasterError(f"{path}: no such file; check the path")
    keep_environment()
    try:
        with _FILTERING, warnings.catch_warnings():
            # What has no place is refused by `grid_of`, in words that help.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            dataset = rasterio.open(name, **({"opener": opener} if opener else {}), **options)
    except (RasterioError, OSError, ValueError, CPLE_BaseError) as error:
        raise RasterError(f"{path}: {_what_it_is(Path(name))}") from error
    try:
        _refuse_what_shows_too_little(dataset, path)
    except RasterError:
        dataset.close()
        raise
    return dataset


@contextmanager
def damage_refused(path: Path | str, what: str = "it") -> Iterator[None]:
    """Turns whatever GDAL raises about a damaged file in the block into one clear error.

    Args:
        path: The file.
        what: What of it cannot be read.

    Raises:
        RasterError: The file cannot be read.
    """
    try:
        yield
    except (RasterioError, OSError, CPLE_BaseError) as error:
        raise RasterError(
            f"{path}: {what} cannot be read; the file is truncated or damaged, copy it again"
        ) from error


def _refuse_what_shows_too_little(dataset: Any, path: Path | str) -> None:
    if not dataset.count:
        raise RasterError(f"{path}: {_several(dataset, Path(path))}")
    _refuse_missing_members(dataset, path)
    _refuse_cut_envi(dataset, path)


def files_behind(path: Path | str) -> tuple[Path, ...]:
    """Returns the files of this machine that a raster is read from: itself, or the archive that holds it."""
    name = _gdal_name(path)
    if not _is_gdal_name(name):
        return (Path(name),) if _exists(Path(name)) else ()
    name = re.sub("/+", "/", name)
    if braces := re.match(r"/vsi\w+/\{(.+)\}/", name):
        return (Path(braces[1]),)
    for start in (at for at, letter in enumerate(name) if letter in '/:"'):
        inner = Path(name[start + 1 :].strip('"') if name[start] != "/" else name[start:])
        for candidate in (inner, *inner.parents, Path(str(inner).rpartition(":")[0].strip('"') or ".")):
            if candidate.is_file():
                return (candidate,)
    return ()


def files_shown(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Returns the files behind some rasters, and of virtual mosaics (VRT) all that they show, at any depth.

    Raises:
        RasterError: A mosaic cannot be read.
    """
    found: dict[Path, None] = {}
    waiting = [file for path in paths for file in files_behind(path)]
    while waiting:
        path = waiting.pop(0)
        if path in found or not files_behind(path):
            continue
        found[path] = None
        if path.suffix.lower() == ".vrt":
            with open_raster(path) as dataset:
                waiting += [Path(name) for name in dataset.files]
    return tuple(found)


def has_header(path: Path) -> bool:
    """Whether a raw raster's header (`.hdr`) lies beside a file."""
    return any(header.exists() for header in (path.with_suffix(".hdr"), Path(f"{path}.hdr")))


def grid_of(dataset: Any) -> Grid:
    """Returns the grid of an open raster; of a CRS with heights only what is horizontal.

    Raises:
        RasterError: It has no place on Earth: no CRS, one that is only a name, or no geotransform.
    """
    name = dataset.name
    points, _ = dataset.gcps
    if points and dataset.transform.is_identity:
        raise RasterError(
            f"{name}: has {len(points)} ground control points instead of a geotransform; warp it first, "
            f"for example with `{_warp(name)}`"
        )
    if dataset.transform.is_identity and dataset.rpcs is not None:
        raise RasterError(
            f"{name}: has rational polynomials (RPCs) instead of a geotransform; orthorectify it first, "
            f"in QGIS or with GDAL's program: `{_orthorectify(name)}`, with an elevation model"
        )
    if dataset.transform.is_identity:
        raise RasterError(
            f"{name}: has no geotransform, so its pixels have no place and no size; give it one, for example "
            f"`{edit_info(dataset, '--transform', '[30, 0, LEFT, 0, -30, TOP]')}` with the numbers of its "
            "upper left corner"
        )
    if not dataset.transform.determinant:
        raise RasterError(f"{name}: its geotransform gives pixels no area; write it again")
    if dataset.crs is None:
        raise RasterError(
            f"{name}: has no CRS; assign the right one, for example with "
            f"`{edit_info(dataset, '--crs', 'EPSG:32643')}`"
        )
    return Grid(_horizontal(dataset, name), dataset.transform, dataset.height, dataset.width)


def _horizontal(dataset: Any, name: str) -> CRS:
    """Returns the CRS without heights; what is neither degrees nor a projection has no place on Earth."""
    known = _known_crs(dataset.crs.to_wkt())
    if isinstance(known, str):
        raise RasterError(
            f"{name}: {known}; assign the right one, for example with "
            f"`{edit_info(dataset, '--crs', _code_by_name(dataset.crs.to_wkt()) or 'EPSG:32643')}`"
        )
    return known or dataset.crs


@lru_cache(maxsize=64)
def _known_crs(wkt: str) -> CRS | str | None:
    """The horizontal part of a CRS, None when it is that already, or words when it has no place."""
    try:
        crs = pyproj.CRS.from_wkt(wkt)
    except UnknownCRSError:
        return "its CRS cannot be understood"
    parts = crs.sub_crs_list if crs.is_compound else []
    flat = parts[0] if parts else crs
    if not (flat.is_geographic or flat.is_projected):
        return f"its CRS {flat.name!r} is only a name or not one of the Earth's surface"
    if not parts and len(crs.axis_info) == 2:
        return None
    return CRS.from_wkt(flat.to_2d().to_wkt())


def _code_by_name(wkt: str) -> str | None:
    """The code of the CRS that a name alone means."""
    quoted = re.search(r'"([^"]+)"', wkt)
    try:
        code = pyproj.CRS.from_user_input(quoted[1]).to_epsg() if quoted else None
    except UnknownCRSError:
        return None
    return f"EPSG:{code}" if code else None


def _warp(name: str) -> str:
    return shlex.join(["rio", "warp", name, "WARPED.tif", "--dst-crs", "EPSG:4326"])


def _orthorectify(name: str) -> str:
    words = ["gdalwarp", "-rpc", "-to", "RPC_DEM=DEM.tif", "-t_srs", "EPSG:4326", name, "ORTHO.tif"]
    return shlex.join(words)


def edit_info(dataset: Any, *words: str) -> str:
    """Returns a command that changes what a file says of itself: in place where that is safe, else in a copy.

    GDAL refuses to edit a cloud-optimised GeoTIFF and cannot edit many other formats, and what it would write
    beside them or into a mosaic other programs do not read.

    Args:
        dataset: An open rasterio dataset.
        words: Options of `rio edit-info`.
    """
    name = dataset.name
    is_cloud_optimised = dataset.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG"
    if dataset.driver == "GTiff" and not is_cloud_optimised and not _is_gdal_name(name):
        return shlex.join(["rio", "edit-info", *words, name])
    stem = re.sub(r"[^\w. -]", "_", Path(name).stem)
    edited = f"EDITED_{stem}.tif"
    copy = ["rio", "convert", name, edited]
    if not {"--crs", "--transform"} & set(words):
        # It keeps the names of bands, but wants to know where they lie.
        every = ",".join(map(str, dataset.indexes))
        copy = ["glacierseg", "prepare", "select", name, "--bands", every, "--out", edited]
    return f"{shlex.join(copy)} && {shlex.join(['rio', 'edit-info', *words, edited])}"


def _is_gdal_name(name: str) -> bool:
    return name.startswith("/vsi") or _PART_OF_FILE.match(name) is not None


def _gdal_name(path: Path | str) -> str:
    """Returns a name as GDAL wants it: paths lose one of two slashes in a row."""
    name = str(path)
    handler = re.match(r"/vsi\w+/", name)
    if handler is None:
        return name
    rest = name[handler.end() :]
    if re.match(r"https?:/[^/]", rest):
        return handler[0] + rest.replace(":/", "://", 1)
    first = Path(rest.split("/")[0])
    if not rest.startswith("/") and not first.exists() and Path("/" + rest.split("/")[0]).exists():
        return f"{handler[0]}/{rest}"
    return name


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


def _what_it_is(path: Path) -> str:
    """Names what could not be opened, and what to do with it."""
    product = product_refused(path)
    if product:
        return product
    if path.is_dir():
        found = sorted(one.name for one in path.iterdir() if one.suffix.lower() in _RASTER_SUFFIXES)
        listed = ", ".join(found[:_LISTED]) + (", ..." if len(found) > _LISTED else "")
        return f"is a folder, not a raster; give the file{f' ({listed})' if found else ''}"
    if members := archive_members(path):
        handler = "vsizip" if zipfile.is_zipfile(path) else "vsitar"
        inside = next((one for one in members if Path(one).suffix.lower() in _RASTER_SUFFIXES), None)
        name = f"/{handler}/{path.resolve()}/{inside}"
        return "is an archive; " + (
            f"give a raster in it, for example {name}" if inside else "unpack it first"
        )
    if path.is_file() and _begins_with(path, b"\x1f\x8b"):
        return f"is compressed; give /vsigzip/{path.resolve()}"
    if path.suffix.lower() in {".shp", ".gpkg", ".geojson", ".json", ".fgb", ".parquet", ".kml", ".gml"}:
        return "holds outlines, not a raster; give a raster (are two arguments the wrong way round?)"
    return "is not a raster that GDAL can read, or is cut short; give a whole GeoTIFF"


def _begins_with(path: Path, mark: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(mark)) == mark
    except OSError:
        return False


def _several(dataset: Any, path: Path) -> str:
    """Words for a file without a raster of its own, such as a NetCDF of several variables."""
    parts = list(dataset.subdatasets)
    if product := product_refused(path):
        return product
    if not parts:
        return "holds no raster; give another file"
    listed = ", ".join(f"'{one}'" for one in parts[:_LISTED]) + (", ..." if len(parts) > _LISTED else "")
    return f"holds {len(parts)} rasters; give one or several of them by name: {listed}"


def mosaic_members(path: Path) -> Iterator[Path]:
    """Yields the files that a virtual mosaic names, whether they exist or not, without GDAL's own names.

    Args:
        path: A VRT.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for facts, name in re.findall(r"<Source(?:Filename|Dataset)([^>]*)>([^<]*)<", text):
        member = html.unescape(name.strip())
        if member and not _is_gdal_name(member) and "://" not in member and not member.startswith("<"):
            yield path.parent / member if re.search(r'relativeToVRT\s*=\s*"1"', facts) else Path(member)


def _refuse_missing_members(dataset: Any, path: Path | str) -> None:
    """What a mosaic's missing members would show reads as no data, or fails later in other words."""
    if dataset.driver != "VRT":
        return
    waiting, seen = [Path(path)], set()
    while waiting:
        mosaic = waiting.pop()
        seen.add(mosaic)
        for member in mosaic_members(mosaic):
            if not _exists(member):
                raise RasterError(
                    f"{mosaic}: is a mosaic that shows {member}, which is missing; put that file back, or "
                    "make the mosaic again without it"
                )
            if member.suffix.lower() == ".vrt" and member not in seen:
                waiting.append(member)


def _refuse_cut_envi(dataset: Any, path: Path | str) -> None:
    """What an ENVI file lacks GDAL reads as zeros, without a word, since such files may be sparse."""
    if dataset.driver != "ENVI" or _is_gdal_name(str(path)):
        return
    header = {key.lower(): text.strip() for key, text in dataset.tags(ns="ENVI").items()}
    if header.get("file_compression", "0") != "0":
        return
    offset = header.get("header_offset", "0")
    promised = dataset.height * dataset.width * sum(np.dtype(kind).itemsize for kind in dataset.dtypes)
    promised += int(offset) if offset.isdecimal() else 0
    found = Path(path).stat().st_size
    if found < promised:
        raise RasterError(
            f"{path}: has {found} bytes, and its header promises {promised}; it is cut short, copy it again"
        )
