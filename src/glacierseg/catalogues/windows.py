"""The part of an image that a place needs: planned from the header, read by its blocks, written as a GeoTIFF.

The plan is exact: GDAL says where in the file each block of the window lies and how large it is, and blocks
that a file leaves out cost nothing. Blocks close to each other are read in one request, as long as what lies
between adds no more than a tenth. A file of which most is needed is read whole, and then its
checksum is compared.
"""

import io
import math
import tempfile
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.windows import Window as Pixels

from glacierseg.catalogues.addresses import local_path, shown, unsigned
from glacierseg.catalogues.candidate import Asset
from glacierseg.catalogues.remote import Part, Remote, require_checksum
from glacierseg.catalogues.transport import Counted
from glacierseg.catalogues.web import Web
from glacierseg.errors import ProductError, RasterError
from glacierseg.raster.bounds import degree_box, move_points
from glacierseg.raster.environment import bounded_gdal
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import counts_degrees
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.write import atomic_path, create_raster, tiff_profile

_MARGIN_PX = 2
# A file of which this share is needed is read whole.
_WHOLE_SHARE = 0.75
# Unneeded bytes that may be read to save requests: as a share of the needed ones, and between two blocks.
_BETWEEN_SHARE, _BETWEEN_BYTES = 0.1, 2**18
# In a cloud-optimised GeoTIFF GDAL also reads the size before a block and the bytes after it.
_LEADER_BYTES = 4
# Sides of a shape bend in another projection: by less than a metre between points as close as this.
_STEP_DEG = 0.05
_AROUND_DEG = 0.2
_SAME_PX = 0.01
# Of real ground less than 0.0001 % is so dark where the offset is there, and 0.5 % or more where it is not.
_BELOW_LEAST_SHARE, _LEAST_NUMBERS = 0.003, 100


@dataclass(frozen=True)
class Window:
    """What is to be read of an image.

    Attributes:
        asset: The image's file.
        version: Of the file, as its server says.
        grid: Where the window lies; its pixels are those of the image, or of one of its overviews.
        row: Its first row in the image or overview.
        column: Its first column.
        overview: Index of the overview; None for the image itself.
        dtype: Data type by its numpy name.
        nodata: Value of pixels without data, as the file declares it.
        parts: First byte and size of what is read beside the header.
        bytes_needed: Number of bytes of these parts that are not here yet.
        checked: Whether the checksum of the catalogue is compared, since the file is read whole.
        add: What is added to numbers when the window is written; 0, and what gets too large for the data
            type, is 0 for no data.
        least: Hardly any number but 0 is below this.
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
    add: int = 0
    least: int = 0

    @property
    def key(self) -> str:
        """Identifies the window among those of all files and versions; empty where that is not possible."""
        if self.version.startswith("/"):
            # A file of the same size may have been replaced.
            return ""
        place = f"{self.row},{self.column},{self.grid.height},{self.grid.width},{self.overview}"
        return f"{unsigned(self.asset.address)}\n{self.version}\n{place}"


def plan_window(
    web: Web, asset: Asset, shape: Any, *, step_px: int = 1, margin_px: int = _MARGIN_PX, coarser: float = 1
) -> Window | None:
    """Plans the window of an image that holds a shape; reads the header only.

    Args:
        web: Reads it.
        asset: The image's file.
        shape: A shapely polygon or several in degrees; across 180 degrees in two parts, or going on beyond.
        step_px: Corners of the window lie on multiples of this many pixels of the image, so that windows of
            images with other pixels cover the same ground.
        margin_px: Least number of pixels around the shape.
        coarser: How many times larger pixels may be: the nearest overview is taken.

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
    """Returns the numbers `(H, W)` of a window as the image has them, from the cache if they are there.

    Raises:
        DownloadError: Bytes cannot be read, or the file has another checksum than the catalogue says.
        ProductError: The file is damaged.
    """
    return _decoded(_as_tiff(web, window, progress))


def _decoded(data: bytes) -> NDArray[Any]:
    with open_raster(
        "/glacierseg/window", opener=lambda *_, **__: io.BytesIO(data), driver="GTiff"
    ) as dataset:
        values: NDArray[Any] = dataset.read(1)
        return values


def save_window(web: Web, window: Window, out: Path, progress: Counted | None = None) -> None:
    """Writes a window as a GeoTIFF that is whole or absent, with the same bytes on every run.

    Raises:
        DownloadError: Bytes cannot be read, or the file has another checksum than the catalogue says.
        ProductError: The file is damaged, or many numbers are below the least.
        OutputError: The file cannot be written.
    """
    with atomic_path(out) as part:
        data = _as_tiff(web, window, progress)
        if window.least:
            _require_least(window, _decoded(data))
        if window.add:
            _write(part, window, _added(_decoded(data), window.add))
        else:
            part.write_bytes(data)


