"""One pass over a scene, and its mask if there is one, that counts everything the checks need."""

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.log import Progress
from glacierseg.raster.blocks import Block, iterate_blocks, open_layers
from glacierseg.raster.environment import bounded_gdal
from glacierseg.raster.scene import Scene
from glacierseg.raster.truth import BACKGROUND, GLACIER, IGNORE, open_mask


@dataclass
class BandCounts:
    """Counts of one band.

    Attributes:
        pixels: Of the scene.
        valid: Pixels with data.
        not_finite: Pixels that are NaN or infinite.
        infinite: Pixels that are infinite.
        least: Least valid value.
        greatest: Greatest valid value.
        at_greatest: Valid pixels that have it.
        digest: Equal for bands with equal pixels.
    """

    pixels: int
    valid: int = 0
    not_finite: int = 0
    infinite: int = 0
    least: float = np.inf
    greatest: float = -np.inf
    at_greatest: int = 0
    digest: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16))

    def add(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """Counts the band's part of one block."""
        if values.dtype.kind == "f":
            self.not_finite += int(np.count_nonzero(~np.isfinite(values)))
            self.infinite += int(np.count_nonzero(np.isinf(values)))
        self.digest.update(np.where(valid, values, 0).astype(values.dtype).tobytes())
        present = values[valid]
        if not present.size:
            return
        self.valid += present.size
        self.least = min(self.least, float(present.min()))
        top = present.max()
        count = int(np.count_nonzero(present == top))
        if float(top) > self.greatest:
            self.greatest, self.at_greatest = float(top), count
        elif float(top) == self.greatest:
            self.at_greatest += count

    @property
    def missing_share(self) -> float:
        """Share of pixels without data."""
        return 1 - self.valid / self.pixels

    @property
    def saturated_share(self) -> float:
        """Share of the valid pixels that have the greatest value."""
        return self.at_greatest / self.valid if self.valid else 0.0

    @property
    def is_constant(self) -> bool:
        """Whether there is data of one value only."""
        return self.valid > 0 and self.least == self.greatest


@dataclass
class SceneCounts:
    """Counts of a scene.

    Attributes:
        pixels: Of the scene.
        bands: By band, in order.
        missing: Pixels that lack some band.
        all_zero: Pixels that are 0 in every band, and count as data.
        missing_in_patch: Pixels that lack some band, by patch, `(rows, columns)` of patches side by side.
        pixels_in_patch: Pixels by patch.
        truth_missing: Pixels that lack some band although the mask says glacier or background.
        glacier_missing: Pixels that lack some band where the mask says glacier.
    """

    pixels: int
    bands: tuple[BandCounts, ...]
    missing: int
    all_zero: int
    missing_in_patch: NDArray[np.int64]
    pixels_in_patch: NDArray[np.int64]
    truth_missing: int = 0
    glacier_missing: int = 0


@dataclass
class MaskCounts:
    """Pixels of a mask by class, of values that it must not have, and the nodata value that it declares."""

    background: int = 0
    glacier: int = 0
    ignored: int = 0
    strange: dict[float, int] = field(default_factory=dict)
    declared: float | None = None


def scan_scene(
    scene: Scene, patch_px: int, *, mask: Path | None = None, progress: Progress | None = None
) -> SceneCounts:
    """Reads a scene once.

    Args:
        scene: The scene.
        patch_px: Side of the patches that the scene will be cut into.
        mask: A mask on the scene's grid.
        progress: Called with the share done, 0-1.

    Raises:
        RasterError: Pixels cannot be read.
    """
    grid = scene.grid
    shape = -(-grid.height // patch_px), -(-grid.width // patch_px)
    counts = SceneCounts(
        pixels=grid.height * grid.width,
        bands=tuple(BandCounts(grid.height * grid.width) for _ in scene.bands),
        missing=0,
        all_zero=0,
        missing_in_patch=np.zeros(shape, np.int64),
        pixels_in_patch=np.zeros(shape, np.int64),
    )
    with bounded_gdal(), ExitStack() as stack:
        reader = stack.enter_context(open_layers(scene))
        truth = stack.enter_context(open_mask(mask)) if mask else None
        for block in iterate_blocks(grid.shape, progress):
            values, valid = reader.read(block)
            for band, band_counts in enumerate(counts.bands):
                band_counts.add(values[band], valid[band])
            missing = np.logical_not(valid.all(axis=0))
            counts.missing += int(np.count_nonzero(missing))
            counts.all_zero += int(np.count_nonzero(~missing & ~values.any(axis=0)))
            _add_by_patch(counts.missing_in_patch, missing, block, patch_px)
            _add_by_patch(counts.pixels_in_patch, np.ones_like(missing), block, patch_px)
            if truth and missing.any():
                values_of_truth, ignored = truth.values(block.window)
                classes = np.where(ignored, IGNORE, values_of_truth)
                counts.truth_missing += int(np.count_nonzero(missing & (classes != IGNORE)))
                counts.glacier_missing += int(np.count_nonzero(missing & (classes == GLACIER)))
    return counts


def scan_mask(path: Path) -> MaskCounts:
    """Reads a mask once.

    Raises:
        RasterError: Pixels cannot be read.
        TruthError: It has several bands, or declares that its glacier is nodata.
    """
    counts = MaskCounts()
    with bounded_gdal(), open_mask(path) as mask:
        counts.declared = mask.nodata
        for block in iterate_blocks(mask.grid.shape):
            values, ignored = mask.values(block.window)
            numbers, amounts = np.unique(values[~ignored], return_counts=True)
            counts.ignored += int(np.count_nonzero(ignored))
            for number, amount in zip(numbers.tolist(), amounts.tolist(), strict=True):
                if number == GLACIER:
                    counts.glacier += amount
                elif number == BACKGROUND:
                    counts.background += amount
                elif number == IGNORE:
                    counts.ignored += amount
                else:
                    counts.strange[number] = counts.strange.get(number, 0) + amount
    return counts


def _add_by_patch(totals: NDArray[np.int64], pixels: NDArray[np.bool_], block: Block, patch_px: int) -> None:
    """Adds the number of True pixels of a block to the patches that they lie in."""
    rows = np.arange(block.row, block.row + block.height) // patch_px
    columns = np.arange(block.column, block.column + block.width) // patch_px
    first_rows = np.flatnonzero(np.diff(rows, prepend=-1))
    first_columns = np.flatnonzero(np.diff(columns, prepend=-1))
    sums = np.add.reduceat(
        np.add.reduceat(pixels.astype(np.int64), first_rows, axis=0), first_columns, axis=1
    )
    totals[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += sums
