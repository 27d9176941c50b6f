"""A made-up analyst, who corrects the outlines of given places to the truth, or wrongly.

Outlines are edited as in QGIS: glaciers keep their ids, ice that joins a glacier becomes part of it, new
glaciers have no id, and nothing moves outside of the places.
"""

from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from glacierseg.raster.grid import Grid
from glacierseg.raster.outlines import read_own
from glacierseg.raster.truth import GLACIER, IGNORE, rasterize_outlines, read_mask
from glacierseg.raster.warp import read_grid
from glacierseg.synthetic.noise import smooth_noise
from glacierseg.vectors.layers import add_layer, joined, polygons_only
from glacierseg.vectors.trace import to_crs, trace_polygons

Mistake = Literal["inverted", "all_glacier", "all_background", "shifted", "blobs"]
"""What an analyst who is wrong draws: the opposite of the truth, ice everywhere, none anywhere, the truth
some pixels away, or shapes that have nothing to do with the ground."""
_BLOBS_PX = 24.0
# Corners of pixels, after a way to the coordinates of a map and back.
_ROUNDING_PX = 1e-4


def fix(
    mask: Path,
    truth: Path,
    places: gpd.GeoDataFrame,
    *,
    outlines: gpd.GeoDataFrame | None = None,
    wrongly: Mistake | None = None,
    shift_px: int = 12,
    analyst: str = "made-up",
    seed: int = 0,
) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
    """Corrects the outlines of a mask in some places.

    Args:
        mask: The mask that is corrected.
        truth: Of the same ground, on the same grid.
        places: The polygons that are looked at, in any CRS.
        outlines: Outlines of the mask with `glacier_id`, as `corrections.gpkg` has them; one for each
            4-connected part of the mask when None.
        wrongly: How the analyst is wrong.
        shift_px: Rows and columns of the mistake `shifted`.
        analyst: Name of the analyst.
        seed: Of the mistake `blobs`.

    Returns:
        All outlines, and the checked ground: places less the pixels that the mask or the truth does not know,
        with `analyst`, `date` and `note`; both in the CRS of the mask.
    """
    grid = read_grid(mask)
    before, true = read_mask(mask, grid), read_mask(truth, grid)
    known = (before != IGNORE) & (true != IGNORE)
    table = _traced(before, grid) if outlines is None else outlines.to_crs(grid.crs.to_wkt())
    seen = _seen(true, wrongly, shift_px, np.random.default_rng(seed))
    ground = gpd.GeoDataFrame(geometry=places.geometry.to_crs(grid.crs.to_wkt()).to_numpy())
    inside, drawn = _pixels(ground, grid), _pixels(table, grid)
    unknown = to_crs(trace_polygons((inside & ~known).view(np.uint8)), grid.transform)
    looked_at = polygons_only(shapely.difference(ground.geometry.to_numpy(), shapely.union_all(unknown)))
    looked_at = looked_at[~shapely.is_empty(looked_at)]
    facts = dict.fromkeys(("analyst", "date", "note"), [""] * len(looked_at))
    facts |= {"analyst": [analyst] * len(looked_at), "note": [wrongly or ""] * len(looked_at)}
    checked = gpd.GeoDataFrame(facts, geometry=looked_at, crs=grid.crs.to_wkt())
    inside &= known
    gained = trace_polygons((inside & seen & ~drawn).view(np.uint8))
    lost = trace_polygons((inside & ~seen & drawn).view(np.uint8))
    return _edited(table, gained, lost, grid, analyst), checked


def edit(path: Path, mask: Path, truth: Path, places: gpd.GeoDataFrame, **how: Any) -> None:
    """Corrects a `corrections.gpkg` as QGIS does, in its layers `outlines` and `checked`.

    Args:
        path: The file, as made from the mask.
        mask: As for `fix`.
        truth: The same.
        places: The same.
        how: What else `fix` may be told.
    """
    outlines, checked = fix(mask, truth, places, outlines=read_own(path, "outlines"), **how)
    earlier = read_own(path, "checked")
    for name, table in (("outlines", outlines), ("checked", joined([earlier, checked]))):
        add_layer(path, name, table, geometry_type="MultiPolygon", promote_to_multi=True)


def _pixels(table: gpd.GeoDataFrame, grid: Grid) -> NDArray[np.bool_]:
    shapes = table[~(table.geometry.is_empty | table.geometry.isna())]
    inside: NDArray[np.bool_] = np.zeros(grid.shape, bool)
    return rasterize_outlines(shapes, grid) == GLACIER if len(shapes) else inside


def _traced(mask: NDArray[np.uint8], grid: Grid) -> gpd.GeoDataFrame:
    polygons = to_crs(trace_polygons(mask), grid.transform)
    ids = pd.Series([str(number) for number in range(1, len(polygons) + 1)], dtype=object)
    table = pd.DataFrame({"glacier_id": ids, "analyst": None, "note": None}, dtype=object)
    return gpd.GeoDataFrame(table, geometry=polygons, crs=grid.crs.to_wkt())


def _seen(
    truth: NDArray[np.uint8], wrongly: Mistake | None, shift_px: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Says where an analyst sees glacier."""
    seen: NDArray[np.bool_] = truth == GLACIER
    if wrongly == "inverted":
        seen = ~seen
    elif wrongly in {"all_glacier", "all_background"}:
        seen = np.full(truth.shape, wrongly == "all_glacier")
    elif wrongly == "shifted":
        rows, columns = (np.clip(np.arange(size) - shift_px, 0, size - 1) for size in truth.shape)
        seen = seen[np.ix_(rows, columns)]
    elif wrongly == "blobs":
        seen = np.asarray(smooth_noise(rng, truth.shape, _BLOBS_PX) > 0)
    return seen


def _edited(
    table: gpd.GeoDataFrame, gained: NDArray[Any], lost: NDArray[Any], grid: Grid, analyst: str
) -> gpd.GeoDataFrame:
    """Takes ice from outlines and adds ice to them, polygons in pixels, where no rounding leaves slivers."""
    old = _on_corners(to_crs(table.geometry.to_numpy(), ~grid.transform))
    kept = shapely.difference(old, shapely.union_all(lost))
    tree = shapely.STRtree(kept)
    joining: dict[int, list[Any]] = {}
    new = []
    for piece in gained:
        near = tree.query(piece, predicate="intersects")
        shared = shapely.length(shapely.intersection(kept[near], piece))
        if len(near) and shared.max() > 0:
            joining.setdefault(int(near[shared.argmax()]), []).append(piece)
        else:
            new.append(piece)
    for row, pieces in joining.items():
        kept[row] = shapely.union_all([kept[row], *pieces])
    edited = table.set_geometry(to_crs(kept, grid.transform))
    edited.loc[~shapely.equals(old, kept), "analyst"] = analyst
    added = gpd.GeoDataFrame(
        {"analyst": analyst},
        index=range(len(new)),
        geometry=list(to_crs(np.array(new, object), grid.transform)),
    ).set_crs(table.crs)
    whole = gpd.GeoDataFrame(pd.concat([edited, added], ignore_index=True), crs=table.crs)
    return whole[~whole.geometry.is_empty].reset_index(drop=True)


def _on_corners(shapes: NDArray[Any]) -> NDArray[Any]:
    """Moves points that lie on a corner of a pixel, but for rounding, to that corner."""

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        corners = np.rint(points)
        return np.where(np.abs(points - corners) < _ROUNDING_PX, corners, points)

    moved: NDArray[Any] = shapely.transform(shapes, move)
    return moved
