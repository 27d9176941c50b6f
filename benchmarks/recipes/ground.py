"""Truth and roles of every chip in every fold, as the runs stored them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
from benchmarks.recipes.study import Light, Study
from numpy.typing import NDArray

from glacierseg.choices import Role
from glacierseg.data.split import ROLE_CODES
from glacierseg.evaluate.debris import IceRule, find_ice_rule, surface_classes
from glacierseg.raster.bounds import area_on_grid, may_meet
from glacierseg.raster.grid import Grid
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.scene import open_scene
from glacierseg.raster.sensors import role_of
from glacierseg.raster.truth import IGNORE, read_mask
from glacierseg.raster.units import is_reflected_light
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
        whole_truth: `(H, W)`, like `truth`, but also known where the scene has no data.
        surface: `(H, W)` of the numbers of `glacierseg.evaluate.debris.SURFACES` where `truth` is known; None
            without a rule.
        ice_rule: The rule.
    """

    name: str
    fold: int
    grid: Grid
    truth: NDArray[np.uint8]
    own_truth: NDArray[np.uint8]
    whole_truth: NDArray[np.uint8]
    surface: NDArray[np.uint8] | None = None
    ice_rule: IceRule | None = None


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
    given = {chip.name: chip for chip in study.chips}
    for fold, name, truth, grid in _tested(study, networks):
        once, whole = truth.copy(), read_mask(given[name].truth, grid)
        undefined = (truth == IGNORE) & (
            roles_of(study.run_folder(networks, fold), name) == ROLE_CODES["test"]
        )
        for earlier in found:
            if may_meet(earlier.grid, grid):
                once[area_on_grid(earlier.own_truth != IGNORE, earlier.grid, grid)] = IGNORE
                undefined &= ~area_on_grid(earlier.whole_truth != IGNORE, earlier.grid, grid)
        whole = np.where(undefined, whole, once)
        surface, rule = _surface(study.light, given[name].scene, once) if study.light else (None, None)
        found.append(ScoredChip(name, fold, grid, once, truth, whole, surface, rule))
    names = [chip.name for chip in found]
    assert sorted(names) == sorted(chip.name for chip in study.chips), "each chip tests in one fold"
    return tuple(found)


def _surface(light: Light, path: Path, truth: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], IceRule]:
    """Tells clean from debris-covered ice."""
    scene = open_scene(path)
    bands = [name for name in scene.band_names if is_reflected_light(role_of(name, light.sensor))]
    scene = scene.select(bands).rescaled(bands, light.scale, light.offset)
    scene = replace(scene, bands=tuple(replace(band, unit="reflectance") for band in scene.bands))
    rule = find_ice_rule(scene, sensor=light.sensor)
    return surface_classes(scene, truth, rule, sensor=light.sensor), rule


def _tested(study: Study, networks: str) -> Iterator[tuple[int, str, NDArray[np.uint8], Grid]]:
    for fold in range(1, study.folds + 1):
        folder = study.run_folder(networks, fold)
        for chip in study.chips:
            truth = role_truth(folder, chip.name, "test")
            if truth is not None:
                with open_raster(RunFolder(folder).truth(chip.name)) as file:
                    yield fold, chip.name, truth, grid_of(file)
