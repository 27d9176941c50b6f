"""Made-up corrections, and a network that they correct."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glacierseg.correct.store import Correction
from glacierseg.experiment.regions import load_regions, open_sources
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.runs.layout import RunFolder
from glacierseg.settings import RunConfig, dump_config
from tests.helpers import blobs, utm_grid, write_mask, write_scene
from tests.weights.shelves import BANDS, reflectances

SIDE = 16


def corners(count: int, gap_px: int = 8, columns: int = 4) -> list[tuple[int, int]]:
    """First rows and columns of squares that do not touch."""
    step = SIDE + gap_px
    return [(4 + step * (i // columns), 4 + step * (i % columns)) for i in range(count)]


def stripes(height: int, width: int) -> NDArray[np.uint8]:
    """Glacier in every other band of 8 columns, so that each square holds both."""
    return np.broadcast_to((np.arange(width) // 8 % 2).astype(np.uint8), (height, width)).copy()


def checked_only(truth: NDArray[np.uint8], places: list[tuple[int, int]]) -> NDArray[np.uint8]:
    known = np.full(truth.shape, 255, np.uint8)
    for row, column in places:
        window = np.s_[row : row + SIDE, column : column + SIDE]
        known[window] = truth[window]
    return known


def scene_of(folder: Path, height: int = 80, width: int = 104) -> Scene:
    return open_scene(write_scene(folder / "basin.tif", reflectances(height, width), BANDS, nodata=0))


def correction(folder: Path, scene: Scene, truth: NDArray[np.uint8], name: str = "0001_basin") -> Correction:
    path = folder / f"{name}.tif"
    assert scene.grid == utm_grid(*truth.shape)
    return Correction(name, scene.paths, write_mask(path, truth), {})


def run_folder(path: Path) -> RunFolder:
    """A run as its first stages leave it: a valley trains and validates, the next one tests."""
    sections: list[dict[str, object]] = []
    for seed, name in enumerate(("valley", "next")):
        scene = write_scene(path.parent / f"{name}.tif", reflectances(96, 80, seed), BANDS, nodata=0)
        truth = write_mask(path.parent / f"{name}_truth.tif", blobs(96, 80, seed))
        roles = {"test": None} if seed else {"train": {"y": (0, 0.5)}, "validate": {"y": (0.5, 1)}}
        sections.append({"name": name, "scene": scene, "truth": truth, "roles": roles})
    models = [{"name": "m_landsnet", "width": 0.125, "patch_px": 32}]
    config = RunConfig.model_validate({"name": "old", "regions": sections, "models": models})
    folder = RunFolder(path)
    path.mkdir()
    folder.config.write_text(dump_config(config))
    load_regions(config.regions, config.split, 32, open_sources(config.regions), folder)
    return folder
