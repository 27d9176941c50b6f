"""Ground that corrections and an earlier training know: places that train, places that judge."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from glacierseg.correct.doubts import REACH_PX
from glacierseg.correct.store import Correction
from glacierseg.data.patches import Patch, place_patches
from glacierseg.data.regions import Region
from glacierseg.data.split import NO_ROLE, ROLE_CODES, deal_folds
from glacierseg.experiment.regions import (
    choose_bands,
    load_regions,
    open_sources,
    read_regions,
    tuning_truths,
)
from glacierseg.experiment.windows import Part
from glacierseg.models.card import ModelCard
from glacierseg.predict.ensemble import Ensemble
from glacierseg.predict.samples import CroppedScene
from glacierseg.raster.scene import open_scene
from glacierseg.raster.truth import GLACIER, IGNORE, read_mask
from glacierseg.runs.layout import RunFolder
from glacierseg.settings import RunConfig, load_config

_log = logging.getLogger(__name__)

_JUDGING = 2
"""The fold that judges: neither the one that is dealt the place richest in glacier nor the last."""


@dataclass(frozen=True)
class Place:
    """Connected ground that was checked.

    Attributes:
        region: Number of its region.
        row: First row of the smallest rectangle around it.
        column: First column.
        truth: `(h, w)` of that rectangle, 255 outside the place.
        judges: Whether it is held out of training.
        km2: Its area.
    """

    region: int
    row: int
    column: int
    truth: NDArray[np.uint8]
    judges: bool
    km2: float

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of its rectangle."""
        height, width = self.truth.shape
        return np.s_[self.row : self.row + height, self.column : self.column + width]


def checked_ground(
    corrections: Sequence[Correction], ensemble: Ensemble, holdout_share: float
) -> tuple[list[Region], list[Place]]:
    """Opens the scenes of corrections and deals their places: some train, the others judge.

    Places are dealt by how much glacier they hold, so that both kinds hold much and little of it, and the
    same corrections are always dealt in the same way. All of a place goes to one side.

    Args:
        corrections: Those that were kept.
        ensemble: The network that they correct.
        holdout_share: Share of the places that judges.

    Returns:
        A region for each correction with the roles of its pixels, and the places.

    Raises:
        GlaciersegError: A scene cannot be read, or is not what the network was trained on.
    """
    regions, found = [], []
    for number, correction in enumerate(corrections):
        fitted = ensemble.fit(open_scene(correction.scene))
        for line in fitted.warnings:
            _log.warning(line)
        scene, truth = fitted.scene, read_mask(correction.truth, fitted.scene.grid)
        with scene.open() as reader:
            for rows, _, valid in reader.strips():
                truth[rows][~valid] = IGNORE
        pixel_km2 = float(np.prod(scene.grid.pixel_size_m)) / 1e6
        count, labels, boxes, _ = cv2.connectedComponentsWithStats((truth != IGNORE).astype(np.uint8))
        for label in range(1, count):
            left, top, width, height, pixels = map(int, boxes[label])
            window = np.s_[top : top + height, left : left + width]
            own = np.where(labels[window] == label, truth[window], np.uint8(IGNORE))
            found.append(Place(number, top, left, own, judges=False, km2=pixels * pixel_km2))
        regions.append(Region(correction.name, scene, truth, np.full(truth.shape, NO_ROLE, np.uint8)))
    folds = deal_folds([float((place.truth == GLACIER).sum()) for place in found], round(1 / holdout_share))
    places = [replace(place, judges=fold == _JUDGING) for place, fold in zip(found, folds, strict=True)]
    for place in places:
        role = ROLE_CODES["validate" if place.judges else "train"]
        regions[place.region].roles[place.window][place.truth != IGNORE] = role
    return regions, places


def patches_of(places: Sequence[Place], regions: Sequence[Region], patch_px: int) -> list[Patch]:
    """Places patches over ground; a place smaller than a patch lies in its middle.

    Args:
        places: All of them for training, or for judging.
        regions: The regions.
        patch_px: Side of a patch.
    """
    found = []
    for place in places:
        height, width = place.truth.shape
        role: NDArray[np.uint8] = np.full(place.truth.shape, ROLE_CODES["train"], np.uint8)
        alone = replace(regions[place.region], truth=place.truth, roles=role)
        up, left = (max(patch_px - side, 0) // 2 for side in (height, width))
        for patch in place_patches([alone], "train", patch_px, overlap=0.5):
            row, column = place.row + patch.row - up, place.column + patch.column - left
            found.append(Patch(place.region, row, column))
    return found


def place_parts(places: Sequence[Place], regions: Sequence[Region]) -> list[Part]:
    """Cuts out places with some of the ground around them, on which nothing is known."""
    parts = []
    for place in places:
        scene, (height, width) = regions[place.region].scene, place.truth.shape
        top, left = max(place.row - REACH_PX, 0), max(place.column - REACH_PX, 0)
        bottom = min(place.row + height + REACH_PX, scene.grid.height)
        right = min(place.column + width + REACH_PX, scene.grid.width)
        truth = np.full((bottom - top, right - left), IGNORE, np.uint8)
        truth[place.row - top :, place.column - left :][:height, :width] = place.truth
        parts.append(Part(CroppedScene.of(scene, top, left, *truth.shape), truth))
    return parts


@dataclass(frozen=True)
class OldGround:
    """The ground that a network was trained and validated on.

    Attributes:
        config: The run's configuration.
        regions: With the bands of the network.
        validation: By region, truth on validation pixels.
    """

    config: RunConfig
    regions: tuple[Region, ...]
    validation: dict[str, NDArray[np.uint8]]


def old_ground(model: Path, replay: Path | None, card: ModelCard, scratch: Path) -> OldGround | None:
    """Opens the ground of the run that a network comes from, or of the one that is named.

    Args:
        model: The model folder.
        replay: A run, or a configuration; None for the run that the model folder lies in.
        card: The network's card.
        scratch: Where truth and roles of a configuration without a run go.

    Returns:
        None where no run is known.

    Raises:
        GlaciersegError: The run, or a file that it names, cannot be read.
    """
    run = RunFolder(replay or model.resolve().parent.parent)
    path = replay if replay is not None and replay.is_file() else run.config
    if replay is None and not path.is_file():
        return None
    config = load_config(path)
    folder = run if path == run.config else RunFolder(scratch)
    scenes = choose_bands(config.regions, config.bands, open_sources(config.regions), folder)
    if folder is run:
        found = read_regions(config.regions, scenes, run)
    else:
        found = load_regions(config.regions, config.split, config.largest_patch_px, scenes, folder)
    regions = tuple(replace(region, scene=region.scene.select(card.bands)) for region in found)
    return OldGround(config, regions, tuning_truths(regions, card.patch_px, config.patch, config.split))
