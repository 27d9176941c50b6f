"""The file that an analyst corrects, `corrections.gpkg`: the outlines of a mask, to edit in QGIS.

Layers `outlines` (to edit), `checked` (to draw the ground that was looked at), `before` (the outlines as they
were) and `places` (where to look), and the table `origin`, which says what they were drawn from.
`review.edits` reads it.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from glacierseg._version import __version__
from glacierseg.evaluate.glaciers import glaciers_by_outline
from glacierseg.raster.grid import Grid
from glacierseg.raster.outlines import own_layers, read_own
from glacierseg.raster.outputs import writes
from glacierseg.raster.scene import Scene
from glacierseg.raster.truth import GLACIER, read_mask
from glacierseg.raster.warp import read_grid
from glacierseg.raster.write import atomic_path, digest_of
from glacierseg.vectors.layers import add_layer, style_geopackage
from glacierseg.vectors.trace import to_crs, trace_polygons

_log = logging.getLogger(__name__)

OUTLINES, CHECKED, BEFORE, PLACES, ORIGIN = "outlines", "checked", "before", "places", "origin"
"""Layers of the file, and its table without shapes."""
_EDITED = (OUTLINES, CHECKED)
_ALL = (OUTLINES, CHECKED, BEFORE, PLACES, ORIGIN)
_IDS = ("inv_id", "glacier_id")


@writes(path=...)
def write_corrections(
    path: Path,
    mask: Path,
    glaciers: gpd.GeoDataFrame | None = None,
    places: gpd.GeoDataFrame | None = None,
    *,
    scene: Scene | None = None,
    facts: Mapping[str, str] | None = None,
) -> bool:
    """Writes the outlines of a mask for an analyst to correct; a file that was edited stays as it is.

    Outlines run along pixel edges, so that those that nobody edits give back the very pixels of the mask.

    Args:
        path: The GeoPackage.
        mask: The refined mask.
        glaciers: Its inventory, along whose divides outlines are cut; connected ice is one glacier when None.
        places: Where to look, see `glacierseg.review.places`; no layer when None.
        scene: What the mask was made of.
        facts: What else the table `origin` shall say, such as `model`.

    Returns:
        Whether the file is as made from this mask; False where edits were kept.

    Raises:
        RasterError: The mask cannot be read.
        TruthError: The mask has other values than 0, 1 and 255.
        OutputError: The file cannot be written.
    """
    grid = read_grid(mask)
    origin = {
        **(facts or {}),
        "mask": str(mask.resolve()),
        "mask_digest": digest_of(mask),
        "grid": _grid_as_text(grid),
        "scene": scene.name if scene else "",
        "scene_digest": scene_digest(scene) if scene else "",
        "version": __version__,
    }
    tables = [_digest_of(table) for table in (glaciers, places) if table is not None]
    origin["made_of"] = hashlib.sha256(json.dumps([origin, tables], sort_keys=True).encode()).hexdigest()
    if path.exists():
        known = read_origin(path)
        if not known or known.get("content") != _content(path):
            _log.info(f"{path}: was edited, so it stays as it is; rename it to get a new one")
            return False
        if known.get("made_of") == origin["made_of"]:
            return True
    before = _outlines(read_mask(mask, grid), grid, glaciers)
    empty = [pd.Series([None] * size, dtype=object) for size in (len(before), 0)]
    layers = {
        OUTLINES: before.assign(analyst=empty[0], note=empty[0]),
        CHECKED: gpd.GeoDataFrame(
            dict.fromkeys(("analyst", "date", "note"), empty[1]), geometry=[], crs=before.crs
        ),
        BEFORE: before,
        **({} if places is None else {PLACES: places}),
    }
    with atomic_path(path, tables=_ALL) as part:
        for name, table in layers.items():
            add_layer(part, name, table, geometry_type="MultiPolygon", promote_to_multi=True)
        style_geopackage(part, dict.fromkeys(layers) | {OUTLINES: "glacier_id"})
        add_layer(part, ORIGIN, pd.DataFrame([origin | {"content": _content(part)}]))
    return True


def read_origin(path: Path) -> dict[str, str]:
    """Returns what a file of outlines says that it was drawn from; nothing of one that is not ours.

    Raises:
        DataError: The file is damaged.
    """
    if path.suffix.lower() != ".gpkg" or ORIGIN not in own_layers(path):
        return {}
    table = read_own(path, ORIGIN)
    if not len(table) or "content" not in table:
        return {}
    return {str(name): str(table[name].iloc[0] or "") for name in table}


def grid_of_origin(origin: Mapping[str, str]) -> Grid | None:
    """Returns the grid that outlines were drawn on, by `read_origin`; None where it does not say."""
    if not origin.get("grid"):
        return None
    crs, transform, height, width = json.loads(origin["grid"])
    return Grid(CRS.from_wkt(crs), Affine(*transform), height, width)


def scene_digest(scene: Scene) -> str:
    """Returns a digest of the content of all files of a scene."""
    digests = [digest_of(path) for path in scene.files]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _grid_as_text(grid: Grid) -> str:
    return json.dumps([grid.crs.to_wkt(), list(grid.transform[:6]), grid.height, grid.width])


def _outlines(mask: NDArray[np.uint8], grid: Grid, glaciers: gpd.GeoDataFrame | None) -> gpd.GeoDataFrame:
    """One row for each glacier, along pixel edges: `glacier_id` and its polygons."""
    labels, ids = label_glaciers(mask, grid, glaciers)
    _, bodies, boxes, _ = cv2.connectedComponentsWithStats((labels > 0).view(np.uint8), connectivity=8)
    parts: dict[int, list[Any]] = {}
    for body, (left, top, width, height, _) in enumerate(boxes[1:], start=1):
        window = np.s_[top : top + height, left : left + width]
        own = np.where(bodies[window] == body, labels[window], 0)
        for label in np.unique(own[own > 0]):
            traced = trace_polygons((own == label).view(np.uint8))
            place = grid.transform * Affine.translation(int(left), int(top))
            parts.setdefault(int(label), []).extend(to_crs(traced, place))
    found = sorted(parts)
    shapes = [shapely.MultiPolygon(parts[one]) for one in found]
    names = pd.Series([ids[one - 1] for one in found], dtype=object)
    return gpd.GeoDataFrame({"glacier_id": names}, geometry=shapes, crs=grid.crs.to_wkt())


def label_glaciers(
    mask: NDArray[np.uint8], grid: Grid, glaciers: gpd.GeoDataFrame | None
) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Says which glacier each pixel of a mask belongs to.

    Args:
        mask: `(H, W)` of 0, 1 and 255.
        grid: Where it lies.
        glaciers: Their inventory; connected ice is one glacier when None, corners connect too.

    Returns:
        `(H, W)` numbers of glaciers, 0 for none; and the ids of glacier 1, 2, ... Ice that touches
        none of the inventory is `fragment 1`, `fragment 2`, ...
    """
    ice = (mask == GLACIER).view(np.uint8)
    _, bodies, boxes, _ = cv2.connectedComponentsWithStats(ice, connectivity=8)
    order = np.argsort(-boxes[1:, cv2.CC_STAT_AREA], kind="stable") + 1
    numbers = np.zeros(len(boxes), np.int32)
    numbers[order] = np.arange(1, len(boxes))
    if glaciers is None or glaciers.empty:
        return numbers[bodies], tuple(map(str, range(1, len(boxes))))
    known = glaciers_by_outline(glaciers.to_crs(grid.crs.to_wkt()), grid, np.zeros(len(glaciers)))
    column = next((name for name in _IDS if name in glaciers), None)
    ids = known.ids if column is None else tuple(map(str, glaciers[column]))
    met = np.zeros(len(boxes), bool)
    met[bodies[(known.inside > 0) & (ice == 1)]] = True
    alone = order[~met[order]]
    numbers[alone] = len(ids) + np.arange(1, len(alone) + 1)
    labels = np.where(known.inside > 0, known.inside, known.nearest)
    labels = np.where(met[bodies], labels, numbers[bodies])
    labels[ice == 0] = 0
    return labels, (*ids, *(f"fragment {number}" for number in range(1, len(alone) + 1)))


def _content(path: Path) -> str:
    """A digest of what an analyst may edit: other layers than ours count too."""
    others = sorted(set(own_layers(path)) - set(_ALL) - {"layer_styles"})
    return ",".join([*others, *(_digest_of(read_own(path, name)) for name in _EDITED)])


def _digest_of(table: gpd.GeoDataFrame) -> str:
    """A digest of the rows of a table, in whatever order they are."""
    shapes = shapely.to_wkb(table.geometry.to_numpy(), byte_order=1)
    others = table.drop(columns=table.geometry.name)
    values = others.astype(object).where(others.notna(), None).itertuples(index=False, name=None)
    rows = sorted(repr((shape, row)) for shape, row in zip(shapes, values, strict=True))
    return hashlib.sha256("\n".join([str(list(others.columns)), *rows]).encode()).hexdigest()
