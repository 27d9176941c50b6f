"""Where each region shows clean ice, debris-covered ice and bare ground: told once, for all masks."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.data.regions import Region
from glacierseg.data.split import ROLE_CODES
from glacierseg.errors import BandError, ValuesError
from glacierseg.evaluate.debris import SURFACES, find_ice_rule, surface_classes
from glacierseg.experiment.regions import open_sources
from glacierseg.raster.open import open_raster
from glacierseg.raster.truth import IGNORE
from glacierseg.raster.write import write_json, write_raster
from glacierseg.runs.layout import RunFolder
from glacierseg.settings import RegionConfig

_log = logging.getLogger(__name__)


def tell_surfaces(sections: Sequence[RegionConfig], regions: Sequence[Region], folder: RunFolder) -> None:
    """Divides the ground of every region and stores it with its rule, unless that is done.

    Thresholds that have to be chosen are chosen on the training ground of all regions, without its truth.

    Args:
        sections: The regions of the configuration.
        regions: The same, loaded.
        folder: Where the rasters and the rules are stored.

    Raises:
        RasterError: A scene cannot be read.
    """
    if folder.surfaces.exists():
        return
    sources = open_sources(sections)
    # The bands that the networks see may be without those of a rule.
    sets = [[region.scene for region in regions], [sources[region.name] for region in regions]]
    areas = [region.roles == ROLE_CODES["train"] for region in regions]
    found: dict[str, dict[str, Any]] = {}
    for number, (section, region) in enumerate(zip(sections, regions, strict=True)):
        for scenes in sets:
            train = list(zip(scenes, areas, strict=True))
            try:
                rule = find_ice_rule(scenes[number], sensor=section.sensor, train=train)
                classes = surface_classes(scenes[number], region.truth, rule, sensor=section.sensor)
            except (BandError, ValuesError) as error:
                found.setdefault(region.name, {"none": str(error)})
                continue
            found[region.name] = {"rule": str(rule), **asdict(rule)}
            tags = {"values": "; ".join(f"{i} {name}" for i, name in enumerate(SURFACES)), "rule": str(rule)}
            write_raster(
                folder.surface(region.name),
                classes,
                region.scene.grid,
                bands=["surface"],
                nodata=IGNORE,
                tags=tags,
            )
            break
    if without := [reasons["none"] for reasons in found.values() if "none" in reasons]:
        _log.info(f"debris-covered ice is not scored in {len(without)} of {len(found)} regions: {without[0]}")
    write_json(folder.surfaces, found)


def read_surface(folder: RunFolder, region: str) -> NDArray[np.uint8]:
    """Returns numbers `(H, W)` of `evaluate.debris.SURFACES` of a region that has a rule; 255 is unknown.

    Raises:
        RasterError: It cannot be read.
    """
    with open_raster(folder.surface(region)) as dataset:
        values: NDArray[np.uint8] = dataset.read(1)
    return values
