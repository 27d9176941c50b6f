"""Refinement of mask files, and the search for its parameters on them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import DataError, RequestError
from glacierseg.raster.blocks import Block, LayerReader
from glacierseg.raster.elevation import open_terrain
from glacierseg.raster.facts import facts_of
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import even_pixel_m
from glacierseg.raster.open import open_raster
from glacierseg.raster.outlines import is_vector, refuse_layer_of_raster
from glacierseg.raster.outputs import TIFF, writes
from glacierseg.raster.truth import IGNORE, load_truth, open_mask, plain_mask, read_mask
from glacierseg.raster.values import Band
from glacierseg.raster.warp import on_grid, read_grid, require_overlap
from glacierseg.raster.write import read_json, write_raster
from glacierseg.refine.search import (
    RegionGain,
    TuneResult,
    Use,
    region_gain,
    require_comparable,
    tune_refinement,
)
from glacierseg.refine.steps import StepChange, refine_mask, refine_with_report
from glacierseg.runs.layout import ModelFolder
from glacierseg.settings.refine import REFINEMENT_TAG, RefineSettings, TuneSettings


@writes(out_path=TIFF)
def refine_file(
    mask_path: Path,
    out_path: Path,
    settings: RefineSettings | None = None,
    *,
    dem: Path | Sequence[Path] | None = None,
) -> tuple[StepChange, ...]:
    """Refines a mask raster into another on the same grid.

    The result is a cloud-optimised GeoTIFF with one uint8 band `glacier`, nodata 255, and as tags the
    settings and the facts of the scene that the mask has. Sizes on a geographic grid are those at its centre.

    Args:
        mask_path: A mask raster.
        out_path: The refined mask.
        settings: What to do; when None what the run of the mask's network tuned (`tuned_parameters`), or
            the defaults.
        dem: Elevation in metres in any CRS and resolution, or its tiles, for `max_hole_slope_deg`.

    Returns:
        What each step changed.

    Raises:
        RasterError: The mask cannot be read, has no CRS, or has pixels of very different sizes.
        TruthError: The mask has values other than 0, 1 and ignore.
        RequestError: The slope is needed and there is no elevation model.
        OutputError: The result cannot be written.
    """
    settings = settings or tuned_parameters(mask_path) or RefineSettings()
    grid = read_grid(mask_path)
    size_m = even_pixel_m(grid, str(mask_path))
    slope = _slope(settings.max_hole_slope_deg, dem, grid)
    refined, changes = refine_with_report(read_mask(mask_path), size_m, settings, slope_deg=slope)
    tags = {f"refine_{name}": _as_tag(name, value) for name, value in settings.model_dump().items()}
    tags |= facts_of(mask_path).tags
    write_raster(out_path, refined, grid, bands=["glacier"], nodata=IGNORE, tags=tags)
    return changes


def _as_tag(name: str, value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    if value is None:
        return "all" if name == "max_hole_km2" else "none"
    return str(value)


@dataclass(frozen=True)
class Pair:
    """A predicted mask and its truth, as files.

    Attributes:
        mask: A mask raster.
        truth: A mask raster on any grid, or outlines.
        dem: Elevation, where the slope of holes matters.
        truth_layer: Of outlines in a file with several layers.
    """

    mask: Path
    truth: Path
    dem: Path | None = None
    truth_layer: str | None = None


@dataclass(frozen=True)
class TuneReport:
    """The outcome of a search on files.

    Attributes:
        result: The search.
        gains: Scores raw and refined with the best parameters, of every region tuned on and test region.
        moved: What had to be done to bring truth onto the grids, in words.
    """

    result: TuneResult
    gains: tuple[RegionGain, ...]
    moved: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns what is stored: the best parameters, their scores by region, and the whole table."""
        result = self.result
        return tune_record(result) | {
            "gains": [gain.to_dict() for gain in self.gains],
            "table": result.table,
        }


def tune_record(result: TuneResult) -> dict[str, Any]:
    """Returns the head of what is stored of a search."""
    return {
        "objective": result.objective,
        "best": result.best.model_dump(),
        "raw_iou": result.raw_iou,
        "best_iou": result.best_iou,
    }


