"""Checks of truth against a scene."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from rasterio.crs import CRS

from glacierseg.raster.check.leak import shared_share
from glacierseg.raster.check.result import CheckResult, command, edit_file
from glacierseg.raster.check.scan import MaskCounts, SceneCounts
from glacierseg.raster.facts import days_in_words, facts_of_bands
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import name_of_crs
from glacierseg.raster.outlines import mean_date
from glacierseg.raster.scene import Scene
from glacierseg.raster.truth import IGNORE, make_glacier

_FEW, _MANY = 0.001, 0.95
_TRUTH_MISSING = 0.01
# A front that retreats by 10 m a year is a few pixels elsewhere by then.
_YEARS_APART = 5.0


def check_mask_grid(own: Grid, scene: Scene, path: Path) -> CheckResult:
    """Whether a mask lies on the scene's grid."""
    difference = scene.grid.difference(own)
    if difference is None:
        return CheckResult("truth grid", "passed", "same CRS, pixels and extent as the scene")
    if not shared_share(scene.grid, own):
        return CheckResult(
            "truth grid",
            "failed",
            f"mask lies entirely outside the scene: {difference}",
            "check that both are of the same place",
        )
    return CheckResult(
        "truth grid",
        "failed",
        f"mask lies on another grid than the scene: {difference}",
        command("glacierseg", "prepare", "align", path, "--like", scene.paths[0], "--out", "ALIGNED.tif"),
    )


def check_mask_values(counts: MaskCounts, path: Path) -> CheckResult:
    """Whether a mask holds 0, 1 and 255 only."""
    if counts.strange:
        value, number = max(counts.strange.items(), key=lambda item: item[1])
        return CheckResult(
            "truth values",
            "failed",
            f"mask holds {value:g} in {number} pixels"
            + (f", and {len(counts.strange) - 1} more values" if len(counts.strange) > 1 else "")
            + "; it may hold only 0 (background), 1 (glacier) and 255 (ignore); "
            f"if {value:g} is the glacier, bring it to 1",
            make_glacier(value, path),
        )
    return CheckResult("truth values", "passed", "only 0 (background), 1 (glacier) and 255 (ignore)")


def check_mask_nodata(nodata: float | None, path: Path) -> CheckResult:
    """Whether a mask declares its background to be nodata."""
    if nodata == 0:
        return CheckResult(
            "truth nodata",
            "warning",
            "mask declares nodata=0, which hides its background in other tools; taken for background here",
            edit_file(path, "--unset-nodata"),
        )
    message = "declares none" if nodata is None else f"nodata {nodata:g} is ignored"
    return CheckResult("truth nodata", "passed", message)


def check_glacier_share(counts: MaskCounts, path: Path) -> CheckResult:
    """Share of glacier among the pixels that count."""
    known = counts.glacier + counts.background
    if not known:
        return CheckResult(
            "glacier share", "failed", "every pixel of the mask is ignored", "give another mask"
        )
    share = counts.glacier / known
    message = f"{100 * share:.3g} % glacier"
    ignored = f"{100 * counts.ignored / (known + counts.ignored):.3g} %"
    if counts.ignored:
        message += f"; {ignored} of pixels ignored"
    if counts.ignored and not counts.glacier and counts.declared != IGNORE:
        return CheckResult(
            "glacier share",
            "failed",
            f"mask has no glacier, which is 1; {ignored} of its pixels are to be ignored, which is 255; "
            "if 255 is the glacier, bring it to 1",
            make_glacier(IGNORE, path),
        )
    if not counts.glacier or not counts.background:
        what = "background" if counts.glacier else "glacier"
        return CheckResult(
            "glacier share",
            "failed",
            f"mask has no {what}",
            "check that mask and scene are of the same place",
        )
    if not _FEW <= share <= _MANY:
        return CheckResult("glacier share", "warning", message, "choose a scene with more of both classes")
    return CheckResult("glacier share", "passed", message)


def check_outlines_shapes(outlines: Any, notes: Sequence[str]) -> CheckResult:
    """Whether outlines were left out, repaired or counted once."""
    if notes:
        return CheckResult("truth outlines", "warning", "; ".join(notes), "check that this is what you want")
    return CheckResult("truth outlines", "passed", f"{len(outlines)} outlines, used as they are")


def check_outlines_crs(outlines: Any, grid: Grid) -> CheckResult:
    """Whether outlines, as they are in their file, are brought from another CRS."""
    name, own = name_of_crs(grid.crs), CRS.from_user_input(outlines.crs)
    if own == grid.crs:
        return CheckResult("truth CRS", "passed", f"outlines are in {name} like the scene")
    message = f"outlines are in {name_of_crs(own)}, and are reprojected to {name} where they are used"
    return CheckResult("truth CRS", "passed", message)


def check_outlines_extent(outlines: Any, grid: Grid) -> CheckResult:
    """Outlines that reach beyond the scene."""
    import shapely  # noqa: PLC0415  (comes with geopandas)

    shapes = shapely.make_valid(outlines.geometry.to_numpy())
    frame = shapely.box(*grid.bounds)
    inside = shapely.area(shapely.intersection(shapes, frame)).sum() / shapely.area(shapes).sum()
    beyond = int((~shapely.covers(frame, shapes)).sum())
    if beyond:
        return CheckResult(
            "truth extent",
            "warning",
            f"{beyond} of {len(shapes)} outlines reach beyond the scene, with {100 * (1 - inside):.3g} % of "
            "their area; do not compare those glaciers' areas with an inventory",
            "use a larger scene, or score pixels instead of whole glaciers",
        )
    return CheckResult("truth extent", "passed", f"all {len(shapes)} outlines lie inside the scene")


def check_truth_missing(counts: SceneCounts) -> CheckResult:
    """Truth where the scene has no data."""
    share = counts.truth_missing / counts.pixels
    if share > _TRUTH_MISSING:
        return CheckResult(
            "truth on nodata",
            "warning",
            f"mask says glacier or background in {100 * share:.3g} % of pixels that lack data "
            f"({counts.glacier_missing} of them glacier); they are ignored in training and scores here",
            "other tools need 255 there",
        )
    return CheckResult("truth on nodata", "passed", "truth and data cover the same ground")


def check_truth_date(scene: Scene, days: Sequence[date]) -> tuple[CheckResult, ...]:
    """How many years lie between truth and scene; nothing where one of them has no date.

    Args:
        scene: The scene.
        days: Of the truth.
    """
    own, of_truth = mean_date(facts_of_bands(scene.bands).dates), mean_date(tuple(days))
    if own is None or of_truth is None:
        return ()
    years = (own - of_truth).days / 365.25
    message = (
        f"truth is of {days_in_words(days)}, {abs(years):.1f} years "
        f"{'before' if years >= 0 else 'after'} the scene"
    )
    if abs(years) <= _YEARS_APART:
        return (CheckResult("truth date", "passed", message),)
    fix = "fronts have moved since; take truth of a nearer date, or expect errors at the tongues"
    return (CheckResult("truth date", "warning", message, fix),)
