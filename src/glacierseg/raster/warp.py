"""Rasters as they look on another grid, whatever their CRS, resolution and extent."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT

from glacierseg.errors import GridMismatchError, RasterError
from glacierseg.raster.blocks import LayerReader, iterate_blocks
from glacierseg.raster.bounds import boxes_in, crs_towards, may_meet, middle_of, move_points, utm_at
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import name_of_crs, sides_m
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.values import Band, FileReader, alpha_of, bands_of
from glacierseg.raster.write import create_raster, tiff_profile

# Largest error of a reprojected position, in pixels. GDAL's usual 0.125 depends on where a block begins.
_TOLERANCE_PX = 1e-6
# Below this ratio of pixel sizes the interpolation kernel is widened so that finer pixels are averaged.
_SAME_SIZE = 0.95
CLASS_RESAMPLINGS = ("nearest", "mode")
"""Those that invent no value between two."""
_MOST_CLASSES, _LEAST_PX_PER_CLASS = 32, 64


def read_grid(path: Path) -> Grid:
    """Reads the grid of a raster.

    Raises:
        RasterError: It cannot be read or has no CRS.
    """
    with open_raster(path) as dataset:
        return grid_of(dataset)


def holds_classes(dataset: Any, path: Path) -> bool:
    """Whether the numbers of an open raster are names of classes, which must not be interpolated.

    So are whole numbers with a table of colours, and one band of few small ones (at most 32 different ones of
    0 to 255, with 64 or more pixels each in the mean), such as a scene classification.

    Args:
        dataset: The open raster.
        path: Its path.

    Raises:
        RasterError: The pixels cannot be read.
    """
    bands = bands_of(dataset, path)
    if len(bands) != 1 or np.dtype(bands[0].dtype).kind not in "iub":
        return False
    if dataset.colorinterp[bands[0].index - 1] == ColorInterp.palette:
        return True
    reader, seen = LayerReader(bands, {path: dataset}), np.zeros(256, bool)
    for block in iterate_blocks(dataset.shape, width_px=dataset.width):
        values, valid = reader.read(block)
        found = np.unique(values[valid])
        if found.size and (found[0] < 0 or found[-1] > 255):
            return False
        seen[found] = True
        if seen.sum() > _MOST_CLASSES:
            return False
    # Fewer pixels than that tell nothing of how many values there would be.
    return bool(seen.any()) and dataset.height * dataset.width >= _LEAST_PX_PER_CLASS * int(seen.sum())


def require_overlap(dataset: Any, grid: Grid, path: Path) -> None:
    """Checks that an open raster and a grid share ground.

    Raises:
        RasterError: The raster has no CRS.
        GridMismatchError: They share none.
    """
    if not may_meet(grid_of(dataset), grid):
        left, bottom, right, top = grid.bounds
        raise GridMismatchError(
            f"{path}: does not overlap the wanted grid ({name_of_crs(grid.crs)}, "
            f"{left:g} {bottom:g} {right:g} {top:g}); check that both are of the same place"
        )


@contextmanager
def on_grid(dataset: Any, grid: Grid, resampling: str, *, dtype: str | None = None) -> Iterator[Any]:
    """Gives an open raster as it looks on a grid, computed as it is read.

    The result does not depend on the blocks it is read in: positions are exact, and the width of the
    interpolation kernel is fixed by the ratio of pixel sizes (GDAL would guess it for every block).

    Args:
        dataset: An open rasterio dataset.
        grid: The wanted grid.
        resampling: A name of `choices.Resampling`.
        dtype: Data type to compute in and to give, where values between two whole numbers matter; the
            dataset's own when None.

    Yields:
        The dataset itself when it lies on that grid, else a `WarpedVRT` of its stored values. Where the
        source declares no nodata, a floating-point VRT has NaN and an integer one an alpha band behind its
        own bands. A source that marks its pixels without data in a way that GDAL's warper does not follow
        becomes floating-point with NaN first.
    """
    own = grid_of(dataset)
    if grid.difference(own) is None:
        yield dataset
        return
    x_scale, y_scale = _kernel_scales(own, grid)
    with _followed_by_warper(dataset, own) as source:
        options: dict[str, Any] = {"XSCALE": x_scale, "YSCALE": y_scale, "UNIFIED_SRC_NODATA": "NO"}
        if source.nodata is not None:
            options |= {"src_nodata": source.nodata, "nodata": source.nodata}
        elif np.dtype(source.dtypes[0]).kind == "f":
            options |= {"src_nodata": math.nan, "nodata": math.nan}
        else:
            options["add_alpha"] = True
        with WarpedVRT(
            source,
            src_crs=crs_towards(own, grid),
            crs=grid.crs,
            transform=grid.transform,
            height=grid.height,
            width=grid.width,
            resampling=Resampling[resampling],
            tolerance=_TOLERANCE_PX,
            dtype=dtype,
            **options,
        ) as vrt:
            yield vrt


@contextmanager
def _followed_by_warper(dataset: Any, own: Grid) -> Iterator[Any]:
    """Gives a raster whose pixels without data GDAL's warper leaves out: itself, or a copy with NaN.

    The warper follows one nodata value for all bands, or a mask of integers without one, and nothing else.
    """
    path = Path(dataset.name)
    reader = FileReader(dataset, path, [_stored_band(dataset, i) for i in dataset.indexes])
    one_value = len({str(value) for value in dataset.nodatavals}) == 1
    hidden = reader.is_masked or alpha_of(dataset) is not None
    whole_numbers = all(np.dtype(kind).kind != "f" for kind in dataset.dtypes)
    if one_value and (not hidden or (reader.has_shared_mask and dataset.nodata is None and whole_numbers)):
        yield dataset
        return
    indexes = [band.index for band in bands_of(dataset, path)]
    kept = LayerReader([_stored_band(dataset, i) for i in indexes], {path: dataset})
    dtype = str(np.result_type(np.float32, *(dataset.dtypes[index - 1] for index in indexes)))
    with TemporaryDirectory(prefix="glacierseg-") as folder:
        copy = Path(folder) / "with_nan.tif"
        profile = tiff_profile(own, dataset.count, dtype, math.nan)
        with create_raster(copy, profile) as written:
            for block in iterate_blocks(own.shape, width_px=own.width):
                values, valid = kept.read(block)
                values = values.astype(dtype)
                values[~valid] = np.nan
                written.write(values, indexes, window=block.window)
        with open_raster(copy) as source:
            yield source


def _stored_band(dataset: Any, index: int) -> Band:
    return Band("", Path(dataset.name), index, dataset.dtypes[index - 1], dataset.nodatavals[index - 1])


@contextmanager
def declaring(dataset: Any, nodata: float) -> Iterator[Any]:
    """Gives an open raster as one that declares a value of pixels without data, and is as it was otherwise.

    Args:
        dataset: An open rasterio dataset that declares none.
        nodata: That value, as stored.
    """
    with WarpedVRT(
        dataset,
        crs=dataset.crs,
        transform=dataset.transform,
        height=dataset.height,
        width=dataset.width,
        src_nodata=nodata,
        nodata=nodata,
    ) as vrt:
        yield vrt


def metric_grid(grid: Grid, pixel_size_m: float | None = None) -> Grid:
    """Returns the grid in the UTM zone of a grid's centre that covers the same ground.

    Args:
        grid: Any grid.
        pixel_size_m: Side of the square pixels; without it the side of a square of the same area, in whole
            metres where that is at least 5 m.

    Returns:
        A grid whose lines lie on multiples of the pixel size, so that neighbouring grids fit together.

    Raises:
        RasterError: The grid is too wide for one zone.
    """
    crs = utm_crs(grid)
    size = pixel_size_m or math.sqrt(grid.pixel_area_km2 * 1e6)
    if pixel_size_m is None and size >= 5:
        size = float(round(size))
    ((west, south, east, north),) = boxes_in(grid, crs)
    if not math.isfinite(west + south + east + north):
        raise RasterError(
            f"a grid in {name_of_crs(grid.crs)} is too wide for {name_of_crs(crs)}, the UTM zone of its "
            "middle; cut it into smaller scenes first"
        )
    first_column, first_row = math.floor(west / size), math.ceil(north / size)
    return Grid(
        crs,
        Affine(size, 0, first_column * size, 0, -size, first_row * size),
        height=first_row - math.floor(south / size),
        width=math.ceil(east / size) - first_column,
    )


def utm_crs(grid: Grid) -> CRS:
    """Returns the UTM zone (WGS 84) of a grid's centre, see `glacierseg.raster.bounds.utm_at`.

    Raises:
        RasterError: The centre has no place on Earth.
    """
    longitude, latitude = middle_of(grid)
    if not math.isfinite(longitude + latitude):
        raise RasterError(
            f"the middle of a grid has no place on Earth in {name_of_crs(grid.crs)}, so it has no UTM zone; "
            "check that its CRS is the right one, or cut it into smaller scenes"
        )
    return utm_at(longitude, latitude)


def _kernel_scales(source: Grid, target: Grid) -> tuple[float, float]:
    """Target pixels per source pixel along both axes, at most 1."""
    wanted_m = target.pixel_size_m
    # The source may reach over half the globe, so its pixels are measured where the target is.
    place = target.transform * (target.width / 2, target.height / 2)
    ((x, y),) = move_points(np.array([place]), target.crs, source.crs)
    own_m = sides_m(source.crs, source.transform, *(~source.transform * (x, y)))
    if not math.isfinite(sum(own_m)):
        own_m = source.pixel_size_m
    scales = [own / wanted for own, wanted in zip(own_m, wanted_m, strict=True)]
    x_scale, y_scale = (1.0 if scale > _SAME_SIZE else scale for scale in scales)
    return x_scale, y_scale
