"""Truth and roles of every chip in every fold, as the runs stored them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from benchmarks.recipes.study import Study
from numpy.typing import NDArray

from glacierseg.choices import Role
from glacierseg.data.split import ROLE_CODES
from glacierseg.raster.bounds import area_on_grid, may_meet
from glacierseg.raster.grid import Grid
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.truth import IGNORE, read_mask
from glacierseg.runs.layout import RunFolder


@dataclass(frozen=True, eq=False)
class ScoredChip:
    """A chip in the fold that tests it.

    Attributes:
        name: Of the chip.
        fold: That tests it.
        grid: Where it lies.
        truth: `(H, W)`, 255 also where an earlier chip has shown the same ground already.
        own_truth: `(H, W)` without that.
    """

    name: str
    fold: int
    grid: Grid
    truth: NDArray[np.uint8]
    own_truth: NDArray[np.uint8]


def roles_of(folder: Path, chip: str) -> NDArray[np.uint8]:
    with rasterio.open(RunFolder(folder).roles(chip)) as file:
        roles: NDArray[np.uint8] = file.read(1)
    return roles


def role_truth(folder: Path, chip: str, role: Role) -> NDArray[np.uint8] | None:
    """Returns truth, 255 outside the pixels of a role; None where the chip has no such pixel."""
    area = roles_of(folder, chip) == ROLE_CODES[role]
    if not area.any():
        return None
    truth = read_mask(RunFolder(folder).truth(chip))
    return np.where(area, truth, np.uint8(IGNORE))


def scored_chips(study: Study) -> tuple[ScoredChip, ...]:
    """Returns every chip once, in the fold that tests it; ground that chips share counts in the first one."""
    networks = next(iter(study.sets))
    found: list[ScoredChip] = []
    for fold, name, truth, grid in _tested(study, networks):
        once = truth.copy()
        for earlier in found:
            if may_meet(earlier.grid, grid):
                once[area_on_grid(earlier.own_truth != IGNORE, earlier.grid, grid)] = IGNORE
        found.append(ScoredChip(name, fold, grid, once, truth))
    names = [chip.name for chip in found]
    assert sorted(names) == sorted(chip.name for chip in study.chips), "each chip tests in one fold"
    return tuple(found)


def _tested(study: Study, networks: str) -> Iterator[tuple[int, str, NDArray[np.uint8], Grid]]:
    for fold in range(1, study.folds + 1):
        folder = study.run_folder(networks, fold)
        for chip in study.chips:
            truth = role_truth(folder, chip.name, "test")
            if truth is not None:
                with open_raster(RunFolder(folder).truth(chip.name)) as file:
                    yield fold, chip.name, truth, grid_of(file)
