"""The part of an image that a place needs: planned from the header, read by its blocks, written as a GeoTIFF.

The plan is exact: GDAL says where in the file each block of the window lies and how large it is, and blocks
that a file leaves out cost nothing. Blocks that lie near to each other are read in one request, as long as
what lies between adds no more than a tenth. A file of which most is needed is read whole, and then its
checksum counts.
"""

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.windows import Window as Pixels

from glacierseg.catalogues.addresses import local_path, unsigned
from glacierseg.catalogues.candidate import Asset
from glacierseg.catalogues.remote import Part, Remote, require_checksum
from glacierseg.catalogues.web import Web
from glacierseg.errors import ProductError, RasterError
from glacierseg.raster.bounds import degree_box, move_points
from glacierseg.raster.environment import bounded_gdal
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import counts_degrees
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.write import atomic_path, create_raster, tiff_profile

MARGIN_PX = 2
WHOLE_SHARE = 0.75
"""A file of which this share is needed is read whole."""
_BETWEEN_SHARE = 0.1
"""How many bytes that are not needed may be read for fewer requests, as a share of those that are."""
_BETWEEN_BYTES = 2**18
_LEADER_BYTES = 4
"""Before and after a block of a cloud-optimised GeoTIFF stand its size and its end again."""
# Sides of a shape are bent in another projection: between points so near to each other by less than a metre.
_STEP_DEG = 0.05
_AROUND_DEG = 0.2
_SAME_PX = 0.01

Counted = Callable[[int], None]
"""Is called with numbers of bytes that came, by several threads."""


@dataclass(frozen=True)
class Window:
    """What is to be read of an image.

    Attributes:
        asset: The image's file.
        version: Of the file, as its server says.
        grid: Where the window lies; its pixels are those of the image, or of one of its overviews.
        row: Its first row in the image or overview.
        column: Its first column.
        overview: Number of the overview; None for the image itself.
        dtype: Data type by its numpy name.
        nodata: Value of pixels without data by the file.
        parts: First byte and size of what is read beside the header.
        bytes_needed: How many bytes that is.
        checked: Whether the checksum of the catalogue is compared, since the file is read whole.
    """

    asset: Asset
    version: str
    grid: Grid
    row: int
    column: int
    overview: int | None
    dtype: str
    nodata: float | None
    parts: tuple[Part, ...]
    bytes_needed: int
    checked: bool

    @property
    def key(self) -> str:
        """What tells it from all other windows of all files and their versions; empty where nothing does."""
        if self.version.startswith("/"):
            # Of a file's size alone nobody knows whether it was replaced.
            return ""
        place = f"{self.row},{self.column},{self.grid.height},{self.grid.width},{self.overview}"
        return f"{unsigned(self.asset.address)}\n{self.version}\n{place}"


def plan_window(
    web: Web, asset: Asset, shape: Any, *, step_px: int = 1, margin_px: int = MARGIN_PX, coarser: float = 1
) -> Window | None:
    """Plans the window of an image that holds a shape; reads the header only.

    Args:
        web: Reads it.
        asset: The image's file.
        shape: A shapely polygon or several in degrees; across 180 degrees in two parts, or going on beyond.
        step_px: Corners of the window lie on multiples of so many pixels of the image, so that windows of
            images with other pixels cover the same ground.
        margin_px: How many pixels it is wider than the shape at least, on each side.
        coarser: How many times larger pixels may be: the overview nearest to that is taken.

    Returns:
        The window, cut at the image's rim; None where the shape and the image share no ground.

    Raises:
        DownloadError: The file cannot be read.
        ProductError: It is no image with a place on Earth, is cut short, or has several bands.
    """
    remote = web.remote(asset)
    overview = remote.decoded(lambda dataset: _nearest_overview(dataset, coarser))
    options = {} if overview is None else {"overview_level": overview}

    def plan(dataset: Any) -> Window | None:
        if dataset.count != 1:
            raise ProductError(
                f"{remote.name}: holds {dataset.count} bands, and an image of a product holds one; choose "
                "another --catalogue"
            )
        try:
            whole = grid_of(dataset)
        except RasterError as error:
            raise ProductError(f"{remote.name}: has no place on Earth; choose another --catalogue") from error
        box = _pixels_of(whole, shape, step_px, margin_px)
        if box is None:
            return None
        top, left, bottom, right = box
        needed = _blocks(dataset, box, remote) if dataset.driver == "GTiff" else None
        parts, size, is_whole = _parts(needed, remote)
        return Window(
            asset=asset,
            version=remote.facts.version,
            grid=whole.crop(top, left, bottom - top, right - left),
            row=top,
            column=left,
            overview=overview,
            dtype=dataset.dtypes[0],
            nodata=dataset.nodata,
            parts=parts,
            bytes_needed=size,
            checked=is_whole and asset.checksum is not None,
        )

    return remote.decoded(plan, **options)


