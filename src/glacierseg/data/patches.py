"""Training patches: where they lie, reading them, and how they are zoomed and made into batches."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from glacierseg.choices import Cache, Role
from glacierseg.data.augment import SYMMETRIES, Augmentation, Directions, Symmetry
from glacierseg.data.pixel_store import PixelStore
from glacierseg.data.regions import Region
from glacierseg.data.split import NO_ROLE, ROLE_CODES
from glacierseg.models.device import TORCH_TYPES
from glacierseg.models.scaling import Scaling
from glacierseg.raster.tiling import stride_of, window_starts
from glacierseg.raster.truth import GLACIER, IGNORE


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


def covered_pixels(
    region: Region, index: int, patches: Sequence[Patch], patch_px: int, *, margin_px: int = 0
) -> NDArray[np.bool_]:
    """Returns the pixels `(H, W)` of a region that patches cover.

    Args:
        region: The region.
        index: Its number in the patches.
        patches: Of all regions.
        patch_px: Side of a patch.
        margin_px: So far around a patch counts as covered, too.
    """
    covered = np.zeros(region.truth.shape, bool)
    for patch in patches:
        if patch.region == index:
            rows, columns = (
                slice(max(start - margin_px, 0), max(start + patch_px + margin_px, 0))
                for start in (patch.row, patch.column)
            )
            covered[rows, columns] = True
    return covered


def widest_px(patch_px: int, zoom: float) -> int:
    """Returns the side of the largest square of ground that a patch may show."""
    return max(round(patch_px * (1 + zoom)), patch_px)


def draw_side_px(patch_px: int, zoom: float, rng: np.random.Generator) -> int:
    """Draws the side of the square of ground that a patch shows.

    Args:
        patch_px: Side of the patch.
        zoom: The ground's side is drawn between `1 / (1 + zoom)` and `1 + zoom` times that, each ratio as
            likely as its inverse.
        rng: Decides.
    """
    most = np.log1p(zoom)
    return max(round(patch_px * float(np.exp(rng.uniform(-most, most)))), 1)


def resample(
    values: NDArray[Any],
    valid: NDArray[np.bool_],
    target: NDArray[np.uint8],
    side_px: int,
    *,
    soft: bool = False,
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.uint8]]:
    """Brings a square of ground to another number of pixels.

    What is shrunk is averaged over area, what grows is interpolated between pixel centres; pixels without
    data have no weight in it. A pixel has data, or a label, where at least half of that weight has, and the
    label of the greater part.

    Args:
        values: `(S, S, C)`; whatever stands where nothing is valid.
        valid: `(S, S)`.
        target: `(S, S)` of 0, 1 and 255, or of levels of a probability and 255.
        side_px: Its new side P.
        soft: Whether the target holds such levels, of which the mean is taken.

    Returns:
        Values `(P, P, C)`, 0 where nothing is valid; valid `(P, P)`; target `(P, P)`, 255 there.
    """
    how = cv2.INTER_AREA if side_px < len(values) else cv2.INTER_LINEAR
    known = target != IGNORE
    glacier = np.where(known, target, 0) if soft else target == GLACIER
    layers = np.dstack([np.where(valid[..., None], values, 0), valid, known, glacier])
    # OpenCV averages no more than four layers at once.
    parts = np.split(layers.astype(np.float32), range(4, layers.shape[2], 4), axis=2)
    found = np.dstack([cv2.resize(part, (side_px, side_px), interpolation=how) for part in parts])
    shown, labelled, glacier = found[..., -3], found[..., -2], found[..., -1]
    seen = shown >= 0.5
    scaled = np.where(seen[..., None], found[..., :-3] / np.maximum(shown, 0.5)[..., None], np.float32(0))
    if soft:
        labels = np.rint(glacier / np.maximum(labelled, 0.5)).astype(np.uint8)
    else:
        labels = np.where(glacier * 2 >= labelled, np.uint8(GLACIER), np.uint8(0))
    return scaled, seen, np.where(seen & (labelled >= 0.5), labels, np.uint8(IGNORE))


class PatchReader:
    """Reads patches of regions with their truth and roles."""

    def __init__(
        self, regions: Sequence[Region], patch_px: int, cache: Cache = "auto", folder: Path | None = None
    ) -> None:
        """Prepares reading.

        Args:
            regions: All regions.
            patch_px: Side of a patch.
            cache: Where pixels are kept, see `PixelStore`.
            folder: Where the files of a cache on disk go.
        """
        self.regions = tuple(regions)
        self.patch_px = patch_px
        self.store = PixelStore([region.scene for region in self.regions], cache, folder)

    def read(
        self, patch: Patch, side_px: int | None = None, *, soft: bool = False
    ) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.uint8], NDArray[np.uint8]]:
        """Reads a patch.

        Args:
            patch: Where it lies.
            side_px: Its side P, if not that of a patch.
            soft: Read the region's soft labels in place of its truth.

        Returns:
            Values `(P, P, C)` and valid `(P, P)`, not to be written to; truth `(P, P)`, 255 beyond the rim;
            and roles `(P, P)`.
        """
        region = self.regions[patch.region]
        size = side_px or self.patch_px
        values, valid = self.store.read(patch.region, patch.row, patch.column, size)
        truth = np.full((size, size), IGNORE, np.uint8)
        roles = np.zeros((size, size), np.uint8)
        top, left = max(patch.row, 0), max(patch.column, 0)
        labels = region.truth if not soft or region.soft is None else region.soft
        part = labels[top : patch.row + size, left : patch.column + size]
        window = (
            slice(top - patch.row, top - patch.row + part.shape[0]),
            slice(left - patch.column, left - patch.column + part.shape[1]),
        )
        truth[window] = part
        roles[window] = region.roles[top : patch.row + size, left : patch.column + size]
        truth[~valid] = IGNORE
        return values, valid, truth, roles


PatchTensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Values `(P, P, C)` as stored, valid `(P, P)` and target `(P, P)` uint8, as `InputScaling` takes them."""


