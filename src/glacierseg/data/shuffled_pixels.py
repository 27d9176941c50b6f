"""Training patches whose pixels come from all over the regions, for networks that need no neighbours.

A pixel of an ordinary patch says nearly the same as the one beside it: a batch of 64 patches shows 64 places,
however many pixels it has. Here every pixel of a batch is a place of its own.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from glacierseg.data.patches import Patch, PatchTensors, Region, covered_pixels
from glacierseg.data.scaling import Scaling
from glacierseg.data.split import NO_ROLE, ROLE_CODES
from glacierseg.raster.truth import GLACIER, IGNORE

Describe = Callable[[Tensor], Tensor]
"""Network input `(1, C, H, W)` to descriptions `(1, F, H, W)`."""

_BLOCK_PX = 512
_LEAST_PATCHES = 100
"""In an epoch: of few pixels it would be a handful of steps, and twenty epochs would teach little."""


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
        seed: int = 0,
    ) -> None:
        """Takes the pixels.

        Args:
            descriptions: `(N, F)`.
            glacier: `(N,)`, whether each is glacier.
            patch_px: Side of the patches that they are laid out in.
            scaling: How band values became what was described; not used here, but part of the network.
            seed: With the number drawn it decides which pixels a patch gets, whatever the process.
        """
        self.descriptions = descriptions
        self.glacier = glacier
        self.patch_px = patch_px
        self.scaling = scaling
        self.seed = seed

    def __len__(self) -> int:
        """Patches of an epoch: so many that they hold as many pixels as there are, and 100 at least."""
        if not len(self.glacier):
            return 0
        return max(math.ceil(len(self.glacier) / self.patch_px**2), _LEAST_PATCHES)

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
        return rng.integers(len(self.glacier), size=self.patch_px**2)


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
    usable = [partial(_usable, region, index, patches, patch_px) for index, region in enumerate(regions)]
    counts = [np.count_nonzero(area()) for area in usable]
    total, starts = sum(counts), np.cumsum([0, *counts[:-1]])
    drawn = np.sort(np.random.default_rng(seed).choice(total, min(most, total), replace=False, shuffle=False))
    descriptions, glacier, done = np.empty((len(drawn), 0), np.float32), np.empty(len(drawn), bool), 0
    shares = np.split(drawn, np.searchsorted(drawn, starts[1:]))
    for region, area, start, own in zip(regions, usable, starts, shares, strict=True):
        if not len(own):
            continue
        places = _chosen(area(), own - start)
        for found, is_glacier in _described(region, places, scaling, describe, reach_px):
            if not done:
                descriptions = np.empty((len(drawn), found.shape[1]), np.float32)
            part = slice(done, done + len(found))
            descriptions[part], glacier[part] = found, is_glacier
            done += len(found)
    return descriptions, glacier


def _described(
    region: Region, places: NDArray[np.bool_], scaling: Scaling, describe: Describe, reach_px: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Yields descriptions `(N, F)` of some pixels of a region and whether they are glacier, by blocks."""
    shown = np.pad((region.roles == ROLE_CODES["train"]) | (region.roles == NO_ROLE), reach_px)
    with region.scene.open() as reader:
        for row, column in product(*(range(0, side_px, _BLOCK_PX) for side_px in places.shape)):
            inside = places[row : row + _BLOCK_PX, column : column + _BLOCK_PX]
            if not inside.any():
                continue
            height, width = (side_px + 2 * reach_px for side_px in inside.shape)
            values, valid = reader.read(row - reach_px, column - reach_px, height, width)
            valid &= shown[row : row + height, column : column + width]
            with torch.inference_mode():
                described = describe(torch.from_numpy(scaling.apply(values, valid))[None])[0].numpy()
            rows, columns = np.nonzero(inside)
            truth = region.truth[row + rows, column + columns]
            yield described[:, rows + reach_px, columns + reach_px].T, truth == GLACIER


def _usable(region: Region, index: int, patches: Sequence[Patch], patch_px: int) -> NDArray[np.bool_]:
    """Returns the labelled training pixels `(H, W)` of a region that lie in patches."""
    area = covered_pixels(region, index, patches, patch_px)
    area &= (region.roles == ROLE_CODES["train"]) & (region.truth != IGNORE)
    return area


def _chosen(area: NDArray[np.bool_], numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns some of the pixels of an area `(H, W)`: those of these numbers, counted along its rows."""
    ends = np.cumsum(np.count_nonzero(area, axis=1))
    rows, firsts = np.unique(np.searchsorted(ends, numbers, side="right"), return_index=True)
    chosen = np.zeros_like(area)
    # Row by row: the places of all pixels of a scene would take eight times its mask.
    for row, own in zip(rows, np.split(numbers, firsts[1:]), strict=True):
        columns = np.flatnonzero(area[row])
        chosen[row, columns[own - ends[row] + len(columns)]] = True
    return chosen
