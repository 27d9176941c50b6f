"""Masks, and truth on a scene's grid: the one reader of both, from a raster or from outlines.

A mask raster holds 0 (background), 1 (glacier) and 255 (ignore) in one band. Ignored besides are NaN,
whatever an internal mask, a mask beside the file or an alpha band hides, and a declared nodata value, except
0: many files declare ``nodata=0`` although their 0 is background, and believing them would hide every pixel
that is not glacier. A scale and offset of the file are applied. Refused, with the command that fixes it, are
other values, a mask whose glacier is 255 or is declared to be nodata, and several bands.
"""

import shlex
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rasterio.features
from numpy.typing import NDArray
from rasterio.windows import Window

from glacierseg.errors import GlaciersegWarning, GridMismatchError, TruthError
from glacierseg.raster.grid import Grid
from glacierseg.raster.open import edit_info, grid_of, open_raster
from glacierseg.raster.outlines import PIXEL_EXACT, Shapes, is_vector, read_outlines, refuse_layer_of_raster
from glacierseg.raster.values import FileReader, bands_of
from glacierseg.raster.write import create_raster, tiff_profile

BACKGROUND, GLACIER, IGNORE = 0, 1, 255
_STRIP_ROWS = 512


def load_truth(
    path: Path,
    grid: Grid,
    *,
    layer: str | None = None,
    option: str = "--truth-layer",
    prefer: Sequence[str] = PIXEL_EXACT,
    shapes: Shapes = "glaciers",
) -> NDArray[np.uint8]:
    """Reads truth onto a grid.

    Args:
        path: A mask raster (0 background, 1 glacier, 255 ignore) on that very grid, or outlines.
        grid: The scene's grid.
        layer: Of a vector file with several, see `glacierseg.raster.outlines`.
        option: Where the user says which layer, for an error.
        prefer: Of several layers the first of these names is taken when none is asked for.
        shapes: Whether outlines are glaciers or other areas.

    Returns:
        `(H, W)` of 0, 1 and 255.

    Raises:
        RasterError: The mask cannot be read.
        GridMismatchError: The mask lies on another grid.
        TruthError: The mask has other values, the outlines cannot be read, or none meets the scene.
        RequestError: A layer is asked for of a raster.
    """
    if is_vector(path):
        outlines = read_outlines(path, grid, layer=layer, option=option, prefer=prefer, shapes=shapes)
        return rasterize_outlines(outlines, grid)
    refuse_layer_of_raster(path, layer, option)
    truth = read_mask(path, grid)
    warn_of_glacier_alone(truth, path)
    return truth


def warn_of_glacier_alone(mask: NDArray[np.uint8], path: Path) -> None:
    """Says of a mask that is scored that it holds no background, only glacier and pixels to ignore.

    So come masks that were made of polygons with nodata around them. Nothing can be wrong there.

    Args:
        mask: `(H, W)` of 0, 1 and 255.
        path: Where it is from.
    """
    if (mask == GLACIER).any() and (mask == IGNORE).any() and not (mask == BACKGROUND).any():
        warnings.warn(
            f"{path}: holds glacier (1) and pixels to ignore, and no background (0), so only glacier is "
            "scored; "
            "if what is ignored is background, give it 0",
            GlaciersegWarning,
            stacklevel=3,
        )


def read_mask(path: Path, grid: Grid | None = None) -> NDArray[np.uint8]:
    """Reads a mask raster by the rules of this module.

    Args:
        path: The raster.
        grid: The grid it must lie on; any when None.

    Returns:
        `(H, W)` of 0, 1 and 255.

    Raises:
        RasterError: The mask cannot be read.
        GridMismatchError: The mask lies on another grid.
        TruthError: The mask has values other than 0, 1 and ignore, or has several bands.
    """
    with open_mask(path, grid) as mask:
        whole = np.empty(mask.grid.shape, np.uint8)
        # All at once would take several times its memory.
        for number, strip in enumerate(_strips(mask, _STRIP_ROWS)):
            whole[number * _STRIP_ROWS :][: len(strip)] = strip
    return whole


def mask_strips(path: Path, grid: Grid | None = None, *, rows: int | None) -> Iterator[NDArray[np.uint8]]:
    """Reads a mask raster from top to bottom, some rows at a time.

    Args:
        path: The raster.
        grid: The grid it must lie on; any when None.
        rows: How many rows to read at once; all when None.

    Yields:
        `(h, W)` of 0, 1 and 255.

    Raises:
        RasterError: The mask cannot be read.
        GridMismatchError: The mask lies on another grid.
        TruthError: The mask has values other than 0, 1 and ignore, or has several bands.
    """
    with open_mask(path, grid) as mask:
        yield from _strips(mask, rows or mask.grid.height)


def _strips(mask: "MaskReader", rows: int) -> Iterator[NDArray[np.uint8]]:
    height, width = mask.grid.shape
    for top in range(0, height, rows):
        strip = mask.read(Window(0, top, width, min(rows, height - top)))
        if top + rows >= height:
            mask.require_glacier_is_1()
        yield strip


