"""The data checklist: everything that is known to go wrong with a scene and its truth, found in one pass."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from glacierseg.errors import BandError, GlaciersegError, GridMismatchError, RequestError
from glacierseg.log import Progress
from glacierseg.raster.check.leak import check_overlap
from glacierseg.raster.check.result import CheckResult, Status, is_usable
from glacierseg.raster.check.scan import scan_mask, scan_scene
from glacierseg.raster.check.scene import (
    check_bands,
    check_crs,
    check_data_type,
    check_distinct,
    check_facts,
    check_missing,
    check_saturation,
    check_size,
    check_undeclared,
    check_values,
)
from glacierseg.raster.check.truth import (
    check_glacier_share,
    check_mask_grid,
    check_mask_nodata,
    check_mask_values,
    check_outlines_crs,
    check_outlines_extent,
    check_outlines_shapes,
    check_truth_date,
    check_truth_missing,
)
from glacierseg.raster.facts import facts_of
from glacierseg.raster.outlines import (
    PIXEL_EXACT,
    dates_of,
    is_vector,
    outlines_near,
    read_shapes,
    refuse_layer_of_raster,
)
from glacierseg.raster.prepare.rasterize import burn_outlines
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.raster.warp import read_grid


def check_scene(
    scene_paths: Path | str | Sequence[Path | str],
    truth: Path | str | None = None,
    *,
    bands: Sequence[str] | None = None,
    nodata: float | None = None,
    patch_px: int = 256,
    layer: str | None = None,
    progress: Progress | None = None,
) -> tuple[CheckResult, ...]:
    """Checks whether a scene, and truth for it, can be used; each result says what to do if not.

    Every pixel is read, so a truncated file is found. Nothing is raised for faulty data: faults are
    results, and checks that are then impossible are left out.

    Args:
        scene_paths: One file, or several on one grid.
        truth: A mask raster, or outlines.
        bands: Names for all bands.
        nodata: Value of pixels without data where the files declare none.
        patch_px: Side of the patches that the scene will be cut into.
        layer: Of a vector file with several, see `glacierseg.raster.outlines`.
        progress: Called with the share done, 0-1.

    Returns:
        One result per check. `is_usable` tells whether none failed.

    Raises:
        RequestError: The patch has no pixels, or a layer is asked for of a raster.
    """
    if patch_px < 1:
        raise RequestError(f"a patch cannot be {patch_px} px wide; give a positive number")
    try:
        scene = open_scene(scene_paths, bands=bands, nodata=nodata)
    except GlaciersegError as error:
        return (_failed("readable", error),)
    if truth is None:
        return _check(scene, None, patch_px, progress)
    truth = Path(truth)
    refuse_layer_of_raster(truth, layer)
    if not is_vector(truth):
        results = _check(scene, truth, patch_px, progress)
        if any(result.name == "truth values" for result in results):
            results += check_truth_date(scene, facts_of(truth).dates)
        return results
    with TemporaryDirectory() as folder:
        burned, notes = Path(folder) / "mask.tif", list[str]()
        try:
            outlines = read_shapes(
                truth, layer=layer, option="--truth-layer", prefer=PIXEL_EXACT, notes=notes
            )
            near = outlines_near(outlines, scene.grid, truth)
            burn_outlines(near, scene.grid, burned)
        except GlaciersegError as error:
            return (*_check(scene, None, patch_px, progress), _failed("truth", error))
        of_outlines = (
            check_outlines_shapes(outlines, notes),
            check_outlines_crs(outlines, scene.grid),
            check_outlines_extent(near, scene.grid),
            *check_truth_date(scene, dates_of(near)),
        )
        results = _check(scene, burned, patch_px, progress)
    made_here = {"truth grid", "truth values", "truth nodata"}
    return (*(result for result in results if result.name not in made_here), *of_outlines)


def _check(
    scene: Scene, mask: Path | None, patch_px: int, progress: Progress | None
) -> tuple[CheckResult, ...]:
    data_type = check_data_type(scene)
    if data_type.status == "failed":
        return (data_type,)
    of_mask: list[CheckResult] = []
    usable_mask = None
    if mask is not None:
        try:
            own, classes = read_grid(mask), scan_mask(mask)
        except GlaciersegError as error:
            of_mask.append(_failed("truth", error))
        else:
            of_mask += [
                check_mask_grid(own, scene, mask),
                check_mask_values(classes, mask),
                check_mask_nodata(classes.declared, mask),
                check_glacier_share(classes, mask),
            ]
            usable_mask = mask if of_mask[0].status == "passed" else None
    try:
        counts = scan_scene(scene, patch_px, mask=usable_mask, progress=progress)
        values, facts = check_values(scene, counts), check_facts(scene)
    except GlaciersegError as error:
        return (_failed("readable", error), *of_mask)
    if usable_mask is not None:
        of_mask.append(check_truth_missing(counts))
    files = f"{len(scene.paths)} files on one grid" if len(scene.paths) > 1 else str(scene.paths[0])
    return (
        CheckResult("readable", "passed", f"{files}, every pixel can be read"),
        check_bands(scene),
        data_type,
        *facts,
        values,
        check_crs(scene),
        check_size(scene.grid, patch_px),
        check_undeclared(scene, counts),
        check_missing(scene, counts),
        check_saturation(scene, counts),
        check_distinct(scene, counts),
        *of_mask,
    )


def _failed(name: str, error: GlaciersegError) -> CheckResult:
    """Turns an error into a result; grid and band errors go by their own names."""
    if name == "readable":
        name = "grid" if isinstance(error, GridMismatchError) else name
        name = "bands" if isinstance(error, BandError) else name
    message, _, fix = str(error).partition("; ")
    return CheckResult(name, "failed", message, fix)


__all__ = ["CheckResult", "Status", "check_overlap", "check_scene", "is_usable"]
