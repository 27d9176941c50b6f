"""The elevation model of a place, by tiles as its catalogue has them, each cut to the place.

Tiles of one model may have pixels of several widths (those of GLO-30 are wider towards the poles), or lie on
both sides of 180 degrees; over open sea there are none. So they stay separate files, which `raster.elevation`
reads as one model.
"""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from glacierseg.catalogues.addresses import shown
from glacierseg.catalogues.candidate import Asset
from glacierseg.catalogues.folders import write_windows
from glacierseg.catalogues.search import ELEVATION_MARGIN_DEG
from glacierseg.catalogues.tally import Tally
from glacierseg.catalogues.web import Web
from glacierseg.catalogues.windows import Window, plan_window
from glacierseg.errors import ProductError
from glacierseg.raster.outputs import writes

_MARGIN_PX = 10


def plan_elevation(web: Web, tiles: Sequence[Asset], outline: Any) -> dict[str, Window]:
    """Plans the windows of an elevation model's tiles; reads their headers only.

    Args:
        web: Reads them.
        tiles: Their files.
        outline: Shapes in degrees whose ground is wanted.

    Returns:
        Windows of the tiles that meet the place, by the name of the file to write.

    Raises:
        DownloadError: A file cannot be read.
        ProductError: One is not an elevation model.
    """
    windows: dict[str, Window] = {}
    around = outline.buffer(ELEVATION_MARGIN_DEG)
    for tile in sorted(tiles, key=lambda tile: tile.address):
        window = plan_window(web, tile, around, margin_px=_MARGIN_PX)
        if window is None:
            continue
        if window.dtype not in {"float32", "float64", "int16", "int32"}:
            raise ProductError(
                f"{shown(tile.address)}: holds {window.dtype}, and heights are float32 or int16; choose "
                "another --catalogue, or give an elevation model with --dem"
            )
        stem = re.sub(r"[^\w-]", "_", PurePosixPath(unquote(shown(tile.address)).replace("\\", "/")).stem)
        name = f"{stem or 'tile'}.tif"
        if name in windows:
            name = f"{stem}_{len(windows) + 1}.tif"
        windows[name] = window
    return windows


@writes(folder=None)
def fetch_elevation(
    web: Web, windows: dict[str, Window], folder: Path, tally: Tally | None = None
) -> tuple[Path, ...]:
    """Writes the windows of an elevation model to a folder, which stands under its name when it is whole.

    Args:
        web: Reads them.
        windows: From `plan_elevation`.
        folder: The folder to make; not made where there are no windows.
        tally: Counts what is read.

    Returns:
        The files, for `--dem`; none where there is no tile, as at sea.

    Raises:
        DownloadError: A tile cannot be read.
        ProductError: A tile is damaged.
        OutputError: They cannot be written.
        RequestError: A folder of that name exists and no fetch wrote it.
    """
    if not windows:
        return ()
    write_windows(web, Path(folder), windows, {}, tally)
    return tuple(Path(folder) / name for name in windows)