class MaskReader:
    """Reads windows of an open mask.

    Attributes:
        grid: Where it lies.
        name: Of its band.
        nodata: As declared.
    """

    def __init__(self, path: Path, dataset: Any) -> None:
        self.path, self.grid, self.nodata = path, grid_of(dataset), dataset.nodata
        bands = bands_of(dataset, path)
        if len(bands) != 1:
            raise TruthError(
                f"{path}: has {len(bands)} bands, and a mask has one; give a mask (are scene and mask the "
                "wrong way round?)"
            )
        if self.nodata == GLACIER:
            raise TruthError(
                f"{path}: declares its value 1, which is glacier, to be no data; if 1 is glacier, undo that "
                f"with `{edit_info(dataset, '--unset-nodata')}`"
            )
        self._band = bands[0]
        self.name = dataset.descriptions[self._band.index - 1] or "mask"
        self._file = FileReader(dataset, path, bands)
        self._seen = np.zeros(256, bool)

    def values(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Reads values as they are, and which are to be ignored, both `(h, w)`.

        Raises:
            RasterError: The pixels cannot be read.
        """
        layers, shown = self._file.read(window)
        values = self._band.meaning(layers[0])
        ignored = np.zeros(values.shape, bool)
        if values.dtype.kind == "f":
            ignored |= ~np.isfinite(values)
        if self.nodata not in {None, BACKGROUND}:
            ignored |= layers[0] == self.nodata
        if shown is not None:
            ignored |= ~(shown if shown.ndim == 2 else shown[0])
        return values, ignored

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Reads `(h, w)` of 0, 1 and 255.

        Raises:
            RasterError: The pixels cannot be read.
            TruthError: There are other values.
        """
        values, ignored = self.values(window)
        for number in (BACKGROUND, GLACIER, IGNORE):
            self._seen[number] |= bool((values[~ignored] == number).any())
        return _classes(values, ignored, str(self.path), self.path)

    def require_glacier_is_1(self) -> None:
        """Refuses a mask whose glacier is 255, which means ignore; to be called when all is read.

        Raises:
            TruthError: It holds an undeclared 255, 0, and no 1.
        """
        if self._seen[IGNORE] and not self._seen[GLACIER]:
            with open_raster(self.path) as dataset:
                declare = edit_info(dataset, "--nodata", str(IGNORE))
            raise TruthError(
                f"{self.path}: mask holds 255 and no 1, and glacier must be 1; if 255 is the glacier, bring "
                f"it to 1 with `{make_glacier(IGNORE, self.path)}`, and if it is no data, declare it with "
                f"`{declare}`"
            )


@contextmanager
def open_mask(path: Path, grid: Grid | None = None) -> Iterator[MaskReader]:
    """Opens a mask raster for reading by windows.

    Args:
        path: The raster.
        grid: The grid it must lie on; any when None.

    Raises:
        RasterError: The mask cannot be read.
        GridMismatchError: The mask lies on another grid.
        TruthError: It has several bands, or declares that its glacier is nodata.
    """
    with open_raster(path) as dataset:
        mask = MaskReader(Path(path), dataset)
        if grid is not None and (difference := grid.difference(mask.grid)):
            raise GridMismatchError(
                f"{path}: mask lies on another grid than the scene ({difference}); "
                f"run `glacierseg prepare align {quote(str(path))} --like SCENE --out ALIGNED.tif`"
            )
        yield mask


@contextmanager
def plain_mask(path: Path) -> Iterator[Any]:
    """Opens a mask as a raster of 0, 1 and 255 with 255 declared as nodata, to be warped.

    Raises:
        RasterError: The mask cannot be read.
        TruthError: The mask has values other than 0, 1 and ignore, or has several bands.
    """
    with TemporaryDirectory(prefix="glacierseg-") as folder, open_mask(path) as mask:
        copy, row = Path(folder) / "mask.tif", 0
        with create_raster(copy, tiff_profile(mask.grid, 1, "uint8", IGNORE)) as written:
            for strip in mask_strips(path, rows=512):
                written.write(strip, 1, window=Window(0, row, *reversed(strip.shape)))
                row += len(strip)
        with open_raster(copy) as dataset:
            yield dataset


def make_glacier(value: float, path: Path) -> str:
    """Returns the command that makes pixels of one value glacier and all others background."""
    formula = f"(asarray (== (read 1) {value:g}))"
    return shlex.join(["rio", "calc", "--not-masked", "--dtype", "uint8", formula, str(path), "MASK.tif"])


def clean_mask(values: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Turns mask values into 0, 1 and 255.

    Args:
        values: `(H, W)`; NaN is ignored.
        name: What to call the mask in an error.

    Raises:
        TruthError: There are values other than 0, 1 and ignore.
    """
    ignored = ~np.isfinite(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    return _classes(values, ignored, name)


def _classes(
    values: NDArray[Any], ignored: NDArray[np.bool_], name: str, path: Path | None = None
) -> NDArray[np.uint8]:
    ignored = ignored | (values == IGNORE)
    glacier = (values == GLACIER) & ~ignored
    strange = values[~(ignored | glacier | (values == BACKGROUND))]
    if strange.size:
        value = strange.flat[0]
        cure = f"if {value:g} is the glacier, run `{make_glacier(value, path)}`" if path else "reclassify it"
        raise TruthError(
            f"{name}: mask holds {value:g} in {strange.size} pixels; it may hold only 0 (background), "
            f"1 (glacier) and 255 (ignore); {cure}"
        )
    mask: NDArray[np.uint8] = glacier.astype(np.uint8)
    mask[ignored] = IGNORE
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
