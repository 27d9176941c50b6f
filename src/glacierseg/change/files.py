"""Change between two files: masks or inventories, of any CRS."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from glacierseg.change.bounds import FileBounds, bound_changes, read_dates, require_one_grid
from glacierseg.change.common_ground import LeftOut, on_common_ground
from glacierseg.change.measure import Change, measure_change
from glacierseg.change.sources import Side, common_crs, rate_years, read_side, true_scales, with_dates
from glacierseg.change.termini import TerminusShift, measure_termini
from glacierseg.errors import RequestError, TruthError
from glacierseg.inventory.sources import observed_shares
from glacierseg.raster.outputs import require_output, writes
from glacierseg.raster.truth import IGNORE, read_mask
from glacierseg.raster.write import atomic_path, finite_only, write_json
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.outlines import ChangeInputs, ChangeSettings
from glacierseg.vectors.layers import add_layer, areas_km2

# A mask whose glaciers are mostly this small, and this many, was not refined.
_SPECKLE_PX = 4
_SPECKLES = 20

_LAYERS = ("advance", "retreat", "glaciers", "left_out")


@dataclass(frozen=True, eq=False)
class FileChange:
    """Change between two files.

    Attributes:
        change: Areas, advance and retreat.
        termini: Shift of the terminus of each glacier, None where it was not measured.
        old_error_m: Uncertainty of the old outlines.
        new_error_m: Uncertainty of the new outlines.
        crs: Of all polygons.
        old: `(N,)` outlines of the old date.
        observed_share: `(N,)` share of the outline of each glacier, with what it gained, that does not follow
            the end of the data of a mask; NaN without masks.
        left_out: What was not compared.
        notes: What a user should know, one line each.
        bounds: From probabilities, where they were given.
        dates: The old and the new one, as they were given or as the files tell them; None where not known.
    """

    change: Change
    termini: list[TerminusShift | None]
    old_error_m: float
    new_error_m: float
    crs: CRS
    old: NDArray[Any]
    observed_share: NDArray[np.float64]
    left_out: LeftOut
    notes: tuple[str, ...] = ()
    bounds: FileBounds | None = None
    dates: tuple[str | None, str | None] = (None, None)

    def rows(self) -> list[dict[str, Any]]:
        """Returns one flat record for each glacier."""
        rows = []
        for number, glacier in enumerate(self.change.glaciers):
            row = glacier.to_dict() | {"observed_share": float(self.observed_share[number])}
            if self.bounds is not None:
                row |= self.bounds.glaciers[number].to_dict()
            if (terminus := self.termini[number]) is not None:
                row["terminus_shift_m"] = terminus.shift_m
                row["terminus_method"] = terminus.method
                row["terminus_at_end_of_line"] = terminus.at_end_of_line
            rows.append(row)
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Returns it for JSON."""
        record: dict[str, Any] = {
            "old_error_m": self.old_error_m,
            "new_error_m": self.new_error_m,
            **{name: day for name, day in zip(("old_date", "new_date"), self.dates, strict=True) if day},
            "left_out": self.left_out.to_dict(),
            "total": self.change.total.to_dict(),
            "glaciers": self.rows(),
        }
        if self.bounds is not None:
            record["confidence"] = self.bounds.total.old.confidence
            record["total"] |= self.bounds.total.to_dict()
        found: dict[str, Any] = finite_only(record)
        return found


@fields_as_keywords(settings=ChangeSettings, inputs=ChangeInputs)
@writes(out=...)
def change_between_files(
    old: Path | str,
    new: Path | str,
    out: Path | str | None = None,
    settings: ChangeSettings | None = None,
    inputs: ChangeInputs | None = None,
    *,
    overwrite: bool = False,
) -> FileChange:
    """Measures the change between two masks or inventories.

    Only ground that both cover is compared, see `glacierseg.change.common_ground`: ground that one of two
    rasters does not know is left out, outlines are cut to the ground of a raster, and glaciers on ground that
    a file of outlines does not cover are left out.

    Args:
        old: A mask raster or outlines.
        new: A mask raster or outlines.
        out: Where `write_change` writes it; nowhere when None.
        settings: Dates and uncertainties; the defaults when None. Its fields may be given as keywords.
        inputs: What else is used; nothing when None. Its fields may be given as keywords.
        overwrite: See `write_change`.

    Raises:
        RasterError: A raster cannot be read.
        GridMismatchError: Probabilities lie on another grid than each other or than the masks.
        CheckpointError: A model folder cannot be used.
        TruthError: Outlines cannot be read, none is there, or it is not clear which ground both files cover.
        RequestError: An option is out of its bounds, dates are in the wrong order or one of them is not
            known; or see `change_path`.
        OutputError: See `change_path`.
    """
    settings, inputs = settings or ChangeSettings(), inputs or ChangeInputs()
    old, new, out = Path(old), Path(new), Path(out) if out is not None else None
    if out is not None:
        change_path(out, overwrite=overwrite)
    dated = read_dates(inputs)
    before = read_side(old, inputs.old_layer, "--old-layer")
    after = read_side(new, inputs.new_layer, "--new-layer")
    settings, about_dates = with_dates(settings, ((old, before), (new, after)))
    masks = [(path, side.grid) for path, side in ((old, before), (new, after)) if side.grid is not None]
    if dated is not None:
        require_one_grid(*dated, masks)
    crs = common_crs(before, after)
    sides = before.in_crs(crs), after.in_crs(crs)
    old_shapes, new_shapes, left_out = on_common_ground(*sides, (old, new), crs)
    here = shapely.area(old_shapes) > 0
    ids = [one for one, is_here in zip(before.ids, here, strict=True) if is_here]
    old_shapes, new_shapes = old_shapes[here], new_shapes[shapely.area(new_shapes) > 0]
    if not len(old_shapes) and not len(new_shapes):
        raise TruthError(
            f"{old}: no glacier lies on the ground of both files; check that they are of one place"
        )
    errors = (
        before.error_m if settings.old_error_m is None else settings.old_error_m,
        after.error_m if settings.new_error_m is None else settings.new_error_m,
    )
    change = measure_change(
        old_shapes,
        new_shapes,
        ids,
        old_error_m=errors[0],
        new_error_m=errors[1],
        years=rate_years(settings),
        scales=true_scales(old_shapes, crs),
    )
    termini = measure_termini(old_shapes, new_shapes, crs, inputs, error_m=max(errors))
    bounds = None
    if dated is not None:
        known = np.ones(dated[0].grid.shape, bool)
        for path, _ in masks:
            known &= read_mask(path) != IGNORE
        bounds = bound_changes(*dated, old_shapes, crs, known=known, confidence=settings.confidence)
    shares = _observed_shares(change, old_shapes, sides)
    notes = [
        *about_dates,
        *left_out.notes,
        *_about_unseen(shares),
        *_about_speckle(((old, before), (new, after))),
    ]
    used = settings.old_date, settings.new_date
    found = FileChange(
        change, termini, *errors, crs, old_shapes, shares, left_out, tuple(notes), bounds, used
    )
    if out is not None:
        write_change(found, out, overwrite=overwrite)
    return found


