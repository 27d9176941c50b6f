"""Opening raster files, with one clear line for those that cannot be used."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioError

from glacierseg.errors import RasterError
from glacierseg.raster.grid import Grid


def open_raster(path: Path) -> Any:
    """Opens a raster for reading.

    Raises:
        RasterError: The file is missing, is not a raster, or is a raw one that is cut short.
    """
    if not Path(path).exists():
        raise RasterError(f"{path}: no such file; check the path")
    try:
        dataset = rasterio.open(path)
    except (RasterioError, OSError) as error:
        raise RasterError(
            f"{path}: is not a raster that GDAL can read, or is cut short; give a whole GeoTIFF"
        ) from error
    _refuse_cut_envi(dataset, path)
    return dataset


def _refuse_cut_envi(dataset: Any, path: Path) -> None:
    """What an ENVI file lacks GDAL reads as zeros, without a word, since such files may be sparse."""
    if dataset.driver != "ENVI":
        return
    header = {key.lower(): text.strip() for key, text in dataset.tags(ns="ENVI").items()}
    if header.get("file_compression", "0") != "0":
        return
    offset = header.get("header_offset", "0")
    promised = dataset.height * dataset.width * sum(np.dtype(kind).itemsize for kind in dataset.dtypes)
    promised += int(offset) if offset.isdecimal() else 0
    found = Path(path).stat().st_size
    if found < promised:
        dataset.close()
        raise RasterError(
            f"{path}: has {found} bytes where its header tells of {promised}; it is cut short, copy it again"
        )


def has_header(path: Path) -> bool:
    """Whether a raw raster's header (`.hdr`) lies beside a file."""
    return any(header.exists() for header in (path.with_suffix(".hdr"), Path(f"{path}.hdr")))


def grid_of(dataset: Any) -> Grid:
    """Returns the grid of an open raster.

    Raises:
        RasterError: It has no CRS.
    """
    if dataset.crs is None:
        raise RasterError(
            f"{dataset.name}: has no CRS; assign the right one, for example with "
            f"`rio edit-info --crs EPSG:32643 {dataset.name}`"
        )
    return Grid(dataset.crs, dataset.transform, dataset.height, dataset.width)
