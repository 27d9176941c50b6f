"""Areas of two dates and their difference with bounds, from calibrated probabilities.

Each date is bounded as `area_bounds` does. The variance of a difference is the sum of both variances less
twice the covariance of the two errors. That cannot be measured without truth of both dates, and is taken as
zero: the dates err independently. One network errs on one ground in much the same way at both dates (it
misses the same debris-covered tongue twice), which makes the true covariance positive and these bounds too
wide rather than too narrow. They are too narrow only where the errors are opposite.

A glacier's ground is all that is nearer to its old outline than to others', so that probabilities beside a
mask count too and the glaciers add up to the whole. Ground that has no probability at one date is left out at
both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from glacierseg.errors import GridMismatchError, RequestError
from glacierseg.evaluate.area_bounds import AreaBounds, AreaSums, area_reach_px, bound_area
from glacierseg.evaluate.glaciers import glaciers_by_outline
from glacierseg.predict.calibrated import calibrated_strips, calibration_for_bounds
from glacierseg.predict.calibration import Calibration, Dispersion
from glacierseg.raster.bounds import wrap_towards
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import even_pixel_m
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.settings.outlines import ChangeInputs


@dataclass(frozen=True)
class ChangeBounds:
    """Areas of two dates and their difference.

    Attributes:
        old: Of the old date.
        new: Of the new date.
        change_km2: Expected new less expected old area.
        reach_km2: How far the bounds of the change lie from it.
    """

    old: AreaBounds
    new: AreaBounds
    change_km2: float
    reach_km2: float

    @property
    def is_noise(self) -> bool:
        """Whether the bounds of the change hold 0."""
        return abs(self.change_km2) <= self.reach_km2

    def to_dict(self) -> dict[str, Any]:
        """Returns one flat record."""
        return {
            "old_expected_km2": self.old.expected_km2,
            "old_lower_km2": self.old.lower_km2,
            "old_upper_km2": self.old.upper_km2,
            "new_expected_km2": self.new.expected_km2,
            "new_lower_km2": self.new.lower_km2,
            "new_upper_km2": self.new.upper_km2,
            "change_expected_km2": self.change_km2,
            "change_lower_km2": self.change_km2 - self.reach_km2,
            "change_upper_km2": self.change_km2 + self.reach_km2,
            "change_beyond_bounds": not self.is_noise,
        }


class FileBounds(NamedTuple):
    """Bounds of areas and changes: of all ground, and of each old glacier."""

    total: ChangeBounds
    glaciers: tuple[ChangeBounds, ...]


@dataclass(frozen=True)
class DatedProbability:
    """The probabilities of one date.

    Attributes:
        path: As `predict` wrote it.
        calibration: Of the network that predicted it.
        grid: Where it lies.
    """

    path: Path
    calibration: Calibration
    grid: Grid


def read_dates(inputs: ChangeInputs) -> tuple[DatedProbability, DatedProbability] | None:
    """Opens the probabilities of both dates; None where they are not given.

    Raises:
        RequestError: Something that bounds need is not given.
        GlaciersegError: See `read_dated`.
    """
    old, new, model = inputs.old_probability, inputs.new_probability, inputs.model_of_old
    if not (old or new or model or inputs.model_of_new):
        return None
    if not (old and new and model):
        raise RequestError(
            "bounds need the probabilities of both dates and the network that predicted them; give "
            "--old-probability, --new-probability, and --old-model or --old-weights (--new-model or "
            "--new-weights where it is another)"
        )
    return read_dated(old, model), read_dated(new, inputs.model_of_new or model)


def read_dated(path: Path, model_dir: Path | str) -> DatedProbability:
    """Opens the probabilities of a date.

    Args:
        path: A probability raster, calibrated or not; its tags say which.
        model_dir: The network that predicted it, with its calibration, or `weights:NAME`.

    Raises:
        GlaciersegError: See `calibration_for_bounds`.
    """
    with open_raster(path) as dataset:
        grid = grid_of(dataset)
    return DatedProbability(Path(path), calibration_for_bounds(path, model_dir), grid)


def require_one_grid(
    old: DatedProbability, new: DatedProbability, masks: Sequence[tuple[Path, Grid]]
) -> None:
    """Checks that the probabilities of both dates, and masks where there are, lie on one grid.

    Raises:
        GridMismatchError: They do not.
    """
    for path, grid in [(new.path, new.grid), *masks]:
        if difference := old.grid.difference(grid):
            raise GridMismatchError(
                f"{path}: lies on another grid than {old.path} ({difference}); predict both dates on one "
                "grid; `glacierseg prepare align SCENE --like OTHER --out ALIGNED.tif` brings a scene onto it"
            )


def bound_change(
    old: AreaSums,
    new: AreaSums,
    old_dispersion: Dispersion,
    new_dispersion: Dispersion,
    pixel_area_km2: float,
    confidence: float = 0.9,
) -> ChangeBounds:
    """Bounds areas and their difference.

    Args:
        old: Sums of the calibrated probabilities of the old date.
        new: The same of the new date, over the same pixels.
        old_dispersion: Of the calibration of the old date.
        new_dispersion: Of that of the new one.
        pixel_area_km2: Area of a pixel.
        confidence: Of all bounds.

    Raises:
        RequestError: The confidence is not between 0 and 1.
    """
    reach_px = math.hypot(
        area_reach_px(old, old_dispersion, confidence), area_reach_px(new, new_dispersion, confidence)
    )
    return ChangeBounds(
        bound_area(old, old_dispersion, pixel_area_km2, confidence),
        bound_area(new, new_dispersion, pixel_area_km2, confidence),
        (new.expected_px - old.expected_px) * pixel_area_km2,
        reach_px * pixel_area_km2,
    )


def bound_changes(
    old: DatedProbability,
    new: DatedProbability,
    shapes: NDArray[Any],
    crs: CRS,
    *,
    known: NDArray[np.bool_] | None = None,
    confidence: float = 0.9,
) -> FileBounds:
    """Bounds the change of all ground together and of each glacier.

    Args:
        old: Of the old date.
        new: Of the new date, on the same grid.
        shapes: `(N,)` outlines of the old glaciers.
        crs: Of the outlines.
        known: `(H, W)`, other ground is left out.
        confidence: Of all bounds.

    Raises:
        RasterError: A raster is damaged.
        RequestError: The confidence is not between 0 and 1.
    """
    width_m, height_m = even_pixel_m(old.grid, str(old.path), [old.path])
    whose = _nearest(shapes, crs, old.grid)
    count = len(shapes) + 1
    sums = np.zeros((2, 3, count))
    strips = (calibrated_strips(one.path, one.calibration) for one in (old, new))
    for (rows, before), (_, after) in zip(*strips, strict=True):
        wanted = ~(np.isnan(before) | np.isnan(after))
        if known is not None:
            wanted &= known[rows]
        owners = whose[rows][wanted]
        for number, probability in enumerate((before, after)):
            chance = probability[wanted].astype(np.float64)
            for place, weights in enumerate((None, chance, chance * (1 - chance))):
                sums[number, place] += np.bincount(owners, weights, count)

    def bounded(parts: NDArray[np.float64]) -> ChangeBounds:
        before, after = (AreaSums(int(pixels), float(p), float(v)) for pixels, p, v in parts)
        return bound_change(
            before,
            after,
            old.calibration.dispersion,
            new.calibration.dispersion,
            width_m * height_m / 1e6,
            confidence,
        )

    glaciers = (bounded(sums[:, :, number]) for number in range(1, count))
    return FileBounds(bounded(sums.sum(axis=2)), tuple(glaciers))


def _nearest(shapes: NDArray[Any], crs: CRS, grid: Grid) -> NDArray[np.int32]:
    """Returns the number of the nearest glacier of each pixel, 0 without any."""
    if not len(shapes):
        return np.zeros(grid.shape, np.int32)
    # Of outlines that overlap the later one wins there, but the earlier one has the ground here.
    outlines = gpd.GeoDataFrame(geometry=list(shapes[::-1]), crs=crs).to_crs(grid.crs.to_wkt())
    outlines = outlines.set_geometry(wrap_towards(outlines.geometry.to_numpy(), grid), crs=outlines.crs)
    nearest = glaciers_by_outline(outlines, grid).nearest
    return np.where(nearest, len(shapes) + 1 - nearest, 0)