def _require_least(window: Window, values: NDArray[Any]) -> None:
    numbers = values[values != 0]
    below = float(np.mean(numbers < window.least)) if numbers.size >= _LEAST_NUMBERS else 0.0
    if below > _BELOW_LEAST_SHARE:
        raise ProductError(
            f"{shown(window.asset.address)}: {below:.2%} of its numbers here are below {window.least}, so an "
            "offset was taken off this band and not others; choose another --catalogue or other dates"
        )


def _added(values: NDArray[Any], add: int) -> NDArray[Any]:
    # In some copies what would be below 0 wraps to the greatest numbers, which `add` would wrap again.
    greatest = np.iinfo(values.dtype).max - add
    return np.where((values == 0) | (values > greatest), 0, values + values.dtype.type(add))


def _write(path: Path, window: Window, values: NDArray[Any]) -> None:
    profile = tiff_profile(window.grid, 1, window.dtype, window.nodata)
    with bounded_gdal(), create_raster(path, profile) as dataset:
        dataset.write(values, 1)


def _as_tiff(web: Web, window: Window, progress: Counted | None) -> bytes:
    """Returns a window as the content of a GeoTIFF, from the cache if it is there."""
    is_local = local_path(window.asset.address) is not None
    data = None if is_local else web.cache.take(window.key)
    if data is not None:
        if progress:
            progress(window.bytes_needed)
        return data
    values = _read_blocks(web, window, progress)
    with tempfile.TemporaryDirectory(prefix="glacierseg-") as folder:
        path = Path(folder) / "window.tif"
        _write(path, window, values)
        data = path.read_bytes()
    if not is_local:
        web.cache.keep(window.key, data)
    return data


def _read_blocks(web: Web, window: Window, progress: Counted | None) -> NDArray[Any]:
    # The bytes of the copy are freed with it; the header stays.
    remote = copy(web.remote(window.asset))
    if remote.facts.version != window.version:
        raise ProductError(f"{remote.name}: was replaced while it was read; run the command again")
    remote.fetch(window.parts, progress)
    if window.checked:
        require_checksum(window.asset, remote.all())
    options = {} if window.overview is None else {"overview_level": window.overview}
    height, width = window.grid.shape
    pixels = Pixels(window.column, window.row, width, height)
    values: NDArray[Any] = remote.decoded(lambda dataset: dataset.read(1, window=pixels), **options)
    return values


def _nearest_overview(dataset: Any, coarser: float) -> int | None:
    """Returns the overview nearest to so many times coarser, None for the image itself."""
    # Listed in any case, so that their headers are read: GDAL looks at them when it reads pixels.
    factors = [1, *dataset.overviews(1)]
    if coarser <= 1:
        return None
    best = min(range(len(factors)), key=lambda number: abs(math.log(factors[number] / coarser)))
    return best - 1 if best else None


def _pixels_of(grid: Grid, shape: Any, step_px: int, margin_px: int) -> tuple[int, int, int, int] | None:
    """Returns first row and column, and those after the last, of the window of a shape; None without one."""
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

    def snapped(first: float, last: float, size: int) -> tuple[int, int]:
        start = math.floor(first + _SAME_PX) - margin_px
        end = math.ceil(last - _SAME_PX) + margin_px
        return max(start // step_px * step_px, 0), min(-(-end // step_px) * step_px, size)

    west, north, east, south = inside.bounds
    (left, right), (top, bottom) = snapped(west, east, grid.width), snapped(north, south, grid.height)
    return top, left, bottom, right


def _blocks(dataset: Any, box: tuple[int, int, int, int], remote: Remote) -> list[Part]:
    """Returns where the blocks of a window lie in the file, without those that the file leaves out."""
    top, left, bottom, right = box
    # Of a dataset that is opened at an overview GDAL numbers the blocks of that overview.
    block_height, block_width = dataset.block_shapes[0]
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
    """Returns what is read for some blocks, its size, and whether it is the whole file, as for None."""
    whole = ((0, remote.facts.size_bytes),)
    parts = whole if blocks is None or remote.path else joined(blocks)
    if sum(length for _, length in parts) >= _WHOLE_SHARE * remote.facts.size_bytes:
        parts = whole
    size = sum(length for at, part in parts for _, length in remote.absent(at, part))
    return parts, size, parts == whole


def joined(blocks: Sequence[Part]) -> tuple[Part, ...]:
    """Returns parts that hold all blocks; those close to each other are one part."""
    widened = sorted((max(at - _LEADER_BYTES, 0), at + size + _LEADER_BYTES) for at, size in blocks)
    parts: list[Part] = []
    end, spare = 0, 0.0
    for first, last in widened:
        spare += _BETWEEN_SHARE * max(last - max(first, end), 0)
        between = first - end
        if parts and between <= min(spare, _BETWEEN_BYTES):
            spare -= max(between, 0)
            parts[-1] = parts[-1][0], max(end, last) - parts[-1][0]
        else:
            parts.append((first, last - first))
        end = max(end, last)
    return tuple(parts)
