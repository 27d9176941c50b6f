"""Evaluation of a mask file against truth in a file."""

from collections.abc import Sequence
from pathlib import Path

from glacierseg.evaluate.evaluation import Evaluation, evaluate_masks
from glacierseg.raster.scene import grid_of, open_raster
from glacierseg.raster.truth import load_truth, read_mask


def evaluate_file(predicted: Path, truth: Path, *, buffers_m: Sequence[float] = ()) -> Evaluation:
    """Compares a predicted mask with truth on its grid.

    Args:
        predicted: A mask raster.
        truth: A mask raster on the same grid, or outlines in any CRS.
        buffers_m: Distances from the true boundary that are forgiven, see `evaluate_masks`.

    Raises:
        RasterError: A file cannot be read.
        GridMismatchError: The masks lie on different grids.
        TruthError: A mask has values other than 0, 1 and ignore, or no outline meets the mask.
    """
    with open_raster(predicted) as dataset:
        grid = grid_of(dataset)
    return evaluate_masks(read_mask(predicted), load_truth(truth, grid), grid.pixel_size_m, buffers_m)
