"""Truth on a scene's grid, from a mask raster or from outlines in any format and CRS."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import rasterio.features
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from glacierseg.errors import GridMismatchError, RasterError, TruthError
from glacierseg.raster.grid import Grid
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.outlines import PIXEL_EXACT, is_vector, read_outlines, refuse_layer_of_raster

BACKGROUND, GLACIER, IGNORE = 0, 1, 255


def load_truth(
    path: Path,
    grid: Grid,
    *,
    layer: str | None = None,
    option: str = "--truth-layer",
    prefer: Sequence[str] = PIXEL_EXACT,
) -> NDArray[np.uint8]:
    """Reads truth onto a grid.

    Args:
        path: A mask raster (0 background, 1 glacier, 255 ignore) on that very grid, or outlines.
        grid: The scene's grid.
        layer: Of a vector file with several, see `glacierseg.raster.outlines`.
        option: Where the user says which layer, for an error.
        prefer: Of several layers the first of these names is taken when none is asked for.

    Returns:
        `(H, W)` of 0, 1 and 255.

    Raises:
        RasterError: The mask cannot be read.
        GridMismatchError: The mask lies on another grid.
        TruthError: The mask has other values, the outlines cannot be read, or none meets the scene.
        RequestError: A layer is asked for of a raster.
    """
    if is_vector(path):
        return rasterize_outlines(read_outlines(path, grid, layer=layer, option=option, prefer=prefer), grid)
    refuse_layer_of_raster(path, layer, option)
    return read_mask(path, grid)


def read_mask(path: Path, grid: Grid | None = None) -> NDArray[np.uint8]:
    """Reads a mask raster.

    A declared nodata value means *ignore*, except 0: many mask files declare ``nodata=0`` although their 0 is
    background, and believing them would hide every pixel that is not glacier.

    Args:
        path: The raster; its first band is used.
        grid: The grid it must lie on; any when None.

    Returns:
        `(H, W)` of 0, 1 and 255.

    Raises:
        RasterError: The mask cannot be read.
        GridMismatchError: The mask lies on another grid.
        TruthError: The mask has values other than 0, 1 and ignore.
    """
    strips = list(mask_strips(path, grid, rows=None))
    return strips[0]


def mask_strips(path: Path, grid: Grid | None = None, *, rows: int | None) -> Iterator[NDArray[np.uint8]]:
    """Reads a mask raster from top to bottom, some rows at a time, by the rules of `read_mask`.

    Args:
        path: The raster; its first band is used.
        grid: The grid it must lie on; any when None.
        rows: How many rows to read at once; all when None.

    Yields:
        `(h, W)` of 0, 1 and 255.

    Raises:
        RasterError: The mask cannot be read.
        GridMismatchError: The mask lies on another grid.
        TruthError: The mask has values other than 0, 1 and ignore.
    """
    with open_raster(path) as dataset:
        own = grid_of(dataset)
        if grid is not None and (difference := grid.difference(own)):
            raise GridMismatchError(
                f"{path}: mask lies on another grid than the scene ({difference}); "
                f"run `glacierseg prepare align {quote(str(path))} --like SCENE --out ALIGNED.tif`"
            )
        step = rows or own.height
        for top in range(0, own.height, step):
            try:
                values = dataset.read(1, window=((top, min(top + step, own.height)), (0, own.width)))
            except (RasterioError, OSError) as error:
                raise RasterError(
                    f"{path}: pixels cannot be read; the file is truncated or damaged, copy it again"
                ) from error
            yield clean_mask(values, dataset.nodata, str(path))


def clean_mask(values: NDArray[Any], nodata: float | None, name: str) -> NDArray[np.uint8]:
    """Turns raw mask values into 0, 1 and 255.

    Args:
        values: `(H, W)` as read.
        nodata: Declared nodata value of the file.
        name: What to call the mask in an error.

    Raises:
        TruthError: There are values other than 0, 1 and ignore.
    """
    ignore: NDArray[np.bool_] = values == IGNORE
    if values.dtype.kind == "f":
        ignore |= ~np.isfinite(values)
    if nodata is not None and nodata != 0:
        ignore |= values == nodata
    glacier = values == GLACIER
    strange = values[~(ignore | glacier | (values == BACKGROUND))]
    if strange.size:
        raise TruthError(
            f"{name}: mask holds {strange.flat[0]:g} in {strange.size} pixels; it may hold only "
            "0 (background), 1 (glacier) and 255 (ignore), so reclassify it"
        )
    mask: NDArray[np.uint8] = glacier.astype(np.uint8)
    mask[ignore] = IGNORE
    return mask


def rasterize_outlines(outlines: Any, grid: Grid, *, all_touched: bool = False) -> NDArray[np.uint8]:
    """Burns outlines into a mask.

    Args:
        outlines: GeoDataFrame in the grid's CRS.
        grid: Where the mask shall lie.
        all_touched: Count every pixel that an outline touches, not only those whose centre lies inside.

    Returns:
        `(H, W)`, 1 inside the outlines, else 0.
    """
    mask: NDArray[np.uint8] = rasterio.features.rasterize(
        outlines.geometry,
        out_shape=grid.shape,
        transform=grid.transform,
        fill=BACKGROUND,
        default_value=GLACIER,
        all_touched=all_touched,
        dtype="uint8",
    )
    return mask
