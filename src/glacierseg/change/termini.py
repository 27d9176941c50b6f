"""The shift of all termini between two dates, with what is read for it: centre lines and elevation."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import rasterio.crs
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from glacierseg.change.terminus import TerminusShift, run_down, shift_along_line, shift_of_lowest_part
from glacierseg.raster.blocks import Block
from glacierseg.raster.elevation import open_terrain
from glacierseg.raster.grid import Grid
from glacierseg.raster.outlines import read_shapes
from glacierseg.raster.warp import read_grid


def measure_termini(
    old: NDArray[Any],
    new: NDArray[Any],
    crs: CRS,
    *,
    error_m: float,
    centre_lines: Path | None,
    lines_layer: str | None = None,
    dem: Path | None = None,
) -> list[TerminusShift | None]:
    """Measures the shift of the terminus of every glacier that has a line, or approximates it.

    Args:
        old: `(N,)` glaciers of the old date.
        new: `(M,)` glaciers of the new date.
        crs: Of both, in metres.
        error_m: How far outlines may be off.
        centre_lines: Lines from the head down; turned by the elevation model when there is one.
        lines_layer: Their layer in a file with several of lines.
        dem: Elevation, for glaciers without a line.

    Returns:
        One for each old glacier, None where it was not measured.

    Raises:
        TruthError: The file has no lines that can be used.
        RasterError: The elevation cannot be read.
    """
    found: list[TerminusShift | None] = [None] * len(old)
    if (centre_lines is None and dem is None) or not len(old):
        return found
    elevation = _elevation(dem, old, new, crs) if dem is not None else None
    tree = shapely.STRtree(new)
    if centre_lines is not None:
        table = read_shapes(centre_lines, layer=lines_layer, shapes="lines", option="--centre-lines-layer")
        lines = shapely.get_parts(shapely.line_merge(table.geometry.to_crs(crs).to_numpy()))
        crossing = shapely.STRtree(lines)
        for number, shape in enumerate(old):
            near = lines[np.sort(crossing.query(shape, predicate="intersects"))]
            inside = shapely.length(shapely.intersection(near, shape))
            # The longest line inside is the main one.
            if inside.max(initial=0) > 0:
                line = near[inside.argmax()]
                line = run_down(line, *elevation) if elevation is not None else line
                now = shapely.union_all(new[tree.query(line, predicate="intersects")])
                found[number] = shift_along_line(line, shape, now, error_m=error_m)
    if elevation is not None:
        for number, shape in enumerate(old):
            if found[number] is None:
                now = shapely.union_all(new[tree.query(shape, predicate="intersects")])
                found[number] = shift_of_lowest_part(shape, now, *elevation)
    return found


def _elevation(
    path: Path, old: NDArray[Any], new: NDArray[Any], crs: CRS
) -> tuple[NDArray[np.float32], Grid]:
    """Reads an elevation model in metres around all glaciers, at its own resolution."""
    side = max(*read_grid(path).pixel_size_m, 1.0)
    left, bottom, right, top = shapely.total_bounds(np.concatenate([old, new]))
    grid = Grid(
        rasterio.crs.CRS.from_wkt(crs.to_wkt()),
        Affine(side, 0, left, 0, -side, top),
        math.ceil((top - bottom) / side),
        math.ceil((right - left) / side),
    )
    with open_terrain(path, grid) as terrain:
        layers = terrain.read(Block(0, 0, grid.height, grid.width), ["elevation"])
    return layers["elevation"], grid
