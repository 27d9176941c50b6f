"""Training patches, read straight from the scenes."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from glacierseg.dataset.augment import Augmentation, Directions, Symmetry
from glacierseg.dataset.scaling import Scaling
from glacierseg.dataset.split import NO_ROLE, ROLE_CODES, Role
from glacierseg.raster.scene import Scene, SceneReader
from glacierseg.raster.truth import GLACIER, IGNORE
from glacierseg.tiling import stride_of, window_starts


@dataclass(frozen=True)
class Region:
    """A scene with its truth and the role of each of its pixels.

    Attributes:
        name: The region's name.
        scene: Its bands.
        truth: `(H, W)` of 0, 1 and 255; 255 wherever a band has no data.
        roles: `(H, W)` of role codes.
    """

    name: str
    scene: Scene
    truth: NDArray[np.uint8] = field(repr=False)
    roles: NDArray[np.uint8] = field(repr=False)


@dataclass(frozen=True)
class Patch:
    """Where a patch lies: index of its region, first row and column (which may lie beyond the rim)."""

    region: int
    row: int
    column: int


def place_patches(
    regions: Sequence[Region], role: Role, patch_px: int, *, overlap: float
) -> tuple[Patch, ...]:
    """Places windows over the pixels of a role.

    Windows slide over the smallest rectangle around those pixels. Windows with less than half as many usable
    pixels as the best one of their region are left out. With no overlap (validation) all that hold any are
    kept and the last ones reach beyond the rectangle, so that each pixel is counted once.

    Args:
        regions: All regions.
        role: Whose pixels.
        patch_px: Side of a patch.
        overlap: Share of a patch that the next one covers too.
    """
    placed = []
    for index, region in enumerate(regions):
        usable = (region.roles == ROLE_CODES[role]) & (region.truth != IGNORE)
        if not usable.any():
            continue
        rows, columns = np.flatnonzero(usable.any(1)), np.flatnonzero(usable.any(0))
        top, left = int(rows[0]), int(columns[0])
        height, width = int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left
        stride = stride_of(patch_px, overlap)
        if overlap:
            starts = [
                (top + r, left + c)
                for r in window_starts(height, patch_px, stride)
                for c in window_starts(width, patch_px, stride)
            ]
        else:
            starts = [
                (r, c)
                for r in range(top, top + height, patch_px)
                for c in range(left, left + width, patch_px)
            ]
        counts = [int(usable[r : r + patch_px, c : c + patch_px].sum()) for r, c in starts]
        least = max(counts) / 2 if overlap else 1
        placed += [Patch(index, r, c) for (r, c), count in zip(starts, counts, strict=True) if count >= least]
    return tuple(placed)


class PatchReader:
    """Reads patches of regions; holds scenes in memory when they fit, else one open handle per process."""

    def __init__(self, regions: Sequence[Region], patch_px: int, cache_bytes: int = 2 * 1024**3) -> None:
        """Prepares reading.

        Args:
            regions: All regions.
            patch_px: Side of a patch.
            cache_bytes: Scenes are kept in memory when all of them together take no more.
        """
        self.regions = tuple(regions)
        self.patch_px = patch_px
        size = sum(
            region.truth.size * len(region.scene.bands) * region.scene.dtype.itemsize
            for region in self.regions
        )
        self._cached = size <= cache_bytes
        self._whole: dict[int, tuple[NDArray[Any], NDArray[np.bool_]]] = {}
        self._readers: dict[int, SceneReader] = {}
        self._stack = ExitStack()
        self._owner = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        """Leaves open files and pixels behind when a worker process gets a copy."""
        return {**self.__dict__, "_whole": {}, "_readers": {}, "_stack": None, "_owner": None}

    def read(
        self, patch: Patch
    ) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.uint8], NDArray[np.uint8]]:
        """Reads a patch.

        Args:
            patch: Where it lies.

        Returns:
            Values `(C, P, P)`, valid `(P, P)`, truth `(P, P)` (255 beyond the rim) and roles `(P, P)`.
        """
        region = self.regions[patch.region]
        size = self.patch_px
        values, valid = self._pixels(patch)
        truth = np.full((size, size), IGNORE, np.uint8)
        roles = np.zeros((size, size), np.uint8)
        top, left = max(patch.row, 0), max(patch.column, 0)
        part = region.truth[top : patch.row + size, left : patch.column + size]
        window = (
            slice(top - patch.row, top - patch.row + part.shape[0]),
            slice(left - patch.column, left - patch.column + part.shape[1]),
        )
        truth[window] = part
        roles[window] = region.roles[top : patch.row + size, left : patch.column + size]
        truth[~valid] = IGNORE
        return values, valid, truth, roles

    def _pixels(self, patch: Patch) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        grid = self.regions[patch.region].scene.grid
        size = self.patch_px
        inside = 0 <= patch.row <= grid.height - size and 0 <= patch.column <= grid.width - size
        if not (self._cached and inside):
            return self._reader(patch.region).read(patch.row, patch.column, size, size)
        if patch.region not in self._whole:
            self._whole[patch.region] = self._reader(patch.region).read(0, 0, grid.height, grid.width)
        values, valid = self._whole[patch.region]
        window = np.s_[patch.row : patch.row + size, patch.column : patch.column + size]
        return values[:, *window], valid[window]

    def _reader(self, region: int) -> SceneReader:
        if self._owner != os.getpid():  # GDAL handles must not be shared between processes
            self._readers, self._stack, self._owner = {}, ExitStack(), os.getpid()
        if region not in self._readers:
            self._readers[region] = self._stack.enter_context(self.regions[region].scene.open())
        return self._readers[region]


class PatchDataset(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Patches of one role as tensors: image `(C, P, P)` float32 and target `(P, P)` int64."""

    def __init__(
        self,
        reader: PatchReader,
        patches: Sequence[Patch],
        role: Role,
        scaling: Scaling,
        *,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        """Prepares the patches of a role.

        Args:
            reader: Reads them.
            patches: Where they lie.
            role: Only pixels of this role have a label; for ``train``, pixels of other roles are hidden from
                the network altogether.
            scaling: How values become input.
            augmentation: What happens to patches at random; nothing when None.
            seed: With the number drawn it decides on the augmentation, whatever the process that reads.
                Patch `i` is drawn as `i`, `i + len`, `i + 2 len`, ..., differently augmented each time.
        """
        self.reader = reader
        self.patches = tuple(patches)
        self.role = role
        self.scaling = scaling
        self.augmentation = augmentation
        scene = reader.regions[0].scene
        self._directions = Directions.among(scene.band_names, [band.dtype for band in scene.bands])
        self.seed = seed

    def __len__(self) -> int:
        return len(self.patches)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Gives each patch once; draws beyond the last patch exist, so Python's own loop would not end."""
        return (self[index] for index in range(len(self)))

    def hold_glacier(self) -> NDArray[np.bool_]:
        """Returns `(len,)`: whether each patch, unshifted, holds a glacier pixel of its role."""
        size, code = self.reader.patch_px, ROLE_CODES[self.role]
        held = []
        for patch in self.patches:
            region = self.reader.regions[patch.region]
            window = np.s_[max(patch.row, 0) : patch.row + size, max(patch.column, 0) : patch.column + size]
            held.append(bool(((region.truth[window] == GLACIER) & (region.roles[window] == code)).any()))
        return np.array(held, bool)

    def __getitem__(self, draw: int) -> tuple[torch.Tensor, torch.Tensor]:
        patch = self.patches[draw % len(self.patches)]
        rng = np.random.default_rng((self.seed, draw))
        turns = self.augmentation is not None and self.augmentation.symmetries
        if turns:
            patch = self._shifted(patch, rng)
        values, valid, truth, roles = self.reader.read(patch)
        code = ROLE_CODES[self.role]
        if self.role == "train":
            valid = valid & ((roles == code) | (roles == NO_ROLE))
        truth = np.where(roles == code, truth, np.uint8(IGNORE))
        symmetry = Symmetry.draw(rng, self._directions.symmetries) if turns else None
        if symmetry:
            if self._directions.exist:
                values = self._directions.turn(values.astype(np.float32), symmetry)
            # Before scaling: bytes turn four times faster than what becomes of them.
            values, valid, truth = (
                np.ascontiguousarray(symmetry.apply(array)) for array in (values, valid, truth)
            )
        image = self.scaling.apply(values, valid)
        if self.augmentation:
            image = self.augmentation.change(image, valid, rng)
        return torch.from_numpy(image), torch.from_numpy(truth).long()

    def _shifted(self, patch: Patch, rng: np.random.Generator) -> Patch:
        """Moves a patch by up to a quarter of its side, but never further over the rim than it was."""
        grid = self.reader.regions[patch.region].scene.grid
        most = self.reader.patch_px // 4
        moved = []
        for start, length in ((patch.row, grid.height), (patch.column, grid.width)):
            last = max(length - self.reader.patch_px, start)
            moved.append(int(np.clip(start + rng.integers(-most, most + 1), min(start, 0), last)))
        return Patch(patch.region, *moved)
