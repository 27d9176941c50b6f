"""The calibration of what is shipped, from all test ground: no network is asked about ground it knows."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from benchmarks.recipes.ground import ScoredChip
from numpy.typing import NDArray

from glacierseg.experiment.calibration import measure_calibration
from glacierseg.predict.calibration import Calibration
from glacierseg.raster.grid import Grid
from glacierseg.raster.truth import IGNORE
from glacierseg.raster.write import tiff_profile


def calibrate_all(
    name: str,
    chips: Sequence[ScoredChip],
    probability: Callable[[ScoredChip], NDArray[np.float32]],
    path: Path,
    *,
    symmetries: bool = False,
) -> Calibration:
    """Measures how probabilities of all chips become calibrated ones, and how their errors hang together.

    All chips are laid on one map first: errors of neighbours are not independent, and the blocks from which
    area bounds follow have to reach across chips.

    Args:
        name: What the ground is called in the calibration.
        chips: In the fold that tests each; their pixels are of one size and lie on one lattice.
        probability: Gives a chip's `(H, W)` probability in that fold.
        path: Where the map of probabilities goes.
        symmetries: Whether the probabilities are means over the eight symmetries.
    """
    grid, places = _common_grid([chip.grid for chip in chips])
    truth = np.full(grid.shape, IGNORE, np.uint8)
    # Tiles that no chip touches are not even stored.
    profile = tiff_profile(grid, 1, "float32", float("nan")) | {"sparse_ok": True}
    with rasterio.open(path, "w+", **profile) as file:
        for chip, (row, column) in zip(chips, places, strict=True):
            window = (row, row + chip.grid.height), (column, column + chip.grid.width)
            rows, columns = (slice(*ends) for ends in window)
            shown = chip.truth != IGNORE
            truth[rows, columns][shown] = chip.truth[shown]
            file.write(np.where(shown, probability(chip), file.read(1, window=window)), 1, window=window)
    return measure_calibration({name: (path, truth)}, symmetries=symmetries)


def _common_grid(grids: Sequence[Grid]) -> tuple[Grid, list[tuple[int, int]]]:
    """Returns a grid that holds all others, and the row and column where each begins in it."""
    first = grids[0]
    places = [first.place_of(grid) for grid in grids]
    top, left = (min(place[axis] for place in places) for axis in (0, 1))
    places = [(row - top, column - left) for row, column in places]
    height, width = (
        max(place[axis] + grid.shape[axis] for place, grid in zip(places, grids, strict=True))
        for axis in (0, 1)
    )
    return Grid(first.crs, first.transform * Affine.translation(left, top), height, width), places
