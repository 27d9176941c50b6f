"""What an analyst made of a mask, as truth.

Only ground that lies in the layer `checked` becomes truth: there the outlines count as they stand, edited or
not. All else stays unknown. Pixels count by their centres.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio.features
import shapely
from numpy.typing import NDArray

from glacierseg.errors import RequestError, TruthError
from glacierseg.raster.bounds import frame_points
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import pixel_areas_km2
from glacierseg.raster.outlines import (
    VECTOR_SUFFIXES,
    is_open_elsewhere,
    near_grid,
    own_layers,
    read_own,
    read_shapes,
)
from glacierseg.raster.outlines.repair import areas_km2, count_once
from glacierseg.raster.scene import Scene
from glacierseg.raster.truth import GLACIER, IGNORE, read_mask
from glacierseg.raster.warp import read_grid
from glacierseg.review.corrections import (
    BEFORE,
    CHECKED,
    OUTLINES,
    grid_of_origin,
    label_glaciers,
    read_origin,
    scene_digest,
)

CHANGES = ("glacier_id", "change", "gained_km2", "lost_km2", "analyst")
_STRIP_ROWS = 512
# Lines that were moved to another CRS and back differ in the last digits.
_LEAST_PX = 0.5


@dataclass(frozen=True, eq=False)
class Edits:
    """What an analyst made of a mask.

    Attributes:
        grid: Of the mask.
        truth: `(H, W)` uint8: 1 and 0 by the outlines where the ground was checked, else 255.
        checked: `(H, W)` bool, checked ground with data.
        changes: By glacier: `glacier_id`, `change` (added, removed or reshaped), `gained_km2`, `lost_km2`,
            `analyst`; the largest change first.
        checked_km2: Area of the checked ground.
        analyst: Who checked it, several separated by commas; empty where nobody says.
        outlines: The outlines that meet the scene, repaired, in the CRS of the mask.
        ground: The checked ground as polygons, in the same CRS.
        warnings: What was not used or looks odd, one line each.
    """

    grid: Grid
    truth: NDArray[np.uint8]
    checked: NDArray[np.bool_]
    changes: pd.DataFrame
    checked_km2: float
    analyst: str
    outlines: gpd.GeoDataFrame
    ground: gpd.GeoDataFrame
    warnings: tuple[str, ...] = ()

    @property
    def gained_km2(self) -> float:
        """Area that became glacier."""
        return float(self.changes["gained_km2"].sum())

    @property
    def lost_km2(self) -> float:
        """Area that is no glacier any more."""
        return float(self.changes["lost_km2"].sum())


def read_edits(
    mask: Path,
    outlines: Path,
    checked: str | Path = CHECKED,
    *,
    scene: Scene | None = None,
    layer: str | None = None,
    analyst: str | None = None,
) -> Edits:
    """Reads what an analyst made of a mask, of whatever CRS and state; no file is touched.

    Args:
        mask: The mask that was corrected.
        outlines: `corrections.gpkg`, or outlines of any format.
        checked: The layer with the checked ground in that file; or a vector file of its own, a path or a word
            that ends like one.
        scene: What the mask was made of; pixels without data there stay unknown.
        layer: The layer with the outlines; `outlines`, or the only one, when None.
        analyst: Who checked the ground; as the file says when None.

    Raises:
        RasterError: The mask or the scene cannot be read.
        GridMismatchError: Mask and scene lie on different grids.
        TruthError: The outlines cannot be read, are of another scene or grid, or no ground is checked.
        RequestError: Outlines and checked ground are one layer.
    """
    grid = read_grid(mask) if scene is None else scene.grid
    before = read_mask(mask, grid)
    notes: list[str] = []
    drawn, _ = _read(outlines, layer, "--layer", OUTLINES, grid, notes)
    where, name = _place_of(outlines, checked)
    looked_at, is_elsewhere = _read(where, name, "--checked", CHECKED, grid, notes)
    notes += _about_origin(outlines, mask, grid, scene)
    for path in dict.fromkeys((outlines, where)):
        if is_open_elsewhere(path):
            notes.append(f"{path}: is open in another program; edits that are not saved there do not count")
    _refuse_one_layer(outlines, where, drawn, looked_at)

    areas = np.broadcast_to(pixel_areas_km2(grid), grid.shape)
    now = _burn(drawn, grid)
    inside = _burn(looked_at, grid) > 0
    known = before != IGNORE
    if scene is not None:
        known &= _valid(scene, inside)
    truth = np.where(inside & known, (now > 0).view(np.uint8), np.uint8(IGNORE))
    numbers, ids, drawn_on = _glaciers_before(outlines, before, grid)
    edited = known & ((now > 0) != drawn_on)
    used = inside & known
    if not used.any():
        raise _nothing_checked(where, drawn=bool(len(looked_at)) or is_elsewhere, edited=bool(edited.any()))
    if other_km2 := float(areas[known & (drawn_on != (before == GLACIER))].sum()):
        notes.append(
            f"{mask}: differs in {other_km2:.3g} km2 from the mask that {outlines} was drawn on, and changes "
            "are counted against it"
        )
    if unknown_km2 := float(areas[inside & ~known].sum()):
        notes.append(f"{unknown_km2:.3g} km2 of the checked ground have no data in scene or mask: not used")
    if outside_km2 := float(areas[edited & ~inside].sum()):
        notes.append(
            f"{outside_km2:.3g} km2 of edits lie outside the checked ground and are not used; draw that "
            f"ground in layer {CHECKED!r} too"
        )
    who = analyst if analyst is not None else _analysts(looked_at) or _analysts(drawn)
    changed = used & ((now > 0) != (before == GLACIER))
    changes = _changes(drawn, now, numbers, ids, changed, areas, who)
    checked_km2 = float(areas[used].sum())
    return Edits(grid, truth, used, changes, checked_km2, who, drawn, looked_at, tuple(notes))


def _about_origin(path: Path, mask: Path, grid: Grid, scene: Scene | None) -> list[str]:
    """Refuses outlines that were drawn on another grid or scene; says where the mask was another."""
    origin = read_origin(path)
    theirs = grid_of_origin(origin)
    if theirs and (difference := theirs.difference(grid)):
        raise TruthError(
            f"{path}: was drawn on another grid than that of {mask} ({difference}); give the mask that it "
            f"was drawn on, {origin['mask']}"
        )
    if scene and origin.get("scene_digest") and origin["scene_digest"] != scene_digest(scene):
        if origin["scene"] != scene.name:
            raise TruthError(
                f"{path}: was drawn on another scene, {origin['scene']}, not on {scene.name}; give that scene"
            )
        return [f"{scene.paths[0]}: was changed since {path} was drawn on it; check that both still fit"]
    return []


def _place_of(outlines: Path, checked: str | Path) -> tuple[Path, str | None]:
    """Returns the file of the checked ground, and its layer where that is named."""
    if isinstance(checked, Path) or Path(checked).suffix.lower() in VECTOR_SUFFIXES:
        return Path(checked), None
    return outlines, checked


def _read(
    path: Path, layer: str | None, option: str, usual: str, grid: Grid, notes: list[str]
) -> tuple[gpd.GeoDataFrame, bool]:
    """Reads polygons that meet a grid, in its CRS, if any; says whether some lie outside."""
    table = read_shapes(path, layer=layer, shapes="edits", option=option, prefer=(usual,), notes=notes)
    table, clauses = count_once(table) if usual == OUTLINES else (table, [])
    notes += [f"{path}: {clause}" for clause in clauses]
    near: gpd.GeoDataFrame = near_grid(table, grid)
    far = table[~table.index.isin(near.index)]
    frame = shapely.Polygon(frame_points(grid))
    beyond = near.geometry.to_numpy()
    beyond = shapely.difference(beyond[~shapely.covers(frame, beyond)], frame)
    beyond = beyond[shapely.area(beyond) > 0]
    outside_km2 = areas_km2(far.geometry, far.crs).sum() + areas_km2(beyond, near.crs).sum()
    if is_outside := bool(outside_km2 > _LEAST_PX * grid.pixel_area_km2):
        notes.append(f"{path}: {outside_km2:.3g} km2 of layer {usual!r} lie outside the scene: not used")
    return near.reset_index(drop=True), is_outside


def _refuse_one_layer(path: Path, other: Path, drawn: gpd.GeoDataFrame, ground: gpd.GeoDataFrame) -> None:
    if len(drawn) and path.resolve() == other.resolve() and drawn.geometry.equals(ground.geometry):
        raise RequestError(
            f"{path}: the outlines and the checked ground are the same polygons; draw the ground that you "
            "looked at, glacier and background, in a layer of its own and name it with --checked"
        )


def _nothing_checked(path: Path, *, drawn: bool, edited: bool) -> TruthError:
    if drawn:
        return TruthError(
            f"{path}: no pixel with data lies in its checked ground; check that it is of the scene"
        )
    found = "no ground is marked as checked" if edited else "nothing was edited, and no ground is checked"
    return TruthError(
        f"{path}: {found}; in QGIS draw polygons around all that you looked at in layer {CHECKED!r}, also "
        "where the map is right, save it, and run again"
    )


def _burn(table: gpd.GeoDataFrame, grid: Grid) -> NDArray[np.int32]:
    """Returns the number of the first row that each pixel lies in, counted from 1; 0 for none."""
    rows = [(shape, number) for number, shape in enumerate(table.geometry, start=1)]
    if not rows:
        return np.zeros(grid.shape, np.int32)
    found: NDArray[np.int32] = rasterio.features.rasterize(
        rows[::-1], out_shape=grid.shape, transform=grid.transform, fill=0, dtype="int32"
    )
    return found


def _valid(scene: Scene, wanted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Says which pixels of a scene have data, of rows that hold some that are wanted."""
    valid = np.ones(scene.grid.shape, bool)
    with scene.open() as reader:
        for top in range(0, scene.grid.height, _STRIP_ROWS):
            rows = slice(top, min(top + _STRIP_ROWS, scene.grid.height))
            if wanted[rows].any():
                valid[rows] = reader.read(top, 0, rows.stop - top, scene.grid.width)[1]
    return valid


