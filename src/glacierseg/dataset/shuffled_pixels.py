"""Training patches whose pixels come from all over the regions, for networks that need no neighbours.

A pixel of an ordinary patch says nearly the same as the one beside it: a batch of 64 patches shows 64 places,
however many pixels it has. Here every pixel of a batch is a place of its own.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from glacierseg.dataset.patches import Patch, PatchTensors, Region, covered_pixels
from glacierseg.dataset.scaling import Scaling
from glacierseg.dataset.split import NO_ROLE, ROLE_CODES
from glacierseg.raster.truth import GLACIER, IGNORE

Describe = Callable[[Tensor], Tensor]
"""Network input `(1, C, H, W)` to descriptions `(1, F, H, W)`."""

_BLOCK_PX = 512


class ShuffledPixels(Dataset[PatchTensors]):
    """Descriptions of single training pixels, laid out as patches: a draw is `patch_px`² of them at random.

    Its batches are those of `PatchDataset`, but for what the values are: descriptions, not bands.
    """

    def __init__(
        self,
        descriptions: NDArray[np.float32],
        glacier: NDArray[np.bool_],
        patch_px: int,
        scaling: Scaling,
        *,
        glacier_share: float | None = None,
        seed: int = 0,
    ) -> None:
        """Takes the pixels.

        Args:
            descriptions: `(N, F)`.
            glacier: `(N,)`, whether each is glacier.
            patch_px: Side of the patches that they are laid out in.
            scaling: How band values became what was described; not used here, but part of the network.
            glacier_share: Share of the pixels of a patch that are glacier; None for as they come. Without
                pixels of one kind it has no effect.
            seed: With the number drawn it decides which pixels a patch gets, whatever the process.
        """
        self.descriptions = descriptions
        self.glacier = glacier
        self.patch_px = patch_px
        self.scaling = scaling
        self.seed = seed
        self._pools: tuple[tuple[NDArray[np.int64], int], ...] = ((np.arange(len(glacier)), patch_px**2),)
        if glacier_share is not None and 0 < glacier.sum() < len(glacier):
            rich = round(patch_px**2 * glacier_share)
            self._pools = (np.flatnonzero(glacier), rich), (np.flatnonzero(~glacier), patch_px**2 - rich)

    def __len__(self) -> int:
        """As many patches as hold as many pixels as there are."""
        return math.ceil(len(self.glacier) / self.patch_px**2)

    def __iter__(self) -> Iterator[PatchTensors]:
        """Gives as many patches as the length says; there are draws beyond."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, draw: int) -> PatchTensors:
        values, valid, target = self.__getitems__([draw])
        return values[0], valid[0], target[0]

    def __getitems__(self, draws: Sequence[int]) -> PatchTensors:
        """Makes a whole batch: descriptions `(B, P, P, F)`, valid and target `(B, P, P)`."""
        shape = len(draws), self.patch_px, self.patch_px
        chosen = np.concatenate([self._pixels(draw) for draw in draws])
        values = self.descriptions[chosen].reshape(*shape, -1)
        target = np.where(self.glacier[chosen], np.uint8(GLACIER), np.uint8(0)).reshape(shape)
        return torch.from_numpy(values), torch.ones(shape, dtype=torch.bool), torch.from_numpy(target)

    def _pixels(self, draw: int) -> NDArray[np.int64]:
        """Draws with replacement, which needs no memory of earlier draws and is as good with many pixels."""
        rng = np.random.default_rng((self.seed, draw))
        return np.concatenate([rng.choice(pool, wanted) for pool, wanted in self._pools])


def describe_pixels(
    regions: Sequence[Region],
    patches: Sequence[Patch],
    patch_px: int,
    scaling: Scaling,
    describe: Describe,
    reach_px: int,
    *,
    most: int,
    seed: int = 0,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Draws labelled training pixels that lie in patches, each once, and describes them.

    Pixels of other roles are hidden from the surroundings that are described, as `PatchDataset` hides them.
    The scenes are read block by block.

    Args:
        regions: All regions.
        patches: Training patches.
        patch_px: Their side.
        scaling: How band values become network input.
        describe: Makes the descriptions.
        reach_px: How far around a pixel they look.
        most: So many pixels are drawn; all of them where there are no more.
        seed: Decides which are drawn.

    Returns:
        Descriptions `(N, F)` and whether each pixel is glacier `(N,)`; `N` is 0 where nothing is labelled.
    """
    drawn = _drawn(regions, patches, patch_px, most, np.random.default_rng(seed))
    found: list[NDArray[np.float32]] = []
    glacier: list[NDArray[np.bool_]] = []
    for region, places in zip(regions, drawn, strict=True):
        if not places.any():
            continue
        shown = (region.roles == ROLE_CODES["train"]) | (region.roles == NO_ROLE)
        shown = np.pad(shown, reach_px)
        with region.scene.open() as reader:
            for row, column in _blocks(places.shape):
                inside = places[row : row + _BLOCK_PX, column : column + _BLOCK_PX]
                if not inside.any():
                    continue
                height, width = (side_px + 2 * reach_px for side_px in inside.shape)
                values, valid = reader.read(row - reach_px, column - reach_px, height, width)
                valid &= shown[row : row + height, column : column + width]
                rows, columns = np.nonzero(inside)
                with torch.inference_mode():
                    described = describe(torch.from_numpy(scaling.apply(values, valid))[None])[0].numpy()
                found.append(described[:, rows + reach_px, columns + reach_px].T)
                glacier.append(region.truth[row + rows, column + columns] == GLACIER)
    return np.concatenate(found or [np.empty((0, 0), np.float32)]), np.concatenate(
        glacier or [np.empty(0, bool)]
    )


def _drawn(
    regions: Sequence[Region], patches: Sequence[Patch], patch_px: int, most: int, rng: np.random.Generator
) -> list[NDArray[np.bool_]]:
    """Returns of each region which pixels are drawn, `(H, W)`."""
    usable = []
    for index, region in enumerate(regions):
        area = covered_pixels(region, index, patches, patch_px)
        usable.append(area & (region.roles == ROLE_CODES["train"]) & (region.truth != IGNORE))
    counts = [np.count_nonzero(area) for area in usable]
    total, starts = sum(counts), np.cumsum([0, *counts[:-1]])
    chosen = np.sort(rng.choice(total, min(most, total), replace=False, shuffle=False))
    drawn = []
    for area, start, own in zip(
        usable, starts, np.split(chosen, np.searchsorted(chosen, starts[1:])), strict=True
    ):
        places = np.zeros(area.shape, bool)
        places.flat[np.flatnonzero(area)[own - start]] = True
        drawn.append(places)
    return drawn


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    return product(range(0, shape[0], _BLOCK_PX), range(0, shape[1], _BLOCK_PX))