def read_window(web: Web, window: Window, progress: Counted | None = None) -> NDArray[Any]:
    """Reads a window, or takes it from the cache.

    Args:
        web: Reads it.
        window: Its plan.
        progress: Is called with numbers of bytes that came.

    Returns:
        `(H, W)` of the window's grid.

    Raises:
        DownloadError: Bytes cannot be read, or the file has another checksum than the catalogue says.
        ProductError: The file is damaged.
    """
    with tempfile.TemporaryDirectory(prefix="glacierseg-") as folder:
        path = Path(folder) / "window.tif"
        if web.cache.take(window.key, path):
            if progress:
                progress(window.bytes_needed)
            with open_raster(path, driver="GTiff") as dataset:
                values: NDArray[Any] = dataset.read(1)
                return values
        values = _read_blocks(web, window, progress)
        if web.cache.is_on and not local_path(window.asset.address):
            _write(path, window, values)
            web.cache.keep(window.key, path)
        return values


def save_window(
    web: Web, window: Window, out: Path, *, add: int = 0, progress: Counted | None = None
) -> None:
    """Writes a window as a GeoTIFF that is whole or absent, with the same bytes on every run.

    Args:
        web: Reads it.
        window: Its plan.
        out: The file to write.
        add: What is added to numbers; 0, and what gets too large for the data type, is 0 for no data.
        progress: Is called with numbers of bytes that came.

    Raises:
        DownloadError: Bytes cannot be read, or the file has another checksum than the catalogue says.
        ProductError: The file is damaged.
        OutputError: The file cannot be written.
    """
    with atomic_path(out) as part:
        if add == 0 and web.cache.take(window.key, part):
            if progress:
                progress(window.bytes_needed)
            return
        values = read_window(web, window, progress)
        _write(part, window, _added(values, add))


def _added(values: NDArray[Any], add: int) -> NDArray[Any]:
    if not add:
        return values
    # What lies below 0 some copies let run over to the greatest numbers; with what is added it has no place.
    greatest = np.iinfo(values.dtype).max - add
    return np.where((values == 0) | (values > greatest), 0, values + values.dtype.type(add))


def _write(path: Path, window: Window, values: NDArray[Any]) -> None:
    profile = tiff_profile(window.grid, 1, window.dtype, window.nodata)
    with bounded_gdal(), create_raster(path, profile) as dataset:
        dataset.write(values, 1)


def _read_blocks(web: Web, window: Window, progress: Counted | None) -> NDArray[Any]:
    remote = web.remote(window.asset)
    if remote.facts.version != window.version:
        raise ProductError(f"{remote.name}: was replaced while it was read; run the command again")
    options = {} if window.overview is None else {"overview_level": window.overview}
    height, width = window.grid.shape
    pixels = Pixels(window.column, window.row, width, height)
    with remote.alone:
        header = remote.held
        try:
            remote.fetch(window.parts, progress)
            if window.checked and window.asset.checksum:
                require_checksum(window.asset, remote.digest(window.asset.checksum.algorithm))
            values: NDArray[Any] = remote.decoded(lambda dataset: dataset.read(1, window=pixels), **options)
        finally:
            remote.keep_only(header)
    return values


def _nearest_overview(dataset: Any, coarser: float) -> int | None:
    """The overview whose pixels are nearest to so many times larger, None for the image itself."""
    # They are listed in any case: GDAL looks for them when it reads.
    factors = [1, *dataset.overviews(1)]
    if coarser <= 1:
        return None
    best = min(range(len(factors)), key=lambda number: abs(math.log(factors[number] / coarser)))
    return best - 1 if best else None