def change_path(out: Path, *, overwrite: bool = False) -> Path:
    """Returns where a change is written to, before any work is done for it.

    Args:
        out: A `.gpkg` file, or a folder for `change.gpkg`.
        overwrite: Also where that file holds other layers than those of a change.

    Raises:
        RequestError: The name is that of another format, or the file is an input or holds layers of others.
        OutputError: It cannot be written.
    """
    path = out if out.suffix.lower() == ".gpkg" else out / "change.gpkg"
    if path != out and out.suffix and not out.is_dir():
        raise RequestError(
            f"{out}: a change has several layers; end the name in .gpkg, or give a folder without a dot"
        )
    require_output(path, tables=None if overwrite else _LAYERS)
    require_output(path.with_suffix(".json"))
    return path


def write_change(found: FileChange, out: Path, *, overwrite: bool = False) -> Path:
    """Writes advance, retreat, glaciers and what was left out as layers of a GeoPackage, and JSON beside it.

    Args:
        found: From `change_between_files`.
        out: A `.gpkg` file, or a folder for `change.gpkg`.
        overwrite: Replace also a GeoPackage that holds other layers.

    Returns:
        The path of the GeoPackage.

    Raises:
        RequestError: See `change_path`.
        OutputError: See `change_path`.
    """
    path = change_path(out, overwrite=overwrite)
    change = found.change
    ids = [one.glacier_id for one in change.glaciers]
    layers: dict[str, gpd.GeoDataFrame] = {}
    for name, parts, owners in (
        ("advance", change.advance, change.advance_of),
        ("retreat", change.retreat, change.retreat_of),
    ):
        columns = {
            "glacier_id": [ids[i] if i >= 0 else None for i in owners],
            "area_km2": areas_km2(parts, found.crs),
        }
        layers[name] = gpd.GeoDataFrame(columns, geometry=list(parts), crs=found.crs)
    rows = finite_only(found.rows())
    layers["left_out"] = found.left_out.table
    layers["glaciers"] = gpd.GeoDataFrame(rows, geometry=list(found.old), crs=found.crs)
    with atomic_path(path, tables=None if overwrite else _LAYERS) as part:
        for name, table in layers.items():
            add_layer(part, name, table, geometry_type="MultiPolygon", promote_to_multi=True)
        write_json(part.with_suffix(".json"), found.to_dict())
    return path


def _observed_shares(change: Change, old: NDArray[Any], sides: Sequence[Side]) -> NDArray[np.float64]:
    """Of each glacier with what it gained: an advance may end where the data end."""
    masks = [side for side in sides if side.grid is not None]
    if not masks:
        return np.full(len(old), np.nan)
    ends = np.concatenate([side.ends for side in masks])
    pieces: list[list[Any]] = [[shape] for shape in old]
    for part, owner in zip(change.advance, change.advance_of, strict=True):
        if owner >= 0:
            pieces[owner].append(part)
    both = np.array([shapely.union_all(own) if len(own) > 1 else own[0] for own in pieces], object)
    # What was cut to the data ends on these very lines; other outlines hardly ever do.
    return observed_shares(both, ends, 0.05 * max(side.error_m for side in masks))


def _about_unseen(shares: NDArray[np.float64]) -> list[str]:
    number = int((shares < 1).sum())
    if not number:
        return []
    are = "1 glacier is" if number == 1 else f"{number} glaciers are"
    return [f"{are} partly without data (`observed_share` below 1): the numbers are of what both dates show"]


def _about_speckle(dates: Sequence[tuple[Path, Side]]) -> list[str]:
    return [
        f"half of the {len(side.shapes)} glaciers of {path} have {side.median_px:g} pixels or fewer; refine "
        f"the mask first: `glacierseg refine {quote(str(path))} --out REFINED.tif`"
        for path, side in dates
        if side.median_px is not None and side.median_px <= _SPECKLE_PX and len(side.shapes) >= _SPECKLES
    ]
