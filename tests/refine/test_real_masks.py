"""The steps on real masks, pixel for pixel against OpenCV."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from glacierseg.raster.scene import open_scene
from glacierseg.raster.truth import load_truth
from tests.refine import opencv_steps
from tests.refine.array_steps import fill_holes, merge_fragments, remove_fragments, smooth

SIZE_M = (10.0, 10.0)


def real_masks(data_dir: Path) -> Iterator[NDArray[np.uint8]]:
    """Outlines around Everest, and chips of the Alps, which have ignored pixels."""
    everest = data_dir / "everest_landsat7"
    grid = open_scene(next(everest.glob("*_RGB.tif"))).grid
    yield load_truth(next(everest.glob("*.gpkg")), grid)
    for path in sorted((data_dir / "alps_sentinel2" / "masks").glob("*.tif"))[::20]:
        with rasterio.open(path) as dataset:
            yield dataset.read(1)


def speckled(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What a network may make of it: half a percent of the pixels turned."""
    turned = np.random.default_rng(0).random(mask.shape) < 0.005
    return np.where(turned & (mask != 255), 1 - mask, mask).astype(np.uint8)


@pytest.mark.real
def test_every_step_on_real_masks_is_opencvs(data_dir: Path) -> None:
    seen = 0
    for real in real_masks(data_dir):
        for mask in (real, speckled(real)):
            pairs = [
                (remove_fragments(mask, SIZE_M, 0.03), opencv_steps.remove(mask, 300)),
                (remove_fragments(mask, SIZE_M, 0.01, 4), opencv_steps.remove(mask, 100, 4)),
                (fill_holes(mask, SIZE_M), opencv_steps.fill(mask, np.inf)),
                (fill_holes(mask, SIZE_M, 0.002), opencv_steps.fill(mask, 20)),
                (smooth(mask, 10), opencv_steps.majority(mask, 10)),
                (smooth(mask, 3, "closing"), opencv_steps.close_or_open(mask, 3, "closing")),
                (smooth(mask, 3, "opening"), opencv_steps.close_or_open(mask, 3, "opening")),
                *(
                    (merge_fragments(mask, SIZE_M, 10.0 * n), opencv_steps.merge(mask, n, n))
                    for n in (1, 2, 4)
                ),
            ]
            for ours, theirs in pairs:
                np.testing.assert_array_equal(ours, theirs)
            seen += int((mask == 1).any() and any((ours != mask).any() for ours, _ in pairs))
    assert seen >= 10  # most of them have glacier that the steps change