def _pixels_of(grid: Grid, shape: Any, step_px: int, margin_px: int) -> tuple[int, int, int, int] | None:
    """First row and column, and those behind the last, of the window that holds a shape; None without one."""
    import shapely  # noqa: PLC0415
    from shapely import affinity  # noqa: PLC0415

    west, south, east, north = grid.bounds if counts_degrees(grid.crs) else degree_box(grid)
    around = shapely.box(west - _AROUND_DEG, south - _AROUND_DEG, east + _AROUND_DEG, north + _AROUND_DEG)
    turned = [affinity.translate(shape, turn) for turn in (-360, 0, 360)]
    near = shapely.union_all([one.intersection(around) for one in turned])

    def in_pixels(points: NDArray[np.float64]) -> NDArray[np.float64]:
        if not counts_degrees(grid.crs):
            points = move_points(points, CRS.from_epsg(4326), grid.crs)
        return np.column_stack(~grid.transform * (points[:, 0], points[:, 1]))

    inside = shapely.make_valid(shapely.transform(shapely.segmentize(near, _STEP_DEG), in_pixels))
    inside = inside.intersection(shapely.box(0, 0, grid.width, grid.height))
    if not inside.area:
        return None
    first_column, first_row, last_column, last_row = inside.bounds
    box = []
    for first, last, size in (
        (first_row, last_row, grid.height),
        (first_column, last_column, grid.width),
    ):
        start = math.floor(first + _SAME_PX) - margin_px
        end = math.ceil(last - _SAME_PX) + margin_px
        box.append((max(start // step_px * step_px, 0), min(-(-end // step_px) * step_px, size)))
    (top, bottom), (left, right) = box
    return top, left, bottom, right


def _blocks(dataset: Any, box: tuple[int, int, int, int], remote: Remote) -> list[Part]:
    """Where the blocks of a window lie in the file, those that the file leaves out aside."""
    top, left, bottom, right = box
    block_height, block_width = dataset.block_shapes[0]
    # Of a dataset that is opened at an overview GDAL numbers the blocks of that overview.
    found = []
    for down in range(top // block_height, -(-bottom // block_height)):
        for across in range(left // block_width, -(-right // block_width)):
            start, size = (
                dataset.get_tag_item(f"BLOCK_{what}_{across}_{down}", "TIFF", bidx=1)
                for what in ("OFFSET", "SIZE")
            )
            if start and size and int(size):
                found.append((int(start), int(size)))
    end = max((start + size for start, size in found), default=0)
    if end > remote.facts.size_bytes:
        raise ProductError(
            f"{remote.name}: is cut short: it has {remote.facts.size_bytes} bytes, and its blocks reach to "
            f"{end}; choose another --catalogue or other dates"
        )
    return found


def _parts(blocks: Sequence[Part] | None, remote: Remote) -> tuple[tuple[Part, ...], int, bool]:
    """What is read for some blocks, all of the file for None; its size, and whether it is the whole file."""
    size = remote.facts.size_bytes
    wanted = None if blocks is None else joined(blocks)
    is_whole = wanted is None or remote.is_local or sum(length for _, length in wanted) >= WHOLE_SHARE * size
    parts = ((0, size),) if is_whole or wanted is None else wanted
    return parts, sum(length for at, part in parts for _, length in remote.absent(at, part)), is_whole


def joined(blocks: Sequence[Part]) -> tuple[Part, ...]:
    """Returns parts that hold all blocks, of which those that lie near to each other are one.

    Args:
        blocks: First byte and size of each.
    """
    widened = sorted({(max(at - _LEADER_BYTES, 0), at + size + _LEADER_BYTES) for at, size in blocks})
    parts: list[list[int]] = []
    for at, end in widened:
        if parts and at <= parts[-1][1]:
            parts[-1][1] = max(parts[-1][1], end)
        else:
            parts.append([at, end])
    left = _BETWEEN_SHARE * sum(end - at for at, end in parts)
    bridged = set()
    for between, number in sorted((parts[n + 1][0] - parts[n][1], n) for n in range(len(parts) - 1)):
        if between > min(left, _BETWEEN_BYTES):
            break
        left -= between
        bridged.add(number)
    joined_parts: list[list[int]] = []
    for number, (at, end) in enumerate(parts):
        if number - 1 in bridged:
            joined_parts[-1][1] = end
        else:
            joined_parts.append([at, end])
    return tuple((at, end - at) for at, end in joined_parts)
