"""Refinement of mask files."""

from dataclasses import asdict
from pathlib import Path

from glacierseg.raster.scene import grid_of, open_raster
from glacierseg.raster.truth import IGNORE, read_mask
from glacierseg.raster.write import write_raster
from glacierseg.refine.pipeline import RefineParameters, StepChange, refine_with_report


def refine_file(
    mask_path: Path, out_path: Path, parameters: RefineParameters | None = None
) -> tuple[StepChange, ...]:
    """Refines a mask raster into another on the same grid.

    The result is a cloud-optimised GeoTIFF with one uint8 band `glacier`, nodata 255, and the parameters as
    tags. Sizes on a geographic grid are those at its centre.

    Args:
        mask_path: A mask raster.
        out_path: The refined mask; may be the same file.
        parameters: What to do; the defaults when None.

    Returns:
        What each step changed.

    Raises:
        RasterError: The mask cannot be read or has no CRS.
        TruthError: The mask has values other than 0, 1 and ignore.
        OutputError: The result cannot be written.
    """
    parameters = parameters or RefineParameters()
    with open_raster(mask_path) as dataset:
        grid = grid_of(dataset)
    refined, changes = refine_with_report(read_mask(mask_path), grid.pixel_size_m, parameters)
    tags = {
        f"refine_{name}": "all" if value is None else str(value) for name, value in asdict(parameters).items()
    }
    write_raster(out_path, refined, grid, bands=["glacier"], nodata=IGNORE, tags=tags)
    return changes
