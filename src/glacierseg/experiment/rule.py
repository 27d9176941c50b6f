"""The row of the comparison that needs no network."""

from collections.abc import Sequence

import numpy as np

from glacierseg.data.regions import Region, train_pixels
from glacierseg.models.threshold import ThresholdRule, find_threshold
from glacierseg.raster.facts import facts_of_bands
from glacierseg.raster.truth import GLACIER, IGNORE
from glacierseg.raster.write import read_json, write_json, write_raster
from glacierseg.runs.layout import ModelFolder


def threshold_masks(
    regions: Sequence[Region], folder: ModelFolder, shown: Sequence[Region] | None = None
) -> str:
    """Finds the best threshold on training pixels and applies it to every region, unless that is done.

    Args:
        regions: All regions.
        folder: Where the rule and its masks go.
        shown: The regions it is applied to; all when None.

    Returns:
        The rule in words.
    """
    stored = folder.rule
    bands = regions[0].scene.band_names
    if not stored.exists():
        rule = find_threshold(lambda: train_pixels(regions), bands)
        write_json(stored, rule.to_dict())
    facts = read_json(stored)
    facts.pop("rule")
    rule = ThresholdRule(**facts)
    for region in regions if shown is None else shown:
        if folder.mask(region.name).exists():
            continue
        scene = region.scene.select(rule.bands)
        grid = scene.grid
        mask = np.empty(grid.shape, np.uint8)
        with scene.open() as reader:
            for rows, values, valid in reader.strips():
                mask[rows] = np.where(rule.apply(values), np.uint8(GLACIER), np.uint8(0))
                mask[rows][~valid] = IGNORE
        tags = {"rule": str(rule), **facts_of_bands(scene.bands).tags}
        write_raster(folder.mask(region.name), mask, grid, bands=["glacier"], nodata=IGNORE, tags=tags)
    return str(rule)