class PatchDataset(Dataset[PatchTensors]):
    """Patches of one role as tensors."""

    def __init__(
        self,
        reader: PatchReader,
        patches: Sequence[Patch],
        role: Role,
        scaling: Scaling,
        *,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        soft: bool = False,
    ) -> None:
        """Prepares the patches of a role.

        Args:
            reader: Reads them.
            patches: Where they lie.
            role: Only pixels of this role have a label; for ``train``, pixels of other roles are hidden from
                the network altogether.
            scaling: How values become input; here it only tells augmentation what a spread is.
            augmentation: What happens to patches at random; nothing when None.
            seed: With the number drawn it decides on the augmentation, whatever the process that reads.
                Patch `i` is drawn as `i`, `i + len`, `i + 2 len`, ..., differently augmented each time.
            soft: The target holds the soft labels of the regions, not their truth.
        """
        self.reader = reader
        self.patches = tuple(patches)
        self.role = role
        self.scaling = scaling
        self.augmentation = augmentation
        scene = reader.regions[0].scene
        self._directions = Directions.of(scene)
        changed = augmentation is not None and (
            augmentation.changes_values or augmentation.zoom or self._directions.exist
        )
        # Scenes of corrections and of the training before need not be stored alike.
        stored = np.result_type(*(region.scene.dtype for region in reader.regions))
        self._dtype = np.dtype(np.float32) if changed or stored not in TORCH_TYPES else stored
        self.seed = seed
        self.soft = soft

    @property
    def reach_px(self) -> int:
        """How far beyond its patches augmentation looks, shifted and zoomed out."""
        size = self.reader.patch_px
        wider = widest_px(size, self.augmentation.zoom) - size if self.augmentation else 0
        # At the rim a wider patch moves inwards, so that all of it lies on one side.
        return max(self._most_shift_px + math.ceil(wider / 2), wider)

    @property
    def _most_shift_px(self) -> int:
        shifts = self.augmentation is not None and self.augmentation.symmetries
        return self.reader.patch_px // 4 if shifts else 0

    def __len__(self) -> int:
        return len(self.patches)

    def __iter__(self) -> Iterator[PatchTensors]:
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

    def __getitem__(self, draw: int) -> PatchTensors:
        values, valid, target = self.__getitems__([draw])
        return values[0], valid[0], target[0]

    def __getitems__(self, draws: Sequence[int]) -> PatchTensors:
        """Makes a whole batch at once, `(B, ...)`, which spares collating it; see `as_batch`."""
        shape = len(draws), self.reader.patch_px, self.reader.patch_px
        # Large arrays of numpy get huge pages, ready several times sooner than memory of torch.
        values = np.empty((*shape, len(self.scaling.mean)), self._dtype)
        valid, target = np.empty(shape, bool), np.empty(shape, np.uint8)
        for number, draw in enumerate(draws):
            self._write(draw, values[number], valid[number], target[number])
        return torch.from_numpy(values), torch.from_numpy(valid), torch.from_numpy(target)

    def _write(
        self, draw: int, values: NDArray[Any], valid: NDArray[np.bool_], target: NDArray[np.uint8]
    ) -> None:
        """Writes what is drawn to `(P, P, C)`, `(P, P)` and `(P, P)`."""
        patch = self.patches[draw % len(self.patches)]
        rng = np.random.default_rng((self.seed, draw))
        turns = self.augmentation is not None and self.augmentation.symmetries
        side_px = size = self.reader.patch_px
        if self.augmentation and self.augmentation.zoom:
            side_px = draw_side_px(size, self.augmentation.zoom, rng)
        if turns or side_px != size:
            patch = self._shifted(patch, side_px, rng)
        own_values, own_valid, truth, roles = self.reader.read(patch, side_px, soft=self.soft)
        code = ROLE_CODES[self.role]
        if self.role == "train":
            own_valid = own_valid & ((roles == code) | (roles == NO_ROLE))
        labels = np.where(roles == code, truth, np.uint8(IGNORE))
        if side_px != size:
            # Between 359 and 1 degrees lies 0: directions are interpolated as vectors.
            for angle in self._directions.angles:
                own_values = angle.as_vector(own_values)
            own_values, own_valid, labels = resample(own_values, own_valid, labels, size, soft=self.soft)
            for angle in self._directions.angles:
                own_values = angle.from_vector(own_values)
        symmetry = Symmetry.draw(rng, self._directions.symmetries) if turns else SYMMETRIES[0]
        if own_values.dtype != self._dtype or (turns and self._directions.exist):
            own_values = own_values.astype(self._dtype)
        if turns and self._directions.exist:
            self._directions.turn(own_values.transpose(2, 0, 1), symmetry)
        # A pixel with all its bands is moved as one item, several times faster than band by band.
        pixel = np.dtype((np.void, values.strides[1]))
        values.view(pixel)[..., 0] = symmetry.apply(own_values.view(pixel)[..., 0])
        valid[:] = symmetry.apply(own_valid)
        target[:] = symmetry.apply(labels)
        if self.augmentation and self.augmentation.changes_values:
            image = self.scaling.apply(values.transpose(2, 0, 1), valid)
            image = self.augmentation.change(image, valid, rng)
            values[:] = self.scaling.undo(image).transpose(1, 2, 0)

    def _shifted(self, patch: Patch, side_px: int, rng: np.random.Generator) -> Patch:
        """Gives a patch another side about its centre, and moves it by up to a quarter of a patch.

        Where it has room it goes never further over the rim than it was.
        """
        grid = self.reader.regions[patch.region].scene.grid
        most, wider = self._most_shift_px, side_px - self.reader.patch_px
        moved = []
        for start, length in ((patch.row, grid.height), (patch.column, grid.width)):
            # In a scene shorter than the side there is no room: then all of the scene stays in view.
            first, last = sorted((min(start, 0), max(length - side_px, start - max(wider, 0))))
            moved.append(int(np.clip(start - wider // 2 + rng.integers(-most, most + 1), first, last)))
        return Patch(patch.region, *moved)


def as_batch(batch: Any) -> PatchTensors:
    """What a `DataLoader` of a `PatchDataset` needs as `collate_fn`: its batches come whole."""
    whole: PatchTensors = batch
    return whole
