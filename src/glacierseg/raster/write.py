"""Writing results so that a file under its final name is always whole."""

import glob
import hashlib
import json
import math
import os
import platform
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rasterio
import rasterio.shutil
from numpy.typing import NDArray

from glacierseg.errors import DataError, OutputError
from glacierseg.raster.environment import bounded_gdal, keep_environment
from glacierseg.raster.grid import Grid
from glacierseg.raster.open import open_raster
from glacierseg.raster.outputs import belongings, refuse_inputs, require_output

_PART = ".part-"
# Several machines may write to one folder; only of its own does one know which processes live.
_HOST = re.sub(r"[^\w.]", "_", platform.node())
_LEAST_FREE_BYTES = 1024**2


@contextmanager
def atomic_path(final: Path, *, tables: Collection[str] | None = ()) -> Iterator[Path]:
    """Gives a path to write to and moves what was written there to `final` when the block ends well.

    The path has the final file name and lies in a hidden folder beside it, so that formats of several files
    (a Shapefile) move together, and what belonged to an old file of the name (indices, statistics, a journal)
    goes with it. When the block raises, everything written is removed.

    Args:
        final: Where the finished file shall stand. Its folder is made when missing.
        tables: Of an existing GeoPackage, the layers and tables that may be replaced; None for all.

    Raises:
        RequestError: An input would be lost (see `raster.outputs.keeping`), or layers of others would.
        OutputError: The folder cannot be made or written to, the name is a folder's, another program has the
            file open, or the disk is full.
    """
    final = Path(final)
    require_output(final, tables=tables)
    folder = final.parent / f".{final.name}{_PART}{_HOST}-{os.getpid()}"
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        _remove_parts_of_the_dead(final)
        folder.mkdir()
    except OSError as error:
        raise OutputError(
            f"{final}: cannot write there ({error.strerror}); choose a folder that you may write to"
        ) from error
    try:
        with full_disk_refused(folder):
            yield folder / final.name
        require_output(final, tables=tables)  # Another program may have opened it meanwhile.
        _move(
            sorted(folder.iterdir(), key=lambda path: (bool(belongings(path)), path.name == final.name)),
            final,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _move(written: Sequence[Path], final: Path) -> None:
    """Moves files to their names; the last one is that of which the others are parts.

    Without it the rest does not look whole: so where there are several files, old or new, it is removed first
    and written last.
    """
    targets = [final.parent / path.name for path in written]
    stale = {path for target in targets for path in belongings(target)} - set(targets)
    refuse_inputs([*targets, *stale])
    if len(written) > 1 or stale:
        for path in [*reversed(targets), *stale]:
            path.unlink(missing_ok=True)
    for path, target in zip(written, targets, strict=True):
        path.replace(target)


def _remove_parts_of_the_dead(final: Path) -> None:
    """Removes what killed processes of this machine left of a file, and an own part of the same number."""
    for folder in final.parent.glob(f".{glob.escape(final.name)}{_PART}{_HOST}-*"):
        number = folder.name.rpartition("-")[2]
        if number.isdecimal() and (int(number) == os.getpid() or not psutil.pid_exists(int(number))):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def full_disk_refused(folder: Path) -> Iterator[None]:
    """Turns whatever fails in the block into one clear error when the disk is full.

    GDAL, SQLite and torch each fail in their own way on a full disk, and GDAL not at all when the last bytes
    of a file are lost on closing it. So less than 1 MiB left after a write counts as a failure too.

    Args:
        folder: Where the block writes.

    Raises:
        OutputError: The disk is full.
    """
    try:
        yield
    except Exception as error:
        if _is_full(folder):
            raise _full_disk(folder) from error
        raise
    if _is_full(folder):
        raise _full_disk(folder)


def _is_full(folder: Path) -> bool:
    return shutil.disk_usage(folder).free < _LEAST_FREE_BYTES


def _full_disk(folder: Path) -> OutputError:
    return OutputError(f"{folder.parent}: the disk is full; free some space and run the same command again")


def remove_leftovers(folder: Path) -> None:
    """Removes what killed processes left of unfinished files anywhere below a folder."""
    for path in folder.rglob(f".*{_PART}*"):
        shutil.rmtree(path, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file (UTF-8) that is whole or absent."""
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, data: Any) -> None:
    """Writes a JSON file that is whole or absent, with null for numbers that JSON does not know."""
    write_text(path, json.dumps(finite_only(data), indent=2, ensure_ascii=False) + "\n")


def finite_only(value: Any) -> Any:
    """Returns the same with None for every NaN and infinity, at any depth of dictionaries and lists."""
    if isinstance(value, dict):
        return {key: finite_only(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite_only(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        DataError: It is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: is damaged; remove it and run again") from error


def digest_of(path: Path) -> str:
    """Returns the SHA-256 digest of a file's content; a file that did not change is read once a process.

    Raises:
        DataError: It cannot be read.
    """
    try:
        facts = path.stat()
        stamp = facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
        return _digest(path, stamp)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); check the file and its rights"
        ) from error


@lru_cache(maxsize=4096)
def _digest(path: Path, _stamp: tuple[int, ...]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tiff_profile(grid: Grid, count: int, dtype: str, nodata: float | None) -> dict[str, Any]:
    """Returns the rasterio profile of a tiled, compressed GeoTIFF on a grid.

    Args:
        grid: CRS, transform and shape.
        count: Number of bands.
        dtype: Data type by its numpy name.
        nodata: Value of pixels without data.
    """
    return {
        "driver": "GTiff",
        "crs": grid.crs,
        "transform": grid.transform,
        "height": grid.height,
        "width": grid.width,
        "count": count,
        "dtype": dtype,
        "nodata": nodata,
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "compress": "deflate",
        "predictor": 3 if np.dtype(dtype).kind == "f" else 2,
        # Otherwise GDAL takes three 8-bit bands for red, green and blue, and a fourth for transparency.
        "photometric": "MINISBLACK",
        "BIGTIFF": "IF_SAFER",
    }


def create_raster(path: Path, profile: Mapping[str, Any]) -> Any:
    """Opens a raster for writing; the one place that does, so that callers think of `atomic_path`."""
    keep_environment()
    return rasterio.open(path, "w", **profile)


def to_cog(source: Path, target: Path, *, resampling: str) -> None:
    """Copies a finished GeoTIFF into a cloud-optimised one with overviews.

    Args:
        source: A GeoTIFF.
        target: Path of the copy.
        resampling: How overviews are made: ``nearest`` for classes, ``average`` for values.
    """
    with open_raster(source) as dataset:
        floats = np.dtype(dataset.dtypes[0]).kind == "f"
    classes = resampling == "nearest" and not floats
    with bounded_gdal():
        rasterio.shutil.copy(
            source,
            target,
            driver="COG",
            COMPRESS="DEFLATE",
            # Differences of classes say less than the classes; those of values say more.
            PREDICTOR="FLOATING_POINT" if floats else "NO" if classes else "STANDARD",
            # The last digits of floats are noise: trying harder takes twice the time for two percent. Masks
            # are small at any level: 5 makes them a tenth smaller, and takes twice the time where they are
            # noise.
            LEVEL=1 if floats or classes else 6,
            NUM_THREADS="ALL_CPUS",
            BLOCKSIZE=512,
            OVERVIEW_RESAMPLING=resampling.upper(),
            BIGTIFF="IF_SAFER",
        )


def write_raster(
    path: Path,
    values: NDArray[Any],
    grid: Grid,
    *,
    bands: Sequence[str],
    nodata: float | None,
    tags: Mapping[str, str] | None = None,
    cog: bool = True,
    resampling: str = "nearest",
) -> None:
    """Writes an array as a georeferenced raster that is whole or absent.

    Args:
        path: Final path.
        values: `(H, W)` or `(B, H, W)`.
        grid: Where the pixels lie.
        bands: One description per band.
        nodata: Value of pixels without data, recorded in the file.
        tags: More facts to store in the file.
        cog: Cloud-optimised with overviews (results), else a plain tiled GeoTIFF.
        resampling: How overviews are made.

    Raises:
        OutputError: The folder cannot be written to.
    """
    stack = values if values.ndim == 3 else values[None]
    profile = tiff_profile(grid, len(stack), str(stack.dtype), nodata)
    with atomic_path(path) as part:
        plain = part.with_name("plain.tif") if cog else part
        with create_raster(plain, profile) as dataset:
            dataset.write(stack)
            dataset.descriptions = tuple(bands)
            dataset.update_tags(**(tags or {}))
        if cog:
            to_cog(plain, part, resampling=resampling)
            plain.unlink()