def load_parameters(path: Path) -> RefineSettings:
    """Reads the best parameters from a file of `glacierseg tune`, or a run's `refinement.json`.

    Raises:
        DataError: The file is missing, damaged, or holds no such parameters.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; give one that `glacierseg tune` wrote")
    try:
        record: Any = read_json(path)
    except DataError as error:
        raise DataError(f"{path}: is not JSON; give a file that `glacierseg tune` wrote") from error
    best = record.get("best") if isinstance(record, dict) else None
    if not isinstance(best, dict):
        raise DataError(f"{path}: holds no refinement parameters; give a file that `glacierseg tune` wrote")
    try:
        return RefineSettings(**best)
    except RequestError as error:
        raise DataError(f"{path}: {error}; give a file that `glacierseg tune` wrote") from error


def tuned_parameters(mask_path: Path) -> RefineSettings | None:
    """Returns the parameters that the run of a mask's network tuned; None where nothing is known of them.

    A predicted mask has them in its tags, wherever it lies; masks of a run itself were there before they were
    tuned, and lie beside them.

    Args:
        mask_path: A mask raster.

    Raises:
        RasterError: It cannot be read.
        DataError: What it says is no such parameters.
    """
    with open_raster(mask_path) as dataset:
        stored = dataset.tags().get(REFINEMENT_TAG)
    folder = ModelFolder(mask_path.parent)
    if stored is None:
        is_raw = mask_path.name.endswith(folder.mask("").name)
        return load_parameters(folder.refinement) if is_raw and folder.refinement.is_file() else None
    try:
        return RefineSettings(**json.loads(stored))
    except (RequestError, ValueError, TypeError) as error:
        raise DataError(
            f"{mask_path}: its tag {REFINEMENT_TAG!r} holds no refinement parameters of this version; give "
            "--parameters with the run's refinement.json"
        ) from error


def tune_files(
    tuned: Sequence[Pair], tests: Sequence[Pair] = (), settings: TuneSettings | None = None
) -> TuneReport:
    """Searches parameters on some masks and measures what they do there and on others.

    Truth rasters on another grid are brought onto the mask's by nearest neighbour.

    Args:
        tuned: What the parameters are chosen on.
        tests: What they are only scored on afterwards.
        settings: What to try; the defaults when None.

    Raises:
        RasterError: A file cannot be read, or has pixels of very different sizes.
        GridMismatchError: A truth does not overlap its mask.
        TruthError: A mask or truth has other values, or the two share no known pixel.
        RequestError: The slope is needed and there is no elevation model.
    """
    settings = settings or TuneSettings()
    names = _names([*tuned, *tests])
    loaded = [_load(pair, settings.max_hole_slope_deg) for pair in [*tuned, *tests]]
    for name, one in zip(names, loaded, strict=True):
        require_comparable([region_gain(name, "tuned", one.mask, one.mask, one.truth, one.size_m)])
    chosen = loaded[: len(tuned)]
    slopes = [one.slope_deg for one in chosen if one.slope_deg is not None]
    result = tune_refinement(
        [one.mask for one in chosen],
        [one.truth for one in chosen],
        [one.size_m for one in chosen],
        settings,
        slope_deg=slopes or None,
    )
    gains = []
    for number, (name, one) in enumerate(zip(names, loaded, strict=True)):
        use: Use = "tuned" if number < len(tuned) else "test"
        refined = refine_mask(one.mask, one.size_m, result.best, slope_deg=one.slope_deg)
        gains.append(region_gain(name, use, one.mask, refined, one.truth, one.size_m))
    return TuneReport(result, tuple(gains), tuple(one.moved for one in loaded if one.moved))


@dataclass(frozen=True)
class _Loaded:
    mask: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    size_m: tuple[float, float]
    slope_deg: NDArray[np.float32] | None
    moved: str | None


def _load(pair: Pair, max_slope_deg: float | None) -> _Loaded:
    grid = read_grid(pair.mask)
    truth, difference = align_truth(pair.truth, grid, layer=pair.truth_layer)
    moved = (
        f"{pair.truth}: lies on another grid than {pair.mask} ({difference}); "
        "each pixel took its nearest value"
        if difference
        else None
    )
    size_m = even_pixel_m(grid, str(pair.mask))
    return _Loaded(read_mask(pair.mask), truth, size_m, _slope(max_slope_deg, pair.dem, grid), moved)


def _slope(
    max_slope_deg: float | None, dem: Path | Sequence[Path] | None, grid: Grid
) -> NDArray[np.float32] | None:
    if max_slope_deg is None:
        return None
    if dem is None:
        raise RequestError(
            "max_hole_slope_deg needs the slope of the ground; give an elevation model with --dem"
        )
    return slope_on_grid(dem, grid)


def _names(pairs: Sequence[Pair]) -> list[str]:
    """Returns the file names of the masks, with their folder where two are alike."""
    plain = [pair.mask.name for pair in pairs]
    return [
        name if plain.count(name) == 1 else str(pair.mask) for name, pair in zip(plain, pairs, strict=True)
    ]


def slope_on_grid(dem: Path | Sequence[Path], grid: Grid) -> NDArray[np.float32]:
    """Returns the slope of the ground `(H, W)` in degrees on a grid, NaN where elevation is missing."""
    with open_terrain(dem, grid) as terrain:
        return terrain.read(Block(0, 0, grid.height, grid.width), ["slope"])["slope"]


def align_truth(path: Path, grid: Grid, *, layer: str | None = None) -> tuple[NDArray[np.uint8], str | None]:
    """Reads truth onto the grid of a prediction, whatever grid it lies on.

    Outlines are burned in. A mask raster on another grid gives each pixel its nearest value, and 255 where it
    does not reach, so that nothing is scored there.

    Returns:
        `(H, W)` of 0, 1 and 255; and how the grids differed, None when nothing had to be moved.
    """
    if is_vector(path):
        return load_truth(path, grid, layer=layer), None
    refuse_layer_of_raster(path, layer)
    with open_mask(path) as mask:
        difference = grid.difference(mask.grid)
    if difference is None:
        return load_truth(path, grid), None
    with plain_mask(path) as dataset:
        require_overlap(dataset, grid, path)
        with on_grid(dataset, grid, "nearest") as aligned:
            band = Band("mask", path, 1, "uint8", IGNORE)
            values, valid = LayerReader([band], {path: aligned}).read(Block(0, 0, *grid.shape))
    return np.where(valid[0], values[0], np.uint8(IGNORE)), difference