def _glaciers_before(
    path: Path, mask: NDArray[np.uint8], grid: Grid
) -> tuple[NDArray[np.int32], Sequence[str], NDArray[np.bool_]]:
    """Returns the glacier of each pixel of the mask, 0 for none, the ids, and what the outlines showed."""
    ice = mask == GLACIER
    if path.suffix.lower() != ".gpkg" or BEFORE not in own_layers(path):
        return *label_glaciers(mask, grid, None), ice
    table = read_own(path, BEFORE)
    numbers = _burn(table, grid)
    if np.array_equal(numbers > 0, ice):
        return numbers, tuple(table["glacier_id"].astype(str)), ice
    return *label_glaciers(mask, grid, table), numbers > 0


def _analysts(table: gpd.GeoDataFrame) -> str:
    """Returns the names in a column `analyst`, each once."""
    names = table.get("analyst", ())
    return ", ".join(sorted(set(map(_line, names)) - {""}))


def _line(value: Any) -> str:
    """What was typed into a field, on one line; empty for NULL."""
    return "" if pd.isna(value) else " ".join(str(value).split())


def _changes(
    drawn: gpd.GeoDataFrame,
    now: NDArray[np.int32],
    numbers: NDArray[np.int32],
    ids: Sequence[str],
    changed: NDArray[np.bool_],
    areas: NDArray[np.float64],
    who: str,
) -> pd.DataFrame:
    """Adds up what was gained and lost by glacier.

    An outline belongs to the glacier whose ground it covers most of, whatever id it has: of two pieces of a
    split one has none, and a copy has that of another.
    """
    owners = _owners(now, numbers, len(drawn))
    names = dict(enumerate(ids, start=1))
    new = np.flatnonzero(owners[1:] == 0) + 1
    owners[new] = len(ids) + np.arange(1, len(new) + 1)
    names |= dict(zip(owners[new].tolist(), _new_names(drawn, new - 1, set(ids)), strict=True))
    gained = changed & (now > 0)
    lost = changed & (now == 0)
    size = len(names) + 1
    gained_km2 = np.bincount(owners[now[gained]], areas[gained], size)
    lost_km2 = np.bincount(numbers[lost], areas[lost], size)
    all_px = np.bincount(numbers.ravel(), minlength=size)
    gone = np.bincount(numbers[lost], minlength=size) == all_px
    rows: list[tuple[Any, ...]] = []
    for one in np.flatnonzero(gained_km2 + lost_km2):
        kind = "added" if one > len(ids) else "removed" if gone[one] and not gained_km2[one] else "reshaped"
        own = _analysts(drawn[owners[1:] == one]) or who
        rows.append((names[int(one)], kind, float(gained_km2[one]), float(lost_km2[one]), own))
    rows.sort(key=lambda row: -(row[2] + row[3]))
    return pd.DataFrame(rows, columns=list(CHANGES))


def _owners(now: NDArray[np.int32], numbers: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Returns by number of an outline that of the glacier with which it has most pixels in common, or 0."""
    both = (now > 0) & (numbers > 0)
    size = int(numbers.max(initial=0)) + 1
    pairs, common = np.unique(now[both].astype(np.int64) * size + numbers[both], return_counts=True)
    owners = np.zeros(count + 1, np.int64)
    order = np.argsort(common, kind="stable")
    owners[pairs[order] // size] = pairs[order] % size
    return owners


def _new_names(drawn: gpd.GeoDataFrame, rows: NDArray[np.int64], taken: set[str]) -> list[str]:
    """Returns ids for new outlines: their own where they have one that is not taken, else `new 1`, ..."""
    given = drawn["glacier_id"] if "glacier_id" in drawn else pd.Series([None] * len(drawn))
    found: list[str] = []
    for row in rows:
        own = _line(given.iloc[row])
        if not own or own in taken:
            own = next(name for number in range(1, len(drawn) + 2) if (name := f"new {number}") not in taken)
        taken.add(own)
        found.append(own)
    return found
