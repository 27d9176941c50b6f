"""Refinement of mask files, and the search for its parameters on them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import RequestError
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import even_pixel_m
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.outputs import TIFF, writes
from glacierseg.raster.truth import IGNORE, read_mask
from glacierseg.raster.write import write_raster
from glacierseg.refine.ground import align_truth, slope_on_grid
from glacierseg.refine.parameters import RefineParameters
from glacierseg.refine.pipeline import StepChange, refine_mask, refine_with_report
from glacierseg.refine.search import TuneResult, tune_refinement
from glacierseg.refine.transfer import RegionGain, Use, region_gain, require_comparable


@writes(out_path=TIFF)
def refine_file(
    mask_path: Path,
    out_path: Path,
    parameters: RefineParameters | None = None,
    *,
    dem: Path | None = None,
) -> tuple[StepChange, ...]:
    """Refines a mask raster into another on the same grid.

    The result is a cloud-optimised GeoTIFF with one uint8 band `glacier`, nodata 255, and the parameters as
    tags. Sizes on a geographic grid are those at its centre.

    Args:
        mask_path: A mask raster.
        out_path: The refined mask.
        parameters: What to do; the defaults when None.
        dem: Elevation in metres in any CRS and resolution, where the parameters ask for the slope.

    Returns:
        What each step changed.

    Raises:
        RasterError: The mask cannot be read, has no CRS, or has pixels of very different sizes.
        TruthError: The mask has values other than 0, 1 and ignore.
        RequestError: The parameters need the slope and there is no elevation model.
        OutputError: The result cannot be written.
    """
    parameters = parameters or RefineParameters()
    grid = _grid(mask_path)
    size_m = even_pixel_m(grid, str(mask_path))
    slope = _slope(parameters.max_hole_slope_deg, dem, grid)
    refined, changes = refine_with_report(read_mask(mask_path), size_m, parameters, slope_deg=slope)
    tags = {f"refine_{name}": _as_tag(name, value) for name, value in asdict(parameters).items()}
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
        gains: Agreement raw and refined with the best parameters, of every region tuned on and untouched.
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
        "best": asdict(result.best),
        "raw_iou": result.raw_iou,
        "best_iou": result.best_iou,
    }


def tune_files(tuned: Sequence[Pair], untouched: Sequence[Pair] = (), **settings: Any) -> TuneReport:
    """Searches parameters on some masks and measures what they do there and on others.

    Truth rasters on another grid are brought onto the mask's by nearest neighbour.

    Args:
        tuned: What the parameters are chosen on.
        untouched: What they are only tried on afterwards.
        settings: Keywords of `glacierseg.refine.search.tune_refinement`.

    Raises:
        RasterError: A file cannot be read, or has pixels of very different sizes.
        GridMismatchError: A truth lies elsewhere than its mask.
        TruthError: A mask or truth has other values, or the two share no known pixel.
        RequestError: A parameter is out of its range, or the slope is needed and there is no elevation model.
    """
    limit = settings.get("max_hole_slope_deg")
    names = _names([*tuned, *untouched])
    loaded = [_load(pair, limit) for pair in [*tuned, *untouched]]
    for name, one in zip(names, loaded, strict=True):
        require_comparable([region_gain(name, "tuned", one.mask, one.mask, one.truth, one.size_m)])
    chosen = loaded[: len(tuned)]
    slopes = [one.slope_deg for one in chosen if one.slope_deg is not None]
    result = tune_refinement(
        [one.mask for one in chosen],
        [one.truth for one in chosen],
        [one.size_m for one in chosen],
        slope_deg=slopes or None,
        **settings,
    )
    gains = []
    for number, (name, one) in enumerate(zip(names, loaded, strict=True)):
        use: Use = "tuned" if number < len(tuned) else "untouched"
        refined = refine_mask(one.mask, one.size_m, slope_deg=one.slope_deg, **vars(result.best))
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
    grid = _grid(pair.mask)
    truth, difference = align_truth(pair.truth, grid, layer=pair.truth_layer)
    moved = (
        f"{pair.truth}: lies on another grid than {pair.mask} ({difference}); "
        "each pixel took its nearest value"
        if difference
        else None
    )
    size_m = even_pixel_m(grid, str(pair.mask))
    return _Loaded(read_mask(pair.mask), truth, size_m, _slope(max_slope_deg, pair.dem, grid), moved)


def _slope(max_slope_deg: float | None, dem: Path | None, grid: Grid) -> NDArray[np.float32] | None:
    if max_slope_deg is None:
        return None
    if dem is None:
        raise RequestError(
            "max_hole_slope_deg needs the slope of the ground; give an elevation model with --dem"
        )
    return slope_on_grid(dem, grid)


def _grid(path: Path) -> Grid:
    with open_raster(path) as dataset:
        return grid_of(dataset)


def _names(pairs: Sequence[Pair]) -> list[str]:
    """Returns the file names of the masks, with their folder where two are alike."""
    plain = [pair.mask.name for pair in pairs]
    return [
        name if plain.count(name) == 1 else str(pair.mask) for name, pair in zip(plain, pairs, strict=True)
    ]
