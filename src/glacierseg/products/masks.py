"""Which pixels of a product become no data: its clouds, those of its neighbours, masks of files, and growth.

Growth knows no rim: what is masked beyond the wanted ground, or beyond the product's own where a file or a
product of the same day shows it, grows into it all the same.
"""

import math
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.products.classes import CLEAR, CLOUDY, MISSING, SATURATED, SNOW
from glacierseg.products.pixels import Layout, Pixels, grown, read_classes, store
from glacierseg.products.place import Ground
from glacierseg.products.product import Product
from glacierseg.raster.bounds import may_meet
from glacierseg.raster.grid import Grid
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.warp import on_grid
from glacierseg.settings.prepare import ProductInputs, ProductSettings


class Masks:
    """Says which pixels of products become no data.

    Attributes:
        ground: The grid of the scene, widened by all ground from which masks grow into it.
        cloudy: Numbers of the classes that become no data.
    """

    def __init__(self, settings: ProductSettings, grid: Grid) -> None:
        self._settings = settings
        self.ground = _widened(grid, settings.grow_m)
        self.cloudy = [CLOUDY[name] for name in CLOUDY if settings.mask and name not in settings.keep]
        self._file: Ground | None = None
        self._clouds: list[tuple[Product, Any]] = []

    def open(
        self, stack: ExitStack, inputs: ProductInputs, layouts: Mapping[Product, Layout], folder: Path
    ) -> None:
        """Opens a mask that is given, and finds the clouds that products see of one another's ground.

        Args:
            stack: Closes them.
            inputs: What is given.
            layouts: Of all products.
            folder: Where the clouds wait.
        """
        if inputs.mask_file:
            self._file = Ground(stack, inputs.mask_file, inputs.mask_layer, self.ground, "--mask-layer")
        if not self._settings.grow_m or len(layouts) < 2:
            return
        for number, (product, layout) in enumerate(layouts.items()):
            if may_meet(layout.grid, self.ground):
                path = folder / f"{number}_clouds.tif"
                classes, grid = read_classes(product, layout, self.ground)
                store(path, np.isin(classes, self.cloudy).astype(np.uint8), grid, None)
                self._clouds.append((product, stack.enter_context(open_raster(path))))

    def of(self, pixels: Pixels) -> NDArray[np.bool_]:
        """Returns `(H, W)` True for pixels that become no data, and marks classes that are saturated."""
        settings, (height, width) = self._settings, pixels.grid.shape
        others = [
            clouds
            for product, clouds in self._clouds
            if product != pixels.product and product.acquired == pixels.product.acquired
        ]
        halo = _reach_px(pixels.grid, settings.grow_m) if others or self._file else 0
        grid = pixels.grid.crop(-halo, -halo, height + 2 * halo, width + 2 * halo)
        own = np.s_[halo : halo + height, halo : halo + width]
        masked: NDArray[np.bool_] = np.zeros(grid.shape, bool)
        masked[own] = np.isin(pixels.classes, self.cloudy)
        if self._file is not None:
            masked |= self._file.on(grid)
        for clouds in others:
            if may_meet(grid, grid_of(clouds)):
                with on_grid(clouds, grid, "nearest") as dataset:
                    masked |= dataset.read(1) == 1
        if settings.grow_m and masked.any():
            masked = grown(masked, settings.grow_m, grid.pixel_size_m)
        masked = masked[own]
        if settings.mask_saturated:
            masked |= pixels.saturated
            bare = pixels.saturated & np.isin(pixels.classes, (CLEAR, SNOW))
            pixels.classes[bare] = SATURATED
        masked &= pixels.classes != MISSING
        return masked


def _reach_px(grid: Grid, distance_m: float) -> int:
    return math.ceil(distance_m / min(grid.pixel_size_m)) if distance_m else 0


def _widened(grid: Grid, distance_m: float) -> Grid:
    halo = _reach_px(grid, distance_m)
    return grid.crop(-halo, -halo, grid.height + 2 * halo, grid.width + 2 * halo)
